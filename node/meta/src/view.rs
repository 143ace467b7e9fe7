//! What the state machine reads through and what it writes: the seam to whichever store holds the state.

use crate::family::Family;
use bytes::Bytes;

/// A failure below the state machine: the store could not read, or a row does not decode. Neither can be answered;
/// the node must stop and say so.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// The store failed.
    #[error("reading column family {family}: {source}")]
    Read {
        /// The family that was read.
        family: &'static str,
        /// What the store said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A row is not what its family holds.
    #[error("a row of {family} under key {key} does not decode: {reason}")]
    Corrupt {
        /// The family that was read.
        family: &'static str,
        /// The key, in hex.
        key: String,
        /// What the decoder said.
        reason: String,
    },
}

/// A key and its value.
pub type Row = (Bytes, Bytes);

/// A consistent reading of the state.
pub trait View {
    /// The value under a key.
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, ViewError>;

    /// Many values of one family at once, in the order of the keys. Stores override it with one batched read.
    fn multi_get(&self, family: Family, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, ViewError> {
        keys.iter().map(|key| self.get(family, key)).collect()
    }

    /// At most `limit` rows whose key starts with `prefix`, in key order, starting with the first key that is
    /// greater than `after` (from the beginning of the prefix when `after` is `None`). `after` is a whole key.
    fn scan(&self, family: Family, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, ViewError>;
}

/// One change of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Sets a row.
    Put(Family, Vec<u8>, Vec<u8>),
    /// Removes a row; a missing one is no error.
    Delete(Family, Vec<u8>),
}

/// What one apply changes, in order; later writes win over earlier ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Writes {
    /// The changes.
    pub rows: Vec<Write>,
    /// Blobs whose row, locations or repositories changed: what wakes replication.
    pub changed_blobs: Vec<portolan_oci::Digest>,
    /// Whether a node's row or a policy changed: targets may have moved.
    pub topology_changed: bool,
}
