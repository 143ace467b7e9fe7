//! Row types: the stored shape of the state, MessagePack with field names. A field that is added later carries
//! `#[serde(default)]`, so that rows written before it still read.

use crate::id::{FileId, NodeId, RepoId, StoreId};
use portolan_oci::{Digest, Tag};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a node does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Votes or learns, and stores blobs.
    Full,
    /// Votes and keeps metadata, stores no blobs.
    Witness,
    /// Learns, caches blobs, writes no location.
    Edge,
}

/// Whether a node counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// Answers; its copies count.
    Up,
    /// Silent; its copies do not count for acks, reads avoid it.
    Down,
    /// Silent for long; its targets move elsewhere.
    Out,
    /// Leaves on purpose; its targets move elsewhere, it serves meanwhile.
    Draining,
}

/// A member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeRow {
    /// Its id, never reused.
    pub id: NodeId,
    /// Its name in the configuration.
    pub name: String,
    /// Its region.
    pub region: String,
    /// Its zone inside the region; empty when there is none.
    pub zone: String,
    /// What it does.
    pub role: Role,
    /// Where its peers reach it, `host:port`.
    pub peer: String,
    /// The identity of its data folder.
    pub storage_uuid: String,
    /// Counts its starts.
    pub incarnation: u64,
    /// Whether it counts.
    pub state: NodeState,
    /// The software version of its last start.
    pub version: String,
}

/// Where copies of blobs can lie.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StoreRow {
    /// The disk of one node. Its store id equals the node's id.
    Disk {
        /// The node.
        node: NodeId,
        /// Its weight in placement: free choice of unit, the same for all stores.
        weight: u32,
    },
}

/// How many durable copies a manifest PUT waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AckPolicy {
    /// In how many regions.
    pub regions: u32,
    /// On how many nodes in each of them.
    pub copies: u32,
}

/// A repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoRow {
    /// Its id in keys.
    pub id: RepoId,
    /// Whether it has ever held a manifest: until then nobody but its pins knows it.
    #[serde(default)]
    pub ever_held: bool,
}

/// Which cluster this state belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterRow {
    /// The cluster's id.
    pub cluster_id: String,
    /// The epoch; a recovery mints another.
    pub epoch: u64,
}

/// What bytes between regions are moved for: who waits for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Traffic {
    /// A client that pulls.
    Pull,
    /// A push, or whoever waits for its copies.
    Ack,
    /// Nobody: copies that were lost or are newly wanted.
    Repair,
}

/// How fast bytes of one class may come from one region to another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BandwidthLimit {
    /// The region that sends; `None` is any other one.
    pub from: Option<String>,
    /// The region that receives; `None` is any other one. What moves within a region is limited only where both are named.
    pub to: Option<String>,
    /// The class; `None` is each of them, with a limit of its own.
    pub class: Option<Traffic>,
    /// For all nodes of the receiving region together.
    pub bytes_per_second: u64,
}

/// All such limits; the first that fits counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BandwidthRow {
    /// In the order in which they are tried.
    pub limits: Vec<BandwidthLimit>,
}

impl BandwidthRow {
    /// How fast bytes of a class may come from one region to another; `None` is as fast as the link.
    #[must_use]
    pub fn limit(&self, from: &str, to: &str, class: Traffic) -> Option<u64> {
        let fits = |limit: &&BandwidthLimit| {
            (from != to || limit.from.is_some() && limit.to.is_some())
                && limit.from.as_deref().is_none_or(|name| name == from)
                && limit.to.as_deref().is_none_or(|name| name == to)
                && limit.class.is_none_or(|named| named == class)
        };
        self.limits.iter().find(fits).map(|limit| limit.bytes_per_second)
    }
}

/// Parts of a manifest that wait for their put.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedRow {
    /// From when on, by the state's clock, they may be removed.
    pub until_ms: u64,
}

/// What a manifest refers to and must exist below it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Child {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes, as the manifest says.
    pub size: u64,
    /// Whether it is a manifest (of an index) or a blob.
    pub kind: ChildKind,
}

/// The kind of a [`Child`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ChildKind {
    /// A config or a layer.
    Blob,
    /// A manifest that an index lists.
    Manifest,
}

/// A manifest's facts, parsed before the command was proposed; the bytes are in rows of their own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ManifestRow {
    /// Its media type.
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
    /// In how many rows its bytes lie.
    pub parts: u16,
    /// What must exist below it.
    pub children: Vec<Child>,
    /// The manifest it is about.
    pub subject: Option<Digest>,
    /// Its artifact type (or its config's media type, as the specification says for referrers).
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// When it was put, by the state's clock.
    pub at_ms: u64,
}

/// Where a tag points.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagRow {
    /// The manifest.
    pub digest: Digest,
    /// Counts the tag's moves from 1; its deletions are moves too, so that the count never falls back.
    pub revision: u64,
    /// Who moved it.
    pub by: String,
    /// When, by the state's clock.
    pub at_ms: u64,
}

/// One move of a tag.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagHistoryRow {
    /// Where it pointed from then on; `None` for a deletion.
    pub digest: Option<Digest>,
    /// Who moved it.
    pub by: String,
    /// When, by the state's clock.
    pub at_ms: u64,
}

/// A manifest that names another as its subject; what the referrers list shows of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReferrerRow {
    /// Its media type.
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its artifact type.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
}

/// Whether a blob may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BlobState {
    /// It may.
    Live,
    /// Invisible; its files wait to be unlinked.
    Condemned,
}

/// A blob, wherever its bytes are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRow {
    /// Its length in bytes.
    pub size: u64,
    /// Whether it may be used.
    pub state: BlobState,
    /// The log index of the apply that made it Live.
    pub generation: u64,
    /// When that was, by the state's clock.
    pub at_ms: u64,
    /// The SHA-256 of the table of its chunks' CRC32C (u32, little-endian, one per 256 KiB), by which any range of it can
    /// be checked; `None` when nobody has told it yet.
    #[serde(default)]
    pub sums: Option<Digest>,
}

/// Keeps a blob alive and visible in a repository without an edge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinRow {
    /// Until when, by the state's clock.
    pub until_ms: u64,
}

/// A fact: this file holds the blob's bytes, fsynced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocationRow {
    /// The blob's generation when the fact was recorded.
    pub generation: u64,
}

/// A file that its store's owner is to unlink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReclaimRow {
    /// Whose bytes it holds.
    pub digest: Digest,
}

/// A node's window of proposals that may still be repeated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DedupeRow {
    /// The incarnation the window belongs to.
    pub incarnation: u64,
    /// Every sequence below it is settled and refused.
    pub settled_below: u64,
    /// Every outcome below it is removed; lags behind `settled_below`, since one apply removes only so many.
    #[serde(default)]
    pub trimmed_below: u64,
    /// Whether outcomes of older incarnations may be left.
    #[serde(default)]
    pub leftovers: bool,
}

/// A location as queries give it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// The store.
    pub store: StoreId,
    /// The file in it.
    pub file: FileId,
    /// The generation it was recorded for.
    pub generation: u64,
}

/// A tag and where it points.
pub type TagEntry = (Tag, TagRow);
