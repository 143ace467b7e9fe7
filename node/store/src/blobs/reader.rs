//! Reads blob files, and checks them when they are due.
//!
//! When a file was last verified is the modification time of its sidecar, or its own where it has none: a file of one chunk
//! need not have one.

use super::shared::Shared;
use super::sums::{CHUNK_BYTES, Summer, Sums};
use crate::config::VerifyReads;
use crate::error::StoreError;
use crate::files;
use crate::telemetry::{Action, timed};
use bytes::Bytes;
use portolan_meta::id::FileId;
use portolan_oci::{Algorithm, Digest, Hasher};
use portolan_sabotage::Sabotage::{CompleteUnproven, ServeRot, TrustPeerBytes};
use rustix::buffer::spare_capacity;
use rustix::io::{Errno, pread};
use std::fs::{File, Metadata};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How much is read at once where a whole file is hashed.
const HASH_BATCH_BYTES: usize = 1 << 20;

/// An open blob file. Cheap to clone.
#[derive(Clone, Debug)]
pub struct BlobReader {
    open: Arc<Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    path: PathBuf,
    size: u64,
    batch_bytes: u64,
    /// What reads are checked against, when the file is due.
    check: Option<Check>,
}

#[derive(Debug)]
struct Check {
    sums: Sums,
    sidecar: PathBuf,
}

pub(super) fn open(shared: &Shared, digest: &Digest, file_id: FileId) -> Result<BlobReader, StoreError> {
    let (path, sidecar) = (shared.layout.blob(digest, file_id), shared.layout.sums(digest, file_id));
    let file = File::open(&path).map_err(|source| files::io("opening", &path, source))?;
    let metadata = file.metadata().map_err(|source| files::io("measuring", &path, source))?;
    let size = metadata.len();
    let due = match shared.config.verify_reads {
        VerifyReads::Always => true,
        VerifyReads::Interval => is_due(&sidecar, &metadata, Duration::from_millis(shared.config.verify_interval_ms)),
        VerifyReads::Never => false,
    };
    // Sabotaged: own files are not checked, so that what rots gets as far as the ways let it.
    let blind = [ServeRot, TrustPeerBytes, CompleteUnproven].into_iter().any(portolan_sabotage::is);
    let check = if due && !blind {
        let sums = match files::read_optional(&sidecar)?.as_deref().and_then(Sums::decode) {
            Some(sums) => sums,
            // Lost or damaged: the file itself can still prove what it is.
            None => verify_and_note(&file, &path, &sidecar, digest)?,
        };
        if sums.size != size {
            let reason = format!("it has {size} bytes instead of {}", sums.size);
            return Err(StoreError::Corrupt { what: path.display().to_string(), reason });
        }
        Some(Check { sums, sidecar })
    } else {
        None
    };
    // Reads are checked chunk by chunk, so a batch holds whole chunks.
    let batch_bytes = shared.config.read_batch_bytes.next_multiple_of(CHUNK_BYTES).max(CHUNK_BYTES);
    Ok(BlobReader { open: Arc::new(Open { file, path, size, batch_bytes, check }) })
}

/// Whether the last verification is too long ago, or not known. One in the future counts as not known.
fn is_due(sidecar: &Path, file: &Metadata, interval: Duration) -> bool {
    let verified = match std::fs::metadata(sidecar) {
        Err(error) if error.kind() == ErrorKind::NotFound && file.len() <= CHUNK_BYTES => file.modified(),
        sidecar => sidecar.and_then(|sidecar| sidecar.modified()),
    };
    verified.map_or(true, |verified| SystemTime::now().duration_since(verified).map_or(true, |age| age > interval))
}

pub(super) fn verify_whole(shared: &Shared, digest: &Digest, file_id: FileId) -> Result<(), StoreError> {
    let path = shared.layout.blob(digest, file_id);
    let file = File::open(&path).map_err(|source| files::io("opening", &path, source))?;
    verify_and_note(&file, &path, &shared.layout.sums(digest, file_id), digest).map(|_| ())
}

/// The sums of a whole file; one whose sidecar is lost or damaged is hashed first.
pub(super) fn chunk_sums(shared: &Shared, digest: &Digest, file_id: FileId) -> Result<Sums, StoreError> {
    let (path, sidecar) = (shared.layout.blob(digest, file_id), shared.layout.sums(digest, file_id));
    let file = File::open(&path).map_err(|source| files::io("opening", &path, source))?;
    match files::read_optional(&sidecar)?.as_deref().and_then(Sums::decode) {
        Some(sums) => Ok(sums),
        None => verify_and_note(&file, &path, &sidecar, digest),
    }
}

/// Hashes a file and, when its digest is right, notes that: in its sidecar, which is written anew where it is needed.
fn verify_and_note(file: &File, path: &Path, sidecar: &Path, digest: &Digest) -> Result<Sums, StoreError> {
    let (actual, sums) = hash_file(file, path, digest.algorithm())?;
    if actual != *digest {
        let reason = format!("its digest is {actual}");
        return Err(StoreError::Corrupt { what: path.display().to_string(), reason });
    }
    if sums.is_one_chunk() {
        // It may have one that is damaged, and that it can do without.
        files::remove_file(sidecar)?;
        let noted = file.set_modified(SystemTime::now());
        noted.map_err(|source| files::io("noting the verification of", path, source))?;
    } else {
        files::replace(sidecar, &sums.encode())?;
    }
    Ok(sums)
}

/// The digest and the chunk sums of a whole file.
pub(super) fn hash_file(file: &File, path: &Path, algorithm: Algorithm) -> Result<(Digest, Sums), StoreError> {
    let (mut hasher, mut summer) = (Hasher::new(algorithm), Summer::default());
    loop {
        let batch = read_up_to(file, path, summer.bytes(), HASH_BATCH_BYTES)?;
        if batch.is_empty() {
            return Ok((hasher.finish(), summer.finish()));
        }
        hasher.update(&batch);
        summer.update(&batch);
    }
}

/// Reads at most `length` bytes; fewer at the end of the file.
pub(super) fn read_up_to(file: &File, path: &Path, offset: u64, length: usize) -> Result<Bytes, StoreError> {
    let mut buffer: Vec<u8> = Vec::with_capacity(length);
    while buffer.len() < length {
        let at = offset + buffer.len() as u64;
        match pread(file, spare_capacity(&mut buffer), at) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(files::io("reading", path, error.into())),
        }
    }
    // The allocator may have given more room than was asked for.
    buffer.truncate(length);
    Ok(buffer.into())
}

impl BlobReader {
    /// The file's length in bytes, as it lies there: compare it with what the blob's row says.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.open.size
    }

    /// Whether what is read is checked against the chunk sums.
    #[must_use]
    pub fn is_checked(&self) -> bool {
        self.open.check.is_some()
    }

    /// Reads `length` bytes, fewer at the end of the file. Blocks.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when a chunk that was touched is not what once landed, or the file is shorter.
    pub fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        let end = offset.saturating_add(length as u64).min(self.open.size);
        if offset >= end {
            return Ok(Bytes::new());
        }
        timed(Action::Read, || self.read_between(offset, end))
    }

    /// Reads all of it, and notes that it was verified when it was checked. For small files. Blocks.
    ///
    /// # Errors
    /// As [`BlobReader::read_at`].
    pub fn read_whole(&self) -> Result<Bytes, StoreError> {
        let bytes = self.read_at(0, as_length(self.open.size))?;
        self.note_verified();
        Ok(bytes)
    }

    fn read_between(&self, offset: u64, end: u64) -> Result<Bytes, StoreError> {
        let Some(check) = &self.open.check else { return self.read_exactly(offset, end) };
        let start = offset - offset % CHUNK_BYTES;
        let bytes = self.read_exactly(start, end.next_multiple_of(CHUNK_BYTES).min(self.open.size))?;
        check.sums.check(&self.open.path, start, &bytes)?;
        Ok(bytes.slice(as_length(offset - start)..as_length(end - start)))
    }

    /// How much a stream reads at once.
    pub(super) fn batch_bytes(&self) -> u64 {
        self.open.batch_bytes
    }

    /// Notes that every chunk has just been checked.
    pub(super) fn note_verified(&self) {
        let Some(check) = &self.open.check else { return };
        let noted = match File::options().write(true).open(&check.sidecar) {
            Err(error) if error.kind() == ErrorKind::NotFound && check.sums.is_one_chunk() => {
                self.open.file.set_modified(SystemTime::now())
            }
            sidecar => sidecar.and_then(|sidecar| sidecar.set_modified(SystemTime::now())),
        };
        if let Err(error) = noted {
            // Removed meanwhile, or the disk refuses: the next reader checks again.
            tracing::debug!(%error, path = %check.sidecar.display(), "noting a verification");
        }
    }

    fn read_exactly(&self, start: u64, end: u64) -> Result<Bytes, StoreError> {
        let bytes = read_up_to(&self.open.file, &self.open.path, start, as_length(end - start))?;
        if bytes.len() as u64 != end - start {
            let reason = format!("it ends at {} instead of {}", start + bytes.len() as u64, self.open.size);
            return Err(StoreError::Corrupt { what: self.open.path.display().to_string(), reason });
        }
        Ok(bytes)
    }
}

/// A length within one read.
fn as_length(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}
