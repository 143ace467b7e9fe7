//! Outcomes: what an apply answers its proposer. They are stored in the dedupe window, so that a repeated proposal
//! gets the answer of the first.

use crate::id::{FileId, RepoId};
use portolan_oci::Digest;
use serde::{Deserialize, Serialize};

/// The answer to a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Done; nothing more to say.
    Done,
    /// The blob is Live and visible.
    BlobCommitted {
        /// Its generation.
        generation: u64,
        /// The file that counts for this store. When it is not the proposed one, the store already had a copy and
        /// the proposed file may be unlinked.
        file: FileId,
    },
    /// Which of the proposed copies count, in order. A file that does not may be unlinked.
    LocationsAdded(Vec<bool>),
    /// The manifest is there and its tags point at it.
    ManifestPut {
        /// The repository's id.
        repo: RepoId,
    },
    /// The manifest is gone; so many tags went with it.
    ManifestDeleted {
        /// How many tags this apply removed.
        tags: u32,
    },
    /// A large deletion did one bounded step; propose it again.
    MoreToDo,
    /// Nothing was changed.
    Refused(Refusal),
}

/// Why nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// A later start of the proposing node is known.
    #[error("incarnation {proposed} is older than the known {known}")]
    OldIncarnation {
        /// What the proposal said.
        proposed: u64,
        /// What the state says.
        known: u64,
    },
    /// The proposal was settled and its outcome forgotten.
    #[error("sequence {sequence} is below the settled {settled_below}")]
    Settled {
        /// What the proposal said.
        sequence: u64,
        /// What the state says.
        settled_below: u64,
    },
    /// A node boots with another data folder than the committed one, or a name or id is taken.
    #[error("node identity refused: {0}")]
    NodeIdentity(NodeConflict),
    /// The cluster has another id.
    #[error("the cluster's id is {known}")]
    OtherCluster {
        /// What the state says.
        known: String,
    },
    /// No such node.
    #[error("no such node")]
    UnknownNode,
    /// The store is not the proposer's own: only a disk's node may speak of its files, since its incarnation is what
    /// tells a late message from a current one.
    #[error("the store belongs to another node or is none")]
    ForeignStore,
    /// No such repository.
    #[error("no such repository")]
    UnknownRepo,
    /// No such tag.
    #[error("no such tag")]
    UnknownTag,
    /// No such manifest in the repository.
    #[error("no such manifest")]
    UnknownManifest,
    /// The blob is not visible in the repository.
    #[error("the blob is not visible there")]
    UnknownBlob,
    /// The store has no such copy of the blob.
    #[error("no such copy")]
    UnknownLocation,
    /// The file is one that its store is to unlink, so it can no longer count: store the bytes in a new file.
    #[error("the file is given up")]
    FileGivenUp,
    /// The manifest names blobs or manifests that the repository does not show.
    #[error("{} referenced objects are unknown", .0.len())]
    ChildrenUnknown(Vec<Digest>),
    /// The ack policy is not met yet.
    #[error("{} blobs are not durable enough yet", .0.len())]
    NotYetDurable(Vec<Digest>),
    /// Parts of the manifest are missing, or the bytes are not as many as its size says: put the parts again.
    #[error("parts of the manifest are missing")]
    PartsMissing,
    /// An index of the repository lists the manifest.
    #[error("listed by {} indexes", .0.len())]
    ListedByIndex(Vec<Digest>),
    /// A manifest of the repository refers to the blob.
    #[error("referred to by {} manifests", .0.len())]
    ReferredTo(Vec<Digest>),
    /// The blob has another size than its digest was recorded with.
    #[error("the blob's recorded size is {recorded}")]
    OtherSize {
        /// What the state says.
        recorded: u64,
    },
    /// A surplus copy stays while a target lacks the blob.
    #[error("a target lacks the blob")]
    TargetLacks,
    /// The repository's blobs must not be stored in that region.
    #[error("its blobs are kept in {}, and never in {region}", .allowed.join(", "))]
    Barred {
        /// The store's region.
        region: String,
        /// Where they may be stored.
        allowed: Vec<String>,
    },
    /// A policy cannot be.
    #[error("the policy is refused: {0}")]
    Policy(String),
    /// A limit of [`crate::limits`] is passed.
    #[error("more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: String,
        /// How many are allowed.
        limit: usize,
    },
}

/// See [`Refusal::NodeIdentity`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum NodeConflict {
    /// The id belongs to another data folder.
    #[error("the id belongs to storage {known}")]
    OtherStorage {
        /// The committed storage uuid.
        known: String,
    },
    /// The name belongs to another id.
    #[error("the name belongs to another node")]
    NameTaken,
}
