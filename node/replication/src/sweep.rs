//! Unlinks the files of earlier starts that nobody lists (design, section 7, point 5), in the background, once per start.
//!
//! Such a file is what a start leaves that ends between the renaming of a finished file and the commit of its location.
//! Where placement wants the blob here the worker announces it instead of fetching ([`crate::adopt`]); nobody would ever
//! look at the others: of a blob that no commit made known, or whose upload was repeated, so that this store has another
//! file of it.
//!
//! Why no location can name a file that is unlinked here:
//!
//! - Only this node speaks of its own store's files: apply refuses locations there from any other proposer. So whoever may
//!   name the file is an earlier start of this node, or this one.
//! - An earlier start's proposals carry its incarnation, wherever they lie: in the log, at a leader, on the wire. The apply
//!   of any proposal of this start, its `NodeBoot` at the latest, makes apply refuse those of all earlier ones
//!   (`OldIncarnation`), repeated and forwarded ones too, for the judgement is that of the key alone. Nothing is looked at
//!   before the applied state has this start's `NodeBoot`; so a location of an earlier start is in the rows that are read
//!   then, or there will never be one.
//! - This start names files of its own, and those of earlier ones that it adopts. Which are which says the file's id: the
//!   store makes none that is older than its start, even if the clock is set back. An upload that was sealed lives in
//!   memory alone; after a restart its session is unknown, so that no client's repeated request names its file.
//! - A file is adopted by whoever holds it ([`Confirm::hold`]), and held here from before the rows are read until after it
//!   is unlinked. One that this start has ever announced stays, whatever the rows say: the announcement may be repeated,
//!   and only the next start drops what is on its way. Who listed the file before and comes later finds it gone.
//!
//! A file with a row in `reclaim` is that loop's. One of a Live blob goes only when this store has another file of it that
//! is there, or every target holds one on a node that answers: otherwise it is announced where it may be stored, and its
//! surplus is for the apply of a drop to judge. What cannot be decided stays and is looked at again, less and less often.
//! After a recovery of a lost majority (an epoch that is not 0) the rows do not tell all, and nothing is swept.
//!
//! One folder of the 256 is looked at at a time, with a pause after each, and within a full one, that leaves the disk to
//! others.

mod verdict;

use crate::config::Config;
use crate::confirm::{Confirm, Held};
use crate::fetch::Fetches;
use crate::landing::blocking;
use crate::me::Me;
use crate::telemetry;
use crate::unlisted::{earlier_files, recorded};
use portolan_consensus::{Change, Consensus};
use portolan_meta::id::{FileId, StoreId};
use portolan_meta::query;
use portolan_meta::view::{View, ViewError};
use portolan_oci::{Algorithm, Digest};
use portolan_store::{Blobs, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};
use verdict::Verdict;

/// How many times as long as it took to look at a folder the disk is left alone, and how long that is at least and at most.
const REST_FACTOR: u32 = 4;
const REST: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(10));
/// After how many files of a folder the disk is left alone, too.
const FILES_AT_A_TIME: usize = 64;
/// How many files that cannot be decided yet are remembered; the next start finds the others.
const UNDECIDED: usize = 10_000;
/// How long the longest pause is before those are looked at again.
const LOOK_AGAIN_AT_MOST: Duration = Duration::from_secs(3_600);

/// Looks for such files.
pub(crate) struct Sweep {
    me: Me,
    blobs: Arc<Blobs>,
    consensus: Arc<Consensus>,
    fetches: Arc<Fetches>,
    confirm: Arc<Confirm>,
    /// After how long a file that could not be decided is looked at again, at first.
    look_again: Duration,
}

/// What became of a file.
enum Fate {
    /// It is none of ours, or not there any more.
    Left,
    /// It is unlinked; so many bytes.
    Gone(u64),
    /// It is to be announced if it is whole.
    Wanted(Held, u64),
    /// It is to be looked at again.
    Later,
}

/// What a sweep has done.
#[derive(Debug)]
struct Swept {
    files: u64,
    bytes: u64,
    sidecars: usize,
    undecided: Vec<(Digest, FileId)>,
    /// Since when it works on the disk.
    works: Instant,
}

impl Swept {
    fn nothing() -> Self {
        Self { files: 0, bytes: 0, sidecars: 0, undecided: Vec::new(), works: Instant::now() }
    }

    /// Leaves the disk alone for as long as the work since the last rest is worth; says whether the node goes on.
    async fn rest(&mut self, stop: &CancellationToken) -> bool {
        let pause = self.works.elapsed().saturating_mul(REST_FACTOR).clamp(REST.0, REST.1);
        let goes_on = stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some();
        self.works = Instant::now();
        goes_on
    }
}

impl Sweep {
    /// Of a node's own disk.
    pub(crate) fn new(
        config: &Config,
        me: Me,
        (blobs, consensus): (&Arc<Blobs>, &Arc<Consensus>),
        (fetches, confirm): (&Arc<Fetches>, &Arc<Confirm>),
    ) -> Self {
        Self {
            me,
            blobs: Arc::clone(blobs),
            consensus: Arc::clone(consensus),
            fetches: Arc::clone(fetches),
            confirm: Arc::clone(confirm),
            look_again: config.rescan(),
        }
    }

    /// Sweeps, and ends when nothing is left to decide or the node stops.
    pub(crate) async fn run(self, stop: CancellationToken) {
        if !self.is_known(&stop).await {
            return;
        }
        let (sweep, mut swept) = (Arc::new(self), Swept::nothing());
        for beside in folders() {
            swept.works = Instant::now();
            let was_there = sweep.folder(beside, &mut swept, &stop).await;
            // Most folders of a small disk are not there.
            if stop.is_cancelled() || (was_there && !swept.rest(&stop).await) {
                return;
            }
        }
        let (Swept { files, bytes, sidecars, .. }, undecided) = (&swept, swept.undecided.len());
        info!(files, bytes, sidecars, undecided, "swept what earlier starts left");
        let mut pause = sweep.look_again;
        while !swept.undecided.is_empty() {
            if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
            let files = std::mem::take(&mut swept.undecided);
            swept.works = Instant::now();
            sweep.decide(files, true, &mut swept, &stop).await;
            pause = pause.saturating_mul(2).min(LOOK_AGAIN_AT_MOST);
        }
    }

    /// Waits until this node has applied its own boot; says whether there may be a sweep.
    async fn is_known(&self, stop: &CancellationToken) -> bool {
        let mut changes = self.consensus.changes();
        let mine = self.consensus.incarnation();
        let read = |view: &dyn View| Ok((query::node(view, self.me.node)?, query::cluster(view)?));
        loop {
            let known: Result<_, ViewError> = self.consensus.local().read(read);
            match known {
                Ok((Some(row), cluster)) if row.incarnation >= mine => {
                    let epoch = cluster.map_or(0, |cluster| cluster.epoch);
                    let may_sweep = verdict::may_sweep(row.incarnation, mine, epoch);
                    if !may_sweep {
                        warn!(incarnation = row.incarnation, epoch, "files of earlier starts are not swept");
                    }
                    return may_sweep;
                }
                Ok(_) => {}
                Err(error) => warn!(%error, "whether this start is known cannot be read"),
            }
            loop {
                let change = tokio::select! {
                    () = stop.cancelled() => return false,
                    change = changes.recv() => change,
                };
                match change {
                    Ok(Change::Blobs(_)) => {}
                    Ok(Change::Topology | Change::Reset) | Err(RecvError::Lagged(_)) => break,
                    Err(RecvError::Closed) => return false,
                }
            }
        }
    }

    /// Looks at one folder; says whether anything lay there.
    async fn folder(self: &Arc<Self>, beside: Digest, swept: &mut Swept, stop: &CancellationToken) -> bool {
        let sweep = Arc::clone(self);
        let listed = blocking(move || {
            let files = earlier_files(&sweep.blobs, &beside)?;
            let were_there = !files.is_empty();
            let sidecars = sweep.blobs.remove_lone_sums(&beside)?;
            // Without the rows nothing is unlinked, and the next start looks again.
            let unlisted = recorded(&sweep.consensus, sweep.store(), &files)
                .map(|recorded| files.into_iter().filter(|file| !recorded.contains(file)).collect::<Vec<_>>());
            Ok((were_there, sidecars, unlisted))
        });
        match listed.await {
            Ok((were_there, sidecars, Ok(unlisted))) => {
                swept.sidecars += sidecars;
                self.decide(unlisted, false, swept, stop).await;
                were_there
            }
            Ok((were_there, _, Err(error))) => {
                warn!(%error, "the copies of this node could not be read: a folder is not swept");
                were_there
            }
            Err(error) => {
                warn!(%error, "a folder of blobs could not be listed");
                true
            }
        }
    }

    /// Decides about files, one after the other.
    async fn decide(
        self: &Arc<Self>,
        files: Vec<(Digest, FileId)>,
        again: bool,
        swept: &mut Swept,
        stop: &CancellationToken,
    ) {
        for (count, (digest, file)) in (1..).zip(files) {
            if stop.is_cancelled() {
                return;
            }
            let sweep = Arc::clone(self);
            // Awaited to its end even when the node stops: nobody may start on this disk while a file is being unlinked.
            match blocking(move || sweep.judge(&digest, file, again)).await {
                Ok(Fate::Gone(bytes)) => {
                    debug!(%digest, bytes, "a file that nobody lists was unlinked");
                    (swept.files, swept.bytes) = (swept.files + 1, swept.bytes + bytes);
                    telemetry::swept_files().increment(1);
                    telemetry::swept_bytes().increment(bytes);
                }
                Ok(Fate::Wanted(held, generation)) => {
                    if !self.announce(digest, file, held, generation, stop).await || !swept.rest(stop).await {
                        return;
                    }
                }
                Ok(Fate::Later) if swept.undecided.len() < UNDECIDED => swept.undecided.push((digest, file)),
                // What is too much to remember the next start finds.
                Ok(Fate::Left | Fate::Later) => {}
                Err(error) => warn!(%digest, %error, "a file that nobody lists could not be looked at"),
            }
            if count % FILES_AT_A_TIME == 0 && !swept.rest(stop).await {
                return;
            }
        }
    }

    /// Unlinks a file if nobody needs it. Blocks.
    fn judge(self: &Arc<Self>, digest: &Digest, file: FileId, again: bool) -> Result<Fate, StoreError> {
        let Some(bytes) = self.blobs.size_of(digest, file)? else { return Ok(Fate::Left) };
        // What brings the blob here at this moment will find the file, or make another one.
        if self.fetches.is_running(digest) {
            return Ok(Fate::Later);
        }
        // Looked at before it is held: the worker, which adopts what it wants to fetch, must not find it held by us.
        match self.verdict(digest, file) {
            Some(Verdict::Listed) => return Ok(Fate::Left),
            Some(Verdict::Wanted(_)) if !again => return Ok(Fate::Later),
            Some(Verdict::Undecided) | None => return Ok(Fate::Later),
            Some(Verdict::Stray | Verdict::Second(..) | Verdict::Wanted(_)) => {}
        }
        let Some(held) = self.confirm.hold(*digest, file) else { return Ok(Fate::Later) };
        if self.confirm.has_announced(file) {
            return Ok(Fate::Left);
        }
        let is_stray = match self.verdict(digest, file) {
            Some(Verdict::Stray) => true,
            Some(Verdict::Second(other, size)) => self.blobs.size_of(digest, other)? == Some(size),
            Some(Verdict::Wanted(generation)) => return Ok(Fate::Wanted(held, generation)),
            Some(Verdict::Listed | Verdict::Undecided) | None => false,
        };
        if !is_stray {
            return Ok(Fate::Later);
        }
        let was_there = self.blobs.remove(digest, file)?;
        drop(held);
        Ok(if was_there { Fate::Gone(bytes) } else { Fate::Left })
    }

    /// What the rows of one moment say; `None` when they cannot be read.
    fn verdict(&self, digest: &Digest, file: FileId) -> Option<Verdict> {
        let verdict = self.consensus.local().read(|view| verdict::of(view, &self.me, digest, file));
        verdict.inspect_err(|error| warn!(%digest, %error, "how a blob stands could not be read")).ok()
    }

    /// Announces a file that is whole, and puts one aside that is not; says whether the node goes on.
    async fn announce(
        &self,
        digest: Digest,
        file: FileId,
        held: Held,
        generation: u64,
        stop: &CancellationToken,
    ) -> bool {
        let blobs = Arc::clone(&self.blobs);
        // It only reads, for as long as the file is long: nobody waits for its end when the node stops.
        let verified = stop.run_until_cancelled(blocking(move || blobs.verify_whole(&digest, file))).await;
        let Some(verified) = verified.filter(|_| !stop.is_cancelled()) else { return false };
        match verified {
            Ok(()) => held.announce(generation),
            Err(error) => {
                warn!(%digest, %error, "a file that nobody lists cannot be announced");
                if matches!(error, StoreError::Corrupt { .. }) {
                    let blobs = Arc::clone(&self.blobs);
                    // Awaited to its end, as an unlinking is.
                    if let Err(error) = blocking(move || blobs.quarantine(&digest, file)).await {
                        warn!(%digest, %error, "a damaged file that nobody lists could not be put aside");
                    }
                }
                drop(held);
            }
        }
        true
    }

    fn store(&self) -> StoreId {
        self.me.node.into()
    }
}

/// A digest of each folder that blob files may lie in.
fn folders() -> impl Iterator<Item = Digest> {
    Algorithm::ALL.into_iter().flat_map(|algorithm| {
        (0..=u8::MAX).filter_map(move |first| {
            let mut raw = vec![0; algorithm.bytes()];
            raw[0] = first;
            Digest::from_raw(algorithm, &raw)
        })
    })
}
