//! Blob files.
use crate::config::Config;
use crate::error::StoreError;
use bytes::Bytes;
use futures::Stream;
use portolan_meta::id::FileId;
use portolan_oci::{Algorithm, Digest};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::watch;

/// Chunk.
pub const CHUNK_BYTES: u64 = 256 << 10;
/// Blobs.
pub struct Blobs {}
/// What a seal made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredFile {
    /// Digest.
    pub digest: Digest,
    /// Size.
    pub size: u64,
    /// File.
    pub file: FileId,
}
impl Blobs {
    /// Opens.
    pub fn open(_data_dir: &Path, _config: &Config) -> Result<Arc<Self>, StoreError> { todo!() }
    /// Parts.
    pub fn parts(&self, _kind: PartKind) -> Parts { todo!() }
    /// Opens a file for reading. NotFound.
    pub fn reader(&self, _digest: &Digest, _file: FileId) -> Result<BlobReader, StoreError> { todo!() }
    /// Files of a digest.
    pub fn files_of(&self, _digest: &Digest) -> Result<Vec<FileId>, StoreError> { todo!() }
    /// Re-hashes a whole file; Corrupt on a mismatch. Touches nothing else.
    pub fn verify_whole(&self, _digest: &Digest, _file: FileId) -> Result<(), StoreError> { todo!() }
    /// Moves it aside.
    pub fn quarantine(&self, _digest: &Digest, _file: FileId) -> Result<(), StoreError> { todo!() }
    /// Unlinks it; false when it was not there.
    pub fn remove(&self, _digest: &Digest, _file: FileId) -> Result<bool, StoreError> { todo!() }
    /// Full when below the reserve.
    pub fn check_space(&self) -> Result<(), StoreError> { todo!() }
    /// Free bytes.
    pub fn free_bytes(&self) -> Result<u64, StoreError> { todo!() }
}
/// Kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PartKind {
    /// `uploads/`.
    Upload,
    /// `fetches/`.
    Fetch,
}
/// Parts.
#[derive(Clone)]
pub struct Parts {}
/// Info.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartInfo {
    /// Id.
    pub id: String,
    /// Durable bytes.
    pub synced_bytes: u64,
    /// Last sync.
    pub modified: SystemTime,
    /// The owner's words.
    pub note: Bytes,
}
impl Parts {
    /// Creates.
    pub fn create(&self, _id: &str, _algorithm: Algorithm, _note: &[u8]) -> Result<Part, StoreError> { todo!() }
    /// Opens, truncated to what was synced. NotFound, Busy.
    pub fn open(&self, _id: &str) -> Result<Part, StoreError> { todo!() }
    /// Lists.
    pub fn list(&self) -> Result<Vec<PartInfo>, StoreError> { todo!() }
    /// One of them, whether open or not.
    pub fn info(&self, _id: &str) -> Result<PartInfo, StoreError> { todo!() }
    /// Removes. Busy while open; false when it was not there.
    pub fn remove(&self, _id: &str) -> Result<bool, StoreError> { todo!() }
    /// Waits until nobody in this process has the part open.
    pub async fn wait_free(&self, _id: &str) { todo!() }
}
/// Part.
pub struct Part {}
impl Part {
    /// Id.
    pub fn id(&self) -> &str { todo!() }
    /// Note.
    pub fn note(&self) -> &Bytes { todo!() }
    /// Length.
    pub fn len(&self) -> u64 { todo!() }
    /// Empty.
    pub fn is_empty(&self) -> bool { todo!() }
    /// Appends.
    pub fn append(&mut self, _bytes: &[u8]) -> Result<(), StoreError> { todo!() }
    /// Syncs.
    pub fn sync(&mut self) -> Result<(), StoreError> { todo!() }
    /// Truncates.
    pub fn truncate_to_synced(&mut self) -> Result<(), StoreError> { todo!() }
    /// Seals.
    pub fn seal(&mut self, _expected: &Digest) -> Result<StoredFile, StoreError> { todo!() }
    /// Async seal.
    pub async fn seal_async(self, _expected: Digest) -> Result<StoredFile, SealFailure> { todo!() }
    /// Async sync.
    pub async fn sync_async(self) -> Result<Self, StoreError> { todo!() }
    /// Throws it away.
    pub fn discard(self) -> Result<(), StoreError> { todo!() }
    /// Reader.
    pub fn reader(&self) -> PartReader { todo!() }
    /// Async front.
    pub fn into_writer(self) -> PartWriter { todo!() }
}
/// The part that was not sealed and why.
#[derive(Debug)]
pub struct SealFailure {
    /// It is still usable; `None` when its thread died.
    pub part: Option<Part>,
    /// Why.
    pub error: StoreError,
}
impl std::fmt::Debug for Part { fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.debug_struct("Part").finish() } }
/// Reader of a growing file.
#[derive(Clone)]
pub struct PartReader {}
impl PartReader {
    /// Reads what is there, at most len; blocks.
    pub fn read_at(&self, _offset: u64, _len: usize) -> Result<Bytes, StoreError> { todo!() }
    /// The same on the blocking pool.
    pub async fn read(&self, _offset: u64, _len: usize) -> Result<Bytes, StoreError> { todo!() }
}
/// Async writer.
pub struct PartWriter {}
impl PartWriter {
    /// Writes.
    pub async fn write(&mut self, _bytes: Bytes) -> Result<(), StoreError> { todo!() }
    /// Length that readers of the file can read.
    pub fn written(&self) -> watch::Receiver<u64> { todo!() }
    /// Reader.
    pub fn reader(&self) -> PartReader { todo!() }
    /// Waits until all is in the file; not synced.
    pub async fn finish(self) -> Result<Part, StoreError> { todo!() }
}
/// Reader.
pub struct BlobReader {}
impl BlobReader {
    /// Size.
    pub fn size(&self) -> u64 { todo!() }
    /// Reads; blocks.
    pub fn read_at(&self, _offset: u64, _len: usize) -> Result<Bytes, StoreError> { todo!() }
    /// Streams.
    pub fn stream(self, _range: Range<u64>, _chunk_bytes: usize) -> BlobStream { todo!() }
}
/// Stream.
pub struct BlobStream {}
impl Stream for BlobStream {
    type Item = Result<Bytes, StoreError>;
    fn poll_next(self: std::pin::Pin<&mut Self>, _cx: &mut std::task::Context<'_>) -> std::task::Poll<Option<Self::Item>> { todo!() }
}
