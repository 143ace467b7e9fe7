//! Many clients pull one image in a remote region at once: cold, when no node there has a byte of it, then warm.

use super::image::Order;
use super::ledger::{Costs, Ledger};
use super::plan::GeoPlan;
use super::site::Site;
use crate::compare::bench::{Bench, Sheet};
use crate::compare::outcome::Better;
use crate::compare::package::Package;
use crate::compare::push::next_seed;
use crate::compare::stats;
use portolan_chaos_tests::Result;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

const REPO: &str = "crowd/image";
/// The prefix whose copies the far region shall not have.
const PREFIX: &str = "crowd";
/// One client in so many hashes what it gets.
const HASHES: usize = 25;
/// Bytes that a node has read from each peer.
const FETCHED: &str = "portolan_replication_fetched_bytes_total";
/// How long the link is watched with nobody pulling.
const IDLE: Duration = Duration::from_secs(3);
const MIB: u64 = 1 << 20;

struct Sheets {
    wire: Sheet,
    times: Sheet,
    ratio: Sheet,
}

/// What one crowd saw.
struct Seen {
    seconds: Vec<f64>,
    errors: Vec<String>,
    costs: Costs,
    wire_bytes: u64,
    fetched_bytes: f64,
}

/// The crowd, cold and warm, repetition by repetition.
///
/// # Errors
/// When the cluster is gone.
pub async fn run(bench: &mut Bench<GeoPlan>, site: &Site) -> Result<()> {
    let plan = bench.plan.clone();
    let sheets = sheets(bench, &plan);
    site.set(PREFIX, &["--regions", &format!("{},{}", site.near, site.third)]).await?;
    for _ in 0..plan.repetitions {
        if !bench.enter("the crowd", Duration::from_secs(plan.crowd_mib * plan.clients as u64 / 500 + 30)) {
            continue;
        }
        let package = Package::seeded(next_seed(), &layers(plan.crowd_mib));
        package.push(&reqwest::Client::new(), &site.address(&site.near), REPO, &package.tag()).await?;
        site.settle().await?;
        let order = Arc::new(Order::of(&package, REPO));
        let idle = idle_rate(site).await?;
        let cold = crowd(site, &order, plan.clients).await?;
        let warm = crowd(site, &order, plan.clients).await?;
        let images = order.bytes() as f64;
        for (name, seen) in [("cold", &cold), ("warm", &warm)] {
            add_times(bench, &sheets, name, seen);
            let bar = bench.bar(sheets.wire, name, "packets on the links");
            bar.values.push(seen.wire_bytes as f64 / images);
            seen.costs.book(bar);
            let bar = bench.bar(sheets.wire, name, "packets, less what an idle cluster sends");
            bar.values.push((seen.wire_bytes as f64 - idle * seen.costs.seconds).max(0.0) / images);
            bench.add_value(sheets.wire, name, "bytes of blobs, as nodes count them", seen.fetched_bytes / images);
        }
        for percent in [50, 99] {
            let of = |seen: &Seen| stats::percentile(&seen.seconds, percent);
            bench.add_value(sheets.ratio, "cold against warm", &format!("p{percent}"), of(&cold) / of(&warm));
        }
    }
    Ok(())
}

fn sheets(bench: &mut Bench<GeoPlan>, plan: &GeoPlan) -> Sheets {
    let (clients, mib, nodes) = (plan.clients, plan.crowd_mib, plan.nodes_per_region);
    let note = format!(
        "An image of {mib} MiB in five layers lies in two regions (`portolan repo set`); {clients} clients beside the \
         {nodes} nodes of the third pull it by its tag at the same moment, three layers at a time each. Counted are the \
         packets that come into that region over both its links while they pull, headers included, in sizes of the image. \
         TCP and IP headers alone are 3.6 % of a full packet."
    );
    let title = format!("{clients} clients pull {mib} MiB: what crosses the WAN");
    let wire = bench.chart("wan-crowd", title, ("× the image", Better::Lower), note);
    bench.aim(wire, 1.05);
    let note = format!(
        "From a client's first connection to its last byte. The warm pull is that of the same clients again, with the \
         image in the nodes' page cache. All {clients} clients, the nodes and the router share this machine's cores, and \
         {:.0} GiB go through its loopback each time; clients have the kernel drop what they receive, and one in {HASHES} \
         compares digests.",
        (clients as u64 * mib) as f64 / 1024.0
    );
    let title = format!("{clients} clients pull {mib} MiB at once");
    let times = bench.chart("wan-crowd", title, ("s", Better::Lower), note);
    let note = "Of the same pulls.";
    let ratio = bench.chart("wan-crowd", "The cold crowd's times", ("× warm", Better::Lower), note);
    Sheets { wire, times, ratio }
}

fn add_times(bench: &mut Bench<GeoPlan>, sheets: &Sheets, name: &str, seen: &Seen) {
    for percent in [50, 99] {
        let bar = bench.bar(sheets.times, &format!("p{percent}"), name);
        bar.values.push(stats::percentile(&seen.seconds, percent));
        bar.requests += seen.seconds.len() as u64;
        seen.costs.book(bar);
        if percent == 99 {
            bar.errors += seen.errors.len() as u64;
            bar.first_error = bar.first_error.take().or_else(|| seen.errors.first().cloned());
        }
    }
}

/// Five layers, the largest half of the image.
fn layers(mib: u64) -> [u64; 5] {
    let rest = mib * MIB;
    let parts = [rest / 2, rest / 4, rest / 8, rest / 16];
    [parts[0], parts[1], parts[2], parts[3], rest - parts.iter().sum::<u64>()]
}

/// Bytes per second that come into the far region when nobody pulls.
async fn idle_rate(site: &Site) -> Result<f64> {
    let (before, began) = (site.bytes_into(&site.far).await?, Instant::now());
    tokio::time::sleep(IDLE).await;
    Ok((site.bytes_into(&site.far).await? - before) as f64 / began.elapsed().as_secs_f64())
}

/// All clients at once, spread over the far region's nodes.
async fn crowd(site: &Site, order: &Arc<Order>, clients: usize) -> Result<Seen> {
    let nodes = site.nodes_of(&site.far);
    let addresses: Vec<String> = nodes.iter().map(|at| site.node(*at).registry.clone()).collect();
    let (wire, fetched) = (site.bytes_into(&site.far).await?, fetched(site, &nodes).await?);
    let ledger = Ledger::open(site)?;
    let order = Arc::clone(order);
    let ends = site
        .inside(&site.far, async move || {
            let (barrier, mut tasks) = (Arc::new(Barrier::new(clients)), JoinSet::new());
            for client in 0..clients {
                let (order, barrier) = (Arc::clone(&order), Arc::clone(&barrier));
                let address = addresses[client % addresses.len()].clone();
                tasks.spawn(async move {
                    barrier.wait().await;
                    let began = Instant::now();
                    let ended = order.pull(&address, client % HASHES == 0).await;
                    ended.map(|()| began.elapsed().as_secs_f64()).map_err(|error| format!("{address}: {error}"))
                });
            }
            Ok(tasks.join_all().await)
        })
        .await?;
    let costs = ledger.close(site)?;
    let (seconds, errors): (Vec<_>, Vec<_>) = ends.into_iter().partition(std::result::Result::is_ok);
    Ok(Seen {
        seconds: seconds.into_iter().flatten().collect(),
        errors: errors.into_iter().filter_map(std::result::Result::err).collect(),
        costs,
        wire_bytes: site.bytes_into(&site.far).await? - wire,
        fetched_bytes: self::fetched(site, &nodes).await? - fetched,
    })
}

/// Bytes that the far region's nodes read from nodes of other regions.
async fn fetched(site: &Site, nodes: &[usize]) -> Result<f64> {
    let others = [&site.near, &site.third].map(|region| site.nodes_of(region));
    let mut bytes = 0.0;
    for other in others.iter().flatten() {
        bytes += site.sum(nodes, FETCHED, &format!("peer=\"{}\"", site.node(*other).id)).await?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::{MIB, layers};

    #[test]
    fn layers_add_up_to_the_image() {
        for mib in [1, 40, 500] {
            assert_eq!(layers(mib).iter().sum::<u64>(), mib * MIB, "{mib}");
            assert!(layers(mib).iter().all(|layer| *layer > 0), "{mib}");
        }
    }
}
