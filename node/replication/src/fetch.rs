//! Transfers: at most one per digest on this node, whoever wants it.

use crate::config::Config;
use crate::confirm::{Confirm, Finished};
use crate::fill::{Filled, Filler};
use crate::holders::Holders;
use crate::landing::Landing;
use crate::source::{Sources, TourEnd};
use crate::status::FetchStatus;
use crate::table::Tables;
use crate::telemetry;
use crate::transfer::{End, Fetch, Share};
use futures::FutureExt;
use portolan_meta::id::FileId;
use portolan_meta::row::Traffic;
use portolan_oci::Digest;
use portolan_store::{ChunkReader, ChunkedPart, StoreError};
use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{Instrument, debug, debug_span, info, info_span, warn};

/// Who joins a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wish {
    /// A pull at this node.
    Pull,
    /// A pull at a node of this region that reads through this one.
    Relay,
    /// The worker, because policy wants the copy.
    Policy(Traffic),
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
    filler: Filler,
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
        tables: Arc<Tables>,
        landing: Landing,
        confirm: Arc<Confirm>,
        (tasks, stop): (TaskTracker, CancellationToken),
    ) -> Arc<Self> {
        let filler = Filler::new(config, Arc::clone(&sources), tables, tasks.clone());
        Arc::new(Self {
            running: Mutex::default(),
            max_fetches: config.max_fetches,
            max_restarts: config.max_restarts,
            holders,
            sources,
            filler,
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
                Wish::Policy(traffic) => {
                    fetch.hurried.fetch_or(traffic == Traffic::Ack, Ordering::AcqRel);
                    fetch.wanted.store(true, Ordering::Release);
                }
            }
            return Joined::Fetch(Share::new(fetch), false);
        }
        // The worker has a bound of its own below this one.
        if running.len() >= self.max_fetches && !matches!(wish, Wish::Policy(_)) {
            return Joined::Busy("transfers");
        }
        let policy = if let Wish::Policy(traffic) = wish { Some(traffic) } else { None };
        let fetch = Fetch::new(digest, (size, generation), policy, self.stop.child_token());
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

    /// Whether a digest has a transfer under way.
    pub(crate) fn is_running(&self, digest: &Digest) -> bool {
        self.lock().contains_key(digest)
    }

    /// What is here of a transfer under way.
    pub(crate) fn chunks(&self, digest: &Digest) -> Option<ChunkReader> {
        self.lock().get(digest).and_then(|fetch| fetch.chunks())
    }

    /// Removes a leftover of an earlier try, unless a transfer uses it.
    pub(crate) async fn forget(&self, digest: &Digest) {
        if self.lock().contains_key(digest) {
            return;
        }
        // A transfer that began just now goes on with it.
        if let Err(error) = self.landing.try_remove(digest).await {
            warn!(%digest, %error, "a leftover of a transfer could not be removed");
        }
    }

    /// Lets policy decide anew about the transfers that it wanted: one that nobody reads and this node no longer lacks
    /// ends, or bytes would go on to land where they may not lie any more.
    pub(crate) fn reconsider(&self) {
        let running: Vec<_> = self.lock().values().map(Arc::clone).collect();
        for fetch in running.iter().filter(|fetch| fetch.wanted.load(Ordering::Acquire)) {
            if matches!(self.holders.lacks(&fetch.digest), Ok(false)) {
                let running = self.lock();
                // One that has been let go of by now is ending, and another may have begun in its place.
                if running.get(&fetch.digest).is_some_and(|found| Arc::ptr_eq(found, fetch)) {
                    fetch.disown();
                }
            }
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
        // Whether the committed sums are believed: chunks that are right by them can make a wrong blob only if they are
        // themselves wrong.
        let (mut restarts, mut trusted) = (0, true);
        loop {
            let part = match self.landing.open(&fetch.digest, fetch.size).await {
                Ok(part) => part,
                Err(error) => return self.broken(fetch, &error).await,
            };
            let table = self.filler.table(fetch, &part, trusted).await;
            fetch.begin_attempt(restarts + 1, &part);
            let resumed = part.bytes();
            let contributors = match self.filler.fill(fetch, &part, table.clone()).await {
                Filled::Whole { contributors } => contributors,
                ended => return self.ended(fetch, part, ended).await,
            };
            match self.seal(fetch, part).await {
                Ok(end) => return end,
                Err(Mismatch) => {
                    warn!(resumed, sources = ?contributors, "the bytes are not those of the digest");
                    if table.now_or_never().flatten().is_some() {
                        trusted = false;
                    } else if resumed == 0 {
                        // Who wrote an earlier try's chunks is not known, so nobody is accused for them.
                        self.sources.wrong_bytes(&fetch.digest, &contributors).await;
                    }
                    restarts += 1;
                    if restarts > self.max_restarts {
                        return End::Wrong;
                    }
                }
            }
        }
    }

    /// Makes a blob of a whole file. `Err` when its bytes were wrong; it is gone then.
    async fn seal(&self, fetch: &Fetch, part: ChunkedPart) -> Result<End, Mismatch> {
        let span = debug_span!("store", digest = %fetch.digest, size = fetch.size);
        match part.seal_async(fetch.digest).instrument(span).await {
            Ok(stored) => Ok(End::Sealed(stored.file)),
            Err(StoreError::DigestMismatch { .. }) => match self.landing.remove(&fetch.digest).await {
                Ok(()) => Err(Mismatch),
                Err(error) => Ok(self.broken(fetch, &error).await),
            },
            Err(error) => Ok(self.broken(fetch, &error).await),
        }
    }

    /// What becomes of a file that did not get whole.
    async fn ended(&self, fetch: &Fetch, part: ChunkedPart, filled: Filled) -> End {
        let end = match filled {
            Filled::Halted => return self.halted(fetch, part).await,
            Filled::Disk(error) => {
                drop(part);
                return self.broken(fetch, &error).await;
            }
            Filled::Ended(TourEnd::Lost { asked }) => End::Lost { asked },
            Filled::Ended(TourEnd::View(error)) => {
                tracing::error!(digest = %fetch.digest, %error, "the state failed under a transfer");
                End::Broken
            }
            Filled::Ended(TourEnd::Gone) => End::Gone,
            Filled::Wrong => End::Wrong,
            // Not reached: a whole file is sealed.
            Filled::Whole { .. } => End::Broken,
        };
        fetch.progress.send_modify(|progress| progress.ending = true);
        self.keep(fetch, part).await;
        end
    }

    async fn halted(&self, fetch: &Fetch, part: ChunkedPart) -> End {
        if self.stop.is_cancelled() {
            self.keep(fetch, part).await;
            return End::Stopped;
        }
        drop(part);
        if let Err(error) = self.landing.remove(&fetch.digest).await {
            warn!(%error, "an unwanted transfer's file could not be removed");
        }
        End::Unwanted
    }

    /// Lets go of the file so that another try goes on with what is here.
    async fn keep(&self, fetch: &Fetch, part: ChunkedPart) {
        if let Err(error) = part.sync_async().await {
            warn!(digest = %fetch.digest, %error, "an interrupted transfer could not be kept whole");
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
