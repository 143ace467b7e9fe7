//! Appends on their way: a bound on how many, and a deadline on progress instead of one per append.

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use portolan_peer::PeerError;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep_until};

/// Joins the two directions of one append stream. Answers come in the order of the requests.
#[derive(Clone)]
pub(crate) struct Pipeline {
    shared: Arc<Shared>,
}

struct Shared {
    silence: Duration,
    places: Semaphore,
    owed: Mutex<Owed>,
    /// Woken when the first of a run of requests goes out.
    sent: Notify,
}

#[derive(Default)]
struct Owed {
    count: u64,
    /// Since when the other side could have made progress.
    since: Option<Instant>,
}

impl Pipeline {
    /// At most `in_flight` requests unanswered; at most `silence` between an answer, or the first request of a run,
    /// and the next answer.
    pub(crate) fn new(in_flight: usize, silence: Duration) -> Self {
        let shared =
            Shared { silence, places: Semaphore::new(in_flight.max(1)), owed: Mutex::default(), sent: Notify::new() };
        Self { shared: Arc::new(shared) }
    }

    /// The requests, each of which waits for a place. One that cannot be encoded ends the stream.
    pub(crate) fn requests<S, T>(&self, input: S) -> impl Stream<Item = T> + Send + use<S, T>
    where
        S: Stream<Item = io::Result<T>> + Send + Unpin,
        T: Send,
    {
        stream::unfold((Arc::clone(&self.shared), input), |(shared, mut input)| async move {
            shared.places.acquire().await.ok()?.forget();
            match input.next().await? {
                Ok(request) => {
                    shared.went_out();
                    Some((request, (shared, input)))
                }
                Err(error) => {
                    tracing::error!(%error, "an append does not encode");
                    None
                }
            }
        })
    }

    /// The answers; the last item is [`PeerError::Deadline`] when they stop coming while some are owed.
    pub(crate) fn answers<S>(&self, input: S) -> impl Stream<Item = Result<Bytes, PeerError>> + Send + use<S>
    where
        S: Stream<Item = Result<Bytes, PeerError>> + Send + Unpin,
    {
        stream::unfold(Some((Arc::clone(&self.shared), input)), |state| async move {
            let (shared, mut input) = state?;
            let item = tokio::select! {
                biased;
                item = input.next() => item?,
                () = shared.silent() => return Some((Err(PeerError::Deadline), None)),
            };
            shared.came_in();
            Some((item, Some((shared, input))))
        })
    }
}

impl Shared {
    fn went_out(&self) {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        owed.count += 1;
        if owed.since.is_none() {
            owed.since = Some(Instant::now());
            self.sent.notify_one();
        }
    }

    fn came_in(&self) {
        let mut owed = self.owed.lock().unwrap_or_else(PoisonError::into_inner);
        owed.count = owed.count.saturating_sub(1);
        owed.since = (owed.count > 0).then(Instant::now);
        self.places.add_permits(1);
    }

    /// Returns once an answer is owed for longer than allowed.
    async fn silent(&self) {
        loop {
            let since = self.owed.lock().unwrap_or_else(PoisonError::into_inner).since;
            match since {
                None => self.sent.notified().await,
                Some(since) => {
                    sleep_until(since + self.silence).await;
                    // A wake-up of an earlier run may have brought us here: judge by what holds now.
                    if self.owed.lock().unwrap_or_else(PoisonError::into_inner).since == Some(since) {
                        return;
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Bytes, Duration, Instant, PeerError, Pipeline, io};
    use futures::{StreamExt, stream};
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::ReceiverStream;

    fn endless() -> stream::BoxStream<'static, io::Result<Vec<u8>>> {
        stream::repeat_with(|| Ok(vec![1])).boxed()
    }

    #[tokio::test]
    async fn no_more_than_the_bound_is_under_way_and_each_answer_makes_room() {
        let pipeline = Pipeline::new(3, Duration::from_secs(1));
        let mut requests = Box::pin(pipeline.requests(endless()));
        let (answer, answers) = mpsc::channel(8);
        let mut answers = Box::pin(pipeline.answers(ReceiverStream::new(answers)));
        for _ in 0..3 {
            assert!(requests.next().await.is_some());
        }
        let blocked = tokio::time::timeout(Duration::from_millis(50), requests.next()).await;
        assert!(blocked.is_err(), "the fourth waits");
        answer.send(Ok(Bytes::new())).await.expect("open");
        assert_eq!(answers.next().await, Some(Ok(Bytes::new())));
        assert!(requests.next().await.is_some());
    }

    #[tokio::test]
    async fn silence_counts_only_while_an_answer_is_owed() {
        let silence = Duration::from_millis(100);
        let pipeline = Pipeline::new(3, silence);
        let mut requests = Box::pin(pipeline.requests(endless()));
        let (answer, answers) = mpsc::channel(8);
        let mut answers = Box::pin(pipeline.answers(ReceiverStream::new(answers)));
        let idle = tokio::time::timeout(2 * silence, answers.next()).await;
        assert!(idle.is_err(), "nothing is owed");
        requests.next().await;
        requests.next().await;
        answer.send(Ok(Bytes::new())).await.expect("open");
        assert_eq!(answers.next().await, Some(Ok(Bytes::new())));
        let progress = Instant::now();
        assert_eq!(answers.next().await, Some(Err(PeerError::Deadline)), "one is still owed");
        // The answer was noted a moment before it was handed out.
        assert!(progress.elapsed() > silence / 2, "counted from the last progress");
        assert_eq!(answers.next().await, None);
    }
}
