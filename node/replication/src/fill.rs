//! Fills the file of one transfer. A large blob is read in segments, from the front, over several streams at a time: each
//! is a connection to the nearest source that works. Whatever a stream cannot read it gives back, and another one takes it
//! at the same offset. With a committed table each chunk is checked before it is written, so that a source of wrong bytes
//! costs one chunk.

use crate::config::Config;
use crate::segments::Segments;
use crate::source::{Banned, Sources, Step, Tour, TourEnd};
use crate::table::{Table, Tables};
use crate::transfer::Fetch;
use bytes::Bytes;
use futures::future::{BoxFuture, FusedFuture, FutureExt, Shared, join};
use futures::stream::{FuturesUnordered, StreamExt};
use portolan_meta::id::NodeId;
use portolan_peer::Lane;
use portolan_sabotage::Sabotage;
use portolan_store::{CHUNK_BYTES, Chunk, ChunkedPart, StoreError};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio_util::task::TaskTracker;
use tracing::warn;

/// How many chunks of one stream may be on their way to the disk.
const CHUNKS_LANDING: usize = 2;

/// The table of a transfer, once somebody has given it.
pub(crate) type Coming = Shared<BoxFuture<'static, Option<Table>>>;

/// What transfers share.
pub(crate) struct Filler {
    sources: Arc<Sources>,
    tables: Arc<Tables>,
    large_bytes: u64,
    segment_bytes: u64,
    parallel: usize,
    /// For each stream of a transfer beyond its first.
    streams: Arc<Semaphore>,
    /// Which connection the next transfer's first stream goes over.
    next_lane: AtomicUsize,
    tasks: TaskTracker,
}

/// How filling ended.
pub(crate) enum Filled {
    /// Every chunk is here.
    Whole {
        /// Whose bytes they are.
        contributors: Vec<NodeId>,
    },
    /// Nobody gives what is missing.
    Ended(TourEnd),
    /// Whoever could give it gave wrong bytes.
    Wrong,
    /// It was told to stop.
    Halted,
    /// The disk refused.
    Disk(StoreError),
}

impl Filler {
    pub(crate) fn new(config: &Config, sources: Arc<Sources>, tables: Arc<Tables>, tasks: TaskTracker) -> Self {
        Self {
            sources,
            tables,
            large_bytes: config.large_bytes,
            segment_bytes: config.range_bytes.max(CHUNK_BYTES),
            parallel: config.parallel_ranges.max(1),
            streams: Arc::new(Semaphore::new(config.max_range_streams)),
            next_lane: AtomicUsize::new(0),
            tasks,
        }
    }

    /// The table to check a transfer's chunks by. Of what an earlier try left, it drops what the table disowns; for a
    /// part that nobody reads yet.
    pub(crate) async fn table(&self, fetch: &Fetch, part: &ChunkedPart, trusted: bool) -> Coming {
        // One chunk is as much as a wrong source may cost anyway.
        if !trusted || fetch.size <= CHUNK_BYTES || self.tables.committed(&fetch.digest).is_none() {
            return std::future::ready(None).boxed().shared();
        }
        let (tables, digest, size) = (Arc::clone(&self.tables), fetch.digest, fetch.size);
        let coming = async move { tables.of(digest, size).await }.boxed().shared();
        if part.bytes() > 0
            && let Some(Some(table)) = fetch.halt.run_until_cancelled(coming.clone()).await
        {
            let dropped = part.retain(table.sums());
            if dropped > 0 {
                warn!(%digest, dropped, "chunks of an earlier try were not those of the blob");
            }
        }
        coming
    }

    /// Reads what is missing.
    pub(crate) async fn fill(&self, fetch: &Fetch, part: &ChunkedPart, table: Coming) -> Filled {
        let is_large = fetch.size >= self.large_bytes;
        let (longest, parallel) = if is_large { (self.segment_bytes, self.parallel) } else { (u64::MAX, 1) };
        let crew = Crew {
            filler: self,
            fetch,
            part,
            table,
            parallel,
            first_lane: self.next_lane.fetch_add(parallel, Ordering::Relaxed),
            segments: Mutex::new(Segments::new(part.missing(), longest, parallel)),
            banned: Arc::default(),
            contributors: Mutex::default(),
            moved: Notify::new(),
        };
        tokio::select! {
            filled = crew.run() => filled,
            () = fetch.halt.cancelled() => Filled::Halted,
        }
    }
}

/// The streams of one attempt, and what they share.
struct Crew<'a> {
    filler: &'a Filler,
    fetch: &'a Fetch,
    part: &'a ChunkedPart,
    table: Coming,
    parallel: usize,
    /// Which connection the first stream goes over.
    first_lane: usize,
    segments: Mutex<Segments>,
    banned: Arc<Banned>,
    contributors: Mutex<Vec<NodeId>>,
    /// A source began to give, or a segment was read: there may be work for one stream more.
    moved: Notify,
}

/// Why a stream reads no more.
enum Leave {
    /// Nothing is left to take.
    Done,
    /// Its tour is over.
    Ended(TourEnd),
    /// A chunk was refused; of this node, if one alone gave it.
    Refused(Option<NodeId>),
    /// The disk refused.
    Disk(StoreError),
}

/// A segment that a stream reads, and how far it is.
struct Claim {
    range: Range<u64>,
    offset: u64,
    /// Up to where its chunks are complete and on their way to the disk.
    landed: u64,
}

/// What a stream holds of the chunk that comes, and of those before it.
#[derive(Default)]
struct Hand {
    pieces: Vec<Bytes>,
    from: Vec<NodeId>,
    last_from: Option<NodeId>,
    landing: FuturesUnordered<BoxFuture<'static, Result<(), StoreError>>>,
}

impl Hand {
    /// Waits until at most so many chunks are on their way to the disk.
    async fn settle(&mut self, most: usize) -> Result<(), StoreError> {
        while self.landing.len() > most {
            if let Some(landed) = self.landing.next().await {
                landed?;
            }
        }
        Ok(())
    }
}

impl Crew<'_> {
    async fn run(&self) -> Filled {
        let mut streams = FuturesUnordered::new();
        // Asked for while the first bytes are on their way; whoever has a chunk waits for it.
        let mut table = self.table.clone().fuse();
        let mut asked_before = 0;
        let mut places: Vec<usize> = (1..self.parallel).rev().collect();
        if !self.segments().is_empty() {
            streams.push(self.stream(0, None).boxed());
            if self.is_wide() {
                self.widen(&mut streams, &mut places);
            }
        }
        while !streams.is_empty() {
            tokio::select! {
                Some((place, leave)) = streams.next() => match leave {
                    Leave::Done => places.push(place),
                    Leave::Disk(error) => return Filled::Disk(error),
                    Leave::Ended(TourEnd::Lost { asked }) => {
                        places.push(place);
                        asked_before = asked_before.max(asked);
                    }
                    Leave::Ended(end) => return Filled::Ended(end),
                    Leave::Refused(node) => {
                        node.into_iter().for_each(|node| self.ban(node));
                        streams.push(self.stream(place, None).boxed());
                    }
                },
                () = self.moved.notified() => self.widen(&mut streams, &mut places),
                _ = &mut table, if !table.is_terminated() => {}
            }
        }
        match (self.segments().is_empty(), self.banned.is_empty()) {
            (true, _) => Filled::Whole { contributors: self.contributors().clone() },
            (false, true) => Filled::Ended(TourEnd::Lost { asked: asked_before }),
            (false, false) => Filled::Wrong,
        }
    }

    /// Whether all streams may begin at once: whom the first will ask has bytes beyond the front.
    fn is_wide(&self) -> bool {
        self.parallel > 1 && (self.fetch.served() || !self.filler.sources.relays_first(&self.fetch.digest))
    }

    /// Begins as many streams more as may read. Each stands in a place of its own.
    fn widen<'s>(&'s self, streams: &mut FuturesUnordered<BoxFuture<'s, (usize, Leave)>>, places: &mut Vec<usize>) {
        while streams.len() < self.wanted() && !self.segments().is_empty() {
            let Ok(permit) = Arc::clone(&self.filler.streams).try_acquire_owned() else { break };
            let Some(place) = places.pop() else { break };
            streams.push(self.stream(place, Some(permit)).boxed());
        }
    }

    /// How many streams may read: one, while that follows a neighbour's transfer, whose front bounds it anyway.
    fn wanted(&self) -> usize {
        if self.fetch.relay.is_relaying() { 1 } else { self.parallel }
    }

    /// A node's chunk was not what was committed: the node is asked no more, and told.
    fn ban(&self, node: NodeId) {
        self.banned.add(node);
        let (sources, digest) = (Arc::clone(&self.filler.sources), self.fetch.digest);
        self.filler.tasks.spawn(async move { sources.wrong_bytes(&digest, &[node]).await });
    }

    async fn stream(&self, place: usize, _permit: Option<OwnedSemaphorePermit>) -> (usize, Leave) {
        let mut hand = Hand::default();
        let leave = self.read_segments(place, &mut hand).await;
        match hand.settle(0).await {
            Ok(()) => (place, leave),
            Err(error) => (place, Leave::Disk(error)),
        }
    }

    async fn read_segments(&self, place: usize, hand: &mut Hand) -> Leave {
        // Two, so that the next segment is on its way while one comes.
        let (mut tour, mut ahead) = (self.tour(place), self.tour(place));
        let mut next = None;
        loop {
            let Some(mut claim) = next.take().or_else(|| self.claim()) else { return Leave::Done };
            let read = self.read_segment(hand, &mut claim, &mut next, (&mut tour, &mut ahead)).await;
            if let Err(leave) = read {
                self.give_back(&claim);
                if let Some(mut next) = next {
                    // What is on its way is not asked for twice.
                    let is_coming = matches!(leave, Leave::Ended(TourEnd::Lost { .. })) && ahead.is_connected();
                    if !is_coming || self.read(hand, &mut ahead, &mut next, u64::MAX).await.is_err() {
                        self.give_back(&next);
                    }
                }
                return leave;
            }
            tour.finish();
            std::mem::swap(&mut tour, &mut ahead);
            self.moved.notify_one();
        }
    }

    async fn read_segment(
        &self,
        hand: &mut Hand,
        claim: &mut Claim,
        next: &mut Option<Claim>,
        (tour, ahead): (&mut Tour, &mut Tour),
    ) -> Result<(), Leave> {
        if !tour.is_connected() {
            self.connect(tour, claim).await?;
        }
        // Its source gives. What follows is asked for now, so that the sender never waits for a round trip: as soon as
        // it has sent the one, it sends the other, which the stream's window holds meanwhile.
        self.read(hand, tour, claim, claim.offset + 1).await?;
        if !tour.is_relayed() {
            *next = self.claim();
        }
        let connecting = async {
            if let Some(next) = next {
                // Should it fail, its own turn will tell.
                let _ = self.connect(ahead, next).await;
            }
        };
        join(self.read(hand, tour, claim, u64::MAX), connecting).await.0
    }

    /// Connects a source for the rest of a claim. One that is itself a follower is read in one go: it has no bytes beyond
    /// its own front.
    async fn connect(&self, tour: &mut Tour, claim: &mut Claim) -> Result<(), Leave> {
        let offset = claim.offset;
        let mut end_of = |relayed| {
            let mut segments = self.segments();
            if relayed {
                segments.extend(&mut claim.range);
            } else {
                segments.shorten(&mut claim.range, offset);
            }
            claim.range.end
        };
        tour.connect(offset, &mut end_of).await.map_err(Leave::Ended)
    }

    /// Reads a claim on, up to `until` or its end.
    async fn read(&self, hand: &mut Hand, tour: &mut Tour, claim: &mut Claim, until: u64) -> Result<(), Leave> {
        while claim.offset < claim.range.end.min(until) {
            if !tour.is_connected() {
                self.connect(tour, claim).await?;
            }
            match tour.step(claim.offset, claim.range.end, self.fetch.purpose()).await {
                Step::Bytes(from, bytes) => self.take(hand, claim, from, bytes).await?,
                Step::Broke => {}
            }
        }
        Ok(())
    }

    /// Takes bytes at the claim's offset; chunks that they complete are checked and go to the disk.
    async fn take(&self, hand: &mut Hand, claim: &mut Claim, from: NodeId, mut bytes: Bytes) -> Result<(), Leave> {
        if hand.last_from.replace(from) != Some(from) {
            self.fetch.coming_from(from);
            let mut contributors = self.contributors();
            if !contributors.contains(&from) {
                contributors.push(from);
            }
            drop(contributors);
            self.moved.notify_one();
        }
        while !bytes.is_empty() {
            let index = claim.offset / CHUNK_BYTES;
            let chunk_end = ((index + 1) * CHUNK_BYTES).min(self.fetch.size);
            let piece =
                bytes.split_to(bytes.len().min(usize::try_from(chunk_end - claim.offset).unwrap_or(usize::MAX)));
            claim.offset += piece.len() as u64;
            self.fetch.note_received(piece.len() as u64);
            hand.pieces.push(piece);
            if !hand.from.contains(&from) {
                hand.from.push(from);
            }
            if claim.offset == chunk_end {
                let chunk = Chunk::new(index, std::mem::take(&mut hand.pieces));
                let from = std::mem::take(&mut hand.from);
                self.land(hand, claim, chunk, &from).await?;
            }
        }
        Ok(())
    }

    async fn land(&self, hand: &mut Hand, claim: &mut Claim, chunk: Chunk, from: &[NodeId]) -> Result<(), Leave> {
        // Sabotaged: there is nothing to compare with.
        let table = self.table.clone().await.filter(|_| !portolan_sabotage::is(Sabotage::TrustPeerBytes));
        if table.is_some_and(|table| table.sum(chunk.index()) != Some(chunk.sum())) {
            warn!(digest = %self.fetch.digest, chunk = chunk.index(), sources = ?from, "a chunk was refused");
            return Err(Leave::Refused(if let [node] = from { Some(*node) } else { None }));
        }
        claim.landed = claim.offset;
        hand.landing.push(self.part.land_async(chunk).boxed());
        hand.settle(CHUNKS_LANDING).await.map_err(Leave::Disk)
    }

    fn claim(&self) -> Option<Claim> {
        self.segments().take().map(|range| Claim { offset: range.start, landed: range.start, range })
    }

    /// Leaves the rest of a claim to others, the chunk that is not landed included.
    fn give_back(&self, claim: &Claim) {
        self.fetch.note_dropped(claim.offset - claim.landed);
        self.segments().give_back(claim.landed..claim.range.end);
    }

    /// A tour of the stream in this place. It keeps to one connection of each peer: by turns, segments would meet on one
    /// while another idles, whose congestion window shrinks meanwhile.
    fn tour(&self, place: usize) -> Tour {
        let Fetch { digest, size, relay, .. } = self.fetch;
        let tour = Tour::new(Arc::clone(&self.filler.sources), *digest, *size, Arc::clone(relay));
        tour.with_banned(&self.banned).over(Lane::Pinned(self.first_lane.wrapping_add(place)))
    }

    fn segments(&self) -> MutexGuard<'_, Segments> {
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn contributors(&self) -> MutexGuard<'_, Vec<NodeId>> {
        self.contributors.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
