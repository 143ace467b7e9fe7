//! One blob read from whoever has it: a holder that fails is replaced by the next at the same offset.

mod many;

use crate::budget::Budget;
use crate::config::Config;
use crate::holders::{Candidate, Holders};
use crate::reads::InFlight;
use crate::telemetry::{self, Purpose};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use portolan_meta::id::NodeId;
use portolan_meta::view::ViewError;
use portolan_oci::Digest;
use portolan_peer::{Lane, PeerError, Peers, ReadBlob, RemoteBlob};
use std::future::Future;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

/// How often the node that crosses the WAN for a region may say that it is busy before it is passed over: it may be about
/// to learn that whom it follows itself is gone.
const BUSY_RELAYS: u32 = 5;
/// How often it may say that it knows no such blob: its state may be about to learn of it.
const EARLY_RELAYS: u32 = 2;
/// The pause before it is asked again, at most; half of it at least, so that two who ask each other do not meet for ever.
const BUSY_PAUSE: Duration = Duration::from_millis(300);

/// Whether a transfer may be read by peers that relay through us, or relays itself: never both at a time, so that no
/// two nodes wait for each other.
#[derive(Debug, Default)]
pub(crate) struct RelayGate(AtomicU8);

impl RelayGate {
    const FREE: u8 = 0;
    const RELAYING: u8 = 1;
    const SERVED: u8 = 2;

    /// A peer follows from now on: this transfer asks nobody to relay any more. False while it does.
    pub(crate) fn serve(&self) -> bool {
        self.0
            .compare_exchange(Self::FREE, Self::SERVED, Ordering::AcqRel, Ordering::Acquire)
            .map_or_else(|found| found == Self::SERVED, |_| true)
    }

    pub(crate) fn is_served(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::SERVED
    }

    /// Whether this transfer reads from a third node through a neighbour.
    pub(crate) fn is_relaying(&self) -> bool {
        self.0.load(Ordering::Acquire) == Self::RELAYING
    }

    fn begin_relay(&self) -> bool {
        self.0.compare_exchange(Self::FREE, Self::RELAYING, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn end_relay(&self) {
        // Fails when no relay was under way, which is as it should be.
        let _ = self.0.compare_exchange(Self::RELAYING, Self::FREE, Ordering::AcqRel, Ordering::Acquire);
    }
}

/// Why a tour gives no more bytes.
#[derive(Debug)]
pub(crate) enum TourEnd {
    /// No live blob is recorded any more.
    Gone,
    /// Everybody was asked and failed.
    Lost {
        /// How many were asked.
        asked: usize,
    },
    /// The state could not be read.
    View(ViewError),
}

/// What tours need.
pub(crate) struct Sources {
    /// What bytes from other regions wait for.
    budget: Arc<Budget>,
    holders: Arc<Holders>,
    peers: Arc<Peers>,
    open_timeout: Duration,
    stall_timeout: Duration,
    suspect_wrong: Duration,
}

impl Sources {
    pub(crate) fn new(config: &Config, holders: Arc<Holders>, peers: Arc<Peers>, budget: Arc<Budget>) -> Self {
        Self {
            budget,
            holders,
            peers,
            open_timeout: config.open_timeout(),
            stall_timeout: config.stall_timeout(),
            suspect_wrong: Duration::from_millis(config.suspect_wrong_ms),
        }
    }

    /// The bytes of these nodes together had another digest: they are tried last for long, and re-hash their files.
    pub(crate) async fn wrong_bytes(&self, digest: &Digest, nodes: &[NodeId]) {
        for node in nodes {
            self.holders.accuse(*node, self.suspect_wrong);
            telemetry::wrong_bytes(*node).increment(1);
            tracing::error!(%digest, peer = %node, sources = nodes.len(), "a peer's bytes are not those of the digest");
            if let Err(error) = self.peers.accuse(*node, digest, self.open_timeout).await {
                info!(%digest, peer = %node, %error, "the accused holder could not be told");
            }
        }
    }

    /// Whether the node to ask first reads what it lacks from a third one.
    pub(crate) fn relays_first(&self, digest: &Digest) -> bool {
        // Whatever else is wrong, the first reader finds out.
        let known = self.holders.of(digest).ok().flatten();
        known.and_then(|known| known.candidates.first().copied()).is_none_or(|first| first.relay)
    }

    async fn open(
        &self,
        (candidate, trusted): (Candidate, bool),
        (read, lane): (ReadBlob, Lane),
        size: u64,
    ) -> Result<RemoteBlob, PeerError> {
        let opening = self.peers.read_blob_over(candidate.node, lane, read);
        let remote = self.hear((candidate, trusted), self.open_timeout, opening).await??;
        if remote.size == size {
            Ok(remote)
        } else {
            Err(PeerError::Malformed(format!("the blob has {} bytes there, {size} are recorded", remote.size)))
        }
    }

    /// Awaits a source; when it is `trusted`, no longer than until it turns out to be silent to pings as well, which is
    /// known long before patience ends.
    async fn hear<T>(
        &self,
        (candidate, trusted): (Candidate, bool),
        limit: Duration,
        hearing: impl Future<Output = T>,
    ) -> Result<T, PeerError> {
        tokio::select! {
            biased;
            heard = timeout(limit, hearing) => heard.map_err(|_| PeerError::Deadline),
            () = self.holders.falls_silent(candidate.node), if trusted => Err(PeerError::Deadline),
        }
    }
}

/// The nodes whose bytes of one blob were caught being wrong, for as long as one transfer of it: they are asked no more.
#[derive(Debug, Default)]
pub(crate) struct Banned(Mutex<Vec<NodeId>>);

impl Banned {
    pub(crate) fn add(&self, node: NodeId) {
        let mut nodes = self.lock();
        if !nodes.contains(&node) {
            nodes.push(node);
        }
    }

    pub(crate) fn has(&self, node: NodeId) -> bool {
        self.lock().contains(&node)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<NodeId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a source that was connected gave.
pub(crate) enum Step {
    /// Bytes, and whose.
    Bytes(NodeId, Bytes),
    /// It failed; another one is to be connected.
    Broke,
}

struct Current {
    candidate: Candidate,
    trusted: bool,
    stream: BoxStream<'static, Result<Bytes, PeerError>>,
    flight: InFlight,
}

/// One reading of one blob over as many holders as it takes.
pub(crate) struct Tour {
    sources: Arc<Sources>,
    digest: Digest,
    size: u64,
    relay: Arc<RelayGate>,
    lane: Lane,
    banned: Arc<Banned>,
    tried: Vec<Candidate>,
    /// Who was silent when, or while, it was asked: nobody is left for that twice, so that wrong suspicions cannot end the
    /// tour.
    silent: Vec<NodeId>,
    refused_relays: u32,
    /// Who failed to give what it was to fetch for the region.
    failed_relays: Vec<NodeId>,
    asked: usize,
    progressed: bool,
    current: Option<Current>,
    /// Whether this tour holds the gate.
    relaying: bool,
    /// Whether it asks nobody to relay.
    direct: bool,
    contributors: Vec<NodeId>,
}

impl Tour {
    pub(crate) fn new(sources: Arc<Sources>, digest: Digest, size: u64, relay: Arc<RelayGate>) -> Self {
        Self {
            sources,
            digest,
            size,
            relay,
            lane: Lane::Bulk,
            banned: Arc::default(),
            tried: Vec::new(),
            silent: Vec::new(),
            refused_relays: 0,
            failed_relays: Vec::new(),
            asked: 0,
            progressed: false,
            current: None,
            relaying: false,
            direct: false,
            contributors: Vec::new(),
        }
    }

    /// Asks holders alone: whoever relays brings the whole blob, from its beginning.
    pub(crate) fn direct(mut self) -> Self {
        self.direct = true;
        self
    }

    /// Shares who is asked no more with other tours of the same blob.
    pub(crate) fn with_banned(mut self, banned: &Arc<Banned>) -> Self {
        self.banned = Arc::clone(banned);
        self
    }

    /// Reads over these connections.
    pub(crate) fn over(mut self, lane: Lane) -> Self {
        self.lane = lane;
        self
    }

    /// The next bytes from `offset` on: at least one, never beyond `end`. `offset` is below that, and goes on where the last
    /// bytes ended.
    pub(crate) async fn next(&mut self, offset: u64, end: u64, purpose: Purpose) -> Result<(NodeId, Bytes), TourEnd> {
        loop {
            if self.current.is_none() {
                self.connect(offset, &mut |_| end).await?;
            }
            if let Step::Bytes(from, bytes) = self.step(offset, end, purpose).await {
                return Ok((from, bytes));
            }
        }
    }

    /// What comes next from the source that is connected, if one is. Every byte from a peer passes here.
    pub(crate) async fn step(&mut self, offset: u64, end: u64, purpose: Purpose) -> Step {
        let Some(Current { candidate, trusted, stream, flight }) = &mut self.current else { return Step::Broke };
        let candidate = *candidate;
        let hearing = self.sources.hear((candidate, *trusted), self.sources.stall_timeout, stream.next());
        let result = match hearing.await {
            Ok(Some(Ok(bytes))) if bytes.len() as u64 > end - offset => {
                Err(PeerError::Malformed("more bytes than were asked for".to_owned()))
            }
            Ok(Some(Ok(bytes))) if bytes.is_empty() => Err(PeerError::Malformed("an empty chunk".to_owned())),
            Ok(Some(result)) => result,
            Ok(None) => Err(PeerError::Malformed("fewer bytes than were asked for".to_owned())),
            Err(error) => Err(error),
        };
        match result {
            Ok(bytes) => {
                flight.answered();
                self.sources.budget.take(candidate.node, purpose.traffic(), bytes.len() as u64).await;
                telemetry::fetched(candidate.node, purpose, bytes.len());
                self.progressed = true;
                if !self.contributors.contains(&candidate.node) {
                    self.contributors.push(candidate.node);
                }
                Step::Bytes(candidate.node, bytes)
            }
            Err(error) => {
                flight.failed(&error);
                self.left(candidate, &error).await;
                Step::Broke
            }
        }
    }

    /// Whose bytes were given out so far.
    pub(crate) fn contributors(&self) -> &[NodeId] {
        &self.contributors
    }

    /// Whether a source is connected that may itself read from a third node.
    pub(crate) fn is_relayed(&self) -> bool {
        self.current.as_ref().is_some_and(|current| current.candidate.relay)
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.current.is_some()
    }

    /// Connects the nearest source that was not tried, to read from `offset` on. How far is asked once it is known who
    /// that is: `end_of(whether it relays)`.
    pub(crate) async fn connect(
        &mut self,
        offset: u64,
        end_of: &mut (dyn FnMut(bool) -> u64 + Send),
    ) -> Result<(), TourEnd> {
        loop {
            let candidate = self.choose()?;
            if candidate.relay && !self.relay.begin_relay() {
                continue;
            }
            self.relaying = candidate.relay;
            self.asked += 1;
            let end = end_of(candidate.relay);
            let limit = (end < self.size).then(|| end - offset);
            let read = ReadBlob { digest: self.digest, offset, limit, relay: candidate.relay };
            let trusted = !self.silent.contains(&candidate.node) && !self.note_silence(candidate.node);
            let mut flight = self.sources.holders.begin(candidate);
            match self.sources.open((candidate, trusted), (read, self.lane), self.size).await {
                Ok(RemoteBlob { stream, .. }) => {
                    flight.opened();
                    self.current = Some(Current { candidate, trusted, stream, flight });
                    return Ok(());
                }
                Err(error) => {
                    flight.failed(&error);
                    drop(flight);
                    self.left(candidate, &error).await;
                }
            }
        }
    }

    /// Lets go of a source that failed, and pauses where that helps.
    async fn left(&mut self, candidate: Candidate, error: &PeerError) {
        debug!(digest = %self.digest, peer = %candidate.node, relay = candidate.relay, %error, "a source failed");
        // First, so that whoever is waited for may wait for us meanwhile.
        self.release();
        match error {
            // It is asked once more, when everybody else has failed.
            PeerError::Deadline if !self.silent.contains(&candidate.node) && self.note_silence(candidate.node) => {
                self.tried.retain(|tried| *tried != candidate);
            }
            PeerError::Busy | PeerError::NotFound if candidate.relay && self.relays_left(error) => {
                self.refused_relays += 1;
                self.tried.retain(|tried| *tried != candidate);
                sleep(BUSY_PAUSE.mul_f64(rand::random_range(0.5..1.0))).await;
            }
            _ if candidate.relay => self.failed_relays.push(candidate.node),
            _ => {}
        }
    }

    fn relays_left(&self, error: &PeerError) -> bool {
        self.refused_relays < if *error == PeerError::Busy { BUSY_RELAYS } else { EARLY_RELAYS }
    }

    fn note_silence(&mut self, node: NodeId) -> bool {
        let is_silent = self.sources.holders.is_silent(node);
        if is_silent {
            self.silent.push(node);
        }
        is_silent
    }

    /// Lets go of the source, which did well: it may be connected again at another offset.
    pub(crate) fn finish(&mut self) {
        if let Some(current) = &self.current {
            let well = current.candidate;
            self.tried.retain(|tried| *tried != well);
        }
        self.release();
    }

    /// Lets go of the source.
    pub(crate) fn leave(&mut self) {
        self.release();
    }

    /// The nearest that was not tried. Once all were, everybody gets another chance as long as each round brings
    /// bytes; so the tour ends.
    fn choose(&mut self) -> Result<Candidate, TourEnd> {
        let known = self.sources.holders.of_without(&self.digest, &self.failed_relays);
        let known = known.map_err(TourEnd::View)?.ok_or(TourEnd::Gone)?;
        let banned = &self.banned;
        let direct = self.direct;
        let untried = |tried: &[Candidate]| {
            let mut candidates = known.candidates.iter().copied().filter(|found| !(direct && found.relay));
            candidates.find(|found| !tried.contains(found) && !banned.has(found.node))
        };
        let mut choice = untried(&self.tried);
        if choice.is_none() && self.progressed {
            self.progressed = false;
            self.tried.clear();
            choice = untried(&self.tried);
        }
        let candidate = choice.ok_or(TourEnd::Lost { asked: self.asked })?;
        self.tried.push(candidate);
        Ok(candidate)
    }

    fn release(&mut self) {
        self.current = None;
        if std::mem::take(&mut self.relaying) {
            self.relay.end_relay();
        }
    }
}

impl Drop for Tour {
    fn drop(&mut self) {
        self.release();
    }
}
