//! The queue before the disk: while some batches are made durable, whatever comes meanwhile waits together, and goes
//! together. A sync for hundreds costs hardly more than one for a few.

use crate::landing::blocking;
use portolan_store::{Blobs, StoredFile, WholeBlob};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, oneshot};
use tracing::{error, info};

/// How many are made durable at the same time: while one waits for the disk, another is written.
const TURNS: usize = 2;
/// How many blobs are made durable together at most, and about how many bytes. More make nothing cheaper, and a batch that
/// waits for thousands of others asks no holder for the next ones meanwhile.
const TOGETHER: (usize, u64) = (1_024, 16 << 20);

/// Makes blobs durable, many at a time.
pub(super) struct Disk {
    blobs: Arc<Blobs>,
    turns: Arc<Semaphore>,
    waiting: Mutex<VecDeque<Job>>,
}

/// What one batch wants stored.
struct Job {
    blobs: Vec<WholeBlob>,
    done: oneshot::Sender<Stored>,
}

/// The files, in the order of the blobs.
type Stored = Result<Vec<StoredFile>, NotStored>;

/// Why none of some blobs was stored; the log says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotStored {
    /// There is no room.
    Full,
    /// The disk failed.
    Broken,
}

impl Disk {
    pub(super) fn new(blobs: Arc<Blobs>) -> Self {
        Self { blobs, turns: Arc::new(Semaphore::new(TURNS)), waiting: Mutex::default() }
    }

    /// Stores blobs; durable on return. Dropped, it may store them all the same: the next start finds the files.
    pub(super) async fn store(&self, blobs: Vec<WholeBlob>) -> Stored {
        if blobs.is_empty() {
            return Ok(Vec::new());
        }
        let (done, mut told) = oneshot::channel();
        lock(&self.waiting).push_back(Job { blobs, done });
        loop {
            let turn = tokio::select! {
                biased;
                stored = &mut told => return stored.unwrap_or(Err(NotStored::Broken)),
                turn = Arc::clone(&self.turns).acquire_owned() => turn,
            };
            let jobs = next(&self.waiting);
            if jobs.is_empty() {
                // Somebody else has taken it along.
                drop(turn);
                return told.await.unwrap_or(Err(NotStored::Broken));
            }
            let disk = Arc::clone(&self.blobs);
            let worked = blocking(move || {
                // Given back when the disk is done, also when nobody waits for it any more.
                let _turn = turn;
                store_together(&disk, jobs);
                Ok(())
            });
            if worked.await.is_err() {
                return Err(NotStored::Broken);
            }
        }
    }
}

/// The jobs whose turn it is, in their order: one at least, if any waits. Those that nobody waits for are left out.
fn next(waiting: &Mutex<VecDeque<Job>>) -> Vec<Job> {
    let mut waiting = lock(waiting);
    waiting.retain(|job| !job.done.is_closed());
    let (mut blobs, mut bytes, mut jobs) = (0, 0, 0);
    for job in waiting.iter() {
        blobs += job.blobs.len();
        bytes += job.blobs.iter().map(WholeBlob::size).sum::<u64>();
        if jobs > 0 && (blobs > TOGETHER.0 || bytes > TOGETHER.1) {
            break;
        }
        jobs += 1;
    }
    waiting.drain(..jobs).collect()
}

/// Stores what several batches want, and tells each.
fn store_together(disk: &Blobs, jobs: Vec<Job>) {
    let mut shares = Vec::with_capacity(jobs.len());
    let mut all = Vec::with_capacity(jobs.iter().map(|job| job.blobs.len()).sum());
    for job in jobs {
        shares.push((job.blobs.len(), job.done));
        all.extend(job.blobs);
    }
    let stored = disk.store_many(&all).map_err(|error| {
        if error.is_full() {
            info!(blobs = all.len(), %error, "no room to store small blobs");
            NotStored::Full
        } else {
            error!(blobs = all.len(), %error, "the disk failed under small blobs");
            NotStored::Broken
        }
    });
    let mut left = stored.as_ref().map_or(&[][..], Vec::as_slice);
    for (count, done) in shares {
        let (own, others) = left.split_at(count.min(left.len()));
        left = others;
        let answer = stored.as_ref().map(|_| own.to_vec()).map_err(|reason| *reason);
        // Whoever asked may have gone.
        let _ = done.send(answer);
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::{Disk, NotStored, TURNS, lock};
    use portolan_oci::Digest;
    use portolan_store::{Blobs, Config, WholeBlob};
    use std::path::Path;
    use std::sync::Arc;
    use tokio::sync::OwnedSemaphorePermit;
    use tokio::task::JoinHandle;

    fn open(dir: &Path, reserve_bytes: u64) -> (Arc<Blobs>, Arc<Disk>) {
        let blobs = Blobs::open(dir, &Config { reserve_bytes, ..Config::default() }).unwrap();
        (Arc::clone(&blobs), Arc::new(Disk::new(blobs)))
    }

    fn some(seeds: std::ops::Range<u32>) -> Vec<WholeBlob> {
        let whole = |seed: u32| {
            let bytes = seed.to_le_bytes().repeat(100);
            WholeBlob::check(Digest::sha256_of(&bytes), bytes.into()).unwrap()
        };
        seeds.map(whole).collect()
    }

    /// Begins to store ten lots of ten, which wait until the turns are given back.
    async fn begin(disk: &Arc<Disk>) -> (OwnedSemaphorePermit, Vec<JoinHandle<super::Stored>>) {
        let busy = Arc::clone(&disk.turns).acquire_many_owned(u32::try_from(TURNS).unwrap()).await.unwrap();
        let lots: Vec<_> = (0..10)
            .map(|lot| {
                let disk = Arc::clone(disk);
                tokio::spawn(async move { disk.store(some(lot * 10..lot * 10 + 10)).await })
            })
            .collect();
        while lock(&disk.waiting).len() < lots.len() {
            tokio::task::yield_now().await;
        }
        (busy, lots)
    }

    #[tokio::test]
    async fn what_comes_while_the_disk_is_busy_is_stored_together_and_each_gets_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let (blobs, disk) = open(dir.path(), 0);
        let (busy, mut lots) = begin(&disk).await;
        // One whose batch was given up is not stored.
        lots.remove(7).abort();
        while lock(&disk.waiting).iter().all(|job| !job.done.is_closed()) {
            tokio::task::yield_now().await;
        }
        let jobs = super::next(&disk.waiting);
        assert_eq!(jobs.len(), 9);
        lock(&disk.waiting).extend(jobs);
        drop(busy);
        for (lot, stored) in [0, 1, 2, 3, 4, 5, 6, 8, 9].into_iter().zip(lots) {
            let stored = stored.await.unwrap().unwrap();
            let digests: Vec<Digest> = stored.iter().map(|file| file.digest).collect();
            let wanted: Vec<Digest> = some(lot * 10..lot * 10 + 10).iter().map(WholeBlob::digest).collect();
            assert_eq!(digests, wanted);
            for file in stored {
                assert_eq!(blobs.files_of(&file.digest).unwrap(), [file.file]);
            }
        }
        assert!(some(70..80).iter().all(|blob| blobs.files_of(&blob.digest()).unwrap().is_empty()));
        assert_eq!(disk.store(Vec::new()).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_full_disk_is_told_to_all_who_wait() {
        let dir = tempfile::tempdir().unwrap();
        let (_, disk) = open(dir.path(), u64::MAX / 2);
        let (busy, lots) = begin(&disk).await;
        drop(busy);
        for stored in lots {
            assert_eq!(stored.await.unwrap().unwrap_err(), NotStored::Full);
        }
    }
}
