//! Commands: everything that can change the state. They carry parsed facts; apply parses nothing.

use crate::id::{FileId, NodeId, StoreId};
use crate::policy::{PolicyRow, Prefix};
use crate::row::{BandwidthRow, Child, NodeState, Role};
use bytes::Bytes;
use portolan_oci::{Digest, RepoName, Tag};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Names one proposal, so that repeating it changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ProposalKey {
    /// Who proposes.
    pub node: NodeId,
    /// The proposer's start; a new one drops the old one's window.
    pub incarnation: u64,
    /// Counts the proposals of that start from 1.
    pub sequence: u64,
    /// Every sequence below it will not be repeated: its outcome may be forgotten.
    pub settled_below: u64,
}

/// What the log carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Its name.
    pub key: ProposalKey,
    /// The leader's stamp, in milliseconds since the Unix epoch. The state keeps the maximum.
    pub at_ms: u64,
    /// What to do.
    pub command: Command,
}

/// A change of the state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Writes the cluster's id; the first command of a cluster's life. Repeating it with the same id is no error.
    InitCluster {
        /// The cluster's id.
        cluster_id: String,
        /// The epoch; 0 until a recovery mints another.
        epoch: u64,
    },
    /// A node started: creates or updates its row and its store, drops its older window.
    NodeBoot(NodeBoot),
    /// The leader saw a node fall silent or come back, or an operator changed it. Nothing happens, and the answer is
    /// `Done`, when the node has restarted since, or when one that is out falls silent.
    SetNodeState {
        /// The node.
        node: NodeId,
        /// The incarnation that was judged: a node that has restarted since is left alone.
        incarnation: u64,
        /// What it is from now on.
        state: NodeState,
    },
    /// An upload's bytes are durable in one store. Makes the blob Live, records the location, pins it.
    CommitBlob {
        /// Where it was uploaded to.
        repo: RepoName,
        /// The blob.
        digest: Digest,
        /// Its length in bytes.
        size: u64,
        /// The store that holds the file.
        store: StoreId,
        /// The file.
        file: FileId,
        /// How long the pin keeps it visible without an edge.
        pin_ms: u64,
        /// See [`crate::row::BlobRow::sums`].
        #[serde(default)]
        sums: Option<Digest>,
    },
    /// Copies that replication finished. Each is judged alone.
    AddLocations {
        /// The store that holds the files.
        store: StoreId,
        /// The files.
        found: Vec<FoundCopy>,
    },
    /// A copy is no more.
    DropLocation {
        /// The blob.
        digest: Digest,
        /// The store.
        store: StoreId,
        /// The file.
        file: FileId,
        /// Why.
        reason: DropReason,
    },
    /// Files that were handed to a store's owner are gone from its disk.
    Unlinked {
        /// The store.
        store: StoreId,
        /// The files; at most [`crate::limits::LOCATIONS_PER_ADD`].
        files: Vec<FileId>,
    },
    /// Replaces the settings of a prefix; empty ones remove it.
    SetPolicy {
        /// The prefix.
        prefix: Prefix,
        /// Its settings from now on.
        policy: PolicyRow,
    },
    /// Replaces the limits of bandwidth between regions.
    SetBandwidth(BandwidthRow),
    /// Makes a blob visible in a repository because another, which the caller may pull from, shows it.
    MountBlob {
        /// Where it shall be visible.
        repo: RepoName,
        /// Where it is visible.
        from: RepoName,
        /// The blob.
        digest: Digest,
        /// How long the pin keeps it visible without an edge.
        pin_ms: u64,
    },
    /// One part of a manifest that is too large for one log entry.
    PutManifestPart {
        /// The repository.
        repo: RepoName,
        /// The whole manifest's digest.
        digest: Digest,
        /// Which part, from 0.
        part: u16,
        /// Its bytes.
        bytes: Bytes,
    },
    /// Puts a manifest, its edges, its tags, its referrer row: all or nothing.
    PutManifest(Box<PutManifest>),
    /// Deletes a tag; the manifest stays.
    DeleteTag {
        /// The repository.
        repo: RepoName,
        /// The tag.
        tag: Tag,
        /// Who asks.
        by: String,
    },
    /// Deletes a manifest with its tags and edges.
    DeleteManifest {
        /// The repository.
        repo: RepoName,
        /// The manifest.
        digest: Digest,
        /// How long what hung below it stays pinned.
        grace_ms: u64,
        /// Who asks.
        by: String,
    },
    /// Hides a blob in a repository.
    DeleteBlob {
        /// The repository.
        repo: RepoName,
        /// The blob.
        digest: Digest,
    },
}

impl Command {
    /// Its name in traces.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::InitCluster { .. } => "InitCluster",
            Self::NodeBoot(_) => "NodeBoot",
            Self::SetNodeState { .. } => "SetNodeState",
            Self::CommitBlob { .. } => "CommitBlob",
            Self::AddLocations { .. } => "AddLocations",
            Self::DropLocation { .. } => "DropLocation",
            Self::Unlinked { .. } => "Unlinked",
            Self::SetPolicy { .. } => "SetPolicy",
            Self::SetBandwidth(_) => "SetBandwidth",
            Self::MountBlob { .. } => "MountBlob",
            Self::PutManifestPart { .. } => "PutManifestPart",
            Self::PutManifest(_) => "PutManifest",
            Self::DeleteTag { .. } => "DeleteTag",
            Self::DeleteManifest { .. } => "DeleteManifest",
            Self::DeleteBlob { .. } => "DeleteBlob",
        }
    }
}

/// A node's start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeBoot {
    /// Its id.
    pub id: NodeId,
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// Its zone.
    pub zone: String,
    /// What it does.
    pub role: Role,
    /// Where its peers reach it, `host:port`.
    pub peer: String,
    /// The identity of its data folder.
    pub storage_uuid: String,
    /// Counts its starts.
    pub incarnation: u64,
    /// Its software version.
    pub version: String,
}

/// A copy that replication finished.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FoundCopy {
    /// The blob.
    pub digest: Digest,
    /// The file.
    pub file: FileId,
    /// The blob's generation when the fetch began.
    pub generation: u64,
}

/// Why a copy is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DropReason {
    /// Its holder found it damaged or missing: always accepted.
    Damaged,
    /// It is more than policy wants: refused unless every current target holds the blob.
    Surplus,
}

/// See [`Command::PutManifest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutManifest {
    /// The repository.
    pub repo: RepoName,
    /// The manifest's digest.
    pub digest: Digest,
    /// Its media type.
    pub media_type: String,
    /// Its length in bytes.
    pub size: u64,
    /// Where its bytes are.
    pub bytes: ManifestBytes,
    /// What must exist below it; at most [`crate::limits::MANIFEST_CHILDREN`].
    pub children: Vec<Child>,
    /// The manifest it is about; need not exist.
    pub subject: Option<Digest>,
    /// Its artifact type.
    pub artifact_type: Option<String>,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// The tags to move to it; at most [`crate::limits::TAGS_PER_PUT`].
    pub tags: Vec<Tag>,
    /// Who pushes.
    pub by: String,
}

/// A manifest's bytes in a [`PutManifest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ManifestBytes {
    /// In the command itself.
    Inline(Bytes),
    /// In so many [`Command::PutManifestPart`] before it.
    Parts(u16),
}
