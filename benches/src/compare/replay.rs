//! A registry's day: requests and popularity follow the study (see [`super::study`]).

use super::bench::{Bench, Sheet, flush_disks};
use super::http::{Check, Connection};
use super::load::{self, Client, Kind, Meter, Sample, Until};
use super::outcome::Better;
use super::package::Package;
use super::push::next_seed;
use super::stats;
use super::study::{self, Ask, LAYERS};
use super::target::{Target, Targets, in_turn};
use crate::transfer::{self, Payload, Way};
use bytes::Bytes;
use hyper::Method;
use portolan_chaos_tests::Result;
use portolan_chaos_tests::image;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const REPO: &str = "compare/replay";
const CLIENTS: usize = 8;
const WITHIN: Duration = Duration::from_secs(120);

/// What all clients of a replay share.
struct Stock {
    address: String,
    images: Arc<Vec<Package>>,
    fresh: Arc<Vec<Payload>>,
    next_fresh: AtomicUsize,
    repetition: usize,
}

struct Replayer {
    stock: Arc<Stock>,
    client: usize,
    asks: Vec<Ask>,
    connection: Connection,
    http: reqwest::Client,
}

impl Client for Replayer {
    async fn send(&mut self, number: usize, meter: &Meter) -> Result<Kind> {
        let stock = Arc::clone(&self.stock);
        let ask = *self.asks.get(number).ok_or("the replay is over")?;
        match ask {
            Ask::Manifest { image } | Ask::Look { image } => {
                let package = &stock.images[image];
                let head = matches!(ask, Ask::Look { .. });
                let digest = if head { None } else { Some(package.manifest.digest) };
                let check = Check { length: Some(package.manifest.bytes.len() as u64), digest };
                let path = format!("/v2/{REPO}/manifests/{}", package.tag());
                let method = if head { Method::HEAD } else { Method::GET };
                self.connection.read(method, &path, check, meter).await?;
            }
            Ask::Layer { image, layer, verify } => {
                let layer = &stock.images[image].layers[layer];
                let check = Check { length: Some(layer.size()), digest: verify.then_some(layer.digest()) };
                let path = format!("/v2/{REPO}/blobs/{}", layer.digest());
                self.connection.read(Method::GET, &path, check, meter).await?;
            }
            Ask::PushLayer => {
                let at = stock.next_fresh.fetch_add(1, Ordering::Relaxed);
                let payload = stock.fresh.get(at).ok_or("no new layer is left")?;
                transfer::push_blob(&self.http, &stock.address, REPO, payload, Way::Streamed).await?;
                meter.add(usize::try_from(payload.size())?);
            }
            Ask::Tag { image } => {
                let bytes = Bytes::copy_from_slice(&stock.images[image].manifest.bytes);
                let path = format!("/v2/{REPO}/manifests/new-{}-{}-{number}", stock.repetition, self.client);
                self.connection.put(&path, image::MANIFEST, bytes, meter).await?;
            }
        }
        Ok(if ask.writes() { Kind::Write } else { Kind::Read })
    }
}

/// The replay: the same seeded requests to every target.
///
/// # Errors
/// When a target is gone.
pub async fn replay(bench: &mut Bench, targets: &Targets) -> Result<()> {
    bench.prepare("the images of the replay");
    let count = bench.plan.replay_images;
    let seeds = (0..count).map(|_| next_seed());
    let images = seeds.map(|seed| Package::seeded(seed, &study::layer_sizes(seed, LAYERS)));
    let images = Arc::new(images.collect::<Vec<_>>());
    for target in targets.registries() {
        let http = reqwest::Client::new();
        for package in images.iter() {
            package.push(&http, &target.address, REPO, &package.tag()).await?;
        }
        target.settle().await?;
    }
    let sheets = replay_charts(bench);
    for repetition in 0..bench.plan.repetitions {
        bench.prepare("new layers of the replay");
        let count = bench.plan.replay_requests;
        let asks: Vec<_> = (0..CLIENTS).map(|_| study::replay(next_seed(), bench.plan.replay_images, count)).collect();
        let pushes = asks.iter().flatten().filter(|ask| matches!(ask, Ask::PushLayer)).count();
        let sizes = study::layer_sizes(next_seed(), pushes);
        let fresh: Arc<Vec<_>> = Arc::new(sizes.iter().map(|size| Payload::of_bytes(next_seed(), *size)).collect());
        for target in in_turn(&targets.registries(), repetition) {
            if !bench.begin("replay", target, Duration::from_secs(10)) {
                continue;
            }
            let (address, images, fresh) = (target.address.clone(), Arc::clone(&images), Arc::clone(&fresh));
            let stock = Arc::new(Stock { address, images, fresh, next_fresh: AtomicUsize::new(0), repetition });
            let sample = replay_once(bench, target, &stock, &asks).await?;
            add_replay(bench, sheets, target, &sample);
        }
    }
    Ok(())
}

async fn replay_once(bench: &Bench, target: &Target, stock: &Arc<Stock>, asks: &[Vec<Ask>]) -> Result<Sample> {
    flush_disks().await?;
    let replayer = |(client, asks): (usize, &Vec<Ask>)| Replayer {
        stock: Arc::clone(stock),
        client,
        asks: asks.clone(),
        connection: Connection::new(&target.address),
        http: reqwest::Client::new(),
    };
    let account = target.open_account()?;
    let until = Until::Requests { each: bench.plan.replay_requests, within: WITHIN.min(bench.bound.left()) };
    let mut sample = load::run(target, asks.iter().enumerate().map(replayer).collect(), until).await?;
    target.settle().await?;
    sample.usage = target.close_account(&account)?;
    Ok(sample)
}

fn replay_charts(bench: &mut Bench) -> [Sheet; 2] {
    let note = format!(
        "{CLIENTS} clients, {} requests each, the same seeded sequence for every target: 95 % reads (55 of 100 \
         GET a layer, 35 a manifest by tag, 5 HEAD one), 5 % writes (half of them push a new layer, half tag a manifest \
         anew). {} images of {LAYERS} layers; the image of rank r is asked for 1/r as often as the first.",
        bench.plan.replay_requests, bench.plan.replay_images
    );
    let rate = bench.chart("replay", "A registry's day, replayed", ("requests/s", Better::Higher), note);
    let note = "Of the same replay: a layer's GET lasts until its last byte.";
    let latency = bench.chart("replay", "Latency in the replay", ("ms", Better::Lower), note);
    [rate, latency]
}

fn add_replay(bench: &mut Bench, [rate, latency]: [Sheet; 2], target: &Target, sample: &Sample) {
    bench.add(rate, "95 % reads", target.name, sample.requests_per_second(), sample);
    for (kind, name) in [(Kind::Read, "reads"), (Kind::Write, "writes")] {
        let latencies: Vec<f64> = sample.only(kind).latencies_ms().collect();
        for percent in [50, 99] {
            let value = stats::percentile(&latencies, percent);
            bench.add_value(latency, &format!("{name}, p{percent}"), target.name, value);
        }
    }
}
