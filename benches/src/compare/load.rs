//! A closed loop: so many clients, each sending its next request when the last is answered.

use super::target::Target;
use futures::future::join_all;
use portolan_chaos_tests::Result;
use std::future::Future;
use std::time::{Duration, Instant};

const MIB: f64 = 1_048_576.0;

/// What one request did: the bytes it moved, or why it failed.
pub type Moved = Result<u64>;

/// What one loop did.
#[derive(Default)]
pub struct Sample {
    /// How long it lasted, in seconds.
    pub seconds: f64,
    /// Bytes moved.
    pub bytes: u64,
    /// Requests that failed.
    pub errors: u64,
    /// The server's CPU seconds.
    pub cpu_seconds: f64,
    /// The server's peak memory, in MiB.
    pub peak_mib: f64,
    /// What the server sent to the disk, in MiB.
    pub written_mib: f64,
    latencies_ms: Vec<f64>,
}

impl Sample {
    /// The rate in a unit: `MiB/s`, `1/s`, or `s` for the seconds themselves.
    #[must_use]
    pub fn rate(&self, unit: &str) -> f64 {
        match unit {
            "MiB/s" => self.bytes as f64 / MIB / self.seconds,
            "1/s" => self.latencies_ms.len() as f64 / self.seconds,
            _ => self.seconds,
        }
    }

    /// A percentile of the latencies, in milliseconds; 0 when no request ended.
    #[must_use]
    pub fn latency_ms(&self, percentile: usize) -> f64 {
        let mut sorted = self.latencies_ms.clone();
        sorted.sort_by(f64::total_cmp);
        let at = (sorted.len() * percentile / 100).min(sorted.len().saturating_sub(1));
        sorted.get(at).copied().unwrap_or_default()
    }
}

/// How long a loop goes on.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    /// No new request is begun after so long.
    Window(Duration),
    /// Each client sends so many.
    Requests(usize),
}

/// Runs a loop against a target. `request` gets the client's number and how many it has sent before.
///
/// # Errors
/// When the target is gone; failed requests are counted instead.
pub async fn run<F, Fut>(target: &Target, clients: usize, until: Until, request: F) -> Result<Sample>
where
    F: Fn(usize, usize) -> Fut,
    Fut: Future<Output = Moved>,
{
    let account = target.open_account()?;
    let started = Instant::now();
    let loops = (0..clients).map(|client| one_client(client, started, until, &request));
    let mut sample = Sample::default();
    for (bytes, errors, latencies) in join_all(loops).await {
        sample.bytes += bytes;
        sample.errors += errors;
        sample.latencies_ms.extend(latencies);
    }
    sample.seconds = started.elapsed().as_secs_f64();
    (sample.cpu_seconds, sample.peak_mib, sample.written_mib) = target.close_account(&account)?;
    Ok(sample)
}

async fn one_client<F, Fut>(client: usize, started: Instant, until: Until, request: &F) -> (u64, u64, Vec<f64>)
where
    F: Fn(usize, usize) -> Fut,
    Fut: Future<Output = Moved>,
{
    let (mut bytes, mut errors, mut latencies) = (0, 0, Vec::new());
    let mut sent = 0;
    loop {
        let done = match until {
            Until::Window(window) => sent > 0 && started.elapsed() >= window,
            Until::Requests(count) => sent >= count,
        };
        if done {
            return (bytes, errors, latencies);
        }
        let began = Instant::now();
        match request(client, sent).await {
            Ok(moved) => {
                bytes += moved;
                latencies.push(began.elapsed().as_secs_f64() * 1_000.0);
            }
            Err(_) => errors += 1,
        }
        sent += 1;
    }
}
