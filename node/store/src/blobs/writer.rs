//! Feeds a part from a task.
//!
//! Bytes are collected while the batch before them is written and hashed on the blocking pool: batches grow with the
//! speed of the sender, and a slow sender holds no thread. Every [`crate::Config::sync_every_bytes`] a sync runs
//! beside them.

use super::part::{Part, PartReader};
use super::progress::Progress;
use crate::error::StoreError;
use bytes::Bytes;
use futures::FutureExt;
use tokio::sync::watch;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};

/// What a piece counts for at least, so that many tiny pieces are bounded too.
const MIN_PIECE_BYTES: u64 = 512;

type Batch = (Part, Result<(), StoreError>);

/// Where the part is.
#[derive(Debug)]
enum Hands {
    /// Here.
    Free(Part),
    /// With the thread that appends a batch.
    Busy(JoinHandle<Batch>),
    /// Gone with the thread that held it.
    Lost,
}

/// The async front of a [`Part`]. Dropped, it lets what was begun run to its end; [`crate::Parts::wait_free`] tells
/// when.
#[derive(Debug)]
pub struct PartWriter {
    hands: Hands,
    syncing: Option<JoinHandle<Result<Box<Progress>, StoreError>>>,
    /// A batch failed: what follows it must not be appended behind the gap.
    failed: bool,
    waiting: Vec<Bytes>,
    waiting_bytes: u64,
    limit_bytes: u64,
    sync_every_bytes: u64,
    /// How far the last sync reached or will reach.
    sync_begun: u64,
    reader: PartReader,
    written: watch::Sender<u64>,
}

impl Part {
    /// Feeds it from a task.
    #[must_use]
    pub fn into_writer(self) -> PartWriter {
        PartWriter::new(self)
    }
}

impl PartWriter {
    fn new(part: Part) -> Self {
        let config = &part.home.shared.config;
        Self {
            limit_bytes: config.writer_buffer_bytes.max(1),
            sync_every_bytes: config.sync_every_bytes.max(1),
            sync_begun: part.synced_len(),
            reader: part.reader(),
            written: watch::Sender::new(part.len()),
            hands: Hands::Free(part),
            syncing: None,
            failed: false,
            waiting: Vec::new(),
            waiting_bytes: 0,
        }
    }

    /// Takes the next bytes; waits while [`crate::Config::writer_buffer_bytes`] wait for the disk. Cancelled, it has
    /// taken them.
    ///
    /// # Errors
    /// The failure of these or of earlier bytes. Nothing more is taken then; [`PartWriter::finish`] gives the part
    /// back with what had landed before.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        if self.failed {
            return Err(StoreError::Closed { what: "the part" });
        }
        if !bytes.is_empty() {
            self.waiting_bytes += (bytes.len() as u64).max(MIN_PIECE_BYTES);
            self.waiting.push(bytes);
        }
        let full = self.waiting_bytes >= self.limit_bytes;
        if full || matches!(&self.hands, Hands::Busy(batch) if batch.is_finished()) {
            self.settle().await?;
        }
        self.begin_batch();
        Ok(())
    }

    /// Waits until everything that was taken can be read (not: is durable). For a sender that pauses: what it sent last
    /// would else wait for its next bytes. Cancelled, it may be called again.
    ///
    /// # Errors
    /// As [`PartWriter::write`].
    pub async fn flush(&mut self) -> Result<(), StoreError> {
        while !self.waiting.is_empty() || matches!(self.hands, Hands::Busy(_)) {
            self.settle().await?;
            self.begin_batch();
        }
        Ok(())
    }

    /// How many bytes a [`PartReader`] can read. Its end (a closed channel) says that the writer is gone, not why.
    #[must_use]
    pub fn written(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    /// Reads the growing file.
    #[must_use]
    pub fn reader(&self) -> PartReader {
        self.reader.clone()
    }

    /// Waits until everything is in the file (not: durable) and gives the part back.
    ///
    /// # Errors
    /// The failure of bytes that were taken and of which no [`PartWriter::write`] has told; the part closes then, as
    /// its last sync left it.
    pub async fn finish(mut self) -> Result<Part, StoreError> {
        self.flush().await?;
        let Hands::Free(mut part) = self.hands else { return Err(StoreError::Closed { what: "the part" }) };
        if let Some(sync) = self.syncing.take() {
            take_sync(&mut part, sync.await);
        }
        Ok(part)
    }

    /// Waits for the batch that is under way, if there is one.
    async fn settle(&mut self) -> Result<(), StoreError> {
        let Hands::Busy(batch) = &mut self.hands else { return Ok(()) };
        let outcome = match batch.await {
            Ok((part, outcome)) => {
                self.written.send_replace(part.len());
                self.hands = Hands::Free(part);
                outcome
            }
            Err(_) => {
                self.hands = Hands::Lost;
                Err(StoreError::Closed { what: "the part" })
            }
        };
        if outcome.is_err() {
            self.failed = true;
            self.waiting.clear();
        }
        outcome
    }

    /// Hands what waits to the blocking pool, unless a batch is under way.
    fn begin_batch(&mut self) {
        match std::mem::replace(&mut self.hands, Hands::Lost) {
            Hands::Free(mut part) => {
                self.begin_sync(&mut part);
                if self.waiting.is_empty() {
                    self.hands = Hands::Free(part);
                    return;
                }
                let pieces = std::mem::take(&mut self.waiting);
                self.waiting_bytes = 0;
                self.hands = Hands::Busy(spawn_blocking(move || {
                    let outcome = part.append_pieces(&pieces);
                    (part, outcome)
                }));
            }
            elsewhere => self.hands = elsewhere,
        }
    }

    /// Starts a sync beside the appends when enough came since the last one and that is done.
    fn begin_sync(&mut self, part: &mut Part) {
        if part.len() - self.sync_begun < self.sync_every_bytes {
            return;
        }
        if let Some(sync) = self.syncing.take() {
            if !sync.is_finished() {
                self.syncing = Some(sync);
                return;
            }
            if let Some(outcome) = sync.now_or_never() {
                take_sync(part, outcome);
            }
        }
        self.sync_begun = part.len();
        let save_point = part.save_point();
        self.syncing = Some(spawn_blocking(move || save_point.persist()));
    }
}

/// Takes the outcome of a sync. A failed one costs a resumption its progress; when the bytes themselves may be gone,
/// the part knows it and refuses to go on.
fn take_sync(part: &mut Part, outcome: Result<Result<Box<Progress>, StoreError>, JoinError>) {
    match outcome {
        Ok(Ok(progress)) => part.note_synced(progress),
        Ok(Err(error)) => tracing::warn!(%error, part = part.id(), "saving the progress of a transfer"),
        Err(error) => tracing::warn!(%error, part = part.id(), "saving the progress of a transfer"),
    }
}
