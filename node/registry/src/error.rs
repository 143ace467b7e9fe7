//! What can go wrong, by what the caller can do about it. No HTTP here: the API floor gives each variant its status.

use crate::repos_check::{PolicyError, shown_prefix};
use portolan_consensus::Unfit;
use portolan_meta::id::NodeId;
use portolan_meta::outcome::Refusal;
use portolan_meta::policy::Prefix;
use portolan_meta::row::AckPolicy;
use portolan_meta::view::ViewError;
use portolan_oci::manifest::ManifestError;
use portolan_oci::{Digest, Reference, RepoName, Tag};
use portolan_store::StoreError;
use std::collections::BTreeMap;

/// A client's body ended before its end.
#[derive(Debug, thiserror::Error)]
#[error("the request's body broke off")]
pub struct BodyError(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// A use case failed.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// No such repository.
    #[error("repository {0} is not known")]
    RepoUnknown(RepoName),
    /// No such manifest or tag in the repository.
    #[error("manifest {reference} is not known in {repo}")]
    ManifestUnknown {
        /// Where it was looked for.
        repo: RepoName,
        /// What was looked for.
        reference: Reference,
    },
    /// The repository has not had such a tag, not even one that was removed.
    #[error("{repo} has never had a tag {tag}")]
    TagNeverWas {
        /// Where it was looked for.
        repo: RepoName,
        /// What was looked for.
        tag: Tag,
    },
    /// The blob is not visible in the repository, or no copy of it is left (then pushing it again mends it).
    #[error("blob {digest} is not known in {repo}")]
    BlobUnknown {
        /// Where it was looked for.
        repo: RepoName,
        /// What was looked for.
        digest: Digest,
    },
    /// The repository's bytes must not be stored in this node's region, and no node where they may be answers.
    #[error("no node that may store the blobs of {0} can be reached")]
    Unplaceable(RepoName),
    /// No such session: never begun, finished, expired, of another repository, or of a node that is gone.
    #[error("upload session {0} is not known")]
    UploadUnknown(String),
    /// The manifest does not parse or breaks the specification.
    #[error("{0}")]
    ManifestInvalid(#[from] ManifestError),
    /// The manifest is larger than `limits.manifest_bytes`.
    #[error("the manifest has more than {limit} bytes")]
    ManifestTooLarge {
        /// The limit.
        limit: u64,
    },
    /// The blob is larger than `limits.blob_bytes`.
    #[error("the blob has more than {limit} bytes")]
    BlobTooLarge {
        /// The limit.
        limit: u64,
    },
    /// More than the state machine takes of what a push has.
    #[error("more than {limit} {what}")]
    TooMany {
        /// Of what.
        what: String,
        /// How many are allowed.
        limit: usize,
    },
    /// The image, with everything that belongs to it, is larger than is looked at as a whole.
    #[error("the image has more than {limit} manifests and blobs, with what refers to it: name one of those below it")]
    ImageTooLarge {
        /// How many manifests and blobs an image may have.
        limit: usize,
    },
    /// No full node of the cluster is in that region.
    #[error("no region is called {region:?}; there are {}", .known.join(", "))]
    RegionUnknown {
        /// What was asked for.
        region: String,
        /// The regions that there are.
        known: Vec<String>,
    },
    /// What was to be waited for will not come: policy wants no copies there.
    #[error(
        "nothing would bring it to {}: {repo} has its copies in {}; `portolan repo set` changes that",
        .regions.join(", "), if .wanted.is_empty() { "no region".to_owned() } else { .wanted.join(", ") }
    )]
    NotWanted {
        /// The repository.
        repo: RepoName,
        /// The regions that lack something and want nothing.
        regions: Vec<String>,
        /// The regions that policy wants.
        wanted: Vec<String>,
    },
    /// Settings of a prefix that cannot be.
    #[error("{0}")]
    Policy(#[from] PolicyError),
    /// No other node leads now.
    #[error(transparent)]
    Leader(#[from] LeaderError),
    /// No settings were made for that prefix.
    #[error("no settings were made for {}", shown_prefix(.0))]
    PolicyUnknown(Prefix),
    /// The manifest names blobs or manifests that the repository does not show.
    #[error("{} referenced objects are not known in the repository", .0.len())]
    ChildrenUnknown(Vec<Digest>),
    /// The bytes are not those of the digest. An upload session stays usable.
    #[error("the content is not that of {expected}")]
    DigestMismatch {
        /// What the client said.
        expected: Digest,
    },
    /// The body is not as long as the request said, or the blob is known with another length.
    #[error("{expected} bytes were announced, {found} came")]
    SizeMismatch {
        /// What was announced.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// The chunk does not begin where the session ends.
    #[error("the chunk begins at {start}, the session has {length} bytes")]
    OutOfOrder {
        /// Where the chunk begins.
        start: u64,
        /// How many bytes the session has.
        length: u64,
    },
    /// The range lies outside the blob.
    #[error("the range lies outside the blob's {size} bytes")]
    RangeUnsatisfiable {
        /// The blob's length.
        size: u64,
    },
    /// Deleting it is refused while these indexes list it.
    #[error("{} indexes of the repository list the manifest", .0.len())]
    ListedByIndex(Vec<Digest>),
    /// Deleting it is refused while these manifests refer to it.
    #[error("{} manifests of the repository refer to the blob", .0.len())]
    ReferredTo(Vec<Digest>),
    /// The client's body broke off. An upload session keeps the bytes that arrived.
    #[error(transparent)]
    Body(#[from] BodyError),
    /// The client sent nothing for `uploads.idle_timeout_ms`. An upload session keeps the bytes that arrived.
    #[error("the client sent nothing for {idle_ms} ms")]
    Idle {
        /// How long was waited.
        idle_ms: u64,
    },
    /// Another request took the session over; the bytes that arrived are kept.
    #[error("another request took the session over")]
    Superseded,
    /// The node that owns the upload session cannot be reached, or was lost on the way; what it has of the upload, it
    /// keeps.
    #[error("node {0}, which owns the upload session, cannot be reached")]
    OwnerAway(NodeId),
    /// The node that owns the upload session failed; its log says how.
    #[error("node {0}, which owns the upload session, failed")]
    OwnerFailed(NodeId),
    /// This node keeps as many sessions as it may.
    #[error("{limit} upload sessions are open")]
    TooManySessions {
        /// The limit.
        limit: usize,
    },
    /// This node does all it may do at once.
    #[error("too many {0} are under way")]
    Busy(&'static str),
    /// The ack policy is not met within the deadline: the push may simply be repeated.
    #[error("{} blobs are not durable enough yet", .0.len())]
    AckPending(Vec<PendingBlob>),
    /// The write found no quorum in time. It may or may not take effect; repeating it is safe.
    #[error("the cluster did not confirm the write in time")]
    NoQuorum,
    /// The answer needs the leader's confirmation, and that is not to be had: the truth is not "unknown".
    #[error("the cluster did not confirm a fresh state in time")]
    NotConfirmed,
    /// Copies are recorded, but none of their holders can be reached.
    #[error("no holder of {0} can be reached")]
    Unreachable(Digest),
    /// The disk has no room but the reserve. What had arrived of the upload is dropped.
    #[error("the disk is full")]
    StorageFull,
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
    /// The disk failed.
    #[error("the store failed")]
    Store(#[source] Box<StoreError>),
    /// The state could not be read.
    #[error("the state could not be read")]
    View(#[from] ViewError),
    /// The state machine refused what should have been right: a defect of this program.
    #[error("the state machine refused: {0}")]
    Refused(Refusal),
    /// The state machine answered something else than the command's kind of outcome: a defect of this program.
    #[error("an unexpected outcome for {0}")]
    Outcome(&'static str),
}

/// Why no other node leads now.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaderError {
    /// There is no such node.
    #[error("the cluster has no node {node:?}: name one of {}", known.join(", "))]
    Unknown {
        /// What was asked for.
        node: String,
        /// The names of the nodes that there are.
        known: Vec<String>,
    },
    /// It cannot lead, or not now.
    #[error("{node} cannot take the leadership over: {why}; {}", instead_of(*why))]
    Unfit {
        /// Its name.
        node: String,
        /// Why.
        why: Unfit,
    },
    /// Nobody else can lead now.
    #[error("no other voter answers the leader and is up to date: see in the cluster's status whom to bring back")]
    Nobody,
    /// There is no leader that could hand over.
    #[error("there is no leader that could hand over: try again when the cluster's status names one")]
    NoLeader,
    /// It was handed over, but not taken over in time: the cluster may be electing.
    #[error("the leadership was not taken over in time: before another try, see in the cluster's status who leads now")]
    NotTaken,
    /// The leader is of a version that does not hand over. Nothing was done.
    #[error("{leader} leads, and its version does not hand over when asked: upgrade that node first")]
    NotUnderstood {
        /// Its name.
        leader: String,
    },
}

/// What to do about a node that cannot lead.
const fn instead_of(why: Unfit) -> &'static str {
    match why {
        Unfit::NoVote => "name one that has, or none",
        Unfit::Silent => "bring it back, or name another",
        Unfit::Behind { .. } => "wait until it has caught up, or name another",
    }
}

/// A blob that keeps a push waiting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingBlob {
    /// The blob.
    pub digest: Digest,
    /// The names of the nodes that hold a durable copy which counts, by region: they answer, and policy wants copies in
    /// their region.
    pub durable_in: BTreeMap<String, Vec<String>>,
    /// In how many regions it has to be durable, and how many copies each of them has to have.
    pub needed: AckPolicy,
}

/// What a tag can be confused with is spelled out once.
impl RegistryError {
    pub(crate) fn manifest_unknown(repo: &RepoName, reference: Reference) -> Self {
        Self::ManifestUnknown { repo: repo.clone(), reference }
    }

    pub(crate) fn tag_unknown(repo: &RepoName, tag: &Tag) -> Self {
        Self::manifest_unknown(repo, Reference::Tag(tag.clone()))
    }

    pub(crate) fn blob_unknown(repo: &RepoName, digest: Digest) -> Self {
        Self::BlobUnknown { repo: repo.clone(), digest }
    }
}

/// A full disk has its own answer; everything else of the store is a defect or a broken disk.
impl From<StoreError> for RegistryError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full { .. } => Self::StorageFull,
            other => Self::Store(Box::new(other)),
        }
    }
}
