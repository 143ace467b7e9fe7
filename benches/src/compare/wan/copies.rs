//! From a push's 201 until every region holds the image.

use super::super::bench::Bench;
use super::super::metrics;
use super::super::outcome::Better;
use super::super::package::Package;
use super::super::push::next_seed;
use super::site::Site;
use futures::future::{join, try_join_all};
use portolan_chaos_tests::Result;
use std::sync::Arc;
use std::time::{Duration, Instant};

const REPO: &str = "compare/copies";
const MIB: u64 = 1 << 20;
const SMALL: [u64; 5] = [64 << 10; 5];
const LARGE: [u64; 5] = [MIB, 2 * MIB, 4 * MIB, 9 * MIB, 16 * MIB];
/// How often a node is asked.
const EVERY: Duration = Duration::from_millis(5);
const WITHIN: Duration = Duration::from_secs(60);

/// Copies whose location is committed, since the node's start.
const COPIES: &str = "portolan_replication_copies_total";
/// Blobs opened for pulls.
const OPENED: &str = "portolan_blob_open_total";

/// A small image and one of 32 MiB.
///
/// # Errors
/// When the cluster is gone.
pub async fn run(bench: &mut Bench, site: &Site) -> Result<()> {
    let note = format!(
        "Pushed in the leader's region; the clock starts at the manifest's 201. A region holds the image when its node \
         has counted a copy of each blob ({COPIES}): the file is fsynced there and its location is committed. The \
         counters are read every {} ms over a way without delay. Afterwards each blob is pulled there, its digest \
         compared, and the node must have opened it from its own disk. Copies begin with each blob's own 201, so that a \
         small image may be everywhere before its manifest is.",
        EVERY.as_millis()
    );
    let sheet = bench.chart("wan-durable", "From the 201 to a copy in every region", ("s", Better::Lower), note);
    for _ in 0..bench.plan.repetitions {
        for (case, sizes) in [("5 layers of 64 KiB", SMALL), ("5 layers, 32 MiB in all", LARGE)] {
            let target = site.target(site.leader);
            if !bench.begin(&format!("copies everywhere, {case}"), &target, Duration::from_secs(15)) {
                continue;
            }
            target.settle().await?;
            match measure(site, &sizes).await {
                Ok(seconds) => {
                    let first = seconds.iter().copied().fold(f64::INFINITY, f64::min);
                    let last = seconds.iter().copied().fold(0.0, f64::max);
                    bench.add_value(sheet, case, "one more region", first);
                    bench.add_value(sheet, case, "every region", last);
                }
                Err(error) => bench.add_error(sheet, case, "every region", &error),
            }
        }
    }
    site.check_leader().await
}

/// Seconds until each other region holds a new image.
async fn measure(site: &Site, sizes: &[u64]) -> Result<Vec<f64>> {
    let target = site.target(site.leader);
    let others: Vec<usize> = (0..site.nodes()).filter(|node| *node != site.leader).collect();
    let package = Arc::new(Package::seeded(next_seed(), sizes));
    let blobs = package.layers.len() + 1;
    let mut watches = Vec::new();
    for node in &others {
        let ops = target.ops[*node].clone();
        let wanted = metrics::sum(&metrics::read(&ops).await?, COPIES, "") + blobs as f64;
        watches.push(watch(ops, wanted));
    }
    let (pushed, address) = (Arc::clone(&package), target.address.clone());
    let push = site.inside(site.leader, async move || {
        pushed.push(&reqwest::Client::new(), &address, REPO, &pushed.tag()).await?;
        Ok(Instant::now())
    });
    let (acknowledged, held) = join(push, try_join_all(watches)).await;
    let (acknowledged, held) = (acknowledged?, held?);
    for node in others {
        check_local(site, node, &package).await?;
    }
    Ok(held.iter().map(|held| held.saturating_duration_since(acknowledged).as_secs_f64()).collect())
}

/// When the node's counter reaches `wanted`.
async fn watch(ops: String, wanted: f64) -> Result<Instant> {
    let started = Instant::now();
    while started.elapsed() < WITHIN {
        if metrics::sum(&metrics::read(&ops).await?, COPIES, "") >= wanted {
            return Ok(Instant::now());
        }
        tokio::time::sleep(EVERY).await;
    }
    Err(format!("{ops} has not copied everything after {WITHIN:?}").into())
}

/// Pulls the image at a node and makes sure that every blob came from the node's own disk.
async fn check_local(site: &Site, node: usize, package: &Package) -> Result<()> {
    let target = site.target(node);
    let opened = async || -> Result<f64> {
        Ok(metrics::sum(&metrics::read(&target.ops[node]).await?, OPENED, "source=\"local\""))
    };
    let before = opened().await?;
    package.verify(&target.address, REPO, &package.tag()).await?;
    let local = opened().await? - before;
    let wanted = package.layers.len() as f64;
    if local < wanted {
        return Err(format!("{} opened {local} of {wanted} layers from its own disk", site.region(node)).into());
    }
    Ok(())
}
