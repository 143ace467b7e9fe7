//! What a connection is doing: whether its client asks for anything, and whether it takes what it asked for.
//!
//! hyper's own timers leave gaps: none runs before the protocol is known, and over HTTP/2 neither a connection without
//! requests nor a response whose client opens no window has one.

use bytes::Bytes;
use http::{Response, Version};
use http_body::{Body, Frame, SizeHint};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// How many times longer a connection is borne with while its bytes move: over a slow link the last of a response is
/// under way for long, and so is each of many responses at once.
const SLOW: u32 = 10;
/// More than this, between two looks, tells of a connection that moves; pings are less.
const MOVED_BYTES: u64 = 1024;

/// How long a connection is borne with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Without a request.
    pub(crate) idle: Duration,
    /// With a piece of a response that the client does not take.
    pub(crate) stall: Duration,
}

impl Patience {
    /// How long to wait between two looks, at least: long enough to see whether bytes move.
    fn look(self) -> Duration {
        self.idle.min(self.stall) / 4
    }
}

/// Why a connection should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// It has never brought a request.
    Silent,
    /// It brings no more.
    Idle,
    /// Its client leaves a response standing.
    Stalled,
}

/// The requests of one connection.
pub(crate) struct Activity {
    requests: Mutex<Requests>,
    /// The bytes that came and went.
    moved: Arc<AtomicU64>,
}

struct Requests {
    /// Whether there ever was one.
    seen: bool,
    under_way: usize,
    /// Since when there is none.
    idle_since: Instant,
    /// The responses of which a piece waits for the client, with since when.
    untaken: HashMap<u64, Instant>,
    next_number: u64,
    /// When bytes were last seen to move.
    moved_at: Option<Instant>,
}

impl Requests {
    /// Takes note of what moved since the last look, and judges. A slow client may take its bytes in rare, large steps.
    fn look(&mut self, patience: Patience, moved: bool, now: Instant) -> Result<Overdue, Instant> {
        if moved {
            self.moved_at = Some(now);
        }
        let moves = self.moved_at.is_some_and(|at| now.duration_since(at) < patience.stall);
        self.judge(patience, moves, now)
    }

    /// Why the connection should end, or when to look again. Nobody wakes who waits for that: it would cost more than
    /// to look.
    fn judge(&self, patience: Patience, moves: bool, now: Instant) -> Result<Overdue, Instant> {
        let (since, bound, why) = if self.under_way == 0 {
            (self.idle_since, patience.idle, if self.seen { Overdue::Idle } else { Overdue::Silent })
        } else if let Some(since) = self.untaken.values().min() {
            (*since, patience.stall, Overdue::Stalled)
        } else {
            return Err(now + patience.look());
        };
        let end = since + bound * if moves { SLOW } else { 1 };
        if end <= now { Ok(why) } else { Err((since + bound).max(now + patience.look())) }
    }
}

impl Activity {
    pub(crate) fn new(moved: Arc<AtomicU64>) -> Arc<Self> {
        let requests = Mutex::new(Requests {
            seen: false,
            under_way: 0,
            idle_since: Instant::now(),
            untaken: HashMap::new(),
            next_number: 0,
            moved_at: None,
        });
        Arc::new(Self { requests, moved })
    }

    /// A request has come. It is under way until what is returned is dropped.
    pub(crate) fn begin(self: &Arc<Self>, version: Version) -> UnderWay {
        let mut requests = self.lock();
        requests.seen = true;
        requests.under_way += 1;
        requests.next_number += 1;
        // HTTP/1 has no windows: what its client does not take is seen where it is written.
        let number = (version == Version::HTTP_2).then_some(requests.next_number);
        UnderWay { activity: Arc::clone(self), number }
    }

    /// Gives the connection as much time again, for what is left to say.
    pub(crate) fn pardon(&self) {
        let mut requests = self.lock();
        requests.idle_since = Instant::now();
        requests.untaken.values_mut().for_each(|since| *since = Instant::now());
    }

    /// Returns once the connection should end.
    pub(crate) async fn overdue(&self, patience: Patience) -> Overdue {
        let mut again = Instant::now() + patience.look();
        loop {
            let before = self.moved.load(Ordering::Relaxed);
            sleep_until(again).await;
            let moved = self.moved.load(Ordering::Relaxed).saturating_sub(before) > MOVED_BYTES;
            match self.lock().look(patience, moved, Instant::now()) {
                Ok(why) => return why,
                Err(next) => again = next,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request from its head to the end of its response.
pub(crate) struct UnderWay {
    activity: Arc<Activity>,
    /// Its number, if its response is watched.
    number: Option<u64>,
}

impl UnderWay {
    /// Stays with the response's body.
    pub(crate) fn follow<B>(self, response: Response<B>) -> Response<Followed<B>> {
        self.offered();
        response.map(|body| Followed { body, under_way: self })
    }

    fn offered(&self) {
        if let Some(number) = self.number {
            self.activity.lock().untaken.insert(number, Instant::now());
        }
    }

    fn taken(&self) {
        if let Some(number) = self.number {
            self.activity.lock().untaken.remove(&number);
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.taken();
        let mut requests = self.activity.lock();
        requests.under_way -= 1;
        requests.idle_since = Instant::now();
    }
}

/// A response's body. That more of it is asked for says that the client took what came before.
pub(crate) struct Followed<B> {
    body: B,
    under_way: UnderWay,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Followed<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.under_way.taken();
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(Some(Ok(_)))) {
            self.under_way.offered();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::{Activity, Overdue, Patience};
    use bytes::Bytes;
    use http::{Response, Version};
    use http_body_util::{BodyExt, Full};
    use std::sync::Arc;
    use std::time::Duration;
    use tokio::time::Instant;

    const PATIENCE: Patience = Patience { idle: Duration::from_secs(10), stall: Duration::from_secs(20) };

    #[tokio::test]
    async fn a_connection_is_overdue_when_nothing_is_asked_for_or_nothing_is_taken() {
        let activity = Activity::new(Arc::default());
        let judge = |seconds: u64, moves: bool| {
            activity.lock().judge(PATIENCE, moves, Instant::now() + Duration::from_secs(seconds)).ok()
        };
        let after = |seconds: u64| judge(seconds, false);
        assert_eq!((after(9), after(11)), (None, Some(Overdue::Silent)));
        // A request that is worked on may take its time.
        let under_way = activity.begin(Version::HTTP_2);
        assert_eq!(after(1000), None);
        // Its response waits for the client from its head on.
        let response = under_way.follow(Response::new(Full::new(Bytes::from_static(b"ab"))));
        assert_eq!((after(19), after(21)), (None, Some(Overdue::Stalled)));
        let mut body = response.into_body();
        body.frame().await.unwrap().unwrap();
        assert_eq!((after(19), after(21)), (None, Some(Overdue::Stalled)));
        // One that moves has longer, and not for ever.
        assert_eq!((judge(199, true), judge(201, true)), (None, Some(Overdue::Stalled)));
        assert!(body.frame().await.is_none());
        assert_eq!(after(1000), None);
        drop(body);
        assert_eq!((after(9), after(11)), (None, Some(Overdue::Idle)));
        // Over HTTP/1 the socket tells.
        let response = activity.begin(Version::HTTP_11).follow(Response::new(Full::new(Bytes::new())));
        assert_eq!(after(1000), None);
        drop(response);
        assert_eq!(after(11), Some(Overdue::Idle));
    }
}
