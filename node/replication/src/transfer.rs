//! One transfer, as its readers see it and as those do who fill its file.

use crate::error::ReadError;
use crate::rate::Rate;
use crate::source::RelayGate;
use crate::status::FetchStatus;
use crate::telemetry::Purpose;
use portolan_meta::id::{FileId, NodeId};
use portolan_meta::row::Traffic;
use portolan_oci::Digest;
use portolan_store::{ChunkReader, ChunkedPart, PartReader};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// The bytes since the last start from zero. Readers of an older attempt must not mix its bytes with a newer one's.
#[derive(Clone)]
pub(crate) struct Attempt {
    /// Counts from 1.
    pub(crate) number: u32,
    /// Reads the growing file, also after it was sealed or removed.
    pub(crate) reader: PartReader,
    /// How many bytes can be read, from the first on.
    pub(crate) written: watch::Receiver<u64>,
    /// Which bytes are there beyond those.
    pub(crate) chunks: ChunkReader,
}

/// How a transfer ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// Every byte is here, the digest is right, the file is durable.
    Sealed(FileId),
    /// The disk has no room. Readers go on without it.
    Full,
    /// No live blob is recorded any more.
    Gone,
    /// Everybody was asked and failed; what came is kept for the next try.
    Lost {
        /// How many were asked.
        asked: usize,
    },
    /// However often it was begun anew, and whoever was asked, the bytes were wrong.
    Wrong,
    /// The disk or the state failed. Readers go on without it too.
    Broken,
    /// Neither a reader nor policy wanted it any more.
    Unwanted,
    /// The node is stopping.
    Stopped,
}

/// What becomes of a reader whose transfer ended.
pub(crate) enum ReaderFate {
    /// The file has every byte.
    ReadsOn,
    /// The rest is not stored.
    GoesThrough,
    /// Its response breaks off.
    Fails(ReadError),
}

/// What readers see of a transfer.
#[derive(Clone, Default)]
pub(crate) struct Progress {
    pub(crate) attempt: Option<Attempt>,
    /// Whose bytes come at the moment: with several sources, that of the last to begin.
    pub(crate) from: Option<NodeId>,
    /// Nobody else will be asked: no more bytes come, only `end`, once what came is kept.
    pub(crate) ending: bool,
    pub(crate) end: Option<End>,
}

/// One transfer.
pub(crate) struct Fetch {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    pub(crate) generation: u64,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) readers: watch::Sender<usize>,
    /// Whether policy wants the copy, so that it goes on without readers.
    pub(crate) wanted: AtomicBool,
    /// Whether a push may wait for that copy.
    pub(crate) hurried: AtomicBool,
    pub(crate) relay: Arc<RelayGate>,
    pub(crate) halt: CancellationToken,
    /// How many bytes of the attempt came, those of unfinished chunks included.
    received: AtomicU64,
    rate: Mutex<Rate>,
}

/// A reader's share in a transfer. While one exists, the transfer goes on.
pub(crate) struct Share(Arc<Fetch>);

impl Share {
    pub(crate) fn new(fetch: &Arc<Fetch>) -> Self {
        fetch.readers.send_modify(|readers| *readers += 1);
        Self(Arc::clone(fetch))
    }

    pub(crate) fn fetch(&self) -> &Fetch {
        &self.0
    }

    pub(crate) fn progress(&self) -> watch::Receiver<Progress> {
        self.0.progress.subscribe()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.0.readers.send_modify(|readers| *readers -= 1);
    }
}

impl Fetch {
    /// `policy` when the worker begins it.
    pub(crate) fn new(
        digest: Digest,
        (size, generation): (u64, u64),
        policy: Option<Traffic>,
        halt: CancellationToken,
    ) -> Arc<Self> {
        Arc::new(Self {
            digest,
            size,
            generation,
            progress: watch::Sender::default(),
            readers: watch::Sender::default(),
            wanted: AtomicBool::new(policy.is_some()),
            hurried: AtomicBool::new(policy == Some(Traffic::Ack)),
            relay: Arc::default(),
            halt,
            received: AtomicU64::new(0),
            rate: Mutex::new(Rate::new(Instant::now())),
        })
    }

    /// For whom the bytes come at the moment: whoever reads goes before policy.
    pub(crate) fn purpose(&self) -> Purpose {
        match () {
            () if *self.readers.borrow() > 0 => Purpose::Pull,
            () if self.hurried.load(Ordering::Acquire) => Purpose::Ack,
            () => Purpose::Repair,
        }
    }

    /// Policy wants the copy no longer. While somebody reads, the transfer goes on.
    pub(crate) fn disown(&self) {
        self.wanted.store(false, Ordering::Release);
        // Wakes whoever waits in `unread`.
        self.readers.send_modify(|_| {});
    }

    /// Returns once nobody reads although nobody else wants it.
    pub(crate) async fn unread(&self) {
        let mut readers = self.readers.subscribe();
        // The sender lives in `self`, so that waiting cannot fail.
        let _ = readers.wait_for(|readers| *readers == 0 && !self.wanted.load(Ordering::Acquire)).await;
    }

    pub(crate) fn begin_attempt(&self, number: u32, part: &ChunkedPart) {
        let chunks = part.reader();
        self.received.store(chunks.bytes(), Ordering::Relaxed);
        let attempt = Attempt { number, reader: chunks.bytes_reader(), written: chunks.front(), chunks };
        self.progress.send_modify(|progress| progress.attempt = Some(attempt));
    }

    pub(crate) fn coming_from(&self, node: NodeId) {
        self.progress.send_if_modified(|progress| progress.from.replace(node) != Some(node));
    }

    /// Bytes came.
    pub(crate) fn note_received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Ordering::Relaxed);
        self.rate.lock().unwrap_or_else(PoisonError::into_inner).note(bytes, Instant::now());
    }

    /// Bytes that had come were thrown away.
    pub(crate) fn note_dropped(&self, bytes: u64) {
        self.received.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Whether a peer reads through this transfer, so that it asks nobody to relay.
    pub(crate) fn served(&self) -> bool {
        self.relay.is_served()
    }

    /// What is here of it.
    pub(crate) fn chunks(&self) -> Option<ChunkReader> {
        self.progress.borrow().attempt.as_ref().map(|attempt| attempt.chunks.clone())
    }

    pub(crate) fn status(&self) -> FetchStatus {
        FetchStatus {
            digest: self.digest,
            size: self.size,
            received: self.received.load(Ordering::Relaxed),
            from: self.progress.borrow().from,
            readers: *self.readers.borrow(),
            bytes_per_second: self.rate.lock().unwrap_or_else(PoisonError::into_inner).per_second(Instant::now()),
        }
    }
}

impl End {
    pub(crate) fn label(&self) -> &'static str {
        match self {
            Self::Sealed(_) => "sealed",
            Self::Full => "full",
            Self::Gone => "gone",
            Self::Lost { .. } => "lost",
            Self::Wrong => "wrong",
            Self::Broken => "broken",
            Self::Unwanted => "unwanted",
            Self::Stopped => "stopped",
        }
    }

    /// What becomes of a reader in the middle.
    pub(crate) fn for_reader(&self, digest: Digest) -> ReaderFate {
        match self {
            Self::Sealed(_) => ReaderFate::ReadsOn,
            Self::Full | Self::Broken => ReaderFate::GoesThrough,
            Self::Gone | Self::Lost { .. } | Self::Unwanted => ReaderFate::Fails(ReadError::SourcesLost { digest }),
            Self::Wrong => ReaderFate::Fails(ReadError::WrongBytes { digest }),
            Self::Stopped => ReaderFate::Fails(ReadError::Stopped),
        }
    }
}
