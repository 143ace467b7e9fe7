//! Blob files, and the files that grow into them.
//!
//! ```text
//!   Parts::create ──▶ Part ──append / PartWriter──▶ (synced now and then: state file) ──seal──▶ StoredFile
//!                       └─ PartReader: followers of the growing file         │
//!   Parts::create_chunked ──▶ ChunkedPart ──land, in any order──▶ (synced now and then) ──seal──▶ StoredFile
//!                       └─ ChunkReader: which chunks are here                │
//!   Blobs::reader ──▶ BlobReader ──▶ BlobStream                  blobs/<alg>/<2 hex>/<hex>.<file id>
//! ```
//!
//! Invariant: a file with a blob's name is whole, has the digest in its name, and is durable. Everything else here is
//! in the order of steps that keeps this true over a crash at any point ([`part`], [`chunked`]).

mod batch;
mod chunked;
mod chunks;
mod home;
mod install;
mod layout;
mod lone;
mod part;
mod parts;
mod progress;
mod reader;
mod shared;
mod space;
mod stored;
mod stream;
mod sums;
#[cfg(test)]
mod tests;
mod writer;

pub use batch::WholeBlob;
pub use chunked::{Chunk, ChunkReader, ChunkedPart};
pub use layout::PartKind;
pub use part::{Part, PartReader, SealFailure};
pub use parts::{PartInfo, Parts};
pub use reader::BlobReader;
pub use stored::StoredFile;
pub use stream::BlobStream;
pub use sums::{CHUNK_BYTES, table_digest};
pub use writer::PartWriter;

use crate::config::Config;
use crate::error::StoreError;
use crate::files;
use crate::gauges::approximate;
use crate::telemetry::{self, Action, timed};
use layout::Layout;
use portolan_meta::id::FileId;
use portolan_oci::Digest;
use shared::{OpenParts, Shared};
use space::Space;
use std::path::Path;
use std::sync::Arc;
use ulid::Ulid;

/// The blob files of one disk.
#[derive(Debug)]
pub struct Blobs {
    shared: Arc<Shared>,
}

impl Blobs {
    /// Opens the blobs of a data folder, creating the folders that are missing, and removes parts that a crash left
    /// without what resumes them. Walks over no blob.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn open(data_dir: &Path, config: &Config) -> Result<Arc<Self>, StoreError> {
        telemetry::describe();
        files::create_dir(data_dir)?;
        let layout = Layout::create(data_dir)?;
        let space = Space { root: data_dir.to_owned(), reserve_bytes: config.reserve_bytes };
        let (open, started_ms) = (OpenParts::default(), Ulid::new().timestamp_ms());
        let shared = Arc::new(Shared { layout, space, config: config.clone(), open, started_ms });
        let blobs = Arc::new(Self { shared });
        for kind in PartKind::ALL {
            blobs.parts(kind).sweep()?;
        }
        Ok(blobs)
    }

    /// The files of one kind that grow.
    #[must_use]
    pub fn parts(&self, kind: PartKind) -> Parts {
        Parts::new(kind, Arc::clone(&self.shared))
    }

    /// Opens a blob file for reading. What is open stays readable after [`Blobs::remove`]. Blocks for one or two
    /// small reads; a file whose sidecar is missing or damaged is hashed whole first.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Corrupt`] when its length or its digest is wrong.
    pub fn reader(&self, digest: &Digest, file: FileId) -> Result<BlobReader, StoreError> {
        timed(Action::Open, || reader::open(&self.shared, digest, file))
    }

    /// Stores many small blobs together, far faster than one by one; in their order. They are durable and readable on
    /// return, and nobody has been told of them yet. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Full`], and when the disk refuses: none of them is there then.
    pub fn store_many(&self, blobs: &[WholeBlob]) -> Result<Vec<StoredFile>, StoreError> {
        batch::store(&self.shared, blobs)
    }

    /// The CRC32C of each [`CHUNK_BYTES`] of a blob file. Blocks for a small read; a file whose sidecar is missing or
    /// damaged is hashed whole first.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Corrupt`] when its digest is wrong.
    pub fn chunk_sums(&self, digest: &Digest, file: FileId) -> Result<Vec<u32>, StoreError> {
        timed(Action::Open, || reader::chunk_sums(&self.shared, digest, file)).map(sums::Sums::into_chunks)
    }

    /// The blob files of a digest that lie here, announced or not, oldest first.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn files_of(&self, digest: &Digest) -> Result<Vec<FileId>, StoreError> {
        let names = files::names_in(&self.shared.layout.folder(digest))?;
        let mut found: Vec<FileId> = names.iter().filter_map(|name| layout::file_id_in(name, digest)).collect();
        found.sort();
        Ok(found)
    }

    /// All blob files in the folder in which a digest's lie, announced or not, in no order: one part in 256 of those that
    /// there are, whichever digest of its folder is named.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn files_beside(&self, digest: &Digest) -> Result<Vec<(Digest, FileId)>, StoreError> {
        let names = files::names_in(&self.shared.layout.folder(digest))?;
        Ok(names.iter().filter_map(|name| layout::blob_in(name, digest.algorithm())).collect())
    }

    /// Whether an earlier start made a file. Of this start's own it is never said, whatever the clock does; of one that an
    /// earlier start made under a clock that was ahead it is not said either.
    #[must_use]
    pub fn is_of_earlier_start(&self, file: FileId) -> bool {
        Ulid(file.0).timestamp_ms() < self.shared.started_ms
    }

    /// The length of a blob file in bytes; `None` when there is none.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn size_of(&self, digest: &Digest, file: FileId) -> Result<Option<u64>, StoreError> {
        files::size_of(&self.shared.layout.blob(digest, file))
    }

    /// Removes what earlier starts left of sidecars in the folder in which a digest's files lie, and whose own file is not
    /// there; tells how many. Blocks for a listing.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove_lone_sums(&self, beside: &Digest) -> Result<usize, StoreError> {
        lone::remove(&self.shared, beside, |file| self.is_of_earlier_start(file))
    }

    /// Hashes a whole file and notes that it was verified. Blocks for as long as reading it takes.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it does not have its digest; nothing is changed then.
    pub fn verify_whole(&self, digest: &Digest, file: FileId) -> Result<(), StoreError> {
        timed(Action::Verify, || reader::verify_whole(&self.shared, digest, file))
    }

    /// Moves a bad file to `quarantine/`, where nothing serves it; durable on return.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when there is no such file.
    pub fn quarantine(&self, digest: &Digest, file: FileId) -> Result<(), StoreError> {
        let layout = &self.shared.layout;
        timed(Action::Quarantine, || {
            files::rename(&layout.blob(digest, file), &layout.quarantined(digest, file))?;
            files::remove_file(&layout.sums(digest, file))?;
            files::sync_dir(&layout.quarantine())?;
            files::sync_dir(&layout.folder(digest))
        })
    }

    /// Unlinks a blob file; durable on return. Tells whether there was one.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove(&self, digest: &Digest, file: FileId) -> Result<bool, StoreError> {
        let layout = &self.shared.layout;
        timed(Action::Unlink, || {
            let was_there = files::remove_file(&layout.blob(digest, file))?;
            files::remove_file(&layout.sums(digest, file))?;
            if was_there {
                files::sync_dir(&layout.folder(digest))?;
            }
            Ok(was_there)
        })
    }

    /// Whether blobs may still be written: the question of a readiness probe.
    ///
    /// # Errors
    /// [`StoreError::Full`] when only the reserve is left.
    pub fn check_space(&self) -> Result<(), StoreError> {
        self.shared.space.check()
    }

    /// Whether blob files can be reached: the question of a readiness probe. Blocks, on a disk that hangs for as long as it
    /// does.
    ///
    /// # Errors
    /// When a folder of blobs is gone or cannot be read.
    pub fn check_readable(&self) -> Result<(), StoreError> {
        self.shared.layout.check_readable()
    }

    /// What the disk has left, the reserve included, in bytes.
    ///
    /// # Errors
    /// When the system refuses to say.
    pub fn free_bytes(&self) -> Result<u64, StoreError> {
        self.shared.space.free_bytes()
    }

    /// Sets the gauges of the disk; call it before metrics are rendered.
    pub fn record_gauges(&self) {
        if let Ok(free) = self.free_bytes() {
            metrics::gauge!("portolan_disk_free_bytes").set(approximate(free));
        }
        metrics::gauge!("portolan_disk_reserve_bytes").set(approximate(self.shared.config.reserve_bytes));
    }
}
