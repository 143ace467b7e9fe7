//! The Raft log and vote.
use crate::config::Config;
use crate::error::StoreError;
use bytes::Bytes;
use std::path::Path;
use std::sync::Arc;

/// Told once whether a write is durable.
pub type Done = Box<dyn FnOnce(Result<(), StoreError>) + Send>;
/// What happens when the log cannot be made durable.
pub type FsyncFailure = Box<dyn Fn(&StoreError) + Send + Sync>;
/// The Raft log.
pub struct RaftLog {}

impl RaftLog {
    /// Opens.
    pub fn open(_data_dir: &Path, _config: &Config) -> Result<Arc<Self>, StoreError> { todo!() }
    /// Opens with another reaction to a failed fsync than aborting the process.
    pub fn open_with(_data_dir: &Path, _config: &Config, _on_fsync_failure: FsyncFailure) -> Result<Arc<Self>, StoreError> { todo!() }
    /// Appends.
    pub fn append(&self, _entries: Vec<(u64, Vec<u8>)>, _done: Done) -> Result<(), StoreError> { todo!() }
    /// Reads.
    pub fn entries(&self, _from: u64, _to: u64, _max_bytes: u64) -> Result<Vec<(u64, Bytes)>, StoreError> { todo!() }
    /// The last.
    pub fn last(&self) -> Result<Option<(u64, Bytes)>, StoreError> { todo!() }
    /// Truncates.
    pub fn truncate_from(&self, _index: u64) -> Result<(), StoreError> { todo!() }
    /// Purges.
    pub fn purge_to(&self, _index: u64, _marker: &[u8]) -> Result<(), StoreError> { todo!() }
    /// The marker of the last purge.
    pub fn purge_marker(&self) -> Result<Option<Bytes>, StoreError> { todo!() }
    /// Puts.
    pub fn put_meta(&self, _key: &str, _value: &[u8], _done: Done) -> Result<(), StoreError> { todo!() }
    /// Gets.
    pub fn get_meta(&self, _key: &str) -> Result<Option<Bytes>, StoreError> { todo!() }
    /// Bytes since purge.
    pub fn bytes(&self) -> u64 { todo!() }
    /// Gauges.
    pub fn record_gauges(&self) { todo!() }
    /// Closes.
    pub fn close(&self) { todo!() }
}
