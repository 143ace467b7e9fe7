//! Readers of a growing file, each at its own pace: the transfer never waits for one of them.

use crate::error::ReadError;
use crate::through::{Through, ThroughReader};
use crate::transfer::{Attempt, End, Progress, ReaderFate, Share};
use bytes::Bytes;
use futures::stream::{BoxStream, try_unfold};
use futures::{FutureExt, StreamExt};
use portolan_sabotage::Sabotage;
use portolan_store::CHUNK_BYTES;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::watch;

/// Follows a transfer over a range of the blob. The last chunk of the range is held back until the digest of the
/// whole blob is right, whatever the range (design, P4).
///
/// `began` says whether this reader's wish began the transfer. Another's may have asked holders that were not ready yet:
/// a reader to whom no byte came of it, as the last chunk is held back, goes on with a tour of its own.
pub(crate) fn follow(
    share: Share,
    began: bool,
    range: Range<u64>,
    through: Arc<Through>,
) -> BoxStream<'static, Result<Bytes, ReadError>> {
    let progress = share.progress();
    let follower =
        Follower { progress, share, began, position: range.start, range, attempt: None, through, rest: None };
    try_unfold(follower, |mut follower| async move {
        let next = follower.next().await?;
        Ok(next.map(|bytes| (bytes, follower)))
    })
    .boxed()
}

struct Follower {
    share: Share,
    began: bool,
    progress: watch::Receiver<Progress>,
    range: Range<u64>,
    position: u64,
    attempt: Option<Attempt>,
    through: Arc<Through>,
    /// Set once the transfer gave up storing.
    rest: Option<ThroughReader>,
}

impl Follower {
    async fn next(&mut self) -> Result<Option<Bytes>, ReadError> {
        loop {
            if self.position >= self.range.end {
                return Ok(None);
            }
            if let Some(rest) = &mut self.rest {
                return rest.next().await;
            }
            let end = self.look()?;
            let limit = self.limit(end.as_ref());
            if self.position < limit {
                return self.read(limit).await.map(Some);
            }
            let digest = self.share.fetch().digest;
            match end.map(|end| end.for_reader(digest)) {
                None => self.wait().await?,
                Some(ReaderFate::GoesThrough) => self.rest = Some(self.go_through()?),
                Some(ReaderFate::Fails(ReadError::SourcesLost { .. }))
                    if !self.began && self.position == self.range.start =>
                {
                    self.rest = Some(self.go_through()?);
                }
                Some(ReaderFate::Fails(error)) => return Err(error),
                // Not reached: a sealed transfer has every byte of the range.
                Some(ReaderFate::ReadsOn) => return Err(ReadError::SourcesLost { digest }),
            }
        }
    }

    /// Takes note of what the transfer says. Bytes of two attempts must not be mixed: who has given out some of an
    /// earlier attempt ends here.
    fn look(&mut self) -> Result<Option<End>, ReadError> {
        let progress = self.progress.borrow_and_update();
        if let Some(current) = &progress.attempt {
            let known = self.attempt.as_ref().map(|attempt| attempt.number);
            if known != Some(current.number) {
                if known.is_some() && self.position > self.range.start {
                    return Err(ReadError::WrongBytes { digest: self.share.fetch().digest });
                }
                self.attempt = Some(current.clone());
            }
        }
        Ok(progress.end.clone())
    }

    /// Up to where bytes may be given out now.
    fn limit(&mut self, end: Option<&End>) -> u64 {
        let Some(attempt) = &mut self.attempt else { return self.position };
        match end {
            Some(End::Sealed(_)) => self.range.end,
            // Sabotaged: nothing waits for the digest.
            _ if portolan_sabotage::is(Sabotage::CompleteUnproven) => {
                (*attempt.written.borrow_and_update()).min(self.range.end)
            }
            _ => (*attempt.written.borrow_and_update()).min(self.range.end.saturating_sub(CHUNK_BYTES)),
        }
    }

    async fn read(&mut self, limit: u64) -> Result<Bytes, ReadError> {
        let digest = self.share.fetch().digest;
        let len = (limit - self.position).min(CHUNK_BYTES);
        let reader = self.attempt.as_ref().map(|attempt| attempt.reader.clone());
        let reader = reader.ok_or(ReadError::SourcesLost { digest })?;
        let len = usize::try_from(len).expect("a chunk is small");
        let bytes = reader
            .read(self.position, len)
            .await
            .map_err(|error| ReadError::Disk { digest, reason: error.to_string() })?;
        if bytes.is_empty() {
            return Err(ReadError::Disk { digest, reason: "the growing file is shorter than it was".to_owned() });
        }
        self.position += bytes.len() as u64;
        Ok(bytes)
    }

    async fn wait(&mut self) -> Result<(), ReadError> {
        let grown = match &mut self.attempt {
            // A closed writer says no more; the transfer's own news follow.
            Some(attempt) => attempt.written.changed().map(|result| result.is_ok()).boxed(),
            None => std::future::ready(false).boxed(),
        };
        tokio::select! {
            true = grown => Ok(()),
            changed = self.progress.changed() => changed.map_err(|_| ReadError::Stopped),
        }
    }

    fn go_through(&self) -> Result<ThroughReader, ReadError> {
        let fetch = self.share.fetch();
        let prefix = self.attempt.as_ref().map(|attempt| (attempt.reader.clone(), *attempt.written.borrow()));
        self.through.read(fetch.digest, fetch.size, self.position..self.range.end, prefix, fetch.served())
    }
}
