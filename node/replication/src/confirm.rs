//! Turns finished files into committed locations, many per proposal.

use crate::config::Config;
use crate::landing::blocking;
use crate::telemetry;
use portolan_consensus::{Consensus, ProposeError};
use portolan_meta::command::{Command, FoundCopy};
use portolan_meta::id::{FileId, StoreId};
use portolan_meta::limits;
use portolan_meta::outcome::{Outcome, Refusal};
use portolan_meta::query;
use portolan_oci::Digest;
use portolan_store::Blobs;
use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

/// A file that is durable and not announced yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finished {
    pub(crate) digest: Digest,
    pub(crate) file: FileId,
    /// The blob's generation when its transfer began.
    pub(crate) generation: u64,
    /// Whether an earlier start of this node made the file: an announcement of that start may still be on its way,
    /// so that a refusal does not prove that nobody refers to it.
    pub(crate) adopted: bool,
}

#[derive(Default)]
struct Waiting {
    queue: VecDeque<Finished>,
    /// Also those whose proposal is under way: pulls read them already.
    files: HashMap<Digest, FileId>,
    /// Those that are looked at, and perhaps handed over: nobody may read them yet.
    held: HashMap<Digest, FileId>,
    /// The files of earlier starts that this one has announced and that did not come to count: as many as those left
    /// unannounced, at most.
    adopted: HashSet<FileId>,
}

impl Waiting {
    /// What was announced is judged. One that counts has a row, which tells more; of one that does not, another
    /// announcement may be on its way.
    fn settle(&mut self, finished: &Finished, counts: bool) {
        if self.files.get(&finished.digest) == Some(&finished.file) {
            self.files.remove(&finished.digest);
        }
        if counts {
            self.adopted.remove(&finished.file);
        }
    }
}

/// A file of an earlier start that nobody unlinks meanwhile.
pub(crate) struct Held {
    confirm: Arc<Confirm>,
    digest: Digest,
    file: FileId,
}

impl Held {
    /// Hands it over, as it was found to be whole.
    pub(crate) fn announce(self, generation: u64) {
        debug!(digest = %self.digest, "a file of an earlier start is announced instead of fetched");
        self.confirm.lock().adopted.insert(self.file);
        self.confirm.push(Finished { digest: self.digest, file: self.file, generation, adopted: true });
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.confirm.lock().held.remove(&self.digest);
    }
}

/// Finished files that wait for their committed location.
pub(crate) struct Confirm {
    waiting: Mutex<Waiting>,
    wake: Notify,
    store: StoreId,
    batch: usize,
    timeout: Duration,
    pause: Duration,
    max_pause: Duration,
    blobs: Arc<Blobs>,
    consensus: Arc<Consensus>,
}

impl Confirm {
    pub(crate) fn new(config: &Config, store: StoreId, blobs: Arc<Blobs>, consensus: Arc<Consensus>) -> Arc<Self> {
        Arc::new(Self {
            waiting: Mutex::default(),
            wake: Notify::new(),
            store,
            batch: config.confirm_batch.clamp(1, limits::LOCATIONS_PER_ADD),
            timeout: config.confirm_timeout(),
            pause: Duration::from_millis(config.backoff_ms),
            max_pause: Duration::from_millis(config.max_backoff_ms),
            blobs,
            consensus,
        })
    }

    /// Hands a finished file over. It may be read from now on.
    pub(crate) fn push(&self, finished: Finished) {
        let mut waiting = self.lock();
        waiting.files.insert(finished.digest, finished.file);
        waiting.queue.push_back(finished);
        self.wake.notify_one();
    }

    /// Holds a file of an earlier start, before it is looked at: as long as it is held it is not unlinked. `None` when
    /// another file of the blob waits or is held, or this one was given up and is to be unlinked.
    pub(crate) fn hold(self: &Arc<Self>, digest: Digest, file: FileId) -> Option<Held> {
        {
            let mut waiting = self.lock();
            if waiting.files.contains_key(&digest) || waiting.held.contains_key(&digest) {
                return None;
            }
            waiting.held.insert(digest, file);
        }
        let held = Held { confirm: Arc::clone(self), digest, file };
        let given_up = self.consensus.local().read(|view| query::is_given_up(view, self.store, file));
        // Where that cannot be read the file stays, and is found again.
        matches!(given_up, Ok(false)).then_some(held)
    }

    /// Whether this start has announced a file of an earlier one that did not come to count since. Of two announcements the
    /// first may come last, so that not even a refusal says that no other is on its way.
    pub(crate) fn has_announced(&self, file: FileId) -> bool {
        self.lock().adopted.contains(&file)
    }

    /// Whether a file may not be unlinked, because it is or will be announced.
    pub(crate) fn needs(&self, digest: &Digest, file: FileId) -> bool {
        let waiting = self.lock();
        waiting.files.get(digest) == Some(&file) || waiting.held.get(digest) == Some(&file)
    }

    /// The file of a digest that waits.
    pub(crate) fn file(&self, digest: &Digest) -> Option<FileId> {
        self.lock().files.get(digest).copied()
    }

    /// How many wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().files.len()
    }

    /// Announces until the node stops; several may do so beside each other. What waits then is announced after the next
    /// start, which finds the files.
    pub(crate) async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut failures = 0_u32;
        loop {
            let batch: Vec<Finished> = {
                let mut waiting = self.lock();
                let count = waiting.queue.len().min(self.batch);
                waiting.queue.drain(..count).collect()
            };
            if batch.is_empty() {
                tokio::select! {
                    () = self.wake.notified() => continue,
                    () = stop.cancelled() => return,
                }
            }
            let proposed = tokio::select! {
                proposed = self.propose(&batch) => proposed,
                () = stop.cancelled() => return,
            };
            match proposed {
                Verdict::Judged(counted) => {
                    failures = 0;
                    for (finished, counts) in batch.into_iter().zip(counted) {
                        self.settle(finished, counts).await;
                    }
                }
                Verdict::Refused => {
                    for finished in batch {
                        // Its outcome will be the same for ever; the next incarnation of this node decides.
                        self.lock().files.remove(&finished.digest);
                    }
                }
                Verdict::Again => {
                    failures = failures.saturating_add(1);
                    let mut waiting = self.lock();
                    batch.into_iter().rev().for_each(|finished| waiting.queue.push_front(finished));
                }
            }
            if failures > 0 {
                let pause = self.pause.saturating_mul(1 << (failures - 1).min(16)).min(self.max_pause);
                tokio::select! {
                    () = sleep(pause) => {}
                    () = stop.cancelled() => return,
                }
            }
        }
    }

    async fn propose(&self, batch: &[Finished]) -> Verdict {
        let found = batch
            .iter()
            .map(|copy| FoundCopy { digest: copy.digest, file: copy.file, generation: copy.generation })
            .collect();
        let began = Instant::now();
        let outcome =
            self.consensus.propose(Command::AddLocations { store: self.store, found }, began + self.timeout).await;
        telemetry::confirm_seconds().record(began.elapsed());
        match outcome {
            Ok(Outcome::LocationsAdded(counted)) if counted.len() == batch.len() => Verdict::Judged(counted),
            Ok(Outcome::Refused(refusal @ Refusal::OldIncarnation { .. })) => {
                error!(%refusal, "a newer start of this node is known: its copies are not announced");
                Verdict::Refused
            }
            // Among them: this node's boot is not committed yet.
            Ok(outcome) => {
                info!(?outcome, "copies could not be announced yet");
                Verdict::Again
            }
            // The outcome is unknown. The same files are proposed again: an apply that finds them counts them.
            Err(ProposeError::NoLeader | ProposeError::Deadline | ProposeError::Stopped) => Verdict::Again,
            Err(error @ ProposeError::TooLarge { .. }) => {
                error!(%error, copies = batch.len(), "a batch of copies is too large: lower replication.confirm_batch");
                Verdict::Refused
            }
        }
    }

    async fn settle(&self, finished: Finished, counts: bool) {
        let Finished { digest, file, adopted, .. } = finished;
        self.lock().settle(&finished, counts);
        if counts {
            telemetry::copies().increment(1);
            return;
        }
        if adopted {
            return;
        }
        // Definitely refused: deleted meanwhile, or another file of it is recorded here. Only now may it go.
        let blobs = Arc::clone(&self.blobs);
        if let Err(error) = blocking(move || blobs.remove(&digest, file)).await {
            warn!(%digest, %error, "a refused copy could not be removed");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Verdict {
    /// Which of the copies count.
    Judged(Vec<bool>),
    /// None ever will.
    Refused,
    /// Unknown, or not yet.
    Again,
}

#[cfg(test)]
mod tests {
    use super::{Finished, Waiting};
    use portolan_meta::id::FileId;
    use portolan_oci::Digest;

    #[test]
    fn an_adopted_file_is_remembered_until_it_counts_and_not_only_until_it_is_refused() {
        let (digest, file) = (Digest::sha256_of(b"x"), FileId(1));
        let finished = Finished { digest, file, generation: 1, adopted: true };
        let mut waiting = Waiting::default();
        for (counts, remembered) in [(false, true), (true, false)] {
            waiting.files.insert(digest, file);
            waiting.adopted.insert(file);
            waiting.settle(&finished, counts);
            assert_eq!(waiting.adopted.contains(&file), remembered, "counts: {counts}");
            assert!(waiting.files.is_empty());
        }
    }

    #[test]
    fn what_waits_under_another_file_by_now_goes_on_waiting() {
        let digest = Digest::sha256_of(b"x");
        let mut waiting = Waiting::default();
        waiting.files.insert(digest, FileId(2));
        waiting.settle(&Finished { digest, file: FileId(1), generation: 1, adopted: false }, true);
        assert_eq!(waiting.files.get(&digest), Some(&FileId(2)));
    }
}
