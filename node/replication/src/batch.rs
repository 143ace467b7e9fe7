//! Many small blobs at a time: read in one stream from each node that has them, checked in memory, and made durable
//! together. One by one, each would cost a round trip and two syncs.
//!
//! What a batch does not bring goes the ordinary way, as a transfer of its own. A pull that comes meanwhile may begin one
//! too: the blobs are small, and of two files only one is recorded ([`crate::confirm`] removes the other).

mod disk;
mod earlier;

use crate::adopt::adopt;
use crate::confirm::{Confirm, Finished};
use crate::fetch::Fetches;
use crate::holders::{Candidate, Holders, Known};
use crate::landing::blocking;
use crate::source::Sources;
use crate::telemetry::{self, Purpose};
use bytes::Bytes;
use disk::{Disk, NotStored};
use earlier::Earlier;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use portolan_consensus::Consensus;
use portolan_meta::id::{NodeId, StoreId};
use portolan_oci::Digest;
use portolan_peer::{MANY_BLOBS, PeerError};
use portolan_store::{Blobs, StoredFile, WholeBlob};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, error, warn};

/// How many nodes are asked for a blob before it goes the ordinary way.
const ROUNDS: usize = 2;
/// How many holders of wrong bytes are told at the same time.
const ACCUSATIONS: usize = 8;

/// For how long the node that crosses the WAN is waited for while it brings nothing.
const AWAIT_AT_MOST: Duration = Duration::from_secs(5);
/// How soon it is asked again: first, and at most.
const ASK_AGAIN: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));
/// Beyond so many blobs that are waited for, those that were forgotten are swept out.
const AWAITED_BLOBS: usize = 100_000;

/// What became of a blob that a batch was to bring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Brought {
    /// It is durable here, and its location is on its way.
    Stored,
    /// A transfer of its own, or another batch, brings it or has brought it.
    Elsewhere,
    /// The node that crosses the WAN for this region does not have it yet, and will soon: ask again after so long.
    Awaited(Duration),
    /// No live blob is recorded under the digest.
    Gone,
    /// Nobody who was asked has it or answers.
    NotThere,
    /// The bytes that came had another digest; whose they were is told so.
    Wrong,
    /// This node's disk has no room.
    Full,
    /// This node's disk or state failed.
    Broken,
}

/// Brings batches of small blobs.
pub(crate) struct Batches {
    blobs: Arc<Blobs>,
    earlier: Arc<Earlier>,
    holders: Arc<Holders>,
    sources: Arc<Sources>,
    fetches: Arc<Fetches>,
    confirm: Arc<Confirm>,
    disk: Disk,
    coming: Mutex<HashSet<Digest>>,
    patience: Mutex<Patience>,
}

/// How long the node that crosses the WAN is waited for: as long as it brings anything.
#[derive(Default)]
struct Patience {
    /// Since when each blob is waited for.
    since: HashMap<Digest, Instant>,
    /// When each node last had a blob that was asked of it.
    gave: HashMap<NodeId, Instant>,
}

impl Patience {
    /// How soon to ask a node again that lacks a blob; `None` when it was waited for long enough.
    fn wait(&mut self, digest: Digest, node: NodeId, now: Instant) -> Option<Duration> {
        if self.since.len() >= AWAITED_BLOBS {
            self.since.retain(|_, since| *since + AWAIT_AT_MOST > now);
        }
        let since = *self.since.entry(digest).or_insert(now);
        let last = self.gave.get(&node).map_or(since, |gave| since.max(*gave));
        if now.saturating_duration_since(last) > AWAIT_AT_MOST {
            self.since.remove(&digest);
            return None;
        }
        Some(now.saturating_duration_since(since).clamp(ASK_AGAIN.0, ASK_AGAIN.1))
    }

    fn gave(&mut self, digest: &Digest, node: NodeId, now: Instant) {
        self.since.remove(digest);
        self.gave.insert(node, now);
    }
}

/// A blob of a batch.
struct Item {
    digest: Digest,
    known: Known,
    brought: Option<Brought>,
}

/// The blobs that this batch alone is bringing, until this is dropped.
struct Claim<'a> {
    coming: &'a Mutex<HashSet<Digest>>,
    digests: Vec<Digest>,
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        let mut coming = lock(self.coming);
        for digest in &self.digests {
            coming.remove(digest);
        }
    }
}

impl Batches {
    pub(crate) fn new(
        store: StoreId,
        blobs: Arc<Blobs>,
        consensus: Arc<Consensus>,
        holders: Arc<Holders>,
        sources: Arc<Sources>,
        fetches: Arc<Fetches>,
        confirm: Arc<Confirm>,
    ) -> Arc<Self> {
        let (disk, coming, patience) = (Disk::new(Arc::clone(&blobs)), Mutex::default(), Mutex::default());
        let earlier = Arc::new(Earlier::new(store, Arc::clone(&blobs), consensus));
        Arc::new(Self { blobs, earlier, holders, sources, fetches, confirm, disk, coming, patience })
    }

    /// Brings small blobs, each of at most [`portolan_peer::MANY_BLOB_BYTES`], and tells of each what became of it. All
    /// their bytes are held in memory until they are durable. Several batches may be under way, which is how the link
    /// stays full while one of them waits for a round trip or for the disk.
    pub(crate) async fn fetch(self: &Arc<Self>, wanted: Vec<Digest>, purpose: Purpose) -> Vec<(Digest, Brought)> {
        let mut done = Vec::with_capacity(wanted.len());
        let (claim, others) = self.claim(wanted);
        done.extend(others.into_iter().map(|digest| (digest, Brought::Elsewhere)));
        let mut items = Vec::with_capacity(claim.digests.len());
        for (digest, known) in self.look_up(claim.digests.clone()).await {
            match known {
                Ok(known) => items.push(Item { digest, known, brought: None }),
                Err(brought) => done.push((digest, brought)),
            }
        }
        self.adopt(&mut items).await;
        for round in 0..ROUNDS {
            for (index, brought) in self.round(groups_of(&items, round), &items, purpose).await {
                items[index].brought = brought;
            }
        }
        done.extend(items.into_iter().map(|item| (item.digest, item.brought.unwrap_or(Brought::NotThere))));
        done
    }

    /// Takes those that nobody else brings, and gives the others back.
    fn claim(&self, wanted: Vec<Digest>) -> (Claim<'_>, Vec<Digest>) {
        let elsewhere = self.elsewhere();
        let mut coming = lock(&self.coming);
        let (digests, others) = wanted.into_iter().partition(|digest| {
            let is_free = !elsewhere.contains(digest) && self.confirm.file(digest).is_none();
            is_free && coming.insert(*digest)
        });
        (Claim { coming: &self.coming, digests }, others)
    }

    /// What has a transfer of its own.
    fn elsewhere(&self) -> HashSet<Digest> {
        self.fetches.status().into_iter().map(|fetch| fetch.digest).collect()
    }

    async fn look_up(&self, digests: Vec<Digest>) -> Vec<(Digest, Result<Known, Brought>)> {
        let holders = Arc::clone(&self.holders);
        let look = move || {
            let known: Vec<Result<Known, Brought>> = match holders.of_many(&digests) {
                Ok(known) => known.into_iter().map(|known| known.ok_or(Brought::Gone)).collect(),
                Err(error) => {
                    error!(blobs = digests.len(), %error, "the holders of blobs could not be read");
                    digests.iter().map(|_| Err(Brought::Broken)).collect()
                }
            };
            Ok(digests.into_iter().zip(known).collect())
        };
        blocking(look).await.unwrap_or_default()
    }

    /// Looks for files of an earlier start.
    async fn adopt(&self, items: &mut [Item]) {
        let (blobs, earlier, confirm) = (Arc::clone(&self.blobs), Arc::clone(&self.earlier), Arc::clone(&self.confirm));
        let generations: HashMap<Digest, u64> = items.iter().map(|item| (item.digest, item.known.generation)).collect();
        let looked = blocking(move || {
            let digests: Vec<Digest> = generations.keys().copied().collect();
            let found = earlier.find(&digests)?;
            Ok(adopt(&confirm, &blobs, &found, |digest| generations.get(digest).copied()))
        });
        match looked.await {
            Ok(adopted) => {
                let mine = items.iter_mut().filter(|item| adopted.contains(&item.digest));
                mine.for_each(|item| item.brought = Some(Brought::Stored));
            }
            Err(error) => warn!(%error, "the disk could not be asked for earlier copies"),
        }
    }

    /// Asks each node for its group, and stores what comes while others are read still. What is told as `None` may be asked
    /// of another.
    async fn round(
        &self,
        groups: Vec<(Candidate, Vec<usize>)>,
        items: &[Item],
        purpose: Purpose,
    ) -> Vec<(usize, Option<Brought>)> {
        let bring = |(candidate, group)| async move {
            let (came, mut told) = self.read(candidate, group, items, purpose).await;
            told.extend(self.store(came, items).await);
            told
        };
        let bringing: FuturesUnordered<_> = groups.into_iter().map(bring).collect();
        bringing.concat().await
    }

    /// Reads a group from one node; tells what came, and what is to be waited for.
    async fn read(
        &self,
        candidate: Candidate,
        group: Vec<usize>,
        items: &[Item],
        purpose: Purpose,
    ) -> (Vec<Arrived>, Vec<(usize, Option<Brought>)>) {
        let (mut arrived, mut waited) = (Vec::with_capacity(group.len()), Vec::new());
        for part in group.chunks(MANY_BLOBS) {
            let (came, failure) = self.receive(candidate, part, items, purpose).await;
            if let Some(error) = failure {
                debug!(peer = %candidate.node, blobs = part.len(), came = came.len(), %error, "a batch broke off");
            } else if candidate.relay {
                waited.extend(self.wait_for(candidate.node, part, &came, items));
            }
            arrived.extend(came.into_iter().map(|(index, bytes)| Arrived { index, from: candidate.node, bytes }));
        }
        (arrived, waited)
    }

    /// What the node that crosses the WAN lacks still: whoever asked beyond it would cross a second time.
    fn wait_for(
        &self,
        node: NodeId,
        part: &[usize],
        came: &BTreeMap<usize, Bytes>,
        items: &[Item],
    ) -> Vec<(usize, Option<Brought>)> {
        let now = Instant::now();
        let mut patience = lock(&self.patience);
        came.keys().for_each(|index| patience.gave(&items[*index].digest, node, now));
        let missed = part.iter().filter(|index| !came.contains_key(index));
        missed.map(|&index| (index, patience.wait(items[index].digest, node, now).map(Brought::Awaited))).collect()
    }

    /// The bytes that a node gives, and why it gave no more if it failed.
    async fn receive(
        &self,
        candidate: Candidate,
        part: &[usize],
        items: &[Item],
        purpose: Purpose,
    ) -> (BTreeMap<usize, Bytes>, Option<PeerError>) {
        let digests: Vec<Digest> = part.iter().map(|index| items[*index].digest).collect();
        let mut came = BTreeMap::new();
        let mut flight = self.holders.begin(candidate);
        let mut reading = match self.sources.open_many(candidate, digests).await {
            Ok(reading) => reading,
            Err(error) => {
                flight.failed(&error);
                return (came, Some(error));
            }
        };
        while let Some(next) = self.sources.next_of_many(&mut reading).await {
            match next {
                Ok((place, bytes)) => {
                    flight.answered();
                    let Some(bytes) = bytes else { continue };
                    self.sources.take(candidate.node, purpose, bytes.len()).await;
                    came.insert(part[place], bytes);
                }
                Err(error) => {
                    flight.failed(&error);
                    return (came, Some(error));
                }
            }
        }
        (came, None)
    }

    /// Checks what came and makes it durable.
    async fn store(&self, came: Vec<Arrived>, items: &[Item]) -> Vec<(usize, Option<Brought>)> {
        let mut told = Vec::with_capacity(came.len());
        // What a node that crosses the WAN has not brought yet is the usual answer of its neighbours.
        if came.is_empty() {
            return told;
        }
        let from: HashMap<usize, NodeId> = came.iter().map(|arrived| (arrived.index, arrived.from)).collect();
        let blobs: Vec<(usize, Digest, Bytes)> =
            came.into_iter().map(|arrived| (arrived.index, items[arrived.index].digest, arrived.bytes)).collect();
        let Ok((mut right, wrong)) = blocking(move || Ok(checked(blobs))).await else { return told };
        self.accuse(&wrong, &from, items).await;
        told.extend(wrong.into_iter().map(|index| (index, Some(Brought::Wrong))));
        // A pull may have brought some of them meanwhile.
        let elsewhere = self.elsewhere();
        right.retain(|(index, blob)| {
            let is_free = !elsewhere.contains(&blob.digest()) && self.confirm.file(&blob.digest()).is_none();
            if !is_free {
                told.push((*index, Some(Brought::Elsewhere)));
            }
            is_free
        });
        let (places, right): (Vec<usize>, Vec<WholeBlob>) = right.into_iter().unzip();
        let brought = match self.disk.store(right).await {
            Ok(stored) => {
                places.iter().zip(stored).for_each(|(index, stored)| self.finished(&items[*index], &stored));
                Brought::Stored
            }
            Err(NotStored::Full) => Brought::Full,
            Err(NotStored::Broken) => Brought::Broken,
        };
        told.extend(places.into_iter().map(|index| (index, Some(brought))));
        told
    }

    /// Tells whoever gave wrong bytes.
    async fn accuse(&self, wrong: &[usize], from: &HashMap<usize, NodeId>, items: &[Item]) {
        telemetry::ended("wrong").increment(wrong.len() as u64);
        let accused: Vec<(Digest, NodeId)> = wrong.iter().map(|index| (items[*index].digest, from[index])).collect();
        futures::stream::iter(accused)
            .for_each_concurrent(ACCUSATIONS, |(digest, node)| async move {
                self.sources.wrong_bytes(&digest, &[node]).await;
            })
            .await;
    }

    fn finished(&self, item: &Item, stored: &StoredFile) {
        telemetry::ended("sealed").increment(1);
        let (digest, file, generation) = (stored.digest, stored.file, item.known.generation);
        self.confirm.push(Finished { digest, file, generation, adopted: false });
    }
}

/// A blob's bytes, and whose they are. Nobody has looked at them yet.
struct Arrived {
    index: usize,
    from: NodeId,
    bytes: Bytes,
}

/// Whom to ask for what, in this round.
fn groups_of(items: &[Item], round: usize) -> Vec<(Candidate, Vec<usize>)> {
    let mut groups: BTreeMap<(NodeId, bool), Vec<usize>> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        if item.brought.is_none()
            && let Some(candidate) = item.known.candidates.get(round)
        {
            groups.entry((candidate.node, candidate.relay)).or_default().push(index);
        }
    }
    groups.into_iter().map(|((node, relay), group)| (Candidate { node, relay }, group)).collect()
}

/// Those whose bytes have their digest, and those whose bytes have another.
fn checked(blobs: Vec<(usize, Digest, Bytes)>) -> (Vec<(usize, WholeBlob)>, Vec<usize>) {
    let (mut right, mut wrong) = (Vec::with_capacity(blobs.len()), Vec::new());
    for (index, digest, bytes) in blobs {
        match WholeBlob::check(digest, bytes) {
            Ok(blob) => right.push((index, blob)),
            Err(_) => wrong.push(index),
        }
    }
    (right, wrong)
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::{ASK_AGAIN, AWAIT_AT_MOST, Digest, Duration, Instant, NodeId, Patience};

    #[test]
    fn whoever_brings_something_is_waited_for_and_whoever_brings_nothing_is_not() {
        let [first, second] = [Digest::sha256_of(b"1"), Digest::sha256_of(b"2")];
        let (node, start) = (NodeId(1), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let mut patience = Patience::default();
        assert_eq!(patience.wait(first, node, at(0)), Some(ASK_AGAIN.0));
        assert_eq!(patience.wait(first, node, at(500)), Some(Duration::from_millis(500)));
        assert_eq!(patience.wait(first, node, at(4_000)), Some(ASK_AGAIN.1));
        patience.gave(&second, node, at(4_500));
        assert_eq!(patience.wait(first, node, at(9_000)), Some(ASK_AGAIN.1));
        assert_eq!(patience.wait(first, node, at(4_501) + AWAIT_AT_MOST), None);
        // Another time is waited for anew.
        assert_eq!(patience.wait(first, node, at(60_000)), Some(ASK_AGAIN.0));
    }
}
