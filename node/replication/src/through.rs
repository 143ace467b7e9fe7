//! A transfer that is not stored, for a node without room: bytes go from the holder to the client, hashed on the way.

use crate::config::Config;
use crate::error::ReadError;
use crate::source::{RelayGate, Sources, Tour, TourEnd};
use crate::telemetry::Purpose;
use bytes::Bytes;
use portolan_meta::id::NodeId;
use portolan_oci::{Digest, Hasher};
use portolan_peer::Lane;
use portolan_sabotage::Sabotage;
use portolan_store::{CHUNK_BYTES, PartReader};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Begins transfers that are not stored; so many at once as the configuration allows, because each may fill a
/// stream's window.
pub(crate) struct Through {
    sources: Arc<Sources>,
    permits: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Through {
    pub(crate) fn new(config: &Config, sources: Arc<Sources>, stop: CancellationToken) -> Self {
        Self { sources, permits: Arc::new(Semaphore::new(config.max_passthroughs)), stop }
    }

    /// Reads `range`. `prefix` are bytes of the blob that are here already, with their length; the reader may have
    /// been given some of them, so that the digest is computed over them. `served` when a peer relays through us.
    pub(crate) fn read(
        &self,
        digest: Digest,
        size: u64,
        range: Range<u64>,
        prefix: Option<(PartReader, u64)>,
        served: bool,
    ) -> Result<ThroughReader, ReadError> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().map_err(|_| ReadError::Busy)?;
        let relay = Arc::<RelayGate>::default();
        if served {
            relay.serve();
        }
        Ok(ThroughReader {
            tour: Tour::new(Arc::clone(&self.sources), digest, size, relay).over(Lane::Paced),
            sources: Arc::clone(&self.sources),
            stop: self.stop.clone(),
            digest,
            size,
            range,
            prefix,
            hasher: Some(Hasher::new(digest.algorithm())),
            offset: 0,
            held: VecDeque::new(),
            held_bytes: 0,
            ready: VecDeque::new(),
            from: None,
            _permit: permit,
        })
    }
}

/// One such transfer. It advances only while its reader asks for more.
pub(crate) struct ThroughReader {
    tour: Tour,
    sources: Arc<Sources>,
    stop: CancellationToken,
    digest: Digest,
    size: u64,
    range: Range<u64>,
    prefix: Option<(PartReader, u64)>,
    /// `None` once the digest was found right.
    hasher: Option<Hasher>,
    offset: u64,
    /// Bytes of the range that wait for the digest: at least one chunk, until it is right.
    held: VecDeque<Bytes>,
    held_bytes: u64,
    /// Bytes that may be given out.
    ready: VecDeque<Bytes>,
    from: Option<NodeId>,
    _permit: OwnedSemaphorePermit,
}

impl ThroughReader {
    /// The next bytes of the range; `None` at its end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Ok(Some(bytes));
            }
            if self.hasher.is_none() {
                return Ok(None);
            }
            if self.offset == self.size {
                self.verify().await?;
            } else {
                let bytes = self.pull().await?;
                self.take(&bytes);
            }
        }
    }

    /// Reads until it is known whether anybody serves the blob, and tells who does. Holds on to what it read. The blob
    /// is not empty.
    pub(crate) async fn begin(&mut self) -> Result<NodeId, TourEnd> {
        let (from, bytes) = self.tour.next(self.offset, self.size, Purpose::Through).await?;
        self.from = Some(from);
        self.take(&bytes);
        Ok(from)
    }

    async fn pull(&mut self) -> Result<Bytes, ReadError> {
        let digest = self.digest;
        if let Some((reader, len)) = &self.prefix
            && self.offset < *len
        {
            let want = usize::try_from((len - self.offset).min(CHUNK_BYTES)).expect("a chunk is small");
            let bytes = reader
                .read(self.offset, want)
                .await
                .map_err(|error| ReadError::Disk { digest, reason: error.to_string() })?;
            if bytes.is_empty() {
                return Err(ReadError::Disk { digest, reason: "the growing file is shorter than it was".to_owned() });
            }
            return Ok(bytes);
        }
        tokio::select! {
            next = self.tour.next(self.offset, self.size, Purpose::Through) => match next {
                Ok((from, bytes)) => {
                    self.from = Some(from);
                    Ok(bytes)
                }
                Err(TourEnd::Gone | TourEnd::Lost { .. }) => Err(ReadError::SourcesLost { digest }),
                Err(TourEnd::View(error)) => Err(ReadError::Disk { digest, reason: error.to_string() }),
            },
            () = self.stop.cancelled() => Err(ReadError::Stopped),
        }
    }

    fn take(&mut self, bytes: &Bytes) {
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        let (begin, end) = (self.offset, self.offset + bytes.len() as u64);
        self.offset = end;
        let (from, to) = (begin.max(self.range.start), end.min(self.range.end));
        if from < to {
            let slice = usize::try_from(from - begin).expect("within the bytes")
                ..usize::try_from(to - begin).expect("within the bytes");
            self.held_bytes += to - from;
            self.held.push_back(bytes.slice(slice));
        }
        // Sabotaged: nothing waits for the digest.
        let held = if portolan_sabotage::is(Sabotage::CompleteUnproven) { 0 } else { CHUNK_BYTES };
        while let Some(first) = self.held.front()
            && self.held_bytes - first.len() as u64 >= held
        {
            self.held_bytes -= first.len() as u64;
            self.ready.extend(self.held.pop_front());
        }
    }

    async fn verify(&mut self) -> Result<(), ReadError> {
        let actual = self.hasher.take().map(Hasher::finish);
        // Sabotaged: whatever came is right.
        if actual == Some(self.digest) || portolan_sabotage::is(Sabotage::TrustPeerBytes) {
            self.ready.append(&mut self.held);
            return Ok(());
        }
        self.held.clear();
        if self.prefix.is_none() {
            self.sources.wrong_bytes(&self.digest, self.tour.contributors()).await;
        }
        Err(ReadError::WrongBytes { digest: self.digest })
    }
}
