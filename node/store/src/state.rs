//! The applied state.
use crate::config::Config;
use crate::error::StoreError;
use bytes::Bytes;
use portolan_meta::family::Family;
use portolan_meta::view::{Row, View, ViewError, Writes};
use std::path::Path;
use std::sync::Arc;
use std::fs::File;

/// The state.
pub struct State {}
/// Latest view.
pub struct Latest {}
impl View for Latest {
    fn get(&self, _family: Family, _key: &[u8]) -> Result<Option<Bytes>, ViewError> { todo!() }
    fn scan(&self, _family: Family, _prefix: &[u8], _after: Option<&[u8]>, _limit: usize) -> Result<Vec<Row>, ViewError> { todo!() }
}
impl State {
    /// Opens.
    pub fn open(_data_dir: &Path, _config: &Config) -> Result<Arc<Self>, StoreError> { todo!() }
    /// Reads.
    pub fn read<R>(&self, _read: impl FnOnce(&dyn View) -> R) -> R { todo!() }
    /// Latest.
    pub fn latest(&self) -> Latest { todo!() }
    /// Writes.
    pub fn write(&self, _writes: &Writes, _markers: &[(&str, Vec<u8>)]) -> Result<(), StoreError> { todo!() }
    /// Marker.
    pub fn marker(&self, _key: &str) -> Result<Option<Bytes>, StoreError> { todo!() }
    /// Flush.
    pub fn flush(&self) -> Result<(), StoreError> { todo!() }
    /// Checkpoint.
    pub fn checkpoint(&self) -> Result<Arc<Checkpoint>, StoreError> { todo!() }
    /// The newest checkpoint, also after a restart.
    pub fn current_checkpoint(&self) -> Option<Arc<Checkpoint>> { todo!() }
    /// Incoming.
    pub fn incoming(&self) -> Result<Incoming, StoreError> { todo!() }
    /// Installs.
    pub fn install(&self, _incoming: Incoming) -> Result<(), StoreError> { todo!() }
    /// Gauges.
    pub fn record_gauges(&self) { todo!() }
}
/// A checkpoint.
pub struct Checkpoint {}
/// A file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct CheckpointFile {
    /// Name.
    pub name: String,
    /// Size.
    pub size: u64,
    /// Digest.
    pub digest: portolan_oci::Digest,
}
impl Checkpoint {
    /// A name that no other checkpoint has.
    pub fn id(&self) -> &str { todo!() }
    /// Files.
    pub fn files(&self) -> &[CheckpointFile] { todo!() }
    /// All files together.
    pub fn total_bytes(&self) -> u64 { todo!() }
    /// Marker.
    pub fn marker(&self, _key: &str) -> Option<&[u8]> { todo!() }
    /// Opens a file of it.
    pub fn open_file(&self, _name: &str) -> Result<File, StoreError> { todo!() }
}
/// Incoming.
pub struct Incoming {}
impl Incoming {
    /// Begins a file.
    pub fn file(&self, _file: &CheckpointFile) -> Result<IncomingFile, StoreError> { todo!() }
}
/// Incoming file.
pub struct IncomingFile {}
impl IncomingFile {
    /// Writes.
    pub fn write(&mut self, _bytes: &[u8]) -> Result<(), StoreError> { todo!() }
    /// Verifies, syncs.
    pub fn finish(self) -> Result<(), StoreError> { todo!() }
}
