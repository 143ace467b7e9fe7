//! Clients that begin a pull at fixed times, whether or not the last one has ended: a stall hits as many pulls as would
//! have come meanwhile.

use crate::compare::stats;
use portolan_chaos_tests::Result;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

/// One pull.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// When it began, in seconds since the pace did.
    pub at: f64,
    /// How long it took, in milliseconds.
    pub ms: f64,
    /// Why it failed.
    pub error: Option<String>,
}

/// Ends a pace.
#[derive(Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// No further pull is begun.
    pub fn stop(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn stopped(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Begins a pull every so often until it is stopped or `pull` has none left; gives all of them once they have ended.
///
/// # Errors
/// When a pull panics.
pub async fn pace<F, Fut>(began: Instant, every: Duration, stop: Stop, mut pull: F) -> Result<Vec<Answer>>
where
    F: FnMut(usize) -> Option<Fut>,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut tasks, mut answers, mut number) = (JoinSet::new(), Vec::new(), 0);
    while !stop.stopped() {
        ticks.tick().await;
        let Some(next) = pull(number) else { break };
        number += 1;
        tasks.spawn(async move {
            let start = Instant::now();
            let ended = next.await;
            let (at, ms) = ((start - began).as_secs_f64(), start.elapsed().as_secs_f64() * 1e3);
            Answer { at, ms, error: ended.err().map(|error| error.to_string()) }
        });
        while let Some(answer) = tasks.try_join_next() {
            answers.push(answer?);
        }
    }
    while let Some(answer) = tasks.join_next().await {
        answers.push(answer?);
    }
    answers.sort_by(|a, b| a.at.total_cmp(&b.at));
    Ok(answers)
}

/// The latencies of the pulls that began in a time and succeeded.
#[must_use]
pub fn latencies(answers: &[Answer], from: f64, to: f64) -> Vec<f64> {
    answers.iter().filter(|one| one.error.is_none() && (from..to).contains(&one.at)).map(|one| one.ms).collect()
}

/// What 99 of 100 of them do not exceed, in milliseconds.
#[must_use]
pub fn p99(answers: &[Answer], from: f64, to: f64) -> f64 {
    stats::percentile(&latencies(answers, from, to), 99)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::{Answer, Stop, latencies, p99, pace};
    use std::time::{Duration, Instant};

    #[tokio::test]
    async fn a_stall_holds_up_no_further_pull() {
        let pull = |number| {
            (number < 5).then_some(async move {
                let wait = if number < 4 { 300 } else { 1 };
                tokio::time::sleep(Duration::from_millis(wait)).await;
                if number == 3 { Err("the third".into()) } else { Ok(()) }
            })
        };
        let before = Instant::now();
        let answers = pace(Instant::now(), Duration::from_millis(10), Stop::default(), pull).await.unwrap();
        assert_eq!(answers.len(), 5);
        assert_eq!(answers.iter().filter(|answer| answer.error.is_some()).count(), 1);
        assert!(before.elapsed() < Duration::from_millis(900), "one after the other they would take 1.2 s");
    }

    #[tokio::test]
    async fn nothing_begins_after_the_stop() {
        let stop = Stop::default();
        stop.stop();
        let none = pace(Instant::now(), Duration::from_millis(1), stop, |_| Some(async { Ok(()) })).await.unwrap();
        assert!(none.is_empty());
    }

    #[test]
    fn failures_have_no_latency_and_ends_are_not_part_of_a_time() {
        let answer = |at, ms, failed: bool| Answer { at, ms, error: failed.then(|| "x".to_owned()) };
        let answers =
            [answer(0.0, 5.0, false), answer(1.0, 9.0, true), answer(2.0, 7.0, false), answer(3.0, 1.0, false)];
        assert_eq!(latencies(&answers, 0.0, 3.0), [5.0, 7.0]);
        assert_eq!(p99(&answers, 1.5, 9.0), 7.0);
    }
}
