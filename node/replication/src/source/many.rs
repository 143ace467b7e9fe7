//! Many small blobs read in one stream from one node.

use super::Sources;
use crate::holders::Candidate;
use crate::telemetry::{self, Purpose};
use bytes::Bytes;
use futures::StreamExt;
use portolan_meta::id::NodeId;
use portolan_oci::Digest;
use portolan_peer::{ManyBlobs, PeerError};

/// A stream of small blobs that is being read.
pub(crate) struct ManyReading {
    candidate: Candidate,
    trusted: bool,
    stream: ManyBlobs,
}

impl Sources {
    /// Asks a node for small blobs.
    pub(crate) async fn open_many(&self, candidate: Candidate, digests: Vec<Digest>) -> Result<ManyReading, PeerError> {
        let trusted = !self.holders.is_silent(candidate.node);
        let opening = self.peers.read_many(candidate.node, digests);
        let stream = self.hear((candidate, trusted), self.open_timeout, opening).await??;
        Ok(ManyReading { candidate, trusted, stream })
    }

    /// The next place among those asked for, with the blob's bytes if it is there; `None` once all were told.
    pub(crate) async fn next_of_many(
        &self,
        reading: &mut ManyReading,
    ) -> Option<Result<(usize, Option<Bytes>), PeerError>> {
        let hearing = reading.stream.next();
        let heard = self.hear((reading.candidate, reading.trusted), self.stall_timeout, hearing).await;
        heard.unwrap_or_else(|error| Some(Err(error)))
    }

    /// Waits until bytes that came outside of a tour may have come, and counts them.
    pub(crate) async fn take(&self, from: NodeId, purpose: Purpose, bytes: usize) {
        self.budget.take(from, purpose.traffic(), bytes as u64).await;
        telemetry::fetched(from, purpose, bytes);
    }
}
