//! Settings of the use cases: the tables `[uploads]`, `[limits]`, `[reads]` and `[deletes]`.

use portolan_meta::policy::PartitionContract;
use serde::Deserialize;
use std::time::Duration;

/// All of it, one field per table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// `[uploads]`.
    pub uploads: Uploads,
    /// `[limits]`.
    pub limits: Limits,
    /// `[reads]`.
    pub reads: Reads,
    /// `[deletes]`.
    pub deletes: Deletes,
}

/// `[uploads]`: sessions and what a push waits for.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Uploads {
    /// How long a session lives after its last byte, in milliseconds.
    pub session_ttl_ms: u64,
    /// How often expired sessions are looked for, in milliseconds.
    pub sweep_interval_ms: u64,
    /// How many sessions this node keeps at once; more get 429.
    pub sessions: usize,
    /// The longest silence of a client in the middle of a body, in milliseconds; then the request ends. An upload keeps
    /// its bytes.
    pub idle_timeout_ms: u64,
    /// How long a request for a session waits for the node that owns it when that node is down, in milliseconds, before
    /// its body is read; then 503.
    pub owner_wait_ms: u64,
    /// Up to how many bytes a forwarded body is kept, so that an owner that restarts meanwhile gets it again without the
    /// client's help.
    pub replay_bytes: usize,
    /// How long an uploaded or mounted blob stays visible before a manifest refers to it, in milliseconds.
    pub pin_ms: u64,
    /// How long a commit may look for a quorum, in milliseconds; then 503.
    pub commit_timeout_ms: u64,
    /// How long a manifest put waits for its ack policy, in milliseconds; then `ACK_PENDING`.
    pub ack_timeout_ms: u64,
}

impl Default for Uploads {
    fn default() -> Self {
        Self {
            session_ttl_ms: 24 * 3600 * 1000,
            sweep_interval_ms: 60_000,
            sessions: 1024,
            idle_timeout_ms: 60_000,
            owner_wait_ms: 10_000,
            replay_bytes: 1 << 20,
            pin_ms: 24 * 3600 * 1000,
            commit_timeout_ms: 10_000,
            ack_timeout_ms: 30_000,
        }
    }
}

/// How many tags one push of a manifest may move.
pub const TAGS_PER_PUSH: usize = portolan_meta::limits::TAGS_PER_PUT;

/// `[limits]`: what one client may ask for. Those about connections are enforced by the HTTP floor.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// The largest manifest, in bytes; more gets 413. Manifests live in the log, hence never above the 4 MiB of the
    /// state machine.
    pub manifest_bytes: u64,
    /// The largest blob, in bytes; more gets 413. It bounds an upload that does not end, and no more: what a node can
    /// hold its disk decides, and no layer that anybody pulls comes near the default of 1 TiB.
    pub blob_bytes: u64,
    /// The largest page of a listing, in entries; a greater `n` gets a page of this size and a link to the next.
    pub page_entries: usize,
    /// The largest page of referrers, in entries: each carries its annotations.
    pub referrers_entries: usize,
    /// What the entries of a page of referrers may weigh, in bytes: their annotations, or the manifests that had to be
    /// read for them. Common clients take no longer answer than 4 MiB. A page always has one entry.
    pub referrers_bytes: u64,
    /// In how many repositories a mount that does not say where from looks for its blob.
    pub mount_sources: usize,
    /// Public connections at once; more wait in the listen queue.
    pub connections: usize,
    /// Public requests at once; more get 429.
    pub requests: usize,
    /// Bodies of uploads under way at once; more get 429. Over HTTP/2 each may have 2 MiB ahead of the disk.
    pub uploads: usize,
    /// Bodies of blobs on their way to clients at once; more get 429. Each may have 512 KiB ahead of a slow client.
    pub downloads: usize,
    /// Requests that wait for an image to arrive in other regions at once; more get 429.
    pub waits: usize,
    /// Reports at once of where an image lies, of what holds for repositories and of what would be lost with a region;
    /// more get 429. As many read the state at once, for waits too.
    pub reports: usize,
    /// How long a client may take to send a request's head, in milliseconds, from the connection's beginning or the
    /// response before it.
    pub header_timeout_ms: u64,
    /// How long a client may take nothing of a response, in milliseconds; then its connection is cut.
    pub stall_timeout_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            manifest_bytes: 4 << 20,
            blob_bytes: 1 << 40,
            page_entries: 10_000,
            referrers_entries: 500,
            referrers_bytes: 3 << 20,
            mount_sources: 64,
            connections: 4096,
            requests: 2048,
            uploads: 256,
            downloads: 1024,
            waits: 256,
            reports: 32,
            header_timeout_ms: 30_000,
            stall_timeout_ms: 60_000,
        }
    }
}

/// `[reads]`: how fresh answers are.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reads {
    /// How long a tag read or a list waits for the leader's confirmation, in milliseconds.
    pub linearizable_timeout_ms: u64,
    /// How long a pull waits for a holder of its blob while none can be reached, in milliseconds; then 503.
    pub holder_wait_ms: u64,
    /// What it gets when that fails, in a repository whose policy does not say.
    pub without_leader: PartitionContract,
    /// How far this node's state may lag behind what it knows to be committed before `/readyz` takes it out, in log
    /// entries.
    pub ready_lag_entries: u64,
    /// How long after a start `/readyz` waits for the cluster to confirm it, in milliseconds; a node that finds no quorum
    /// serves pulls without from then on.
    pub ready_wait_ms: u64,
}

impl Default for Reads {
    fn default() -> Self {
        Self {
            linearizable_timeout_ms: 1000,
            without_leader: PartitionContract::default(),
            ready_lag_entries: 10_000,
            ready_wait_ms: 10_000,
            holder_wait_ms: 5_000,
        }
    }
}

/// `[deletes]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Deletes {
    /// How long a delete's answer waits for the other nodes to have applied it, in milliseconds; silent ones are named
    /// in a `Warning`.
    pub fence_timeout_ms: u64,
    /// How long what hung below a deleted manifest stays pinned, in milliseconds.
    pub grace_ms: u64,
}

impl Default for Deletes {
    fn default() -> Self {
        Self { fence_timeout_ms: 2000, grace_ms: 24 * 3600 * 1000 }
    }
}

/// Milliseconds from the configuration.
pub(crate) const fn ms(value: u64) -> Duration {
    Duration::from_millis(value)
}
