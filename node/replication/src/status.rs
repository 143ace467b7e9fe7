//! What replication looks like from outside.

use portolan_meta::id::NodeId;
use portolan_oci::Digest;
use std::time::Duration;

/// What this node fetches and what the cluster lacks, as this node sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicationStatus {
    /// How many blobs this node lacks and does not fetch at the moment.
    pub queue: usize,
    /// How many bytes those are.
    pub queue_bytes: u64,
    /// Transfers under way.
    pub in_flight: Vec<FetchStatus>,
    /// Finished files that wait for their committed location.
    pub unconfirmed: usize,
    /// What the nodes of each region lack.
    pub missing: Vec<RegionMissing>,
    /// How far each region is behind each other one, for every ordered pair of them.
    pub lags: Vec<RegionLag>,
    /// Whether `missing` and `lags` are known to be incomplete: a scan is under way, or more is missing than may be remembered.
    pub incomplete: bool,
}

/// One transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchStatus {
    /// The blob.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// How many bytes are here.
    pub received: u64,
    /// Whom it is read from at the moment.
    pub from: Option<NodeId>,
    /// How many pulls follow it.
    pub readers: usize,
    /// How fast it comes, over the last seconds.
    pub bytes_per_second: u64,
}

/// What the nodes of one region lack, by placement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionMissing {
    /// The region.
    pub region: String,
    /// How many copies are missing there.
    pub copies: u64,
    /// How many bytes those are.
    pub bytes: u64,
}

/// How far one region is behind another: what `from` holds and `to` has no copy of, although it should.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RegionLag {
    /// The region that is ahead.
    pub from: String,
    /// The region that is behind.
    pub to: String,
    /// How many blobs.
    pub blobs: u64,
    /// How many bytes those are.
    pub bytes: u64,
    /// How long ago the oldest of them was committed, in milliseconds.
    pub age_ms: u64,
}

/// What would be lost if one region died now, and what nobody can read now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// What each region's loss would take, in lexical order.
    pub regions: Vec<RegionExposure>,
    /// What each region has copies of while nobody that answers has one, in lexical order: it can be read again when the
    /// region is back, or another that has it. A blob of several such regions is in each.
    pub unreachable: Vec<RegionExposure>,
    /// How many blobs that is, each once.
    pub unreachable_blobs: u64,
    /// How many bytes those are.
    pub unreachable_bytes: u64,
    /// Of how many blobs no copy is left.
    pub damaged: u64,
    /// Whether there may be more: a scan is under way, or more is exposed than may be remembered.
    pub incomplete: bool,
}

/// What cannot be read now, whoever asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// Of how many blobs no copy is left.
    pub damaged: u64,
    /// Of how many others nobody that answers has a copy.
    pub unreachable: u64,
    /// The regions that have those.
    pub silent_regions: Vec<String>,
}

/// Blobs that hang on one region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionExposure {
    /// The region.
    pub region: String,
    /// How many blobs.
    pub blobs: u64,
    /// How many bytes those are.
    pub bytes: u64,
    /// When the oldest of them was committed, by the state's clock in milliseconds; `None` without any.
    pub oldest_at_ms: Option<u64>,
}

/// How well a node would serve a read, as another sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum PeerHealth {
    /// Nothing speaks against asking it.
    Well,
    /// It is silent for longer than can be expected of it.
    Suspect {
        /// How surprising its silence is: minus the decimal logarithm of its chance.
        phi: f64,
    },
    /// Its last ping found nobody, or was refused.
    Gone,
    /// It answers, and says that it cannot serve pulls.
    NotReady,
    /// It answers again, but not for long enough yet.
    Returning,
    /// Reads of it failed, or its bytes were wrong.
    Ejected {
        /// For how long it is still to be asked last.
        left: Duration,
    },
}
