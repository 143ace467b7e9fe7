//! What this node can do, for the pings of the others, and what the system lets it do.

use portolan_consensus::{Condition, Consensus};
use portolan_registry::Registry;
use portolan_store::Blobs;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

/// Between two looks at what this node knows of itself: pings that ask more often get what was found last.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Between two looks at the disk.
const DISK_EVERY: Duration = Duration::from_secs(1);
/// Connections, blob files and two databases may have this many files open together.
const ENOUGH_FILES: u64 = 16_384;

/// Keeps what the pings say true, until it is told to stop: what `/readyz` says. A disk that hangs must not hold up the
/// word that the node is stopping.
pub(crate) async fn tell(registry: &Registry, consensus: &Consensus, blobs: &Blobs, stop: &CancellationToken) {
    let telling = async {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            let ready = registry.pull_readiness().is_ok_and(|readiness| readiness.is_ready());
            consensus.set_condition(Condition { ready, writable: ready && blobs.check_space().is_ok() });
        }
    };
    tokio::join!(telling, registry.watch_disk(DISK_EVERY, stop));
    // Pings are answered until the very end.
    consensus.set_condition(Condition { ready: false, writable: false });
}

/// Lets this process open as many files as it is allowed to: the usual soft limit of 1,024 would end in refused
/// connections long before the configured limits do.
pub(crate) fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let now = if raised.is_ok() { limit.maximum } else { limit.current };
    if let Some(files) = now.filter(|files| *files < ENOUGH_FILES) {
        tracing::warn!(
            files,
            enough = ENOUGH_FILES,
            "few open files are allowed (ulimit -n): connections may be refused"
        );
    }
}
