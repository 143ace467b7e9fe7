//! Pushes of single blobs, in the three ways that the specification has.

use super::bench::{Bench, flush_disks};
use super::load::{self, Client, Kind, Meter, Until};
use super::outcome::Better;
use super::plan::size_name;
use super::target::{DOCKER_REGISTRY, Programs, Target, Targets, in_turn};
use crate::transfer::{self, Payload, Way};
use portolan_chaos_tests::Result;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const REPO: &str = "compare/push";
const WITHIN: Duration = Duration::from_secs(120);
const WAYS: [Way; 3] = [Way::Monolithic, Way::Chunked, Way::Streamed];
/// A time of microseconds says nothing: small blobs are pushed one after the other.
const SMALL_PUSHES: usize = 10;
/// docker-registry and what it had left in the page cache.
pub const WITH_SYNC: &str = "docker-registry, then sync";

/// Every payload is new to every target: a registry that has the bytes already would be measured doing nothing.
pub fn next_seed() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1_000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Pushes one payload after the other.
struct Pusher {
    http: reqwest::Client,
    address: String,
    payloads: Arc<Vec<Payload>>,
    way: Way,
}

impl Client for Pusher {
    async fn send(&mut self, number: usize, meter: &Meter) -> Result<Kind> {
        let payload = self.payloads.get(number).ok_or("no payload is left")?;
        transfer::push_blob(&self.http, &self.address, REPO, payload, self.way).await?;
        meter.add(usize::try_from(payload.size())?);
        Ok(Kind::Write)
    }
}

/// Single blobs: 1 MiB, 32 MiB and the largest; in one request, in chunks, as a stream of unknown length. Every
/// repetition has servers with empty disks.
///
/// # Errors
/// When a target does not start or is gone.
pub async fn blobs(bench: &mut Bench, programs: &Programs) -> Result<()> {
    let mut sizes = vec![1, 32, bench.plan.largest_mib];
    sizes.dedup();
    let note = "One client; new bytes every time. Portolan answers once the blob is fsynced and its record is \
                committed; docker-registry once the file is fsynced, but not its name, so the bar below it adds a sync of \
                the disk right after the answer. CPU and writes of three nodes count until the \
                other two have their copies.";
    let sheets: Vec<_> = sizes
        .iter()
        .map(|size| {
            let title = format!("Blob push, {}", size_name(*size));
            bench.chart("pushes", title, ("MiB/s", Better::Higher), note)
        })
        .collect();
    for repetition in 0..bench.plan.repetitions {
        bench.prepare("servers with empty disks");
        if !bench.bound.has(Duration::from_secs(10)) {
            bench.skip(format!("pushes from repetition {} on: the time was up", repetition + 1));
            break;
        }
        let targets = Targets::start(Programs { nginx: false, ..*programs }).await?;
        for (size, sheet) in sizes.iter().zip(&sheets) {
            for way in WAYS {
                bench.prepare(&format!("{} of new bytes", size_name(*size)));
                let count = if *size == 1 { SMALL_PUSHES } else { 1 };
                let payloads: Vec<_> = (0..count).map(|_| Payload::seeded(next_seed(), *size)).collect();
                let payloads = Arc::new(payloads);
                for target in in_turn(&targets.registries(), repetition) {
                    // Even a slow disk takes 50 MiB in a second.
                    let wanted = Duration::from_millis(size * 20 + 500);
                    if bench.begin(&format!("push of {}, {}", size_name(*size), way.name()), target, wanted) {
                        push(bench, *sheet, target, way, &payloads).await?;
                    }
                }
            }
        }
        targets.stop().await?;
    }
    Ok(())
}

async fn push(
    bench: &mut Bench,
    sheet: super::bench::Sheet,
    target: &Target,
    way: Way,
    payloads: &Arc<Vec<Payload>>,
) -> Result<()> {
    flush_disks().await?;
    let (http, address) = (reqwest::Client::new(), target.address.clone());
    let pusher = Pusher { http, address, payloads: Arc::clone(payloads), way };
    let until = Until::Requests { each: payloads.len(), within: WITHIN.min(bench.bound.left()) };
    let account = target.open_account()?;
    let mut sample = load::run(target, vec![pusher], until).await?;
    if target.name == DOCKER_REGISTRY && sample.errors == 0 {
        let seconds = sample.seconds + flush_disks().await?;
        let mib_per_second = (sample.bytes >> 20) as f64 / seconds;
        bench.add(sheet, way.name(), DOCKER_REGISTRY, sample.mib_per_second(), &sample);
        bench.add_value(sheet, way.name(), WITH_SYNC, mib_per_second);
    } else {
        target.settle().await?;
        sample.usage = target.close_account(&account)?;
        bench.add(sheet, way.name(), target.name, sample.mib_per_second(), &sample);
    }
    for payload in payloads.iter() {
        if let Err(error) = transfer::verify(&target.address, REPO, payload).await {
            bench.add_error(sheet, way.name(), target.name, &error);
        }
    }
    Ok(())
}
