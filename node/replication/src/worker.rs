//! Brings what policy wants on this node. Events only wake it: what is missing is computed from the state, a lost
//! event costs a delay, and a restart plans anew.

use crate::batch::{Batches, Brought};
use crate::config::Config;
use crate::confirm::{Confirm, Finished};
use crate::desk::{Desk, wall_ms};
use crate::fetch::{Fetches, Joined, Wish};
use crate::holders::Holders;
use crate::landing::blocking;
use crate::plan::{Class, Missing};
use crate::telemetry::{self, Purpose};
use crate::transfer::End;
use futures::FutureExt;
use futures::future::BoxFuture;
use portolan_consensus::{Change, Consensus};
use portolan_meta::id::FileId;
use portolan_meta::placement::{Standing, Topology, standing};
use portolan_meta::query;
use portolan_meta::row::Traffic;
use portolan_meta::view::{View, ViewError};
use portolan_oci::Digest;
use portolan_peer::MANY_BLOBS;
use portolan_store::{Blobs, StoreError};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

/// How often the gauges per region are computed: they walk over everything that is missing.
const GAUGES_EVERY: Duration = Duration::from_secs(5);

/// Blobs with how each of them stands.
type Facts = Vec<(Digest, Option<Standing>)>;

/// A scan over all blobs, page by page; then over what is known of blobs whose row is gone, which no page has.
enum Scan {
    Idle,
    Reading(Page),
    Known(Page, Vec<Digest>),
}

type Page = BoxFuture<'static, Result<Facts, ViewError>>;

impl Scan {
    /// The page that is being read; never returns while there is none. May be dropped and called again.
    async fn page(&mut self) -> Result<Facts, ViewError> {
        match self {
            Self::Idle => std::future::pending().await,
            Self::Reading(page) | Self::Known(page, _) => page.await,
        }
    }
}

/// The loop.
pub(crate) struct Worker {
    pub(crate) config: Config,
    pub(crate) desk: Arc<Desk>,
    /// When this start began, in milliseconds since the Unix epoch, as file ids count it.
    pub(crate) started: u64,
    pub(crate) blobs: Arc<Blobs>,
    pub(crate) consensus: Arc<Consensus>,
    pub(crate) holders: Arc<Holders>,
    pub(crate) fetches: Arc<Fetches>,
    pub(crate) batches: Arc<Batches>,
    pub(crate) confirm: Arc<Confirm>,
    pub(crate) stop: CancellationToken,
}

/// A fetch that the worker waits for.
enum Done {
    /// Of one blob.
    One(Digest, Class, Tried),
    /// Of a batch of tiny ones.
    Many(Vec<(Digest, Brought)>),
}

enum Tried {
    /// A copy is here; its location is on its way.
    Landed,
    /// Another node of the region will have it soon: it is to be asked again after so long.
    Awaited(Duration),
    /// Not now.
    Failed,
    /// A batch did not bring it: a transfer of its own may.
    Alone,
    /// There is nothing to do (any more).
    Needless,
}

impl From<Brought> for Tried {
    fn from(brought: Brought) -> Self {
        match brought {
            Brought::Stored | Brought::Elsewhere => Self::Landed,
            Brought::Awaited(pause) => Self::Awaited(pause),
            Brought::Gone => Self::Needless,
            Brought::NotThere | Brought::Wrong => Self::Alone,
            Brought::Full | Brought::Broken => Self::Failed,
        }
    }
}

impl Worker {
    /// Works until the node stops.
    pub(crate) async fn run(self: Arc<Self>) {
        let mut changes = self.consensus.changes();
        let mut rescan = interval(self.config.rescan());
        rescan.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut gauges = interval(GAUGES_EVERY);
        let mut scan = Scan::Idle;
        let mut running = JoinSet::new();
        let mut busy = Busy::default();
        loop {
            self.dispatch(&mut running, &mut busy);
            self.publish(&busy);
            let due = self.next_due(&busy);
            tokio::select! {
                () = self.stop.cancelled() => break,
                change = changes.recv() => match change {
                    Ok(change) => self.changed(change, &mut changes, &mut scan).await,
                    Err(RecvError::Lagged(missed)) => {
                        debug!(missed, "too many changes at once: everything is compared again");
                        self.begin(&mut scan);
                    }
                    Err(RecvError::Closed) => break,
                },
                _ = rescan.tick() => self.begin(&mut scan),
                _ = gauges.tick() => self.publish_regions(),
                page = scan.page() => scan = self.turn(scan, page).await,
                Some(done) = running.join_next() => match done {
                    Ok(done) => self.done(done, &mut busy),
                    Err(error) => error!(%error, "a task of the worker died"),
                },
                () = sleep_until(due) => {}
            }
        }
        // The transfers themselves end with the same token; these only wait for them.
        running.shutdown().await;
    }

    fn begin(&self, scan: &mut Scan) {
        *scan = Scan::Reading(self.page(None));
        self.desk.begin_scan();
    }

    /// Takes a change and whatever else has come by now, so that a burst is one reading of the state.
    async fn changed(&self, first: Change, changes: &mut Receiver<Change>, scan: &mut Scan) {
        let mut digests = HashSet::new();
        let mut next = Some(first);
        while let Some(change) = next {
            match change {
                Change::Blobs(changed) => digests.extend(changed.iter().copied()),
                Change::Topology | Change::Reset => self.begin(scan),
            }
            next = if digests.len() < self.config.scan_page { changes.try_recv().ok() } else { None };
        }
        if let Err(error) = self.compare(digests.into_iter().collect()).await {
            error!(%error, "what is missing could not be computed");
        }
    }

    /// Notes for each blob how it stands now.
    async fn compare(&self, digests: Vec<Digest>) -> Result<(), ViewError> {
        if !digests.is_empty() {
            self.desk.note(self.facts(move |_| Ok(digests)).await?);
        }
        Ok(())
    }

    /// How some blobs stand.
    fn facts(&self, pick: impl FnOnce(&dyn View) -> Result<Vec<Digest>, ViewError> + Send + 'static) -> Page {
        let state = self.consensus.local();
        reading(move || {
            state.read(|view| {
                let topology = Topology::read(view)?;
                let digests = pick(view)?;
                digests.into_iter().map(|digest| Ok((digest, standing(view, &topology, &digest)?))).collect()
            })
        })
        .boxed()
    }

    /// Reads one page of blobs with how they stand.
    fn page(&self, after: Option<Digest>) -> Page {
        let limit = self.config.scan_page;
        self.facts(move |view| {
            let page = query::blobs_after(view, after.as_ref(), limit)?;
            Ok(page.into_iter().map(|(digest, _)| digest).collect())
        })
    }

    /// The next page of what is known; the scan is over when nothing is left.
    async fn known(&self, mut left: Vec<Digest>) -> Scan {
        if left.is_empty() {
            self.fetches.reconsider();
            self.sweep_leftovers().await;
            self.desk.end_scan();
            return Scan::Idle;
        }
        let page = left.split_off(left.len().saturating_sub(self.config.scan_page));
        Scan::Known(self.facts(move |_| Ok(page)), left)
    }

    /// Takes a page; says where the scan stands then.
    async fn turn(&self, scan: Scan, page: Result<Facts, ViewError>) -> Scan {
        let page = match page {
            Ok(page) => page,
            Err(error) => {
                error!(%error, "the scan for missing blobs failed; the next one begins in time");
                return Scan::Idle;
            }
        };
        let last = page.last().map(|(digest, _)| *digest).filter(|_| page.len() == self.config.scan_page);
        self.desk.note(page);
        match (scan, last) {
            (Scan::Known(_, left), _) => self.known(left).await,
            (Scan::Reading(_) | Scan::Idle, Some(last)) => Scan::Reading(self.page(Some(last))),
            (Scan::Reading(_) | Scan::Idle, None) => self.known(self.desk.digests()).await,
        }
    }

    /// Removes the files of transfers that nobody will go on with.
    async fn sweep_leftovers(&self) {
        let leftovers = match self.fetches.leftovers().await {
            Ok(leftovers) => leftovers,
            Err(error) => {
                warn!(%error, "leftovers of transfers could not be listed");
                return;
            }
        };
        for digest in leftovers {
            if matches!(self.holders.lacks(&digest), Ok(false)) {
                self.fetches.forget(&digest).await;
            }
        }
    }

    fn dispatch(self: &Arc<Self>, running: &mut JoinSet<Done>, busy: &mut Busy) {
        let now = Instant::now();
        for class in [Class::Small, Class::Large] {
            while busy.of(class) < self.limit(class) && self.confirm.len() < self.config.max_unconfirmed {
                let Some((digest, missing)) = self.desk.plan().take(class, now) else { break };
                *busy.of_mut(class) += 1;
                let (worker, traffic) = (Arc::clone(self), self.traffic(&missing));
                running.spawn(async move { Done::One(digest, class, worker.bring(digest, traffic).await) });
            }
        }
        while busy.tiny < self.limit(Class::Tiny) && self.confirm.len() < self.config.max_unconfirmed {
            let is_recent = |missing: &Missing| self.traffic(missing) == Traffic::Ack;
            let (blobs, bytes) = (self.config.batch_blobs.clamp(1, MANY_BLOBS), self.config.batch_bytes);
            let batch = self.desk.plan().take_batch(now, blobs, bytes, is_recent);
            let Some((_, first)) = batch.first() else { break };
            let purpose = if is_recent(first) { Purpose::Ack } else { Purpose::Repair };
            busy.tiny += 1;
            let (batches, digests) = (Arc::clone(&self.batches), batch.into_iter().map(|(digest, _)| digest).collect());
            running.spawn(async move { Done::Many(batches.fetch(digests, purpose).await) });
        }
    }

    fn limit(&self, class: Class) -> usize {
        match class {
            Class::Tiny => self.config.batches.max(1),
            Class::Small => self.config.small_fetches.max(1),
            Class::Large => self.config.large_fetches.max(1),
        }
    }

    /// Whether somebody may wait for the copy.
    fn traffic(&self, missing: &Missing) -> Traffic {
        let is_recent = wall_ms().saturating_sub(missing.at_ms) < self.config.recent_ms;
        if is_recent { Traffic::Ack } else { Traffic::Repair }
    }

    /// When a blob may be tried that there is room for.
    fn next_due(&self, busy: &Busy) -> Instant {
        let now = Instant::now();
        let plan = self.desk.plan();
        let due = [Class::Tiny, Class::Small, Class::Large]
            .into_iter()
            .filter(|class| busy.of(*class) < self.limit(*class))
            .filter_map(|class| plan.next_due(class, now))
            .min();
        // A confirmation that makes room wakes nobody: look again after a moment.
        let soonest = now + Duration::from_millis(if due.is_some() { 20 } else { 3_600_000 });
        due.map_or(soonest, |due| due.max(soonest))
    }

    async fn bring(&self, digest: Digest, traffic: Traffic) -> Tried {
        let known = match self.holders.of(&digest) {
            Ok(Some(known)) => known,
            Ok(None) => return Tried::Needless,
            Err(error) => {
                error!(%digest, %error, "a blob's holders could not be read");
                return Tried::Failed;
            }
        };
        if self.confirm.file(&digest).is_some() {
            return Tried::Landed;
        }
        if let Some(file) = self.adoptable(digest).await {
            debug!(%digest, "a file of an earlier start is announced instead of fetched");
            self.confirm.push(Finished { digest, file, generation: known.generation, adopted: true });
            return Tried::Landed;
        }
        let mut progress = match self.fetches.join(digest, known.size, known.generation, Wish::Policy(traffic)) {
            // The share is given back at once: policy is no reader.
            Joined::Fetch(share, _) => share.progress(),
            Joined::Finished => return Tried::Landed,
            Joined::Busy(_) | Joined::Stopped => return Tried::Failed,
        };
        match progress.wait_for(|progress| progress.end.is_some()).await.map(|progress| progress.end.clone()) {
            Ok(Some(End::Sealed(_))) => Tried::Landed,
            Ok(Some(End::Gone)) => Tried::Needless,
            _ => Tried::Failed,
        }
    }

    /// A whole file of the blob that an earlier start of this node finished and did not announce. Younger files
    /// belong to somebody of this process, who announces them.
    async fn adoptable(&self, digest: Digest) -> Option<FileId> {
        let (blobs, started) = (Arc::clone(&self.blobs), self.started);
        let found = blocking(move || {
            for file in blobs.files_of(&digest)? {
                if ulid::Ulid(file.0).timestamp_ms() < started && blobs.verify_whole(&digest, file).is_ok() {
                    return Ok(Some(file));
                }
            }
            Ok::<_, StoreError>(None)
        });
        found.await.unwrap_or_else(|error| {
            warn!(%digest, %error, "the disk could not be asked for an earlier copy");
            None
        })
    }

    fn done(&self, done: Done, busy: &mut Busy) {
        match done {
            Done::One(digest, class, tried) => {
                let count = busy.of_mut(class);
                *count = count.saturating_sub(1);
                self.note(&digest, &tried);
            }
            Done::Many(brought) => {
                busy.tiny = busy.tiny.saturating_sub(1);
                for (digest, brought) in brought {
                    self.note(&digest, &Tried::from(brought));
                }
            }
        }
    }

    fn note(&self, digest: &Digest, tried: &Tried) {
        let now = Instant::now();
        let mut plan = self.desk.plan();
        match tried {
            // Its location ends the deficit. Should that be refused, the blob is looked at once more.
            Tried::Landed => plan.again(digest, now + self.config.confirm_timeout()),
            Tried::Awaited(pause) => plan.again(digest, now + *pause),
            Tried::Failed => plan.retry(digest, now, |failures| self.config.backoff(failures)),
            Tried::Alone => plan.retry(digest, now, |_| Duration::ZERO),
            Tried::Needless => plan.note(*digest, None),
        }
    }

    fn publish(&self, busy: &Busy) {
        let (queue, bytes) = self.desk.plan().queued();
        telemetry::queue(queue, bytes, busy.tiny + busy.small + busy.large, self.confirm.len());
    }

    fn publish_regions(&self) {
        match self.consensus.local().read(|view| Topology::read(view)) {
            Ok(topology) => {
                telemetry::regions(&self.desk.regions(&topology));
                telemetry::lags(&self.desk.lags(&topology), self.desk.incomplete());
                telemetry::exposure(&self.desk.exposure(&topology), wall_ms());
            }
            Err(error) => error!(%error, "the topology cannot be read"),
        }
    }
}

/// How many fetches of each class the worker waits for.
#[derive(Default)]
struct Busy {
    /// Batches.
    tiny: usize,
    small: usize,
    large: usize,
}

impl Busy {
    fn of(&self, class: Class) -> usize {
        match class {
            Class::Tiny => self.tiny,
            Class::Small => self.small,
            Class::Large => self.large,
        }
    }

    fn of_mut(&mut self, class: Class) -> &mut usize {
        match class {
            Class::Tiny => &mut self.tiny,
            Class::Small => &mut self.small,
            Class::Large => &mut self.large,
        }
    }
}

/// Runs a longer reading of the state where it may block.
async fn reading<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, ViewError> + Send + 'static,
) -> Result<T, ViewError> {
    match tokio::task::spawn_blocking(read).await {
        Ok(result) => result,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => Err(ViewError::Read { family: "blobs", source: Box::new(error) }),
    }
}
