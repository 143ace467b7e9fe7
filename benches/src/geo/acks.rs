//! A push that waits for one region or for two, and how long after its 201 it is durable in every region.

use super::image::Order;
use super::ledger::Ledger;
use super::plan::GeoPlan;
use super::site::Site;
use crate::compare::bench::Bench;
use crate::compare::outcome::Better;
use crate::compare::package::Package;
use crate::compare::push::next_seed;
use futures::future::{join, try_join_all};
use portolan_chaos_tests::{Error, Result};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Repositories, what is waited for there, and how that is set.
const WAYS: [(&str, &str, &[&str]); 3] = [
    ("acks/one", "the default: two copies in one region", &[]),
    ("acks/two", "ack = { regions = 2, copies = 1 }", &["--ack-regions", "2", "--ack-copies", "1"]),
    ("acks/four", "ack = { regions = 2, copies = 2 }", &["--ack-regions", "2", "--ack-copies", "2"]),
];
/// How often a node is asked.
const EVERY: Duration = Duration::from_millis(10);
const WITHIN: Duration = Duration::from_secs(120);
/// Copies that each region makes, where it has as many nodes.
const COPIES: usize = 2;
const MIB: u64 = 1 << 20;
const CASE: &str = "from the first request to the 201";

/// Copies whose location is committed, since the node's start.
const COPIED: &str = "portolan_replication_copies_total";

/// Seconds.
struct Took {
    /// The push, from its first request to the manifest's 201.
    push: f64,
    /// From there until every other region has its copies.
    durable: f64,
    /// From there until `portolan image wait` has ended.
    waited: f64,
}

/// All ways in turn.
///
/// # Errors
/// When the cluster is gone.
pub async fn run(bench: &mut Bench<GeoPlan>, site: &Site) -> Result<()> {
    let plan = bench.plan.clone();
    let mib = plan.push_mib;
    let note = format!(
        "An image of {mib} MiB in five layers, pushed by a client in the leader's region as docker does: all layers at \
         once, then config and manifest. From the first request to the manifest's 201. Copies begin with each layer's own \
         201, so that a push that waits for two regions waits for what is left of them. One way after the other, in turn."
    );
    let pushes = bench.chart("wan-acks", format!("Push of {mib} MiB"), ("s", Better::Lower), note);
    let note = format!(
        "Of the same pushes, from the manifest's 201 until {} copies of every blob are fsynced in each of the other regions \
         and their locations committed ({COPIED}, asked every {} ms over a way without delay); and until `portolan image wait`, \
         begun at the 201 at a node of the leader's region, has said so. {mib} MiB take {:.2} s on a \
         full link.",
        COPIES.min(plan.nodes_per_region),
        EVERY.as_millis(),
        (mib * MIB) as f64 * 8.0 / (site.rate() * 0.965)
    );
    let title = format!("From the 201 of {mib} MiB until durable in all regions");
    let durable = bench.chart("wan-acks", title, ("s", Better::Lower), note);
    for (prefix, _, words) in WAYS.iter().filter(|(.., words)| !words.is_empty()) {
        site.set(prefix, words).await?;
    }
    for _ in 0..plan.repetitions {
        for (repo, name, _) in WAYS {
            if !bench.enter(&format!("a push, {name}"), Duration::from_secs(20)) {
                continue;
            }
            site.settle().await?;
            let ledger = Ledger::open(site)?;
            let measured = measure(site, repo, mib).await;
            let costs = ledger.close(site)?;
            match measured {
                Ok(took) => {
                    bench.bar(pushes, CASE, name).values.push(took.push);
                    let bar = bench.bar(durable, "two copies in each other region", name);
                    bar.values.push(took.durable);
                    bar.bytes += mib * MIB;
                    costs.book(bar);
                    bench.add_value(durable, "portolan image wait", name, took.waited);
                }
                Err(error) => bench.add_error(pushes, CASE, name, &error),
            }
        }
    }
    Ok(())
}

async fn measure(site: &Site, repo: &str, mib: u64) -> Result<Took> {
    let tenth = mib * MIB / 10;
    let package = Arc::new(Package::seeded(next_seed(), &[tenth * 5, tenth * 2, tenth, tenth, mib * MIB - tenth * 9]));
    let order = Order::of(&package, repo);
    let mut watches = Vec::new();
    for region in [&site.third, &site.far] {
        let nodes = site.nodes_of(region);
        let copies = (order.blobs() * COPIES.min(nodes.len())) as f64;
        let wanted = site.sum(&nodes, COPIED, "").await? + copies;
        watches.push(watch(site, nodes, wanted));
    }
    let (pushed, address, to) = (Arc::clone(&package), site.address(&site.near), repo.to_owned());
    let push = async {
        let push = async move || {
            let began = Instant::now();
            pushed.push(&reqwest::Client::new(), &address, &to, &pushed.tag()).await?;
            Ok((began.elapsed().as_secs_f64(), Instant::now()))
        };
        let (seconds, acknowledged) = site.inside(&site.near, push).await?;
        site.image_wait(&format!("{repo}:{}", package.tag()), WITHIN).await?;
        Ok::<_, Error>((seconds, acknowledged, acknowledged.elapsed().as_secs_f64()))
    };
    let (push, held) = join(push, try_join_all(watches)).await;
    let ((push, acknowledged, waited), held) = (push?, held?);
    let last = held.into_iter().max().unwrap_or(acknowledged);
    order.pull(&site.address(&site.far), true).await?;
    Ok(Took { push, durable: last.saturating_duration_since(acknowledged).as_secs_f64(), waited })
}

/// When these nodes have committed so many copies.
async fn watch(site: &Site, nodes: Vec<usize>, wanted: f64) -> Result<Instant> {
    let began = Instant::now();
    while began.elapsed() < WITHIN {
        if site.sum(&nodes, COPIED, "").await? >= wanted {
            return Ok(Instant::now());
        }
        tokio::time::sleep(EVERY).await;
    }
    Err(format!("not durable in every region after {WITHIN:?}").into())
}
