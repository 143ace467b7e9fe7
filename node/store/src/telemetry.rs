//! How long the disk takes: the names of those metrics, and a stopwatch.

use crate::gauges;
use metrics::{Histogram, Unit, describe_gauge, describe_histogram, histogram};
use std::time::Instant;

/// Under which name existing dashboards look for a registry's storage.
const ACTION_SECONDS: &str = "registry_storage_action_seconds";

/// Where blobs lie, as the `driver` label.
const DRIVER: &str = "disk";

/// What is done to blob files and to the files that grow into them.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    /// A blob file is opened; hashes it whole when its sums are lost.
    Open,
    /// One batch is read.
    Read,
    /// One batch is written and hashed.
    Append,
    /// What was written is made durable, beside the appends.
    Sync,
    /// A whole file is made durable and becomes a blob.
    Seal,
    /// Many small blobs are stored together.
    Batch,
    /// A whole file is hashed.
    Verify,
    /// A bad file is put aside.
    Quarantine,
    /// A file is removed.
    Unlink,
}

impl Action {
    const ALL: [Self; 9] = [
        Self::Open,
        Self::Read,
        Self::Append,
        Self::Sync,
        Self::Seal,
        Self::Batch,
        Self::Verify,
        Self::Quarantine,
        Self::Unlink,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Read => "read",
            Self::Append => "append",
            Self::Sync => "sync",
            Self::Seal => "seal",
            Self::Batch => "batch",
            Self::Verify => "verify",
            Self::Quarantine => "quarantine",
            Self::Unlink => "unlink",
        }
    }

    fn seconds(self) -> Histogram {
        histogram!(ACTION_SECONDS, "driver" => DRIVER, "action" => self.label())
    }
}

/// Takes the time of an action, whether it succeeds or not: a disk that fails slowly is slow.
pub(crate) fn timed<T>(action: Action, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let done = work();
    action.seconds().record(began.elapsed());
    done
}

/// How long one sync of the Raft log took.
pub(crate) fn fsync_seconds() -> Histogram {
    histogram!("portolan_raft_fsync_seconds")
}

/// Says what each metric of this crate means, and begins what would else be absent until it first happens. Repeating it
/// is harmless.
pub(crate) fn describe() {
    gauges::describe();
    describe_histogram!("portolan_raft_fsync_seconds", Unit::Seconds, "One sync of the Raft log.");
    describe_histogram!(ACTION_SECONDS, Unit::Seconds, "One action on blob files.");
    describe_gauge!("portolan_disk_free_bytes", Unit::Bytes, "Free space of the disk with the data folder.");
    describe_gauge!(
        "portolan_disk_reserve_bytes",
        Unit::Bytes,
        "Below this much free space uploads and fetches stop: it belongs to the metadata."
    );
    // Made without a value: its buckets are there, and empty.
    drop(fsync_seconds());
    for action in Action::ALL {
        drop(action.seconds());
    }
}
