//! Pushes: single blobs in the three ways the specification has, and images of five layers.

use super::load::{self, Until};
use super::read::in_turn;
use super::target::Targets;
use super::{Comparison, Plan};
use crate::transfer::{self, Payload, Way};
use portolan_chaos_tests::Result;
use portolan_chaos_tests::client::Registry;
use portolan_chaos_tests::image::Image;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const LAYERS: usize = 5;
const IMAGE_CLIENTS: usize = 4;
/// Tails are cut here, so that a run ends in bounded time.
const LARGEST_LAYER: f64 = 64.0 * 1_048_576.0;

/// Every payload is new to every target: a registry that has the bytes already would be measured doing nothing.
static NEXT_SEED: AtomicU64 = AtomicU64::new(1_000);

fn seed() -> u64 {
    NEXT_SEED.fetch_add(1, Ordering::Relaxed)
}

/// Single blobs: 1 MiB, 32 MiB and the largest; in one request, in chunks, as a stream of unknown length.
///
/// # Errors
/// When a target is gone.
pub async fn blobs(comparison: &mut Comparison, targets: &Targets, plan: Plan) -> Result<()> {
    let mut sizes = vec![1, 32, plan.largest_mib];
    sizes.dedup();
    for size_mib in sizes {
        for way in [Way::Monolithic, Way::Chunked, Way::Streamed] {
            let scenario = format!("push of {size_mib} MiB, {}", way.name());
            for repetition in 0..plan.repetitions {
                let payload = Payload::of_bytes(seed(), size_mib << 20);
                for target in in_turn(targets.registries(), repetition) {
                    comparison.announce(&scenario, target);
                    let request = |_, _| transfer::push_blob(&target.address, "compare/push", &payload, way);
                    let sample = load::run(target, 1, Until::Requests(1), request).await?;
                    comparison.add(&scenario, target, "MiB/s", &sample);
                }
            }
        }
    }
    Ok(())
}

/// Images of five layers whose sizes follow the published study of production registries (FAST 2018): half of the
/// layers below 4 MiB, a long tail. A log-normal with that median and a 90th percentile near 60 MiB, cut at 64 MiB.
///
/// # Errors
/// When a target is gone.
pub async fn images(comparison: &mut Comparison, targets: &Targets, plan: Plan) -> Result<()> {
    let scenario = format!("push of {} images of {LAYERS} layers, {IMAGE_CLIENTS} clients", plan.images);
    for repetition in 0..plan.repetitions {
        let images: Vec<Image> = (0..plan.images)
            .map(|_| {
                let seed = seed();
                Image::seeded(seed, &layer_sizes(seed))
            })
            .collect();
        for target in in_turn(targets.registries(), repetition) {
            comparison.announce(&scenario, target);
            let registry = Registry::new(&target.address, Duration::from_secs(120));
            let each = plan.images / IMAGE_CLIENTS;
            let request = |client: usize, sent: usize| {
                let (registry, image) = (&registry, &images[client * each + sent]);
                async move {
                    registry.push("compare/images", &format!("r{repetition}-{client}-{sent}"), image).await?;
                    Ok(image.blobs().map(|blob| blob.bytes.len() as u64).sum())
                }
            };
            let sample = load::run(target, IMAGE_CLIENTS, Until::Requests(each), request).await?;
            comparison.add(&scenario, target, "MiB/s", &sample);
        }
    }
    Ok(())
}

fn layer_sizes(seed: u64) -> Vec<usize> {
    let mut random = StdRng::seed_from_u64(seed);
    (0..LAYERS)
        .map(|_| {
            // Twelve uniforms less six are near enough to a normal.
            let normal: f64 = (0..12).map(|_| random.random::<f64>()).sum::<f64>() - 6.0;
            let size = (4.0_f64 * 1_048_576.0 * (2.1 * normal).exp()).clamp(512.0, LARGEST_LAYER);
            size as usize
        })
        .collect()
}
