//! What replication looks like from outside.

use portolan_meta::id::NodeId;
use portolan_oci::Digest;

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
