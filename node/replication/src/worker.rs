//! Brings what policy wants on this node. Events only wake it: what is missing is computed from the state, a lost
//! event costs a delay, and a restart plans anew.

use crate::adopt::adopt;
use crate::batch::{Batches, Brought};
use crate::config::Config;
use crate::confirm::Confirm;
use crate::desk::{Desk, wall_ms};
use crate::fetch::{Fetches, Joined, Wish};
use crate::holders::Holders;
use crate::landing::blocking;
use crate::plan::{Class, Missing};
use crate::scan::{Facts, Scan, facts};
use crate::telemetry::{self, Purpose};
use crate::transfer::End;
use portolan_consensus::{Change, Consensus};
use portolan_meta::placement::Topology;
use portolan_meta::row::Traffic;
use portolan_meta::view::ViewError;
use portolan_oci::Digest;
use portolan_peer::MANY_BLOBS;
use portolan_store::Blobs;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::{Receiver, error::RecvError};
use tokio::task::{self, JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

/// How often the gauges per region are computed: they walk over everything that is missing.
const GAUGES_EVERY: Duration = Duration::from_secs(5);

/// The loop.
pub(crate) struct Worker {
    pub(crate) config: Config,
    pub(crate) desk: Arc<Desk>,
    pub(crate) blobs: Arc<Blobs>,
    pub(crate) consensus: Arc<Consensus>,
    pub(crate) holders: Arc<Holders>,
    pub(crate) fetches: Arc<Fetches>,
    pub(crate) batches: Arc<Batches>,
    pub(crate) confirm: Arc<Confirm>,
    pub(crate) stop: CancellationToken,
}

/// What became of blobs that a task was to bring.
type Done = Vec<(Digest, Tried)>;

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
        let mut scan = Scan::new(Arc::clone(&self.consensus), Arc::clone(&self.desk), self.config.scan_page);
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
                        scan.begin_again();
                    }
                    Err(RecvError::Closed) => break,
                },
                _ = rescan.tick() => scan.begin(),
                _ = gauges.tick() => self.publish_regions().await,
                page = scan.page() => self.turn(page, &mut scan).await,
                Some(done) = running.join_next_with_id() => self.done(done, &mut busy),
                () = sleep_until(due) => {}
            }
        }
        // The transfers themselves end with the same token; these only wait for them.
        running.shutdown().await;
    }

    /// Takes a change and whatever else has come by now, so that a burst is one reading of the state.
    async fn changed(&self, first: Change, changes: &mut Receiver<Change>, scan: &mut Scan) {
        let mut digests = HashSet::new();
        let mut next = Some(first);
        while let Some(change) = next {
            match change {
                Change::Blobs(changed) => digests.extend(changed.iter().copied()),
                Change::Topology | Change::Reset => scan.begin_again(),
            }
            next = if digests.len() < self.config.scan_page { changes.try_recv().ok() } else { None };
        }
        if digests.is_empty() {
            return;
        }
        scan.changed(&digests);
        match facts(&self.consensus, move |_| Ok(digests.into_iter().collect())).await {
            Ok(facts) => self.desk.note(facts),
            Err(error) => error!(%error, "what is missing could not be computed"),
        }
    }

    /// Takes a page of a scan.
    async fn turn(&self, page: Result<Facts, ViewError>, scan: &mut Scan) {
        match scan.turn(page) {
            Ok(false) => {}
            Ok(true) => {
                self.fetches.reconsider();
                self.sweep_leftovers().await;
                scan.end();
            }
            Err(error) => error!(%error, "the scan for missing blobs failed; the next one begins in time"),
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
                let (worker, traffic) = (Arc::clone(self), self.traffic(&missing));
                let task = running.spawn(async move { vec![(digest, worker.bring(digest, traffic).await)] });
                busy.began(task.id(), class, vec![digest]);
            }
        }
        while busy.of(Class::Tiny) < self.limit(Class::Tiny) && self.confirm.len() < self.config.max_unconfirmed {
            let is_recent = |missing: &Missing| self.traffic(missing) == Traffic::Ack;
            let (blobs, bytes) = (self.config.batch_blobs.clamp(1, MANY_BLOBS), self.config.batch_bytes);
            let batch = self.desk.plan().take_batch(now, blobs, bytes, is_recent);
            let Some((_, first)) = batch.first() else { break };
            let purpose = if is_recent(first) { Purpose::Ack } else { Purpose::Repair };
            let digests: Vec<Digest> = batch.into_iter().map(|(digest, _)| digest).collect();
            let (batches, wanted) = (Arc::clone(&self.batches), digests.clone());
            let task = running.spawn(async move {
                let brought = batches.fetch(wanted, purpose).await;
                brought.into_iter().map(|(digest, brought)| (digest, Tried::from(brought))).collect()
            });
            busy.began(task.id(), Class::Tiny, digests);
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
        // What was noted may be older than a copy that has been confirmed since.
        if self.holders.here(&digest).is_ok_and(|here| here.is_some_and(|here| !here.own.is_empty())) {
            return Tried::Needless;
        }
        if self.confirm.file(&digest).is_some() {
            return Tried::Landed;
        }
        if self.adopt(digest, known.generation).await {
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

    /// Looks for a file of an earlier start; says whether one is announced.
    async fn adopt(&self, digest: Digest, generation: u64) -> bool {
        let (blobs, confirm) = (Arc::clone(&self.blobs), Arc::clone(&self.confirm));
        let found = blocking(move || {
            let found: Vec<_> = blobs.files_of(&digest)?.into_iter().map(|file| (digest, file)).collect();
            Ok(!adopt(&confirm, &blobs, &found, |_| Some(generation)).is_empty())
        });
        found.await.unwrap_or_else(|error| {
            warn!(%digest, %error, "the disk could not be asked for an earlier copy");
            false
        })
    }

    /// Takes what a task tells; one that died has brought nothing.
    fn done(&self, done: Result<(task::Id, Done), JoinError>, busy: &mut Busy) {
        let (id, told) = match done {
            Ok((id, told)) => (id, Some(told)),
            Err(error) => {
                error!(%error, "a task of the worker died");
                (error.id(), None)
            }
        };
        let digests = busy.ended(id);
        let told = told.unwrap_or_else(|| digests.into_iter().map(|digest| (digest, Tried::Failed)).collect());
        for (digest, tried) in told {
            self.note(&digest, &tried);
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
        telemetry::queue(queue, bytes, busy.0.len(), self.confirm.len());
    }

    /// Computes the gauges per region, where walking over everything may block.
    async fn publish_regions(&self) {
        let (state, desk) = (self.consensus.local(), Arc::clone(&self.desk));
        let publish = move || match state.read(|view| Topology::read(view)) {
            Ok(topology) => {
                telemetry::regions(&desk.regions(&topology));
                telemetry::lags(&desk.lags(&topology), desk.incomplete());
                telemetry::exposure(&desk.exposure(&topology), wall_ms());
            }
            Err(error) => error!(%error, "the topology cannot be read"),
        };
        if let Err(error) = task::spawn_blocking(publish).await {
            error!(%error, "the gauges per region could not be computed");
        }
    }
}

/// The tasks that the worker waits for, and what each is to bring.
#[derive(Default)]
struct Busy(HashMap<task::Id, (Class, Vec<Digest>)>);

impl Busy {
    fn of(&self, class: Class) -> usize {
        self.0.values().filter(|(of, _)| *of == class).count()
    }

    fn began(&mut self, task: task::Id, class: Class, digests: Vec<Digest>) {
        self.0.insert(task, (class, digests));
    }

    fn ended(&mut self, task: task::Id) -> Vec<Digest> {
        self.0.remove(&task).map(|(_, digests)| digests).unwrap_or_default()
    }
}
