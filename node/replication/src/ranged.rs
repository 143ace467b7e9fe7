//! A range of a blob that is not here: read as a range from the nearest holder, checked chunk by chunk against what the
//! cluster committed to, and not stored. Nothing is held back until the whole is right, because every chunk is.

use crate::config::Config;
use crate::error::{OpenError, ReadError};
use crate::fetch::Fetches;
use crate::source::{Banned, Sources, Tour, TourEnd};
use crate::table::{Table, Tables};
use crate::telemetry::Purpose;
use bytes::Bytes;
use futures::future::join;
use portolan_meta::id::NodeId;
use portolan_oci::Digest;
use portolan_peer::Lane;
use portolan_sabotage::Sabotage;
use portolan_store::{CHUNK_BYTES, Chunk, ChunkReader};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

/// How many chunks one range counts for at most: what waits in memory for a slow client is bounded by the window of its
/// stream.
const COUNTED_CHUNKS: u64 = (16 << 20) / CHUNK_BYTES;

/// Reads ranges that are not stored.
pub(crate) struct Ranges {
    sources: Arc<Sources>,
    tables: Arc<Tables>,
    fetches: Arc<Fetches>,
    /// One for each chunk that may wait in memory.
    permits: Arc<Semaphore>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Ranges {
    pub(crate) fn new(
        config: &Config,
        sources: Arc<Sources>,
        tables: Arc<Tables>,
        fetches: Arc<Fetches>,
        (tasks, stop): (TaskTracker, CancellationToken),
    ) -> Self {
        let chunks = usize::try_from(config.max_cold_bytes / CHUNK_BYTES).unwrap_or(Semaphore::MAX_PERMITS);
        let permits = Arc::new(Semaphore::new(chunks.min(Semaphore::MAX_PERMITS)));
        Self { sources, tables, fetches, permits, tasks, stop }
    }

    /// Whether a range can be read alone: it is less than the whole blob, and the cluster committed to its chunks.
    pub(crate) fn takes(&self, digest: &Digest, size: u64, range: &Range<u64>) -> bool {
        let chunks = range.start / CHUNK_BYTES..range.end.div_ceil(CHUNK_BYTES);
        let is_whole = chunks.start == 0 && chunks.end == size.div_ceil(CHUNK_BYTES);
        !range.is_empty() && !is_whole && self.tables.committed(digest).is_some()
    }

    /// Begins to read a range: its first chunk is here and right. `None` when nobody gives the sums to check it by.
    pub(crate) async fn read(
        &self,
        digest: Digest,
        size: u64,
        range: Range<u64>,
    ) -> Result<Option<RangeReader>, OpenError> {
        let chunks = range.end.div_ceil(CHUNK_BYTES) - range.start / CHUNK_BYTES;
        let counted = u32::try_from(chunks.min(COUNTED_CHUNKS)).unwrap_or(u32::MAX);
        let permits = Arc::clone(&self.permits).try_acquire_many_owned(counted);
        let permits = permits.map_err(|_| OpenError::Busy("reads of ranges"))?;
        let banned = Arc::<Banned>::default();
        let mut reader = RangeReader {
            tour: Tour::new(Arc::clone(&self.sources), digest, size, Arc::default())
                .direct()
                .over(Lane::Paced)
                .with_banned(&banned),
            banned,
            sources: Arc::clone(&self.sources),
            fetches: Arc::clone(&self.fetches),
            tasks: self.tasks.clone(),
            stop: self.stop.clone(),
            digest,
            size,
            table: None,
            next: range.start / CHUNK_BYTES,
            range,
            here: None,
            tour_at: 0..0,
            spare: None,
            first: None,
            from: None,
            _permits: permits,
        };
        reader.look_here();
        // The one is on its way while the other is asked for.
        let (table, ()) = join(self.tables.of(digest, size), reader.connect_ahead()).await;
        let Some(table) = table else {
            debug!(%digest, "nobody gave the chunk sums of a blob; it is fetched whole");
            return Ok(None);
        };
        reader.table = Some(table);
        match reader.next_chunk().await {
            Ok(first) => reader.first = Some(first),
            Err(Stop::Ended(TourEnd::Gone)) => return Err(OpenError::NotFound),
            Err(Stop::Ended(TourEnd::Lost { asked })) => return Err(OpenError::Unreachable { asked }),
            Err(Stop::Ended(TourEnd::View(error))) => return Err(OpenError::View(error)),
            Err(Stop::Stopped) => return Err(OpenError::Stopped),
        }
        Ok(Some(reader))
    }
}

/// Why no more chunks come.
enum Stop {
    Ended(TourEnd),
    Stopped,
}

/// One such range. It advances only while its reader asks for more.
pub(crate) struct RangeReader {
    tour: Tour,
    /// Which bytes the connected source is to give, from where it stands.
    tour_at: Range<u64>,
    /// What came beyond the chunk that was asked for, and from whom.
    spare: Option<(NodeId, Bytes)>,
    banned: Arc<Banned>,
    sources: Arc<Sources>,
    fetches: Arc<Fetches>,
    tasks: TaskTracker,
    stop: CancellationToken,
    digest: Digest,
    size: u64,
    range: Range<u64>,
    /// `None` only before the first chunk.
    table: Option<Table>,
    /// The next chunk.
    next: u64,
    /// What a transfer of the blob has here.
    here: Option<ChunkReader>,
    /// Read at the beginning, not given out yet.
    first: Option<VecDeque<Bytes>>,
    from: Option<NodeId>,
    _permits: OwnedSemaphorePermit,
}

impl RangeReader {
    /// Which node the bytes come from; `None` while a transfer of this node has them.
    pub(crate) fn from(&self) -> Option<NodeId> {
        self.from
    }

    /// The next bytes of the range; `None` at its end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            if let Some(bytes) = self.first.as_mut().and_then(VecDeque::pop_front) {
                return Ok(Some(bytes));
            }
            if self.next * CHUNK_BYTES >= self.range.end {
                return Ok(None);
            }
            let digest = self.digest;
            let chunk = self.next_chunk().await.map_err(|stop| match stop {
                Stop::Stopped => ReadError::Stopped,
                Stop::Ended(TourEnd::View(error)) => ReadError::Disk { digest, reason: error.to_string() },
                Stop::Ended(_) if !self.banned.is_empty() => ReadError::WrongBytes { digest },
                Stop::Ended(_) => ReadError::SourcesLost { digest },
            })?;
            self.first = Some(chunk);
        }
    }

    /// The bytes of the next chunk that belong to the range, right by the table.
    async fn next_chunk(&mut self) -> Result<VecDeque<Bytes>, Stop> {
        self.look_here();
        let index = self.next;
        let pieces = match self.chunk_here(index).await {
            Some(pieces) => pieces,
            None => self.chunk_elsewhere(index).await?,
        };
        self.next += 1;
        let mut at = index * CHUNK_BYTES;
        let mut cut = VecDeque::with_capacity(pieces.len());
        for piece in pieces {
            let (begin, end) = (at, at + piece.len() as u64);
            at = end;
            let (from, to) = (begin.max(self.range.start), end.min(self.range.end));
            if from < to {
                let within = |offset: u64| usize::try_from(offset - begin).expect("within the bytes");
                cut.push_back(piece.slice(within(from)..within(to)));
            }
        }
        Ok(cut)
    }

    /// Takes note of a transfer that began meanwhile. What an earlier one left stays readable.
    fn look_here(&mut self) {
        if let Some(chunks) = self.fetches.chunks(&self.digest) {
            self.here = Some(chunks);
        }
    }

    fn bytes_of(&self, index: u64) -> Range<u64> {
        index * CHUNK_BYTES..((index + 1) * CHUNK_BYTES).min(self.size)
    }

    async fn chunk_here(&mut self, index: u64) -> Option<Vec<Bytes>> {
        let (here, bytes) = (self.here.as_ref()?, self.bytes_of(index));
        if !here.has(&bytes) {
            return None;
        }
        let length = usize::try_from(bytes.end - bytes.start).ok()?;
        let piece = here.bytes_reader().read(bytes.start, length).await.ok()?;
        // A transfer that was begun without a table may have anything.
        self.check(index, vec![piece])
    }

    fn check(&self, index: u64, pieces: Vec<Bytes>) -> Option<Vec<Bytes>> {
        // Sabotaged: any chunk is right.
        if portolan_sabotage::is(Sabotage::TrustPeerBytes) {
            return Some(pieces);
        }
        let sum = Chunk::new(index, pieces.clone()).sum();
        self.table.as_ref().is_some_and(|table| table.sum(index) == Some(sum)).then_some(pieces)
    }

    /// Reads a chunk from a peer; one that is wrong is asked for again elsewhere.
    async fn chunk_elsewhere(&mut self, index: u64) -> Result<Vec<Bytes>, Stop> {
        let bytes = self.bytes_of(index);
        loop {
            if !self.tour.is_connected() || self.tour_at.start != bytes.start {
                self.tour.finish();
                self.spare = None;
                self.tour_at = bytes.start..self.missing_end(index);
            }
            let (mut pieces, mut from) = (Vec::new(), Vec::new());
            while self.tour_at.start < bytes.end {
                let (node, mut piece) = match self.spare.take() {
                    Some(spare) => spare,
                    None => self.pull().await?,
                };
                let room = usize::try_from(bytes.end - self.tour_at.start).unwrap_or(usize::MAX);
                if piece.len() > room {
                    self.spare = Some((node, piece.split_off(room)));
                }
                self.tour_at.start += piece.len() as u64;
                pieces.push(piece);
                if !from.contains(&node) {
                    from.push(node);
                }
            }
            if let Some(pieces) = self.check(index, pieces) {
                self.from = from.last().copied();
                return Ok(pieces);
            }
            warn!(digest = %self.digest, chunk = index, sources = ?from, "a chunk was refused");
            self.tour.leave();
            self.spare = None;
            if let [node] = from[..] {
                self.ban(node);
            }
        }
    }

    async fn pull(&mut self) -> Result<(NodeId, Bytes), Stop> {
        let next = self.tour.next(self.tour_at.start, self.tour_at.end, Purpose::Through);
        tokio::select! {
            next = next => next.map_err(Stop::Ended),
            () = self.stop.cancelled() => Err(Stop::Stopped),
        }
    }

    /// A node's chunk was not what was committed: the node is asked no more, and told.
    fn ban(&self, node: NodeId) {
        self.banned.add(node);
        let (sources, digest) = (Arc::clone(&self.sources), self.digest);
        self.tasks.spawn(async move { sources.wrong_bytes(&digest, &[node]).await });
    }

    /// Where the run of chunks of the range ends that no transfer has here.
    fn missing_end(&self, index: u64) -> u64 {
        let last = self.range.end.div_ceil(CHUNK_BYTES);
        let has = |index: u64| self.here.as_ref().is_some_and(|here| here.has(&self.bytes_of(index)));
        let end = (index + 1..last).find(|index| has(*index)).unwrap_or(last);
        (end * CHUNK_BYTES).min(self.size)
    }

    /// Connects a source for the first chunk, unless that is here. A failure shows when the chunk is read.
    async fn connect_ahead(&mut self) {
        let bytes = self.bytes_of(self.next);
        if self.here.as_ref().is_some_and(|here| here.has(&bytes)) {
            return;
        }
        let end = self.missing_end(self.next);
        if self.tour.connect(bytes.start, &mut |_| end).await.is_ok() {
            self.tour_at = bytes.start..end;
        }
    }
}
