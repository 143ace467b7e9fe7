//! What calls carry, in the terms of the floors above.

use crate::error::PeerError;
use bytes::Bytes;
use futures::stream::BoxStream;
use portolan_meta::id::NodeId;
use portolan_oci::Digest;
use portolan_trace::TraceContext;
use std::collections::BTreeMap;
use std::time::Duration;

/// A member of the cluster as the client needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub node: NodeId,
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// Its zone; empty when there is none.
    pub zone: String,
    /// Where its peer port is, `host:port`.
    pub address: String,
}

/// Which connections a call goes over, so that bulk data never delays an election.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Appends, votes and snapshots.
    Raft,
    /// Raft heartbeats.
    Heartbeat,
    /// Blobs, over several connections in turn.
    Bulk,
    /// Blobs, over the one of those connections that has this number; counting goes round.
    Pinned(usize),
    /// Blobs for readers as slow as clients are, over connections of their own, in turn: bytes that wait for such a reader
    /// keep the connection's window, and whoever shares it would stand still.
    Paced,
    /// Everything else.
    Control,
}

/// One request of an append stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Append {
    /// Opaque here.
    pub payload: Bytes,
    /// Of the log entries in it, the indices of those that belong to a trace, and where in it they were proposed. For
    /// spans only: nothing else may depend on it.
    pub traces: Vec<(u64, TraceContext)>,
}

impl From<Bytes> for Append {
    fn from(payload: Bytes) -> Self {
        Self { payload, traces: Vec::new() }
    }
}

/// A frame of a snapshot stream: one header, then the files' bytes in the header's order without gaps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotFrame {
    /// The first frame.
    Header(SnapshotHeader),
    /// A piece of a file.
    Data(SnapshotData),
}

/// What a snapshot consists of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotHeader {
    /// What it is a snapshot of, opaque here.
    pub meta: Bytes,
    /// Its files.
    pub files: Vec<SnapshotFile>,
}

/// A file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Its name, without a directory.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// SHA-256 of the whole.
    pub sha256: [u8; 32],
}

/// A piece of a file of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotData {
    /// Index into the header's files.
    pub file: u32,
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// The bytes.
    pub bytes: Bytes,
}

/// A proposal handed to the leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposeCall {
    /// Encoded by `portolan-meta`.
    pub proposal: Bytes,
}

/// The leader's answer once it was applied there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProposeReply {
    /// The log index at which it was applied.
    pub index: u64,
    /// Encoded by `portolan-meta`.
    pub outcome: Bytes,
}

/// How a node is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PingReply {
    /// The last log index in its state.
    pub applied: u64,
    /// Its term.
    pub term: u64,
    /// The leader as it knows it.
    pub leader: Option<NodeId>,
    /// Whether it could take uploads.
    pub writable: bool,
    /// Whether it could serve pulls.
    pub ready: bool,
    /// The version of its software.
    pub version: String,
    /// What it did of late; `None` until it was counted for the first time.
    pub load: Option<NodeLoad>,
    /// Its own smoothed round trips to those that answered it of late.
    pub round_trips: BTreeMap<NodeId, Duration>,
}

/// What a node did. Totals count from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NodeLoad {
    /// For how long it had been running when this was counted, in milliseconds: rates come out right however late the
    /// news arrives, and a restart shows.
    pub up_ms: u64,
    /// Requests that ended.
    pub requests: u64,
    /// Those that ended by a fault of the node (5xx).
    pub faults: u64,
    /// Bytes of bodies that came from clients.
    pub received_bytes: u64,
    /// Bytes of bodies that went to clients.
    pub sent_bytes: u64,
    /// Blobs that it lacks and does not fetch yet.
    pub queue: u64,
    /// How many bytes those are.
    pub queue_bytes: u64,
    /// Blobs that it fetches.
    pub fetches: u64,
    /// Open upload sessions.
    pub uploads: u64,
    /// What its disk has left, in bytes; `None` when the disk does not say.
    pub disk_free_bytes: Option<u64>,
}

/// The question of a node that may have no identity yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HelloCall {
    /// The asker's name in the configuration.
    pub name: String,
    /// The identity of its data folder, if it has one.
    pub storage_uuid: Option<String>,
}

/// The answer to [`HelloCall`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HelloReply {
    /// The answerer's name in its configuration.
    pub name: String,
    /// The cluster it belongs to, if it knows one.
    pub cluster_id: Option<String>,
    /// That cluster's epoch.
    pub epoch: u64,
    /// The data folder known under the asker's name.
    pub known_storage_uuid: Option<String>,
    /// The id known under the asker's name.
    pub known_node: Option<NodeId>,
    /// The names of the members it lists, in order.
    pub members: Vec<String>,
}

/// Which bytes of which blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadBlob {
    /// The blob.
    pub digest: Digest,
    /// The first byte wanted.
    pub offset: u64,
    /// How many bytes at most; `None`: up to the end.
    pub limit: Option<u64>,
    /// Whether the answerer may fetch what it lacks from a third node.
    pub relay: bool,
}

/// How many blobs one call may name: [`crate::Peers::read_many`], [`crate::Peers::transfers`].
pub const MANY_BLOBS: usize = 1_024;

/// How long a blob may be that travels with others in one stream, in bytes.
pub const MANY_BLOB_BYTES: u64 = 1 << 20;

/// A blob that a node is fetching.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferState {
    /// The blob.
    pub digest: Digest,
    /// How many bytes have come.
    pub received: u64,
    /// Whom it is read from at the moment.
    pub from: Option<NodeId>,
    /// How fast it comes of late.
    pub bytes_per_second: u64,
}

/// Small blobs on their way between nodes, with their places among the digests asked for, in that order; `None` for one
/// that is not there. Each has passed its CRC32C; its digest is the caller's to check. The stream ends without an error
/// only when every place has come. Dropping it ends the transfer.
pub type ManyBlobs = BoxStream<'static, Result<(usize, Option<Bytes>), PeerError>>;

/// A blob's bytes on their way between nodes: what a handler gives, and what a caller gets.
pub struct RemoteBlob {
    /// The size of the whole blob in bytes, whatever was asked for.
    pub size: u64,
    /// The bytes asked for. At the caller each item has passed its CRC32C; the stream ends without an error only when
    /// all of them have come. Dropping it ends the transfer.
    pub stream: BoxStream<'static, Result<Bytes, PeerError>>,
}

impl std::fmt::Debug for RemoteBlob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteBlob").field("size", &self.size).finish_non_exhaustive()
    }
}
