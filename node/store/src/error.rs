//! What can go wrong here; each variant says what the caller can do.

use portolan_oci::Digest;
use std::path::PathBuf;

/// A failure of the disk or of what lies on it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk is full, or what is left is reserved for the metadata. Free some, then repeat.
    #[error("the disk is full: {free_bytes} bytes free, of which {reserve_bytes} are reserved for metadata")]
    Full {
        /// What the file system still has.
        free_bytes: u64,
        /// What uploads and fetches may not use.
        reserve_bytes: u64,
    },
    /// The bytes have another digest than was promised. They are kept; more may be appended, or they are thrown away.
    #[error("expected {expected}, but the bytes are {actual}")]
    DigestMismatch {
        /// What was promised.
        expected: Digest,
        /// What landed.
        actual: Box<Digest>,
    },
    /// Something on the disk is not what was written there. Do not use it; mend it from a peer, or rejoin empty.
    #[error("{what} is corrupt: {reason}")]
    Corrupt {
        /// Which file or folder.
        what: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is no such file, part or range.
    #[error("{what} does not exist")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// The part is open elsewhere in this process. Wait for it ([`crate::Parts::wait_free`]) and repeat.
    #[error("part {id} is in use")]
    Busy {
        /// The part's id.
        id: String,
    },
    /// Another process works on this data folder.
    #[error("another process uses the data folder {}", path.display())]
    Locked {
        /// The data folder.
        path: PathBuf,
    },
    /// A name that may not become a file name.
    #[error("{name:?} is not a usable name")]
    BadName {
        /// The name.
        name: String,
    },
    /// No blob of the part's size has such a chunk.
    #[error("a chunk {index} of {length} bytes does not belong to the blob")]
    BadChunk {
        /// Its number.
        index: u64,
        /// Its length in bytes.
        length: u64,
    },
    /// It was closed; nothing more can be written.
    #[error("{what} is closed")]
    Closed {
        /// What was closed.
        what: &'static str,
    },
    /// The operating system refused.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The database refused.
    #[error("{action} in {database}: {source}")]
    Rocks {
        /// What was tried.
        action: &'static str,
        /// Which database.
        database: &'static str,
        /// What RocksDB said.
        source: rocksdb::Error,
    },
}

impl StoreError {
    /// Whether this is the disk running full.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}
