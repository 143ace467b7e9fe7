//! Transfers: at most one per digest on this node, whoever wants it.

use crate::config::Config;
use crate::confirm::{Confirm, Finished};
use crate::error::ReadError;
use crate::holders::Holders;
use crate::landing::{Growing, Landing};
use crate::source::{RelayGate, Sources, Tour, TourEnd};
use crate::status::FetchStatus;
use crate::telemetry::{self, Purpose};
use bytes::Bytes;
use portolan_meta::id::{FileId, NodeId};
use portolan_oci::Digest;
use portolan_store::{PartReader, StoreError};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, debug_span, info, info_span, warn};

/// The bytes since the last start from zero. Readers of an older attempt must not mix its bytes with a newer one's.
#[derive(Clone)]
pub(crate) struct Attempt {
    /// Counts from 1.
    pub(crate) number: u32,
    /// Reads the growing file, also after it was sealed or removed.
    pub(crate) reader: PartReader,
    /// How many bytes can be read.
    pub(crate) written: watch::Receiver<u64>,
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
    /// However often it was begun anew, the bytes were wrong.
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
    /// Whose bytes come at the moment.
    pub(crate) from: Option<NodeId>,
    /// Nobody else will be asked: no more bytes come, only `end`, once what came is kept.
    pub(crate) ending: bool,
    pub(crate) end: Option<End>,
}

/// One transfer.
pub(crate) struct Fetch {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    generation: u64,
    progress: watch::Sender<Progress>,
    readers: watch::Sender<usize>,
    /// Whether policy wants the copy, so that it goes on without readers.
    wanted: AtomicBool,
    relay: Arc<RelayGate>,
    halt: CancellationToken,
}

/// A reader's share in a transfer. While one exists, the transfer goes on.
pub(crate) struct Share(Arc<Fetch>);

impl Share {
    fn new(fetch: &Arc<Fetch>) -> Self {
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

/// Who joins a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// A pull at this node.
    Pull,
    /// A pull at a node of this region that reads through this one.
    Relay,
    /// The worker, because policy wants the copy.
    Policy,
}

/// What joining found.
pub(crate) enum Joined {
    /// A transfer, and whether this call began it.
    Fetch(Share, bool),
    /// A finished file that waits for its committed location.
    Finished,
    /// A limit is reached, or the transfer itself waits for another node's.
    Busy(&'static str),
    /// The node is stopping.
    Stopped,
}

/// All transfers of this node.
pub(crate) struct Fetches {
    running: Mutex<HashMap<Digest, Arc<Fetch>>>,
    max_fetches: usize,
    max_restarts: u32,
    holders: Arc<Holders>,
    sources: Arc<Sources>,
    landing: Landing,
    confirm: Arc<Confirm>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Fetches {
    pub(crate) fn new(
        config: &Config,
        holders: Arc<Holders>,
        sources: Arc<Sources>,
        landing: Landing,
        confirm: Arc<Confirm>,
        (tasks, stop): (TaskTracker, CancellationToken),
    ) -> Arc<Self> {
        Arc::new(Self {
            running: Mutex::default(),
            max_fetches: config.max_fetches,
            max_restarts: config.max_restarts,
            holders,
            sources,
            landing,
            confirm,
            tasks,
            stop,
        })
    }

    /// Joins the digest's transfer, or begins one.
    pub(crate) fn join(self: &Arc<Self>, digest: Digest, size: u64, generation: u64, wish: Wish) -> Joined {
        let mut running = self.lock();
        if self.stop.is_cancelled() {
            return Joined::Stopped;
        }
        if self.confirm.file(&digest).is_some() {
            return Joined::Finished;
        }
        if let Some(fetch) = running.get(&digest) {
            match wish {
                Wish::Pull => {}
                Wish::Relay if fetch.relay.serve() => {}
                Wish::Relay => return Joined::Busy("transfers through this node"),
                Wish::Policy => fetch.wanted.store(true, Ordering::Release),
            }
            return Joined::Fetch(Share::new(fetch), false);
        }
        // The worker has a bound of its own below this one.
        if running.len() >= self.max_fetches && wish != Wish::Policy {
            return Joined::Busy("transfers");
        }
        let fetch = Arc::new(Fetch {
            digest,
            size,
            generation,
            progress: watch::Sender::default(),
            readers: watch::Sender::default(),
            wanted: AtomicBool::new(wish == Wish::Policy),
            relay: Arc::default(),
            halt: self.stop.child_token(),
        });
        if wish == Wish::Relay {
            fetch.relay.serve();
        }
        let share = Share::new(&fetch);
        running.insert(digest, Arc::clone(&fetch));
        let span = info_span!("fetch", %digest, size);
        self.tasks.spawn(Arc::clone(self).run(fetch).instrument(span));
        Joined::Fetch(share, true)
    }

    /// The finished file of a digest that waits for its committed location.
    pub(crate) fn finished(&self, digest: &Digest) -> Option<FileId> {
        self.confirm.file(digest)
    }

    /// The transfers under way.
    pub(crate) fn status(&self) -> Vec<FetchStatus> {
        let running = self.lock();
        running.values().map(|fetch| fetch.status()).collect()
    }

    /// Removes a leftover of an earlier try, unless a transfer uses it.
    pub(crate) async fn forget(&self, digest: &Digest) {
        if self.lock().contains_key(digest) {
            return;
        }
        if let Err(error) = self.landing.remove(digest).await {
            warn!(%digest, %error, "a leftover of a transfer could not be removed");
        }
    }

    /// The digests with leftovers of earlier tries.
    pub(crate) async fn leftovers(&self) -> Result<Vec<Digest>, StoreError> {
        self.landing.leftovers().await
    }

    async fn run(self: Arc<Self>, fetch: Arc<Fetch>) {
        let end = {
            let transfer = self.transfer(&fetch);
            tokio::pin!(transfer);
            loop {
                tokio::select! {
                    end = &mut transfer => break end,
                    () = fetch.unread() => self.drop_unless_wanted(&fetch),
                }
            }
        };
        if let End::Sealed(file) = end {
            // Before the transfer disappears, so that nobody begins another in between.
            let (digest, generation) = (fetch.digest, fetch.generation);
            self.confirm.push(Finished { digest, file, generation, adopted: false });
        }
        debug!(?end, "transfer ended");
        telemetry::ended(end.label()).increment(1);
        {
            let mut running = self.lock();
            if running.get(&fetch.digest).is_some_and(|found| Arc::ptr_eq(found, &fetch)) {
                running.remove(&fetch.digest);
            }
        }
        fetch.progress.send_modify(|progress| progress.end = Some(end));
    }

    /// Nobody reads: policy decides whether the transfer goes on.
    fn drop_unless_wanted(&self, fetch: &Arc<Fetch>) {
        if self.holders.lacks(&fetch.digest).unwrap_or(false) {
            fetch.wanted.store(true, Ordering::Release);
            return;
        }
        let mut running = self.lock();
        // Readers join under the same lock, so none can come between the question and the removal.
        if *fetch.readers.borrow() == 0 && !fetch.wanted.load(Ordering::Acquire) {
            running.remove(&fetch.digest);
            fetch.halt.cancel();
            // It is ending: `unread` need not fire again.
            fetch.wanted.store(true, Ordering::Release);
        }
    }

    async fn transfer(&self, fetch: &Fetch) -> End {
        let mut restarts = 0;
        loop {
            let growing = match self.landing.open(&fetch.digest, fetch.size).await {
                Ok(growing) => growing,
                Err(error) => return self.broken(fetch, &error).await,
            };
            fetch.begin_attempt(restarts + 1, &growing);
            let resumed = growing.offset;
            let mut tour = Tour::new(Arc::clone(&self.sources), fetch.digest, fetch.size, Arc::clone(&fetch.relay));
            match self.fill(fetch, growing, &mut tour).await {
                Ok(end) => return end,
                Err(Mismatch) => {
                    warn!(resumed, sources = ?tour.contributors(), "the bytes are not those of the digest");
                    // Who wrote an earlier try's prefix is not known, so nobody is accused for it.
                    if resumed == 0 {
                        self.sources.wrong_bytes(&fetch.digest, tour.contributors()).await;
                    }
                    restarts += 1;
                    if restarts > self.max_restarts {
                        return End::Wrong;
                    }
                }
            }
        }
    }

    /// Fills the file and seals it. `Err` when its bytes were wrong; it is gone then.
    async fn fill(&self, fetch: &Fetch, mut growing: Growing, tour: &mut Tour) -> Result<End, Mismatch> {
        while growing.offset < fetch.size {
            let next = match next_bytes(fetch, &mut growing, tour).await {
                Ok(Some(next)) => next,
                Ok(None) => return Ok(self.halted(fetch, growing).await),
                Err(error) => {
                    drop(growing);
                    return Ok(self.broken(fetch, &error).await);
                }
            };
            let end = match next {
                Ok((from, bytes)) => {
                    fetch.coming_from(from);
                    telemetry::fetched(from, fetch.purpose(), bytes.len());
                    if let Err(error) = growing.write(bytes).await {
                        drop(growing);
                        return Ok(self.broken(fetch, &error).await);
                    }
                    continue;
                }
                Err(TourEnd::Gone) => End::Gone,
                Err(TourEnd::Lost { asked }) => End::Lost { asked },
                Err(TourEnd::View(error)) => {
                    tracing::error!(digest = %fetch.digest, %error, "the state failed under a transfer");
                    End::Broken
                }
            };
            fetch.progress.send_modify(|progress| progress.ending = true);
            self.keep(fetch, growing).await;
            return Ok(end);
        }
        let span = debug_span!("store", digest = %fetch.digest, size = fetch.size);
        let part = match growing.writer.finish().instrument(span.clone()).await {
            Ok(part) => part,
            Err(error) => return Ok(self.broken(fetch, &error).await),
        };
        match part.seal_async(fetch.digest).instrument(span).await {
            Ok(stored) => Ok(End::Sealed(stored.file)),
            Err(failure) => {
                drop(failure.part);
                let mismatch = matches!(failure.error, StoreError::DigestMismatch { .. });
                if !mismatch {
                    return Ok(self.broken(fetch, &failure.error).await);
                }
                match self.landing.remove(&fetch.digest).await {
                    Ok(()) => Err(Mismatch),
                    Err(error) => Ok(self.broken(fetch, &error).await),
                }
            }
        }
    }

    async fn halted(&self, fetch: &Fetch, growing: Growing) -> End {
        if self.stop.is_cancelled() {
            self.keep(fetch, growing).await;
            return End::Stopped;
        }
        drop(growing);
        if let Err(error) = self.landing.remove(&fetch.digest).await {
            warn!(%error, "an unwanted transfer's file could not be removed");
        }
        End::Unwanted
    }

    async fn keep(&self, fetch: &Fetch, growing: Growing) {
        let offset = growing.offset;
        if let Err(error) = growing.keep().await {
            warn!(digest = %fetch.digest, offset, %error, "an interrupted transfer could not be kept whole");
        }
    }

    /// The disk refused: a full one gets its room back at once, readers hold the file open.
    async fn broken(&self, fetch: &Fetch, error: &StoreError) -> End {
        if !error.is_full() {
            tracing::error!(digest = %fetch.digest, %error, "the disk failed under a transfer");
            return End::Broken;
        }
        info!(digest = %fetch.digest, %error, "no room to store a blob; it is streamed through");
        if let Err(error) = self.landing.remove(&fetch.digest).await {
            warn!(digest = %fetch.digest, %error, "the file of a transfer without room could not be removed");
        }
        End::Full
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Digest, Arc<Fetch>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bytes had another digest.
struct Mismatch;

/// Waits for the next bytes; `None` when the transfer is to stop. A source that pauses leaves time to show readers
/// what it sent last.
async fn next_bytes(
    fetch: &Fetch,
    growing: &mut Growing,
    tour: &mut Tour,
) -> Result<Option<Result<(NodeId, Bytes), TourEnd>>, StoreError> {
    let next = tour.next(growing.offset);
    tokio::pin!(next);
    loop {
        tokio::select! {
            biased;
            next = &mut next => return Ok(Some(next)),
            () = fetch.halt.cancelled() => return Ok(None),
            flushed = growing.flush(), if growing.unflushed => flushed?,
        }
    }
}

impl Fetch {
    /// For whom the bytes come at the moment: whoever reads goes before policy.
    fn purpose(&self) -> Purpose {
        if *self.readers.borrow() > 0 { Purpose::Pull } else { Purpose::Policy }
    }

    /// Returns once nobody reads although nobody else wants it.
    async fn unread(&self) {
        let mut readers = self.readers.subscribe();
        // The sender lives in `self`, so that waiting cannot fail.
        let _ = readers.wait_for(|readers| *readers == 0 && !self.wanted.load(Ordering::Acquire)).await;
    }

    fn begin_attempt(&self, number: u32, growing: &Growing) {
        let attempt = Attempt { number, reader: growing.reader.clone(), written: growing.written.clone() };
        self.progress.send_modify(|progress| progress.attempt = Some(attempt));
    }

    fn coming_from(&self, node: NodeId) {
        self.progress.send_if_modified(|progress| progress.from.replace(node) != Some(node));
    }

    /// Whether a peer reads through this transfer, so that it asks nobody to relay.
    pub(crate) fn served(&self) -> bool {
        self.relay.is_served()
    }

    fn status(&self) -> FetchStatus {
        let progress = self.progress.borrow();
        FetchStatus {
            digest: self.digest,
            size: self.size,
            received: progress.attempt.as_ref().map_or(0, |attempt| *attempt.written.borrow()),
            from: progress.from,
            readers: *self.readers.borrow(),
        }
    }
}

impl End {
    fn label(&self) -> &'static str {
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
