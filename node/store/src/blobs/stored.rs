//! What a new blob file is told by.

use portolan_meta::id::FileId;
use portolan_oci::Digest;

/// A blob file that has just been made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// What it holds.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Which file of that digest it is.
    pub file: FileId,
    /// The SHA-256 of the table of its chunks' CRC32C: what ranges of it are checked by elsewhere.
    pub sums: Digest,
}
