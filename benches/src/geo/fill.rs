//! Background copies to a remote region that was not to have any until now: how full they make the link.

use super::blobs;
use super::ledger::Ledger;
use super::plan::GeoPlan;
use super::site::Site;
use crate::compare::bench::{Bench, Sheet};
use crate::compare::metrics;
use crate::compare::outcome::{Better, Line, Plot};
use crate::compare::plan::size_name;
use crate::compare::push::next_seed;
use crate::transfer::{self, Payload};
use futures::future::try_join_all;
use portolan_chaos_tests::Result;
use portolan_chaos_tests::image::{self, Blob};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The bytes of a small blob.
const SMALL: u64 = 10 << 10;
/// Layers of an image of small blobs: an entry of the log touches no more than 4,096 rows.
const LAYERS: usize = 1_000;
/// How often the far nodes are asked.
const EVERY: Duration = Duration::from_millis(20);
const WITHIN: Duration = Duration::from_secs(180);
/// Copies that each region makes, where it has as many nodes.
const COPIES: usize = 2;

/// Copies whose location is committed, since the node's start.
const COPIED: &str = "portolan_replication_copies_total";
/// Bytes that a node has read from each peer.
const FETCHED: &str = "portolan_replication_fetched_bytes_total";

/// What is copied.
struct Load {
    case: String,
    repo: String,
    blobs: usize,
    bytes: u64,
}

/// What the far nodes told at one moment.
struct Look {
    seconds: f64,
    over: f64,
    copies: f64,
}

/// One large blob and many small ones; on clusters of their own, with one node in each region and with all of them: the
/// fewer nodes share the machine's cores, the more of them are left to fill the link.
///
/// # Errors
/// When a cluster does not start, or is gone.
pub async fn run(bench: &mut Bench<GeoPlan>) -> Result<()> {
    let plan = bench.plan.clone();
    let sheets = sheets(bench);
    for nodes_per_region in [1, plan.nodes_per_region] {
        bench.prepare("a cluster across regions");
        let site = Site::up(&GeoPlan { nodes_per_region, ..plan.clone() }, &[]).await?;
        for repetition in 0..plan.repetitions {
            for small in [false, true] {
                if !bench.enter("background copies", Duration::from_secs(60)) {
                    continue;
                }
                let mut load = if small {
                    push_small(&site, plan.small_blobs).await?
                } else {
                    push_large(&site, plan.large_mib).await?
                };
                load.case += if nodes_per_region == 1 { ", 1 node a region" } else { ", all nodes" };
                copy(bench, &site, sheets, &load, repetition == 0).await?;
            }
            let stream = site.plain_stream().await?.rate;
            bench.add_value(sheets[0], "no registry", "one plain TCP stream", stream / site.rate() * 100.0);
        }
        site.down().await?;
    }
    Ok(())
}

fn sheets(bench: &mut Bench<GeoPlan>) -> [Sheet; 2] {
    let nodes = bench.plan.nodes_per_region;
    let note = format!(
        "What lies in one region only is wanted in a far one from now on (`portolan repo set`, whose end starts the clock): \
         the far region's nodes, one or {nodes}, fetch it in the background, over one link of 1 Gbit/s and 100 ms. \"All over\" \
         is when they have read all bytes of the blobs from the near region; \"all durable\" is when {COPIES} copies of each (of \
         one node: one) are fsynced there and their locations committed ({COPIED}), every {} ms. Payload of the blobs alone \
         counts; beside it the plain TCP stream of the same run, in full flow for 3 s. The first round trips, in which the new \
         wish travels, sources are asked and TCP starts slowly, are part of the time: 100 MB alone take 0.83 s on a full link.",
        EVERY.as_millis()
    );
    let sheet = bench.chart("wan-fill", "Background copies to a far region", ("% of the link", Better::Higher), note);
    bench.aim(sheet, 80.0);
    let note = "Of the same copies, from the wish to the last committed location.";
    let times = bench.chart("wan-fill", "Until all is durable in the far region", ("s", Better::Lower), note);
    [sheet, times]
}

/// Lets the far region have it, and watches until it does.
async fn copy(
    bench: &mut Bench<GeoPlan>,
    site: &Site,
    [sheet, times]: [Sheet; 2],
    load: &Load,
    draw: bool,
) -> Result<()> {
    let far = site.nodes_of(&site.far);
    let copies = load.blobs * COPIES.min(far.len());
    let before = look(site, &far, Instant::now()).await?;
    let ledger = Ledger::open(site)?;
    site.let_in(&load.repo).await?;
    let began = Instant::now();
    let mut looks: Vec<Look> = Vec::new();
    while looks.last().is_none_or(|look| look.copies < copies as f64) {
        if began.elapsed() > WITHIN {
            bench.add_error(sheet, &load.case, "all durable", &format!("not all there after {WITHIN:?}").into());
            return Ok(());
        }
        let now = look(site, &far, began).await?;
        looks.push(Look { over: now.over - before.over, copies: now.copies - before.copies, ..now });
        tokio::time::sleep(EVERY).await;
    }
    let costs = ledger.close(site)?;
    let percent = |seconds: f64| load.bytes as f64 * 8.0 / seconds / site.rate() * 100.0;
    let durable = looks.last().map_or(0.0, |look| look.seconds);
    let over = looks.iter().find(|look| look.over >= load.bytes as f64).map_or(durable, |look| look.seconds);
    for (name, seconds) in [("all over", over), ("all durable", durable)] {
        let bar = bench.bar(sheet, &load.case, name);
        bar.values.push(percent(seconds));
        bar.bytes += load.bytes;
        costs.book(bar);
    }
    bench.add_value(times, &load.case, "all durable", durable);
    if draw {
        bench.plot(sheet, curve(load, &looks));
    }
    Ok(())
}

/// What came over, per second.
fn curve(load: &Load, looks: &[Look]) -> Plot {
    let rate =
        |pair: &[Look]| (pair[1].seconds, (pair[1].over - pair[0].over) / 1e6 / (pair[1].seconds - pair[0].seconds));
    // Over five looks: a node counts blobs when they are whole or read, not as packets come.
    let thin: Vec<Look> = looks.iter().step_by(5).map(|look| Look { ..*look }).collect();
    let points = thin.windows(2).map(rate).collect();
    let line = Line { name: "payload over the WAN".to_owned(), joined: true, points };
    let title = format!("{}: what the far nodes read from the near region, first repetition", load.case);
    Plot { title, across: "s since the wish", up: "MB/s", marks: Vec::new(), lines: vec![line] }
}

async fn look(site: &Site, far: &[usize], began: Instant) -> Result<Look> {
    let near = site.nodes_of(&site.near);
    let labels: Vec<String> = near.iter().map(|at| format!("peer=\"{}\"", site.node(*at).id)).collect();
    let seconds = began.elapsed().as_secs_f64();
    let texts = try_join_all(far.iter().map(|at| site.metrics(*at))).await?;
    let over = texts.iter().flat_map(|text| labels.iter().map(|label| metrics::sum(text, FETCHED, label))).sum();
    let copies = texts.iter().map(|text| metrics::sum(text, COPIED, "")).sum();
    Ok(Look { seconds, over, copies })
}

/// One layer of so many MiB, in one region.
async fn push_large(site: &Site, mib: u64) -> Result<Load> {
    let seed = next_seed();
    let repo = format!("fill/large-{seed}");
    site.keep_away(&repo).await?;
    transfer::push(&site.address(&site.near), &repo, &Payload::seeded(seed, mib)).await?;
    site.settle().await?;
    // The config is a blob too.
    Ok(Load { case: format!("one blob of {}", size_name(mib)), repo, blobs: 2, bytes: mib << 20 })
}

/// Images of a thousand small layers each, in one region.
async fn push_small(site: &Site, count: usize) -> Result<Load> {
    let seed = next_seed();
    let repo = format!("fill/small-{seed}");
    site.keep_away(&repo).await?;
    let payloads = (0..count as u64).map(|number| Payload::of_bytes((seed << 32) + number, SMALL));
    let payloads: Arc<Vec<_>> = Arc::new(payloads.collect());
    let (address, pushed, to) = (site.address(&site.near), Arc::clone(&payloads), repo.clone());
    let images = count.div_ceil(LAYERS);
    site.inside(&site.near, async move || {
        let http = reqwest::Client::new();
        blobs::push_all(&http, &address, &to, &pushed).await?;
        for (number, layers) in pushed.chunks(LAYERS).enumerate() {
            push_manifest(&http, &address, &to, number, layers).await?;
        }
        Ok(())
    })
    .await?;
    site.settle().await?;
    let case = format!("{count} blobs of {} KiB", SMALL >> 10);
    Ok(Load { case, repo, blobs: count + images, bytes: count as u64 * SMALL })
}

async fn push_manifest(
    http: &reqwest::Client,
    address: &str,
    repo: &str,
    number: usize,
    layers: &[Payload],
) -> Result<()> {
    // Each image of each repetition has a config of its own, or the far region would have some of what is counted already.
    let config = json!({"architecture": "amd64", "os": "linux", "repo": repo, "number": number});
    let config = Blob::new(config.to_string().into_bytes());
    blobs::push(http, address, repo, config.digest, config.bytes.clone().into()).await?;
    let describe = |layer: &Payload| json!({"mediaType": image::LAYER, "digest": layer.digest().to_string(), "size": layer.size()});
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": image::MANIFEST,
        "config": {"mediaType": image::CONFIG, "digest": config.digest.to_string(), "size": config.bytes.len()},
        "layers": layers.iter().map(describe).collect::<Vec<_>>(),
    });
    let url = format!("http://{address}/v2/{repo}/manifests/v{number}");
    let put = http.put(url).header("content-type", image::MANIFEST).body(manifest.to_string()).send().await?;
    let status = put.status();
    if status == reqwest::StatusCode::CREATED { Ok(()) } else { Err(format!("{status}: {}", put.text().await?).into()) }
}
