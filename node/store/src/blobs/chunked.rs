//! A file that grows in chunks that come in any order, and how it becomes a blob.
//!
//! Many threads may land chunks at a time. A chunk is written first and then noted as here; whoever finds that the front
//! (the chunks from the first on without a gap) has grown hashes it on, reading what came out of order from the page
//! cache. A sync makes the data durable first and then writes down which chunks those are, with their sums and the hash
//! of the front ([`super::chunks`]): after a crash each of them is kept, and whatever else lies in the file is nothing.

use super::chunks::Chunks;
use super::home::{DATA, Home, STATE};
use super::install::install;
use super::part::{PartReader, write_pieces};
use super::stored::StoredFile;
use super::sums::CHUNK_BYTES;
use crate::error::StoreError;
use crate::files;
use crate::telemetry::{Action, timed};
use bytes::Bytes;
use portolan_oci::{Digest, Hasher};
use portolan_sabotage::Sabotage;
use std::collections::HashSet;
use std::fs::File;
use std::future::Future;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::task::spawn_blocking;

/// How many chunks are hashed before the front is shown to have grown.
const HASH_RUN: u64 = 16;

/// A whole chunk of a blob on its way to the disk, with its CRC32C.
#[derive(Clone, Debug)]
pub struct Chunk {
    index: u64,
    pieces: Vec<Bytes>,
    length: u64,
    sum: u32,
}

impl Chunk {
    /// Puts the chunk of this number together.
    #[must_use]
    pub fn new(index: u64, pieces: Vec<Bytes>) -> Self {
        let sum = pieces.iter().fold(0, |sum, piece| crc32c::crc32c_append(sum, piece));
        let length = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { index, pieces, length, sum }
    }

    /// Which chunk it is: its first byte is at so many times [`CHUNK_BYTES`].
    #[must_use]
    pub fn index(&self) -> u64 {
        self.index
    }

    /// The CRC32C of its bytes.
    #[must_use]
    pub fn sum(&self) -> u32 {
        self.sum
    }
}

/// A growing file of which chunks may come in any order. Cheap to clone; the last clone that is dropped lets go of it,
/// and it stays on the disk as its last sync left it.
#[derive(Clone, Debug)]
pub struct ChunkedPart {
    home: Arc<Home>,
    growth: Arc<Growth>,
}

/// What is here of a [`ChunkedPart`], and its bytes. Cheap to clone; outlives the part, its seal and its removal.
#[derive(Clone, Debug)]
pub struct ChunkReader {
    growth: Arc<Growth>,
}

#[derive(Debug)]
struct Growth {
    file: Arc<File>,
    path: PathBuf,
    state: Mutex<State>,
    /// Threads that wait until nobody works on the file.
    idle: Condvar,
    front: watch::Sender<u64>,
}

#[derive(Debug)]
struct State {
    chunks: Chunks,
    /// The chunks that are being written.
    landing: HashSet<u64>,
    /// Whether a thread hashes the front.
    hashing: bool,
    /// Whether a thread syncs.
    syncing: bool,
    /// How many bytes were here when the last sync began.
    sync_begun: u64,
    /// No more chunks are taken.
    closed: bool,
}

impl State {
    fn is_idle(&self) -> bool {
        self.landing.is_empty() && !self.hashing && !self.syncing
    }
}

impl Growth {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody works on the file.
    fn wait_idle<'a>(&'a self, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        while !state.is_idle() {
            state = self.idle.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state
    }
}

impl ChunkedPart {
    pub(super) fn new(home: Arc<Home>, file: File, chunks: Chunks) -> Self {
        let path = home.dir.join(DATA);
        let front = watch::Sender::new(chunks.front());
        let state = Mutex::new(State {
            sync_begun: chunks.bytes(),
            chunks,
            landing: HashSet::new(),
            hashing: false,
            syncing: false,
            closed: false,
        });
        Self { home, growth: Arc::new(Growth { file: Arc::new(file), path, state, idle: Condvar::new(), front }) }
    }

    /// Its id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.home.id
    }

    /// The length of the blob in the making.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.growth.lock().chunks.size()
    }

    /// How many bytes of it are here, in whatever order.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.growth.lock().chunks.bytes()
    }

    /// What is missing, in order, as ranges of whole chunks.
    #[must_use]
    pub fn missing(&self) -> Vec<Range<u64>> {
        self.growth.lock().chunks.missing()
    }

    /// Writes a chunk down; one that is here already is left as it is. Blocks; a thread that lands one may also hash, or
    /// sync, what others landed. After an error the part lacks the chunk and can go on.
    ///
    /// # Errors
    /// [`StoreError::Full`] when the disk is, or only its reserve is left; [`StoreError::Busy`] while another lands the
    /// same chunk; [`StoreError::BadChunk`] when it is none of this blob's.
    pub fn land(&self, chunk: &Chunk) -> Result<(), StoreError> {
        let landed = self.begin_landing(chunk)?;
        let Some(here) = landed else { return Ok(()) };
        let written = self.home.shared.space.check_step(here, chunk.length).and_then(|()| {
            let write = || write_pieces(&self.growth.file, &chunk.pieces, chunk.index * CHUNK_BYTES);
            timed(Action::Append, write).map_err(|source| self.write_failed(source))
        });
        {
            let mut state = self.growth.lock();
            state.landing.remove(&chunk.index);
            if written.is_ok() {
                state.chunks.mark(chunk.index, chunk.sum);
            }
            if state.is_idle() {
                self.growth.idle.notify_all();
            }
        }
        written?;
        self.advance()?;
        self.sync_when_due();
        Ok(())
    }

    /// [`ChunkedPart::land`] on the blocking pool, begun at once: dropping the future loses the outcome only.
    pub fn land_async(&self, chunk: Chunk) -> impl Future<Output = Result<(), StoreError>> + Send + use<> {
        let part = self.clone();
        let job = spawn_blocking(move || part.land(&chunk));
        async move { job.await.unwrap_or(Err(StoreError::Closed { what: "the part" })) }
    }

    /// How many bytes were here; `None` when the chunk is, too.
    fn begin_landing(&self, chunk: &Chunk) -> Result<Option<u64>, StoreError> {
        self.check_usable()?;
        let mut state = self.growth.lock();
        if state.closed {
            return Err(StoreError::Closed { what: "the part" });
        }
        let fits = chunk.index < state.chunks.count() && chunk.length == state.chunks.length_of(chunk.index);
        if !fits {
            return Err(StoreError::BadChunk { index: chunk.index, length: chunk.length });
        }
        if state.chunks.has(chunk.index) {
            return Ok(None);
        }
        if !state.landing.insert(chunk.index) {
            return Err(StoreError::Busy { id: self.home.id.clone() });
        }
        Ok(Some(state.chunks.bytes()))
    }

    /// Hashes what the front has grown by, unless another thread does already. Blocks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn advance(&self) -> Result<(), StoreError> {
        let growth = &self.growth;
        let mut state = growth.lock();
        if state.hashing {
            // It looks once more before it stops.
            return Ok(());
        }
        state.hashing = true;
        let outcome = loop {
            let from = state.chunks.hashed;
            let to = state.chunks.run_end(from).min(from + HASH_RUN);
            if from == to {
                break Ok(());
            }
            let (mut hasher, end) = (state.chunks.hasher.clone(), (to * CHUNK_BYTES).min(state.chunks.size()));
            drop(state);
            let hashed = self.hash(&mut hasher, from * CHUNK_BYTES..end);
            state = growth.lock();
            if let Err(error) = hashed {
                break Err(error);
            }
            (state.chunks.hashed, state.chunks.hasher) = (to, hasher);
            growth.front.send_replace(end);
        };
        state.hashing = false;
        if state.is_idle() {
            growth.idle.notify_all();
        }
        outcome
    }

    fn hash(&self, hasher: &mut Hasher, range: Range<u64>) -> Result<(), StoreError> {
        let reader = self.bytes_reader();
        let mut at = range.start;
        while at < range.end {
            let length = usize::try_from((range.end - at).min(CHUNK_BYTES)).expect("a chunk is small");
            let bytes = reader.read_at(at, length)?;
            if bytes.is_empty() {
                let what = self.growth.path.display().to_string();
                return Err(StoreError::Corrupt { what, reason: format!("it ends at {at}") });
            }
            hasher.update(&bytes);
            at += bytes.len() as u64;
        }
        Ok(())
    }

    /// Syncs when enough has come since the last one, unless another thread does.
    fn sync_when_due(&self) {
        {
            let mut state = self.growth.lock();
            let due = state.chunks.bytes().saturating_sub(state.sync_begun) >= self.home.shared.config.sync_every_bytes;
            if !due || state.syncing || state.closed {
                return;
            }
            state.syncing = true;
        }
        // A failed one costs a resumption its progress; when the bytes themselves may be gone, the part knows it.
        if let Err(error) = self.save() {
            tracing::warn!(%error, part = self.id(), "saving the progress of a transfer");
        }
    }

    /// Makes everything that is here durable: a crash from here on leaves at least these chunks. Blocks.
    ///
    /// # Errors
    /// When the disk refuses. After a failed sync the part can only be removed.
    pub fn sync(&self) -> Result<(), StoreError> {
        self.check_usable()?;
        let mut state = self.growth.lock();
        while state.syncing {
            state = self.growth.idle.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.syncing = true;
        drop(state);
        self.save()
    }

    /// [`ChunkedPart::sync`] on the blocking pool.
    ///
    /// # Errors
    /// As [`ChunkedPart::sync`].
    pub async fn sync_async(self) -> Result<(), StoreError> {
        spawn_blocking(move || self.sync()).await.unwrap_or(Err(StoreError::Closed { what: "the part" }))
    }

    /// The one that syncs: data first, then what says which of it counts.
    fn save(&self) -> Result<(), StoreError> {
        let chunks = {
            let mut state = self.growth.lock();
            state.sync_begun = state.chunks.bytes();
            state.chunks.clone()
        };
        let saved = timed(Action::Sync, || {
            self.sync_data()?;
            // Whether a crash brings back this state or the one before it does not matter: both speak of durable bytes.
            files::replace_unsynced_name(&self.home.dir.join(STATE), &chunks.encode())?;
            self.home.sync_names()
        });
        self.growth.lock().syncing = false;
        self.growth.idle.notify_all();
        saved
    }

    /// Forgets chunks that have another sum than `table` says, in the order of the chunks; tells how many. For a part that
    /// nobody reads yet: the front may go back.
    pub fn retain(&self, table: &[u32]) -> u64 {
        let mut state = self.growth.wait_idle(self.growth.lock());
        let dropped = state.chunks.retain(table);
        self.growth.front.send_replace(state.chunks.front());
        dropped
    }

    /// Checks the digest and makes a blob of it: durable and readable under `expected` on return. Nobody has been told
    /// of it yet. The part is used up; what reads it reads on. Blocks.
    ///
    /// # Errors
    /// [`StoreError::DigestMismatch`] when it has another digest; [`StoreError::Closed`] when chunks are missing.
    pub fn seal(self, expected: &Digest) -> Result<StoredFile, StoreError> {
        timed(Action::Seal, || self.become_blob(expected))
    }

    fn become_blob(&self, expected: &Digest) -> Result<StoredFile, StoreError> {
        self.check_usable()?;
        self.advance()?;
        // Whoever still works on the file must be done before it has a blob's name, and nobody may begin.
        let mut state = self.growth.lock();
        state.closed = true;
        let state = self.growth.wait_idle(state);
        if !state.chunks.is_complete() || state.chunks.hashed != state.chunks.count() {
            return Err(StoreError::Closed { what: "a part with chunks missing" });
        }
        let (actual, sums) = (state.chunks.hasher.clone().finish(), state.chunks.finish());
        drop(state);
        // Sabotaged: whatever a peer sent becomes the blob.
        if actual != *expected && !portolan_sabotage::is(Sabotage::TrustPeerBytes) {
            return Err(StoreError::DigestMismatch { expected: *expected, actual: Box::new(actual) });
        }
        install(&self.home, &self.growth.file, expected, &sums, || ())
    }

    /// [`ChunkedPart::seal`] on the blocking pool.
    ///
    /// # Errors
    /// As [`ChunkedPart::seal`].
    pub async fn seal_async(self, expected: Digest) -> Result<StoredFile, StoreError> {
        spawn_blocking(move || self.seal(&expected)).await.unwrap_or(Err(StoreError::Closed { what: "the part" }))
    }

    /// Tells what is here, and reads it.
    #[must_use]
    pub fn reader(&self) -> ChunkReader {
        ChunkReader { growth: Arc::clone(&self.growth) }
    }

    fn bytes_reader(&self) -> PartReader {
        PartReader::new(Arc::clone(&self.growth.file), self.growth.path.clone())
    }

    fn sync_data(&self) -> Result<(), StoreError> {
        files::sync_file(&self.growth.file, &self.growth.path)
            .inspect_err(|_| self.home.sync_failed.store(true, Ordering::Release))
    }

    fn check_usable(&self) -> Result<(), StoreError> {
        if self.home.sync_failed.load(Ordering::Acquire) {
            let reason = "an earlier sync failed; what it should have saved may be gone".to_owned();
            return Err(StoreError::Corrupt { what: self.growth.path.display().to_string(), reason });
        }
        Ok(())
    }

    fn write_failed(&self, source: std::io::Error) -> StoreError {
        match files::io("writing", &self.growth.path, source) {
            StoreError::Full { free_bytes, .. } => {
                StoreError::Full { free_bytes, reserve_bytes: self.home.shared.config.reserve_bytes }
            }
            error => error,
        }
    }
}

impl ChunkReader {
    /// How far the bytes from the first on go without a gap, and are hashed.
    #[must_use]
    pub fn front(&self) -> watch::Receiver<u64> {
        self.growth.front.subscribe()
    }

    /// Whether all bytes of a range are here.
    #[must_use]
    pub fn has(&self, range: &Range<u64>) -> bool {
        self.growth.lock().chunks.has_range(range)
    }

    /// How many bytes are here, in whatever order.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.growth.lock().chunks.bytes()
    }

    /// Reads bytes that are here ([`ChunkReader::front`], [`ChunkReader::has`]); of others it reads anything.
    #[must_use]
    pub fn bytes_reader(&self) -> PartReader {
        PartReader::new(Arc::clone(&self.growth.file), self.growth.path.clone())
    }
}

#[cfg(test)]
mod tests;
