//! What can go wrong, by what the caller can do about it.

use portolan_meta::view::ViewError;
use portolan_oci::Digest;
use portolan_store::StoreError;

/// A blob could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No committed copy exists: the client may push it again, which mends it.
    #[error("no copy of the blob is recorded")]
    NotFound,
    /// Copies are recorded, but no holder and no other peer could be read from: try again later.
    #[error("none of {asked} peers could serve the blob")]
    Unreachable {
        /// How many were asked.
        asked: usize,
    },
    /// This node does all it may do at once: try again soon.
    #[error("{0} are under way already")]
    Busy(&'static str),
    /// The range ends beyond the blob.
    #[error("the range ends at {end}, the blob at {size}")]
    Range {
        /// Where the range ends.
        end: u64,
        /// The blob's length.
        size: u64,
    },
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopped,
    /// The state could not be read.
    #[error(transparent)]
    View(#[from] ViewError),
    /// The disk failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A blob's bytes end early. What was answered so far must not be completed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ReadError {
    /// The bytes were not those of the digest.
    #[error("the bytes of {digest} are not those of its digest")]
    WrongBytes {
        /// The blob.
        digest: Digest,
    },
    /// Every source failed before the end.
    #[error("every holder of {digest} failed before the end")]
    SourcesLost {
        /// The blob.
        digest: Digest,
    },
    /// The own disk failed.
    #[error("reading {digest}: {reason}")]
    Disk {
        /// The blob.
        digest: Digest,
        /// What the store said.
        reason: String,
    },
    /// Too many transfers are under way to go on without storing this one.
    #[error("too many transfers without storing are under way")]
    Busy,
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopped,
}

/// Blobs are not as durable as demanded.
#[derive(Debug, thiserror::Error)]
pub enum SettleError {
    /// The deadline passed first; repeating the call goes on waiting.
    #[error("{} blobs are not durable enough yet", .0.len())]
    Pending(Vec<Digest>),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopped,
    /// The state could not be read.
    #[error(transparent)]
    View(#[from] ViewError),
}
