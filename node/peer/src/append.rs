//! The client's end of a long-lived append stream: deadlines are on progress, not per request.

use crate::convert::append_to_wire;
use crate::error::PeerError;
use crate::health::HealthCell;
use crate::message::Append;
use crate::status::from_status;
use crate::stub::Target;
use bytes::Bytes;
use futures::stream::{BoxStream, unfold};
use futures::{Stream, StreamExt};
use portolan_proto::v1::{AppendRequest, RaftPayload};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};
use tonic::Streaming;

/// Counts what is unanswered and since when nothing moved.
#[derive(Debug, Default)]
pub(crate) struct Progress(Mutex<Owed>);

#[derive(Debug, Default)]
struct Owed {
    unanswered: u64,
    since: Option<Instant>,
}

impl Progress {
    fn sent(&self, now: Instant) {
        let mut owed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if owed.unanswered == 0 {
            owed.since = Some(now);
        }
        owed.unanswered += 1;
    }

    fn answered(&self, now: Instant) {
        let mut owed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        owed.unanswered = owed.unanswered.saturating_sub(1);
        owed.since = (owed.unanswered > 0).then_some(now);
    }

    fn stalled(&self, limit: Duration, now: Instant) -> bool {
        let owed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        owed.since.is_some_and(|since| now.duration_since(since) >= limit)
    }
}

/// The requests as they go out.
pub(crate) fn outgoing(
    requests: impl Stream<Item = Append> + Send + 'static,
    progress: Arc<Progress>,
) -> impl Stream<Item = AppendRequest> + Send + 'static {
    requests.map(move |append| {
        progress.sent(Instant::now());
        append_to_wire(append)
    })
}

struct Answers {
    inner: Streaming<RaftPayload>,
    progress: Arc<Progress>,
    limit: Duration,
    // Looking at the clock a few times per limit is cheaper than a timer for each request.
    tick: Interval,
    target: Arc<Target>,
}

/// The answers as they come in; ends after the first error.
pub(crate) fn incoming(
    inner: Streaming<RaftPayload>,
    progress: Arc<Progress>,
    limit: Duration,
    target: Arc<Target>,
) -> BoxStream<'static, Result<Bytes, PeerError>> {
    let period = (limit / 4).max(Duration::from_millis(1));
    let mut tick = interval_at(Instant::now() + period, period);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let answers = Answers { inner, progress, limit, tick, target };
    unfold(Some(answers), |state| async move {
        let mut answers = state?;
        let next = answers.next().await?;
        Some(match next {
            Ok(bytes) => (Ok(bytes), Some(answers)),
            Err(error) => (Err(error), None),
        })
    })
    .boxed()
}

impl Answers {
    async fn next(&mut self) -> Option<Result<Bytes, PeerError>> {
        loop {
            tokio::select! {
                biased;
                answer = self.inner.message() => {
                    return match answer {
                        Ok(Some(answer)) => {
                            self.progress.answered(Instant::now());
                            HealthCell::seen(&self.target.health);
                            Some(Ok(answer.payload))
                        }
                        Ok(None) => None,
                        Err(status) => Some(Err(from_status(&status))),
                    };
                }
                _ = self.tick.tick() => {
                    if self.progress.stalled(self.limit, Instant::now()) {
                        return Some(Err(PeerError::Deadline));
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Progress;
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn only_unanswered_requests_can_stall_and_each_answer_counts_as_progress() {
        let progress = Progress::default();
        let limit = Duration::from_secs(10);
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!progress.stalled(limit, at(20)), "an idle stream owes nothing");
        progress.sent(at(20));
        progress.sent(at(21));
        assert!(!progress.stalled(limit, at(29)));
        progress.answered(at(29));
        assert!(!progress.stalled(limit, at(38)), "the answer was progress");
        assert!(progress.stalled(limit, at(39)), "the second is owed since then");
        progress.answered(at(39));
        assert!(!progress.stalled(limit, at(99)));
    }
}
