//! Read barriers: any number of reads that wait at the same time share one question to the leader.
//!
//! Whoever comes while a question is under way waits for the next, since the answer to the current one may be older
//! than that read; the next one serves all that gathered meanwhile. Far from the leader the next does not wait for the
//! answer to the one before: a read that came a moment too late would take twice as long.

use crate::error::ReadError;
use crate::group::Group;
use crate::metrics;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use openraft::LinearizerOption;
use openraft::ReadPolicy;
use portolan_meta::id::NodeId;
use portolan_sabotage::Sabotage;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};

/// One read that waits.
pub(crate) struct Waiter {
    deadline: Instant,
    answer: oneshot::Sender<u64>,
}

/// Between the beginnings of two questions of which the first is not answered yet: long enough to gather reads.
const SPACING: Duration = Duration::from_millis(5);

/// Where reads queue.
pub(crate) struct Barrier {
    queue: mpsc::Sender<Waiter>,
    /// One for each read that may wait, in the queue or for an answer.
    places: Semaphore,
}

impl Barrier {
    /// `limit`: see [`crate::Config::max_waiting_reads`]. The receiver is for [`serve`].
    pub(crate) fn new(limit: usize) -> (Self, mpsc::Receiver<Waiter>) {
        let (queue, waiting) = mpsc::channel(limit);
        (Self { queue, places: Semaphore::new(limit) }, waiting)
    }

    /// The index that this node must have applied before it reads, confirmed by a quorum after this call.
    pub(crate) async fn pass(&self, deadline: Instant) -> Result<u64, ReadError> {
        // Sabotaged: whatever this node has applied will do.
        if portolan_sabotage::is(Sabotage::TagReadWithoutBarrier) {
            return Ok(0);
        }
        let _place = self.places.try_acquire().map_err(|_| ReadError::Busy)?;
        let (answer, answered) = oneshot::channel();
        self.queue.try_send(Waiter { deadline, answer }).map_err(|error| match error {
            TrySendError::Full(_) => ReadError::Busy,
            TrySendError::Closed(_) => ReadError::Stopped,
        })?;
        match timeout_at(deadline, answered).await {
            Ok(Ok(index)) => Ok(index),
            Ok(Err(_)) | Err(_) => Err(ReadError::Unavailable),
        }
    }
}

/// Answers the queue until its senders are gone, with at most `max_rounds` questions under way. `ask` is given until
/// when anybody still waits.
pub(crate) async fn serve<A, F>(mut waiting: mpsc::Receiver<Waiter>, max_rounds: usize, ask: A)
where
    A: Fn(Instant) -> F,
    F: Future<Output = Option<u64>>,
{
    let mut rounds = FuturesUnordered::new();
    let mut due = Instant::now();
    loop {
        let room = rounds.len() < max_rounds.max(1);
        let begin = rounds.is_empty() || (room && Instant::now() >= due);
        tokio::select! {
            biased;
            Some((batch, index)) = rounds.next(), if !rounds.is_empty() => answer_all(batch, index),
            first = waiting.recv(), if begin => match first {
                Some(first) => {
                    let (batch, until) = gather(first, &mut waiting);
                    let asked = ask(until);
                    rounds.push(async move { (batch, asked.await) });
                    due = Instant::now() + SPACING;
                }
                None => break,
            },
            () = sleep_until(due), if room && !begin => {}
        }
    }
    while let Some((batch, index)) = rounds.next().await {
        answer_all(batch, index);
    }
}

/// Whoever waits now, and until when the last of them does.
fn gather(first: Waiter, waiting: &mut mpsc::Receiver<Waiter>) -> (Vec<Waiter>, Instant) {
    let mut until = first.deadline;
    let mut batch = vec![first];
    while let Ok(waiter) = waiting.try_recv() {
        until = until.max(waiter.deadline);
        batch.push(waiter);
    }
    (batch, until)
}

/// Without an index the waiters are dropped, which they take for "unavailable".
fn answer_all(batch: Vec<Waiter>, index: Option<u64>) {
    let Some(index) = index else { return };
    for waiter in batch {
        // One whose deadline has passed no longer listens.
        let _ = waiter.answer.send(index);
    }
}

/// Asks whoever leads, and its successors, until one confirms or the deadline passes.
pub(crate) async fn ask(group: Arc<Group>, deadline: Instant) -> Option<u64> {
    loop {
        let leader = group.wait_leader(deadline).await?;
        let round = Duration::from_millis(group.config.read_round_ms);
        let round = round.min(deadline.saturating_duration_since(Instant::now()));
        metrics::read_round();
        let asked = Instant::now();
        let index = tokio::select! {
            index = ask_leader(&group, leader, round) => index,
            () = group.wait_leader_gone(leader) => None,
        };
        if index.is_some() {
            metrics::read_confirmed(asked.elapsed());
            return index;
        }
        let pause = Duration::from_millis(group.config.retry_pause_ms);
        if Instant::now() + pause >= deadline {
            return None;
        }
        sleep(pause).await;
    }
}

async fn ask_leader(group: &Group, leader: NodeId, round: Duration) -> Option<u64> {
    if leader == group.node {
        return confirm(group, round).await;
    }
    match group.peers.read_index(leader, round).await {
        Ok(index) => Some(index),
        Err(error) => {
            tracing::debug!(%error, peer = %leader, "the leader gave no read index");
            None
        }
    }
}

/// On the leader: a read index confirmed by a quorum from now on. Never by lease: a lease that survives a restart by
/// mistake would serve stale reads.
pub(crate) async fn confirm(group: &Group, round: Duration) -> Option<u64> {
    let option = LinearizerOption::from(ReadPolicy::ReadIndex).with_wait_timeout(round);
    match timeout(round, group.raft.get_read_linearizer(option)).await {
        Ok(Ok(linearizer)) => Some(linearizer.read_log_id().index()),
        Ok(Err(error)) => {
            tracing::debug!(%error, "no quorum for a read index");
            None
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Barrier, Duration, Instant, ReadError, serve};
    use futures::future::join_all;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tokio::sync::Semaphore;

    /// A leader that answers the nth question with n, each after a permit.
    struct Leader {
        asked: AtomicU64,
        permits: Semaphore,
    }

    fn start(limit: usize) -> (Arc<Barrier>, Arc<Leader>, tokio::task::JoinHandle<()>) {
        let (barrier, waiting) = Barrier::new(limit);
        let leader = Arc::new(Leader { asked: AtomicU64::new(0), permits: Semaphore::new(0) });
        let asked = Arc::clone(&leader);
        let worker = tokio::spawn(serve(waiting, 4, move |_| {
            let leader = Arc::clone(&asked);
            async move {
                let number = leader.asked.fetch_add(1, Ordering::SeqCst) + 1;
                leader.permits.acquire().await.ok()?.forget();
                Some(number)
            }
        }));
        (Arc::new(barrier), leader, worker)
    }

    async fn until_asked(leader: &Leader, count: u64) {
        while leader.asked.load(Ordering::SeqCst) < count {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn reads_that_come_during_a_round_share_the_next_one() {
        let (barrier, leader, worker) = start(1_000);
        let deadline = Instant::now() + Duration::from_secs(5);
        let first = tokio::spawn({
            let barrier = Arc::clone(&barrier);
            async move { barrier.pass(deadline).await }
        });
        until_asked(&leader, 1).await;
        let later = (0..500).map(|_| barrier.pass(deadline));
        let release = async {
            tokio::task::yield_now().await;
            leader.permits.add_permits(2);
        };
        let (later, ()) = tokio::join!(join_all(later), release);
        assert_eq!(first.await.expect("not cancelled").expect("answered"), 1);
        for answer in later {
            assert_eq!(answer.expect("answered"), 2, "an answer of the round before may be stale");
        }
        assert_eq!(leader.asked.load(Ordering::SeqCst), 2, "501 reads, two questions");
        drop(barrier);
        worker.await.expect("ends with its queue");
    }

    #[tokio::test]
    async fn a_read_does_not_wait_for_the_answer_to_an_earlier_one_nor_take_it() {
        let (barrier, waiting) = Barrier::new(10);
        let asked = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&asked);
        let worker = tokio::spawn(serve(waiting, 3, move |_| {
            let number = count.fetch_add(1, Ordering::SeqCst) + 1;
            async move { if number == 3 { Some(number) } else { std::future::pending().await } }
        }));
        let deadline = Instant::now() + Duration::from_secs(30);
        let passes = async |expected: u64| {
            let pass = barrier.pass(deadline);
            let until_asked = async {
                while asked.load(Ordering::SeqCst) < expected {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                answer = pass => answer.ok(),
                () = until_asked, if expected < 3 => None,
            }
        };
        assert_eq!(passes(1).await, None);
        assert_eq!(passes(2).await, None);
        assert_eq!(passes(3).await, Some(3));
        worker.abort();
    }

    #[tokio::test]
    async fn a_read_gives_up_at_its_own_deadline_and_a_full_queue_says_so() {
        let (barrier, leader, _worker) = start(2);
        let soon = Instant::now() + Duration::from_millis(100);
        let waiting = tokio::spawn({
            let barrier = Arc::clone(&barrier);
            async move { barrier.pass(soon).await }
        });
        until_asked(&leader, 1).await;
        let queued = barrier.pass(soon);
        let refused = async { barrier.pass(soon).await };
        let (queued, refused) = tokio::join!(queued, refused);
        assert!(matches!(queued, Err(ReadError::Unavailable)));
        assert!(matches!(refused, Err(ReadError::Busy)));
        assert!(matches!(waiting.await.expect("not cancelled"), Err(ReadError::Unavailable)));
        assert!(Instant::now() >= soon, "not before the deadline");
    }
}
