//! A file that grows, and how it becomes a blob.
//!
//! While it grows, a sync makes the bytes durable first and then writes down how far they go, with the state of hash
//! and sums there: after a crash the file may be longer than that, never shorter, and is cut back to it.
//!
//! Seal: bytes durable → sidecar whole and durable under its final name → the file is renamed to its final name → the
//! folder is synced. A crash before the rename leaves a part and perhaps a sidecar without a file, which nothing
//! lists; a crash after it leaves a whole blob.

use super::home::{DATA, Home, STATE};
use super::install::install;
use super::progress::Progress;
use super::reader;
use super::stored::StoredFile;
use crate::error::StoreError;
use crate::files;
use crate::telemetry::{Action, timed};
use bytes::Bytes;
use portolan_oci::Digest;
use portolan_sabotage::Sabotage;
use rustix::io::{Errno, pwritev};
use std::fs::File;
use std::io::IoSlice;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// How many pieces one system call writes.
const PIECES_PER_WRITE: usize = 64;

/// From which size on a batch pays for a second thread, so that its hash and its write overlap.
const PARALLEL_BYTES: u64 = 1 << 20;

/// A part that could not be sealed.
#[derive(Debug)]
pub struct SealFailure {
    /// The part, still usable; `None` when the thread that worked on it died.
    pub part: Option<Part>,
    /// Why.
    pub error: StoreError,
}

/// A file that grows, hashed as it does. Dropped, it stays on the disk as its last sync left it.
#[derive(Debug)]
pub struct Part {
    pub(super) home: Arc<Home>,
    file: Arc<File>,
    note: Bytes,
    progress: Box<Progress>,
    /// What the state file says.
    synced: Box<Progress>,
    sealed: bool,
}

impl Part {
    pub(super) fn new(home: Arc<Home>, file: File, note: Bytes, progress: Box<Progress>) -> Self {
        Self { home, file: Arc::new(file), note, synced: progress.clone(), progress, sealed: false }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.home.id
    }

    /// What its creator noted.
    #[must_use]
    pub fn note(&self) -> &Bytes {
        &self.note
    }

    /// How many bytes it has.
    #[must_use]
    pub fn len(&self) -> u64 {
        self.progress.offset()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many of its bytes survive a crash.
    #[must_use]
    pub fn synced_len(&self) -> u64 {
        self.synced.offset()
    }

    /// Appends bytes. After an error the part has none of them and can go on.
    ///
    /// # Errors
    /// [`StoreError::Full`] when the disk is, or only its reserve is left.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.check_usable()?;
        let length = self.len();
        self.home.shared.space.check_step(length, bytes.len() as u64)?;
        let written =
            timed(Action::Append, || self.file.write_all_at(bytes, length).inspect(|()| self.progress.update(bytes)));
        written.map_err(|source| self.undo_write(source))
    }

    /// Appends many pieces with few system calls; all of them or none. Large batches are written and hashed at the
    /// same time.
    pub(super) fn append_pieces(&mut self, pieces: &[Bytes]) -> Result<(), StoreError> {
        timed(Action::Append, || self.append_all(pieces))
    }

    fn append_all(&mut self, pieces: &[Bytes]) -> Result<(), StoreError> {
        self.check_usable()?;
        let (length, more) = (self.len(), pieces.iter().map(|piece| piece.len() as u64).sum());
        self.home.shared.space.check_step(length, more)?;
        // Sabotaged: what follows a sync is written one byte too far.
        let resumes = length > 0 && length == self.synced_len();
        let start = length + u64::from(resumes && portolan_sabotage::is(Sabotage::ResumeOffByOne));
        if more < PARALLEL_BYTES {
            write_pieces(&self.file, pieces, start).map_err(|source| self.undo_write(source))?;
            pieces.iter().for_each(|piece| self.progress.update(piece));
            return Ok(());
        }
        let mark = self.progress.mark();
        let (file, progress) = (&self.file, &mut self.progress);
        let written = std::thread::scope(|scope| {
            let writing = scope.spawn(|| write_pieces(file, pieces, start));
            pieces.iter().for_each(|piece| progress.update(piece));
            writing.join().unwrap_or_else(|_| Err(std::io::Error::other("the writing thread panicked")))
        });
        written.map_err(|source| {
            self.progress.rewind(mark);
            self.undo_write(source)
        })
    }

    /// Makes all of it durable: a crash from here on leaves at least this much.
    ///
    /// # Errors
    /// When the disk refuses. After a failed sync the part can only be removed.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.check_usable()?;
        self.synced = self.save_point().persist()?;
        Ok(())
    }

    /// [`Part::sync`] on the blocking pool.
    ///
    /// # Errors
    /// As [`Part::sync`]; the part is closed then.
    pub async fn sync_async(mut self) -> Result<Self, StoreError> {
        let work = move || self.sync().map(|()| self);
        tokio::task::spawn_blocking(work).await.unwrap_or(Err(StoreError::Closed { what: "the part" }))
    }

    /// Forgets what came after the last sync.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn truncate_to_synced(&mut self) -> Result<(), StoreError> {
        self.file.set_len(self.synced.offset()).map_err(|source| files::io("truncating", &self.data(), source))?;
        self.progress = self.synced.clone();
        Ok(())
    }

    /// Checks the digest and makes a blob of it: durable and readable under `expected` on return. Nobody has been
    /// told of it yet. The part is used up; what follows it through a [`PartReader`] reads on.
    ///
    /// # Errors
    /// [`StoreError::DigestMismatch`] when it has another digest, and [`StoreError::Full`]; the part goes on then.
    pub fn seal(&mut self, expected: &Digest) -> Result<StoredFile, StoreError> {
        timed(Action::Seal, || self.become_blob(expected))
    }

    fn become_blob(&mut self, expected: &Digest) -> Result<StoredFile, StoreError> {
        self.check_usable()?;
        let actual = self.digest_like(expected)?;
        if actual != *expected {
            return Err(StoreError::DigestMismatch { expected: *expected, actual: Box::new(actual) });
        }
        install(&self.home, &self.file, expected, &self.progress.sums.finish(), || self.sealed = true)
    }

    /// [`Part::seal`] on the blocking pool.
    ///
    /// # Errors
    /// As [`Part::seal`], with the part given back.
    pub async fn seal_async(mut self, expected: Digest) -> Result<StoredFile, SealFailure> {
        let work = move || match self.seal(&expected) {
            Ok(stored) => Ok(stored),
            Err(error) => Err(SealFailure { part: Some(self), error }),
        };
        let died = SealFailure { part: None, error: StoreError::Closed { what: "the part" } };
        tokio::task::spawn_blocking(work).await.unwrap_or(Err(died))
    }

    /// Throws it away.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn discard(self) -> Result<(), StoreError> {
        files::remove_dir(&self.home.dir)
    }

    /// Reads what is there while it grows, and goes on to after it was sealed or discarded.
    #[must_use]
    pub fn reader(&self) -> PartReader {
        PartReader::new(Arc::clone(&self.file), self.data())
    }

    /// What would make all of it durable now; for a sync that goes on beside further appends.
    pub(super) fn save_point(&self) -> SavePoint {
        SavePoint { home: Arc::clone(&self.home), file: Arc::clone(&self.file), progress: self.progress.clone() }
    }

    /// Takes the outcome of a [`SavePoint`].
    pub(super) fn note_synced(&mut self, progress: Box<Progress>) {
        self.synced = progress;
    }

    /// The digest of all bytes with `expected`'s algorithm; reads the file again when it was hashed with another.
    fn digest_like(&self, expected: &Digest) -> Result<Digest, StoreError> {
        if expected.algorithm() == self.progress.hasher.algorithm() {
            return Ok(self.progress.hasher.clone().finish());
        }
        reader::hash_file(&self.file, &self.data(), expected.algorithm()).map(|(digest, _)| digest)
    }

    fn check_usable(&self) -> Result<(), StoreError> {
        if self.sealed {
            return Err(StoreError::Closed { what: "the part" });
        }
        if self.home.sync_failed.load(Ordering::Acquire) {
            let reason = "an earlier sync failed; what it should have saved may be gone".to_owned();
            return Err(StoreError::Corrupt { what: self.data().display().to_string(), reason });
        }
        Ok(())
    }

    /// Cuts off what a failed write left behind.
    fn undo_write(&self, source: std::io::Error) -> StoreError {
        if let Err(error) = self.file.set_len(self.len()) {
            tracing::warn!(%error, part = self.id(), "cutting off a failed write; the next one overwrites it");
        }
        match files::io("writing", &self.data(), source) {
            StoreError::Full { free_bytes, .. } => {
                StoreError::Full { free_bytes, reserve_bytes: self.home.shared.config.reserve_bytes }
            }
            error => error,
        }
    }

    fn data(&self) -> PathBuf {
        self.home.dir.join(DATA)
    }
}

pub(super) fn write_pieces(file: &File, pieces: &[Bytes], mut offset: u64) -> std::io::Result<()> {
    for group in pieces.chunks(PIECES_PER_WRITE) {
        let slices: Vec<IoSlice<'_>> = group.iter().map(|piece| IoSlice::new(piece)).collect();
        let mut written = loop {
            match pwritev(file, &slices, offset) {
                Ok(written) => break written,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        };
        // A disk that fills up (or a signal) cuts a write short: the rest goes piece by piece, and says why.
        for piece in group {
            let done = written.min(piece.len());
            written -= done;
            offset += done as u64;
            file.write_all_at(&piece[done..], offset)?;
            offset += (piece.len() - done) as u64;
        }
    }
    Ok(())
}

/// A prefix of a part that is to become durable.
#[derive(Debug)]
pub(super) struct SavePoint {
    home: Arc<Home>,
    file: Arc<File>,
    progress: Box<Progress>,
}

impl SavePoint {
    /// Makes it durable and writes down that it is. Blocks for as long as the disk takes.
    pub(super) fn persist(self) -> Result<Box<Progress>, StoreError> {
        timed(Action::Sync, || {
            let data = self.home.dir.join(DATA);
            files::sync_file(&self.file, &data)
                .inspect_err(|_| self.home.sync_failed.store(true, Ordering::Release))?;
            // Whether a crash brings back this state or the one before it does not matter: both speak of durable bytes.
            files::replace_unsynced_name(&self.home.dir.join(STATE), &self.progress.encode())?;
            self.home.sync_names()?;
            Ok(self.progress)
        })
    }
}

/// Reads a part's file while it grows. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PartReader {
    file: Arc<File>,
    path: Arc<PathBuf>,
}

impl PartReader {
    pub(super) fn new(file: Arc<File>, path: PathBuf) -> Self {
        Self { file, path: Arc::new(path) }
    }

    /// Reads at most `length` bytes; fewer at the end of what is there. Blocks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn read_at(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        reader::read_up_to(&self.file, &self.path, offset, length)
    }

    /// [`PartReader::read_at`] on the blocking pool.
    ///
    /// # Errors
    /// As [`PartReader::read_at`].
    pub async fn read(&self, offset: u64, length: usize) -> Result<Bytes, StoreError> {
        let reader = self.clone();
        let work = move || reader.read_at(offset, length);
        tokio::task::spawn_blocking(work).await.unwrap_or(Err(StoreError::Closed { what: "the part" }))
    }
}
