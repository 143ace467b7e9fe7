//! Answers the blob reads of peers.

use crate::error::{OpenError, ReadError};
use crate::fetch::Fetches;
use crate::holders::Holders;
use crate::local::{Local, TooLong};
use crate::open::{BlobBody, Opener};
use crate::status::FetchStatus;
use crate::telemetry;
use bytes::Bytes;
use futures::StreamExt;
use futures::future::FutureExt;
use futures::stream::BoxStream;
use portolan_oci::Digest;
use portolan_peer::{
    Answer, BlobHandler, MANY_BLOB_BYTES, PeerError, PeerIdentity, ReadBlob, RemoteBlob, TransferState,
};
use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tracing::{debug, info, warn};

/// What the peer server calls.
pub(crate) struct Serve {
    opener: Arc<Opener>,
    holders: Arc<Holders>,
    local: Arc<Local>,
    fetches: Arc<Fetches>,
    permits: Arc<Semaphore>,
}

/// How many small blobs one thread reads in a row.
const SMALL_PER_READ: usize = 16;
/// How many such reads are done or under way ahead of what the peer takes.
const SMALL_READS_AHEAD: usize = 4;

impl Serve {
    pub(crate) fn new(
        opener: Arc<Opener>,
        holders: Arc<Holders>,
        local: Arc<Local>,
        fetches: Arc<Fetches>,
        max_served: usize,
    ) -> Arc<Self> {
        Arc::new(Self { opener, holders, local, fetches, permits: Arc::new(Semaphore::new(max_served)) })
    }

    /// Reads small blobs ahead of the peer that takes them, some at a time.
    fn read_small(&self, from: &PeerIdentity, digests: &[Digest]) -> Result<SmallBlobs, PeerError> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().map_err(|_| PeerError::Busy)?;
        debug!(peer = %from.node, blobs = digests.len(), "serving a peer small blobs");
        let groups: Vec<Vec<Digest>> = digests.chunks(SMALL_PER_READ).map(<[Digest]>::to_vec).collect();
        let (local, fetches) = (Arc::clone(&self.local), Arc::clone(&self.fetches));
        let read = move |group| {
            let (local, fetches) = (Arc::clone(&local), Arc::clone(&fetches));
            async move {
                let reading = tokio::task::spawn_blocking(move || small_blobs(&local, &fetches, group));
                reading.await.unwrap_or_else(|_| vec![Err(PeerError::Remote("the reading thread died".to_owned()))])
            }
        };
        let blobs = futures::stream::iter(groups).map(read).buffered(SMALL_READS_AHEAD).flat_map(futures::stream::iter);
        let counted = blobs.inspect(move |item| {
            let _held_until_the_end = &permit;
            if let Ok(Some(bytes)) = item {
                telemetry::served_bytes().increment(bytes.len() as u64);
            }
        });
        Ok(counted.boxed())
    }

    fn under_way(&self, digests: &[Digest]) -> Vec<TransferState> {
        let asked: HashSet<&Digest> = digests.iter().collect();
        let states = self.fetches.status().into_iter().filter(|fetch| asked.contains(&fetch.digest));
        let state = |fetch: FetchStatus| TransferState {
            digest: fetch.digest,
            received: fetch.received,
            from: fetch.from,
            bytes_per_second: fetch.bytes_per_second,
        };
        states.map(state).collect()
    }

    async fn read(&self, from: PeerIdentity, read: ReadBlob) -> Result<RemoteBlob, PeerError> {
        let permit = Arc::clone(&self.permits).try_acquire_owned().map_err(|_| PeerError::Busy)?;
        let body = match self.recorded(&read).await? {
            Some(body) => body,
            // Whoever asks may have applied what this node has yet to: that it announced this very file. The file is
            // durable before that is proposed, so the disk knows without a wait and without a quorum. Whether the blob
            // exists was for the one who asks to judge, by a state that is newer.
            None => {
                let found = self.opener.open_unrecorded(&read.digest, |size| range_of(&read, size)).await?;
                found.ok_or(PeerError::NotFound)?
            }
        };
        debug!(digest = %read.digest, peer = %from.node, source = body.source.label(), "serving a peer");
        let stream = body.stream.map(move |item| {
            let _held_until_the_end = &permit;
            if let Ok(bytes) = &item {
                telemetry::served_bytes().increment(bytes.len() as u64);
            }
            item.map_err(|error| cut(&error))
        });
        Ok(RemoteBlob { size: body.size, stream: stream.boxed() })
    }

    /// Opens what this node's state says is here, or may be fetched on the asker's behalf.
    async fn recorded(&self, read: &ReadBlob) -> Result<Option<BlobBody>, PeerError> {
        let here = self.holders.here(&read.digest).map_err(|error| PeerError::Remote(error.to_string()))?;
        let Some(here) = here else { return Ok(None) };
        let range = range_of(read, here.size)?;
        let opened = if read.relay {
            self.opener.open(&read.digest, Some(range), true).await.map(Some)
        } else {
            // Only what is here and whole: whoever asks so may be asked by us at the same moment.
            self.opener.open_local(&read.digest, range).await
        };
        opened.map_err(|error| refusal(&error))
    }

    fn note_accusation(&self, from: &PeerIdentity, digest: Digest) -> Result<(), PeerError> {
        let here = self.holders.here(&digest).map_err(|error| PeerError::Remote(error.to_string()))?;
        let own = here.ok_or(PeerError::NotFound)?.own;
        info!(%digest, peer = %from.node, files = own.len(), "a peer says that our bytes do not match");
        for file in own {
            self.local.accuse(digest, file);
        }
        Ok(())
    }
}

impl BlobHandler for Serve {
    fn read_blob(&self, from: PeerIdentity, read: ReadBlob) -> Answer<'_, RemoteBlob> {
        self.read(from, read).boxed()
    }

    fn accuse(&self, from: PeerIdentity, digest: Digest) -> Answer<'_, ()> {
        std::future::ready(self.note_accusation(&from, digest)).boxed()
    }

    fn sums(&self, _from: PeerIdentity, digest: Digest) -> Answer<'_, Vec<u32>> {
        async move {
            let _one_of_so_many = self.permits.try_acquire().map_err(|_| PeerError::Busy)?;
            self.local.sums(digest, self.fetches.finished(&digest)).await.ok_or(PeerError::NotFound)
        }
        .boxed()
    }

    fn read_many(&self, from: PeerIdentity, digests: Vec<Digest>) -> Answer<'_, SmallBlobs> {
        std::future::ready(self.read_small(&from, &digests)).boxed()
    }

    fn transfers(&self, _from: PeerIdentity, digests: Vec<Digest>) -> Answer<'_, Vec<TransferState>> {
        std::future::ready(Ok(self.under_way(&digests))).boxed()
    }
}

type SmallBlobs = BoxStream<'static, Result<Option<Bytes>, PeerError>>;

fn small_blobs(local: &Arc<Local>, fetches: &Fetches, digests: Vec<Digest>) -> Vec<Result<Option<Bytes>, PeerError>> {
    let read = |digest: Digest| {
        let found = local.read_small(digest, fetches.finished(&digest), MANY_BLOB_BYTES);
        found.map_err(|TooLong { size }| PeerError::Malformed(format!("{digest} is not small: {size} bytes")))
    };
    digests.into_iter().map(read).collect()
}

/// The bytes asked for, of a blob of this length.
fn range_of(read: &ReadBlob, size: u64) -> Result<Range<u64>, PeerError> {
    if read.offset > size {
        return Err(PeerError::Malformed(format!("offset {} is beyond the {size} bytes", read.offset)));
    }
    let end = read.limit.map_or(size, |limit| read.offset.saturating_add(limit).min(size));
    Ok(read.offset..end)
}

fn refusal(error: &OpenError) -> PeerError {
    match error {
        // Whoever asked takes the next holder; our neighbour's failure is not ours.
        OpenError::NotFound | OpenError::Unreachable { .. } => PeerError::NotFound,
        OpenError::Busy(_) | OpenError::Stopped => PeerError::Busy,
        OpenError::Range { .. } => PeerError::Malformed(error.to_string()),
        OpenError::Store(_) | OpenError::View(_) => {
            warn!(%error, "a peer could not be served");
            PeerError::Remote("the disk or the state failed".to_owned())
        }
    }
}

/// The stream to the peer breaks off; whatever it says, the peer goes on with another holder.
fn cut(error: &ReadError) -> PeerError {
    PeerError::Remote(error.to_string())
}
