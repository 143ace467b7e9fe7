//! One blob read from whoever has it: a holder that fails is replaced by the next at the same offset.

use crate::config::Config;
use crate::holders::{Candidate, Holders};
use crate::telemetry;
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use portolan_meta::id::NodeId;
use portolan_meta::view::ViewError;
use portolan_oci::Digest;
use portolan_peer::{PeerError, Peers, ReadBlob, RemoteBlob};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;
use tokio::time::timeout;
use tracing::{debug, info};

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
    holders: Arc<Holders>,
    peers: Arc<Peers>,
    open_timeout: Duration,
    stall_timeout: Duration,
    suspect: Duration,
    suspect_wrong: Duration,
}

impl Sources {
    pub(crate) fn new(config: &Config, holders: Arc<Holders>, peers: Arc<Peers>) -> Self {
        Self {
            holders,
            peers,
            open_timeout: config.open_timeout(),
            stall_timeout: config.stall_timeout(),
            suspect: Duration::from_millis(config.suspect_ms),
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

    async fn open(&self, candidate: Candidate, read: ReadBlob, size: u64) -> Result<RemoteBlob, PeerError> {
        let opening = self.peers.read_blob(candidate.node, read);
        let remote = timeout(self.open_timeout, opening).await.map_err(|_| PeerError::Deadline)??;
        if remote.size == size {
            Ok(remote)
        } else {
            Err(PeerError::Malformed(format!("the blob has {} bytes there, {size} are recorded", remote.size)))
        }
    }

    fn failed(&self, digest: &Digest, candidate: Candidate, error: &PeerError) {
        debug!(%digest, peer = %candidate.node, relay = candidate.relay, %error, "a source failed");
        let span = match error {
            // It is well, it only lacks the blob or has no time.
            PeerError::NotFound | PeerError::Busy | PeerError::Stopped => return,
            PeerError::Starting => self.suspect / 8,
            PeerError::UnknownNode(_)
            | PeerError::NoIdentity
            | PeerError::Unreachable(_)
            | PeerError::Deadline
            | PeerError::Refused { .. }
            | PeerError::NotLeader { .. }
            | PeerError::Corrupt { .. }
            | PeerError::Malformed(_)
            | PeerError::Remote(_) => self.suspect,
        };
        self.holders.accuse(candidate.node, span);
        telemetry::source_failures(candidate.node).increment(1);
    }
}

/// One reading of one blob over as many holders as it takes.
pub(crate) struct Tour {
    sources: Arc<Sources>,
    digest: Digest,
    size: u64,
    relay: Arc<RelayGate>,
    tried: Vec<Candidate>,
    asked: usize,
    progressed: bool,
    current: Option<(Candidate, BoxStream<'static, Result<Bytes, PeerError>>)>,
    contributors: Vec<NodeId>,
}

impl Tour {
    pub(crate) fn new(sources: Arc<Sources>, digest: Digest, size: u64, relay: Arc<RelayGate>) -> Self {
        Self {
            sources,
            digest,
            size,
            relay,
            tried: Vec::new(),
            asked: 0,
            progressed: false,
            current: None,
            contributors: Vec::new(),
        }
    }

    /// The next bytes from `offset` on: at least one, never beyond the blob's end. `offset` is below the size, and
    /// goes on where the last bytes ended.
    pub(crate) async fn next(&mut self, offset: u64) -> Result<(NodeId, Bytes), TourEnd> {
        loop {
            if self.current.is_none() {
                self.connect(offset).await?;
            }
            let Some((candidate, stream)) = &mut self.current else { continue };
            let candidate = *candidate;
            let result = match timeout(self.sources.stall_timeout, stream.next()).await {
                Ok(Some(Ok(bytes))) if bytes.len() as u64 > self.size - offset => {
                    Err(PeerError::Malformed("more bytes than the blob has".to_owned()))
                }
                Ok(Some(Ok(bytes))) if bytes.is_empty() => Err(PeerError::Malformed("an empty chunk".to_owned())),
                Ok(Some(result)) => result,
                Ok(None) => Err(PeerError::Malformed("fewer bytes than the blob has".to_owned())),
                Err(_) => Err(PeerError::Deadline),
            };
            match result {
                Ok(bytes) => {
                    self.progressed = true;
                    if !self.contributors.contains(&candidate.node) {
                        self.contributors.push(candidate.node);
                    }
                    return Ok((candidate.node, bytes));
                }
                Err(error) => {
                    self.sources.failed(&self.digest, candidate, &error);
                    self.release();
                }
            }
        }
    }

    /// Whose bytes were given out so far.
    pub(crate) fn contributors(&self) -> &[NodeId] {
        &self.contributors
    }

    async fn connect(&mut self, offset: u64) -> Result<(), TourEnd> {
        loop {
            let candidate = self.choose()?;
            if candidate.relay && !self.relay.begin_relay() {
                continue;
            }
            self.asked += 1;
            let read = ReadBlob { digest: self.digest, offset, limit: None, relay: candidate.relay };
            match self.sources.open(candidate, read, self.size).await {
                Ok(remote) => {
                    self.current = Some((candidate, remote.stream));
                    return Ok(());
                }
                Err(error) => {
                    self.sources.failed(&self.digest, candidate, &error);
                    self.release();
                }
            }
        }
    }

    /// The nearest that was not tried. Once all were, everybody gets another chance as long as each round brings
    /// bytes; so the tour ends.
    fn choose(&mut self) -> Result<Candidate, TourEnd> {
        let known = self.sources.holders.of(&self.digest).map_err(TourEnd::View)?.ok_or(TourEnd::Gone)?;
        let untried = |tried: &[Candidate]| known.candidates.iter().copied().find(|found| !tried.contains(found));
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
        self.relay.end_relay();
    }
}

impl Drop for Tour {
    fn drop(&mut self) {
        self.relay.end_relay();
    }
}
