//! Open a blob wherever it is: the one entry for pulls.

use crate::error::{OpenError, ReadError};
use crate::fetch::{Fetches, Joined, Wish};
use crate::follow::follow;
use crate::holders::{Here, Holders};
use crate::local::Local;
use crate::ranged::Ranges;
use crate::source::TourEnd;
use crate::telemetry;
use crate::through::Through;
use crate::transfer::{End, Progress, Share};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, try_unfold};
use portolan_meta::id::NodeId;
use portolan_oci::Digest;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::watch;
use tracing::field::Empty;
use tracing::{Instrument, debug, debug_span};

/// Where an opened blob's bytes come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file of this node's disk; or nothing at all, which an empty blob is made of everywhere.
    Local,
    /// A transfer that another reader or the worker had begun.
    Following,
    /// A transfer that this reader began, from this holder first.
    Peer(NodeId),
    /// A transfer that is not stored, because this node has no room or keeps no blobs, or because only a range is wanted.
    Through(NodeId),
}

impl Source {
    /// The label in metrics and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Following => "following",
            Self::Peer(_) => "peer",
            Self::Through(_) => "through",
        }
    }
}

/// An opened blob. Dropping it ends the reading; a transfer that policy wants goes on.
pub struct BlobBody {
    /// The whole blob's length in bytes.
    pub size: u64,
    /// Which bytes `stream` yields.
    pub range: Range<u64>,
    /// Where they come from.
    pub source: Source,
    /// The bytes, in order. After an error the response must be cut short, never completed.
    pub stream: BoxStream<'static, Result<Bytes, ReadError>>,
}

impl std::fmt::Debug for BlobBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("BlobBody")
            .field("size", &self.size)
            .field("range", &self.range)
            .field("source", &self.source)
            .finish_non_exhaustive()
    }
}

/// Opens blobs for the pulls of this node and of its neighbours.
pub(crate) struct Opener {
    holders: Arc<Holders>,
    local: Arc<Local>,
    fetches: Arc<Fetches>,
    through: Arc<Through>,
    ranges: Ranges,
}

impl Opener {
    pub(crate) fn new(
        holders: Arc<Holders>,
        local: Arc<Local>,
        fetches: Arc<Fetches>,
        through: Arc<Through>,
        ranges: Ranges,
    ) -> Arc<Self> {
        Arc::new(Self { holders, local, fetches, through, ranges })
    }

    /// See [`crate::Replication::open`]. `relay` when a neighbour reads through this node.
    pub(crate) async fn open(
        &self,
        digest: &Digest,
        range: Option<Range<u64>>,
        relay: bool,
    ) -> Result<BlobBody, OpenError> {
        let span = debug_span!("open", %digest, source = Empty);
        let result = self.find(digest, range, relay).instrument(span.clone()).await;
        let label = match &result {
            Ok(body) => body.source.label(),
            Err(OpenError::NotFound) => "not_found",
            Err(_) => "failed",
        };
        span.record("source", label);
        telemetry::opened(label).increment(1);
        result
    }

    /// Opens a blob only if this node holds it.
    pub(crate) async fn open_local(&self, digest: &Digest, range: Range<u64>) -> Result<Option<BlobBody>, OpenError> {
        let Some(here) = self.holders.here(digest)? else { return Ok(None) };
        let range = checked(here.size, Some(range))?;
        let span = debug_span!("open", %digest, source = Source::Local.label());
        Ok(self.on_disk(digest, &here, &range).instrument(span).await)
    }

    /// Opens a whole file of this node's disk, whatever the state says of it. `pick` is given the blob's length.
    pub(crate) async fn open_unrecorded<E>(
        &self,
        digest: &Digest,
        pick: impl FnOnce(u64) -> Result<Range<u64>, E>,
    ) -> Result<Option<BlobBody>, E> {
        let span = debug_span!("open", %digest, source = Source::Local.label());
        let Some(file) = self.local.open_any(digest).instrument(span).await else { return Ok(None) };
        let (size, range) = (file.size(), pick(file.size())?);
        Ok(Some(BlobBody { size, range: range.clone(), source: Source::Local, stream: file.stream(range) }))
    }

    async fn find(&self, digest: &Digest, range: Option<Range<u64>>, relay: bool) -> Result<BlobBody, OpenError> {
        match self.find_once(digest, range.clone(), relay).await {
            // Whatever is joined by the second look began after this reader came, so that its failure is an answer.
            Err(Missed::TooEarly(error)) => {
                debug!(%digest, %error, "the transfer that was joined failed; another is begun");
                self.find_once(digest, range, relay).await.map_err(Missed::into_error)
            }
            found => found.map_err(Missed::into_error),
        }
    }

    async fn find_once(&self, digest: &Digest, range: Option<Range<u64>>, relay: bool) -> Result<BlobBody, Missed> {
        let here = self.holders.here(digest)?.ok_or(OpenError::NotFound)?;
        let range = checked(here.size, range)?;
        if let Some(body) = self.on_disk(digest, &here, &range).await {
            return Ok(body);
        }
        let known = self.holders.of(digest)?.ok_or(OpenError::NotFound)?;
        if !known.recorded {
            return Err(OpenError::NotFound.into());
        }
        // Who relays follows the one transfer of its region.
        if !relay
            && self.ranges.takes(digest, known.size, &range)
            && let Some(body) = self.range(digest, known.size, range.clone()).await?
        {
            return Ok(body);
        }
        if !known.keeps {
            return Ok(self.pass_through(digest, known.size, range, relay).await?);
        }
        let wish = if relay { Wish::Relay } else { Wish::Pull };
        match self.fetches.join(*digest, known.size, known.generation, wish) {
            Joined::Fetch(share, began) => self.follow(digest, share, began, range, relay).await,
            Joined::Finished => {
                // It was finished between the two looks.
                let here = self.holders.here(digest)?.ok_or(OpenError::NotFound)?;
                Ok(self.on_disk(digest, &here, &range).await.ok_or(OpenError::Unreachable { asked: 0 })?)
            }
            Joined::Busy(what) => Err(OpenError::Busy(what).into()),
            Joined::Stopped => Err(OpenError::Stopped.into()),
        }
    }

    async fn on_disk(&self, digest: &Digest, here: &Here, range: &Range<u64>) -> Option<BlobBody> {
        let mut files = here.own.clone();
        files.extend(self.fetches.finished(digest));
        let file = self.local.open(digest, here.size, &files).await?;
        let stream = file.stream(range.clone());
        Some(BlobBody { size: here.size, range: range.clone(), source: Source::Local, stream })
    }

    /// Reads less than the whole, and stores nothing; `None` when it cannot be checked alone.
    async fn range(&self, digest: &Digest, size: u64, range: Range<u64>) -> Result<Option<BlobBody>, OpenError> {
        let Some(reader) = self.ranges.read(*digest, size, range.clone()).await? else { return Ok(None) };
        let source = reader.from().map_or(Source::Following, Source::Through);
        let stream = try_unfold(reader, |mut reader| async move {
            let next = reader.next().await?;
            Ok(next.map(|bytes| (bytes, reader)))
        });
        Ok(Some(BlobBody { size, range, source, stream: stream.boxed() }))
    }

    async fn follow(
        &self,
        digest: &Digest,
        share: Share,
        began: bool,
        range: Range<u64>,
        relay: bool,
    ) -> Result<BlobBody, Missed> {
        let size = share.fetch().size;
        let source = match begun(share.progress()).await {
            Ok(Begun::From(node)) if began => Source::Peer(node),
            Ok(Begun::From(_) | Begun::Sealed) => Source::Following,
            Ok(Begun::Unstored) => {
                drop(share);
                return Ok(self.pass_through(digest, size, range, relay).await?);
            }
            Err(error @ (OpenError::NotFound | OpenError::Unreachable { .. })) if !began => {
                return Err(Missed::TooEarly(error));
            }
            Err(error) => return Err(error.into()),
        };
        let stream = follow(share, began, range.clone(), Arc::clone(&self.through));
        Ok(BlobBody { size, range, source, stream })
    }

    async fn pass_through(
        &self,
        digest: &Digest,
        size: u64,
        range: Range<u64>,
        relay: bool,
    ) -> Result<BlobBody, OpenError> {
        if size == 0 {
            // There is no byte to wait for: whoever were asked for the first one would seem to fail.
            return Ok(BlobBody { size, range, source: Source::Local, stream: futures::stream::empty().boxed() });
        }
        let mut reader = self
            .through
            .read(*digest, size, range.clone(), None, relay)
            .map_err(|_| OpenError::Busy("transfers without storing"))?;
        let source = match reader.begin().await {
            Ok(node) => Source::Through(node),
            Err(TourEnd::Gone) => return Err(OpenError::NotFound),
            Err(TourEnd::Lost { asked }) => return Err(OpenError::Unreachable { asked }),
            Err(TourEnd::View(error)) => return Err(OpenError::View(error)),
        };
        let stream = try_unfold(reader, |mut reader| async move {
            let next = reader.next().await?;
            Ok(next.map(|bytes| (bytes, reader)))
        });
        Ok(BlobBody { size, range, source, stream: stream.boxed() })
    }
}

fn checked(size: u64, range: Option<Range<u64>>) -> Result<Range<u64>, OpenError> {
    let range = range.unwrap_or(0..size);
    if range.start > range.end || range.end > size {
        return Err(OpenError::Range { end: range.end.max(range.start), size });
    }
    Ok(range)
}

/// Why a blob was not found at one look.
enum Missed {
    /// A transfer failed that was under way before this reader came: a holder that lacked the blob then, or was out of
    /// reach, may serve it now.
    TooEarly(OpenError),
    /// As it stands.
    Failed(OpenError),
}

impl Missed {
    fn into_error(self) -> OpenError {
        match self {
            Self::TooEarly(error) | Self::Failed(error) => error,
        }
    }
}

impl<E: Into<OpenError>> From<E> for Missed {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

enum Begun {
    From(NodeId),
    Sealed,
    Unstored,
}

/// Waits until it is known whether a transfer gets anywhere, so that a failure before the first byte is an answer
/// and not a response that breaks off. A transfer that is ending gets nowhere, whatever came before.
async fn begun(mut progress: watch::Receiver<Progress>) -> Result<Begun, OpenError> {
    let seen = progress
        .wait_for(|progress| (progress.from.is_some() && !progress.ending) || progress.end.is_some())
        .await
        .map_err(|_| OpenError::Stopped)?;
    match (&seen.end, seen.from) {
        (Some(End::Full | End::Broken), _) => Ok(Begun::Unstored),
        (Some(End::Sealed(_)), _) => Ok(Begun::Sealed),
        (Some(End::Gone), _) => Err(OpenError::NotFound),
        (Some(End::Lost { asked }), _) => Err(OpenError::Unreachable { asked: *asked }),
        (Some(End::Wrong | End::Unwanted), _) => Err(OpenError::Unreachable { asked: 1 }),
        (Some(End::Stopped), _) | (None, None) => Err(OpenError::Stopped),
        (None, Some(node)) => Ok(Begun::From(node)),
    }
}

#[cfg(test)]
mod tests {
    use super::{Begun, End, NodeId, OpenError, Progress, begun, watch};
    use futures::FutureExt;

    #[tokio::test]
    async fn a_transfer_that_is_ending_is_waited_out_although_bytes_had_come() {
        let (sender, progress) = watch::channel(Progress { from: Some(NodeId(1)), ..Progress::default() });
        assert!(matches!(begun(progress.clone()).await, Ok(Begun::From(NodeId(1)))));
        sender.send_modify(|progress| progress.ending = true);
        let mut late = Box::pin(begun(progress));
        assert!(late.as_mut().now_or_never().is_none(), "its bytes would end in the middle");
        sender.send_modify(|progress| progress.end = Some(End::Lost { asked: 2 }));
        assert!(matches!(late.await, Err(OpenError::Unreachable { asked: 2 })));
    }
}
