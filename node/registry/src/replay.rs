//! The body of a request for another node's session: a short one is kept while it goes out, so that an owner that is lost
//! and comes back gets what it lacks without the client's help.

use crate::error::{BodyError, RegistryError};
use crate::pour::UploadBody;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use portolan_peer::{BrokenOff, ForwardedBody};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// How long a connection that was lost may take to let go of the body it was sending.
const LETTING_GO: Duration = Duration::from_secs(5);

/// A body that can be sent again if it is short.
pub(crate) struct Replay(Arc<Mutex<State>>);

struct State {
    rest: BoxStream<'static, Result<Bytes, BrokenOff>>,
    /// What was sent; copied, so that a small piece keeps no large buffer.
    sent: BytesMut,
    limit: usize,
    /// Whether it can be sent (again).
    usable: bool,
    /// Whether all of it is in `sent`.
    ended: bool,
}

impl Replay {
    /// Keeps at most `limit` bytes of the body.
    pub(crate) fn new(body: UploadBody, limit: usize) -> Self {
        let rest = body.map(|piece| piece.map_err(|_| BrokenOff)).boxed();
        Self(Arc::new(Mutex::new(State { rest, sent: BytesMut::new(), limit, usable: true, ended: false })))
    }

    /// The body of a request that has none.
    pub(crate) fn none() -> Self {
        Self::new(stream::empty().boxed(), 0)
    }

    /// Takes the rest of the body from the client, before it is sent again. A client that went away shows by that: it may
    /// be writing somewhere else already, and must not be taken its session by a request that it has given up. `false`
    /// when the body is too long to be sent again.
    ///
    /// # Errors
    /// `Body`: the client is gone; `Idle`: it sends nothing for `idle_ms`.
    pub(crate) async fn gather(&self, idle_ms: u64) -> Result<bool, RegistryError> {
        let Some(mut state) = self.released().await else { return Ok(false) };
        while state.usable && !state.ended {
            let piece = tokio::time::timeout(Duration::from_millis(idle_ms), state.next()).await;
            if let Some(Err(gone)) = piece.map_err(|_| RegistryError::Idle { idle_ms })? {
                return Err(RegistryError::Body(BodyError(Box::new(gone))));
            }
        }
        Ok(state.usable)
    }

    /// The whole body, if all of it came and is still here.
    pub(crate) async fn whole(&self) -> Option<ForwardedBody> {
        let ended = self.released().await?.ended;
        if ended { self.body(0).await } else { None }
    }

    /// The state, once whoever sent the body before has let go of it.
    async fn released(&self) -> Option<OwnedMutexGuard<State>> {
        tokio::time::timeout(LETTING_GO, Arc::clone(&self.0).lock_owned()).await.ok()
    }

    /// The body without its first `skip` bytes, to be sent now; `None` when it cannot be sent (again): too much went
    /// out before, or the client went away meanwhile.
    pub(crate) async fn body(&self, skip: u64) -> Option<ForwardedBody> {
        let state = self.released().await?;
        if !state.usable {
            return None;
        }
        let again = Bytes::copy_from_slice(state.sent.get(usize::try_from(skip).ok()?..)?);
        let fresh = stream::unfold(state, |mut state| async move {
            let piece = state.next().await?;
            Some((piece, state))
        });
        Some(stream::iter((!again.is_empty()).then_some(Ok(again))).chain(fresh).boxed())
    }
}

impl State {
    async fn next(&mut self) -> Option<Result<Bytes, BrokenOff>> {
        if self.ended {
            return None;
        }
        let Some(piece) = self.rest.next().await else {
            self.ended = true;
            return None;
        };
        match &piece {
            Ok(bytes) if self.usable && self.sent.len() + bytes.len() <= self.limit => {
                self.sent.extend_from_slice(bytes);
            }
            // Too much is kept by nobody; and after a client that went away, nobody waits for the answer.
            Ok(_) | Err(BrokenOff) => {
                self.usable = false;
                self.sent = BytesMut::new();
            }
        }
        Some(piece)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::Replay;
    use crate::error::{BodyError, RegistryError};
    use bytes::Bytes;
    use futures::StreamExt;
    use futures::stream::iter;
    use portolan_peer::BrokenOff;

    fn of(pieces: &[Option<&'static str>], limit: usize) -> Replay {
        let pieces: Vec<_> =
            pieces.iter().map(|piece| piece.map(Bytes::from).ok_or_else(|| BodyError(Box::new(BrokenOff)))).collect();
        Replay::new(iter(pieces).boxed(), limit)
    }

    /// Takes some pieces and leaves the rest.
    async fn take(replay: &Replay, skip: u64, pieces: usize) -> Option<String> {
        let taken: Vec<_> = replay.body(skip).await?.take(pieces).collect().await;
        Some(taken.into_iter().map(|piece| String::from_utf8(piece.unwrap_or_default().to_vec()).unwrap()).collect())
    }

    #[tokio::test]
    async fn what_was_sent_is_sent_again_behind_what_has_landed() {
        let replay = of(&[Some("ab"), Some("cde"), Some("f")], 10);
        assert_eq!(take(&replay, 0, 2).await.unwrap(), "abcde");
        assert_eq!(take(&replay, 3, 1).await.unwrap(), "de");
        assert_eq!(take(&replay, 0, 9).await.unwrap(), "abcdef");
        assert_eq!(take(&replay, 6, 9).await.unwrap(), "", "everything had landed");
        assert_eq!(take(&replay, 7, 9).await, None, "more landed than was sent");
    }

    #[tokio::test]
    async fn too_much_is_not_kept_and_a_broken_body_is_not_sent_again() {
        let replay = of(&[Some("abc"), Some("def"), Some("g")], 5);
        assert_eq!(take(&replay, 0, 1).await.unwrap(), "abc");
        assert_eq!(take(&replay, 0, 2).await.unwrap(), "abcdef");
        assert_eq!(take(&replay, 6, 1).await, None);

        let broken = of(&[Some("abc"), None], 5);
        assert_eq!(take(&broken, 0, 9).await.unwrap(), "abc");
        assert_eq!(take(&broken, 0, 9).await, None);
    }

    #[tokio::test]
    async fn the_rest_is_taken_before_anything_is_sent_again() {
        let short = of(&[Some("abc"), Some("d"), Some("e")], 5);
        assert_eq!(take(&short, 0, 1).await.unwrap(), "abc");
        assert!(short.gather(1_000).await.unwrap());
        assert_eq!(take(&short, 2, 9).await.unwrap(), "cde");
        assert!(short.gather(1_000).await.unwrap(), "as often as it takes");

        let long = of(&[Some("abc"), Some("def"), None], 5);
        assert_eq!(take(&long, 0, 1).await.unwrap(), "abc");
        assert!(!long.gather(1_000).await.unwrap());

        let gone = of(&[Some("abc"), None], 5);
        assert_eq!(take(&gone, 0, 1).await.unwrap(), "abc");
        assert!(matches!(gone.gather(1_000).await, Err(RegistryError::Body(_))));

        let silent = Replay::new(futures::stream::pending().boxed(), 5);
        assert!(matches!(silent.gather(10).await, Err(RegistryError::Idle { idle_ms: 10 })));
    }
}
