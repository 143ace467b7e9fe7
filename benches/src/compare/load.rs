//! A closed loop: so many clients, each sending its next request when the last is answered.

use super::target::{Target, Usage};
use crate::process;
use portolan_chaos_tests::Result;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

const MIB: f64 = 1_048_576.0;

/// After a failed request, so that a server that refuses everything is not asked a million times.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(20);

/// Bytes that were moved so far, by all clients of a loop.
#[derive(Clone, Default)]
pub struct Meter(Arc<AtomicU64>);

impl Meter {
    /// So many more.
    pub fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What a request was, for latencies that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It changed nothing.
    Read,
    /// It did.
    Write,
}

/// One of the clients of a loop.
pub trait Client: Send + 'static {
    /// Sends a request, counting bytes as they move; `number` is how many it has sent before.
    fn send(&mut self, number: usize, meter: &Meter) -> impl Future<Output = Result<Kind>> + Send;
}

/// What one loop did.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// How long it lasted, in seconds.
    pub seconds: f64,
    /// Bytes moved.
    pub bytes: u64,
    /// Requests that failed.
    pub errors: u64,
    /// What the first of them said.
    pub first_error: Option<String>,
    /// What the server used.
    pub usage: Usage,
    /// The CPU seconds of this process.
    pub client_cpu_seconds: f64,
    /// What each request was, and how long its answer took in milliseconds.
    pub answers: Vec<(Kind, f64)>,
}

impl Sample {
    /// MiB per second.
    #[must_use]
    pub fn mib_per_second(&self) -> f64 {
        self.bytes as f64 / MIB / self.seconds.max(f64::MIN_POSITIVE)
    }

    /// Answered requests per second.
    #[must_use]
    pub fn requests_per_second(&self) -> f64 {
        self.answers.len() as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }

    /// All latencies, in milliseconds.
    pub fn latencies_ms(&self) -> impl Iterator<Item = f64> {
        self.answers.iter().map(|(_, latency)| *latency)
    }

    /// The same sample with the answers to one kind of request only.
    #[must_use]
    pub fn only(&self, kind: Kind) -> Self {
        let answers = self.answers.iter().filter(|(other, _)| *other == kind).copied().collect();
        Self { answers, ..self.clone() }
    }
}

/// How long a loop goes on.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// Whatever ends, and every byte that moves, in the window after the warm-up. What is under way at the end is
    /// given up.
    Window {
        /// Before the window.
        warm_up: Duration,
        /// The window.
        window: Duration,
    },
    /// Each client sends so many, all of them together within the time.
    Requests {
        /// How many each.
        each: usize,
        /// Afterwards what is not answered has failed.
        within: Duration,
    },
}

/// What one client did; times in seconds since the start.
#[derive(Default)]
struct Log {
    answers: Vec<(Kind, f64, f64)>,
    failures: Vec<(f64, String)>,
}

/// Runs a loop against a target.
///
/// # Errors
/// When the target is gone; failed requests are counted instead.
pub async fn run<C: Client>(target: &Target, clients: Vec<C>, until: Until) -> Result<Sample> {
    let (meter, started) = (Meter::default(), Instant::now());
    let (each, end) = match until {
        Until::Window { warm_up, window } => (usize::MAX, started + warm_up + window),
        Until::Requests { each, within } => (each, started + within),
    };
    let mut tasks = JoinSet::new();
    let is_window = matches!(until, Until::Window { .. });
    for client in clients {
        tasks.spawn(one_client(client, meter.clone(), started, end, each, is_window));
    }
    if let Until::Window { warm_up, .. } = until {
        tokio::time::sleep_until((started + warm_up).into()).await;
    }
    let (begin, bytes_before) = (started.elapsed().as_secs_f64(), meter.bytes());
    let (account, own) = (target.open_account()?, own_cpu_seconds()?);
    if is_window {
        tokio::time::sleep_until(end.into()).await;
    }
    let mut logs = Vec::new();
    let mut sample = Sample::default();
    if is_window {
        sample = close(target, &account, own, started, begin)?;
        sample.bytes = meter.bytes() - bytes_before;
    }
    while let Some(log) = tasks.join_next().await {
        logs.push(log?);
    }
    if !is_window {
        // The loop has begun with the account, or so shortly before that no request had ended.
        sample = close(target, &account, own, started, 0.0)?;
        sample.bytes = meter.bytes();
    }
    let begin = if is_window { begin } else { 0.0 };
    let end = begin + sample.seconds;
    collect(&mut sample, logs, begin, end);
    Ok(sample)
}

fn close(target: &Target, account: &Usage, own: f64, started: Instant, begin: f64) -> Result<Sample> {
    let seconds = started.elapsed().as_secs_f64() - begin;
    let client_cpu_seconds = own_cpu_seconds()? - own;
    Ok(Sample { seconds, usage: target.close_account(account)?, client_cpu_seconds, ..Sample::default() })
}

/// Keeps what ended in time.
fn collect(sample: &mut Sample, logs: Vec<Log>, begin: f64, end: f64) {
    for log in logs {
        let counted = log.answers.iter().filter(|(_, ended, _)| (begin..=end).contains(ended));
        sample.answers.extend(counted.map(|(kind, _, latency)| (*kind, latency * 1_000.0)));
        // A failure is never outside: wrong bytes during the warm-up are wrong bytes.
        for (_, failure) in log.failures {
            sample.errors += 1;
            sample.first_error.get_or_insert(failure);
        }
    }
}

async fn one_client<C: Client>(
    mut client: C,
    meter: Meter,
    started: Instant,
    end: Instant,
    each: usize,
    gives_up: bool,
) -> Log {
    let mut log = Log::default();
    for number in 0..each {
        let began = Instant::now();
        let Ok(answer) = tokio::time::timeout_at(end.into(), client.send(number, &meter)).await else {
            if !gives_up {
                log.failures.push((started.elapsed().as_secs_f64(), "no answer in time".to_owned()));
            }
            break;
        };
        let ended = started.elapsed().as_secs_f64();
        match answer {
            Ok(kind) => log.answers.push((kind, ended, began.elapsed().as_secs_f64())),
            Err(error) => {
                log.failures.push((ended, error.to_string()));
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
        }
        if Instant::now() >= end {
            break;
        }
    }
    log
}

/// CPU seconds of this process so far.
fn own_cpu_seconds() -> Result<f64> {
    process::cpu_seconds(i32::try_from(std::process::id())?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::{Client, Kind, Meter, Sample, Until, run};
    use crate::compare::target::Target;
    use portolan_chaos_tests::Result;
    use std::time::Duration;

    /// Takes 10 ms for each request, moves 100 bytes, and fails every fifth time.
    struct Slow;

    impl Client for Slow {
        async fn send(&mut self, number: usize, meter: &Meter) -> Result<Kind> {
            tokio::time::sleep(Duration::from_millis(10)).await;
            meter.add(100);
            if number % 5 == 4 { Err("the fifth".into()) } else { Ok(Kind::Read) }
        }
    }

    fn own() -> Target {
        Target { name: "self", pids: vec![std::process::id().cast_signed()], ..Target::default() }
    }

    #[tokio::test]
    async fn a_number_of_requests_is_sent_by_each_client_and_failures_are_counted() {
        let until = Until::Requests { each: 10, within: Duration::from_secs(20) };
        let sample = run(&own(), vec![Slow, Slow, Slow], until).await.unwrap();
        assert_eq!((sample.answers.len(), sample.errors, sample.bytes), (24, 6, 3_000));
        assert_eq!(sample.first_error.as_deref(), Some("the fifth"));
        assert!(sample.latencies_ms().all(|latency| latency >= 10.0));
        assert!(sample.seconds >= 0.1);
    }

    #[tokio::test]
    async fn a_window_counts_only_what_falls_into_it() {
        let (warm_up, window) = (Duration::from_millis(200), Duration::from_millis(400));
        let sample = run(&own(), vec![Slow, Slow], Until::Window { warm_up, window }).await.unwrap();
        assert!(sample.seconds >= 0.35, "{}", sample.seconds);
        // Two clients, at most one request in 10 ms each: with the warm-up there would be half as many again.
        let most = 2.0 * sample.seconds / 0.01 + 2.0;
        assert!(!sample.answers.is_empty() && sample.answers.len() as f64 <= most, "{}", sample.answers.len());
        assert!(sample.bytes as f64 <= most * 100.0, "{}", sample.bytes);
    }

    #[tokio::test]
    async fn what_is_not_answered_in_time_has_failed() {
        struct Never;
        impl Client for Never {
            async fn send(&mut self, _number: usize, _meter: &Meter) -> Result<Kind> {
                std::future::pending().await
            }
        }
        let until = Until::Requests { each: 2, within: Duration::from_millis(50) };
        let sample = run(&own(), vec![Never], until).await.unwrap();
        assert_eq!((sample.answers.len(), sample.errors), (0, 1));
    }

    #[test]
    fn rates_are_per_second() {
        let answers = vec![(Kind::Read, 1.0), (Kind::Write, 3.0), (Kind::Read, 2.0)];
        let sample = Sample { seconds: 2.0, bytes: 4 << 20, answers, ..Sample::default() };
        assert_eq!((sample.mib_per_second(), sample.requests_per_second()), (2.0, 1.5));
        assert_eq!(sample.only(Kind::Write).latencies_ms().collect::<Vec<_>>(), [3.0]);
    }
}
