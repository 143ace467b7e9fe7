//! A push of a small image, in round trips.

use super::super::bench::Bench;
use super::super::outcome::Better;
use super::super::package::Package;
use super::super::push::next_seed;
use super::super::stats;
use super::site::Site;
use portolan_chaos_tests::Result;
use std::sync::Arc;
use std::time::{Duration, Instant};

const REPO: &str = "compare/far";
/// Two layers and a config.
const LAYERS: [u64; 2] = [64 << 10, 64 << 10];

/// Pushes by clients near the leader and far from it.
///
/// # Errors
/// When the cluster is gone.
pub async fn run(bench: &mut Bench, site: &Site) -> Result<()> {
    let rtt = site.round_trip_ms();
    let note = format!(
        "An image of two layers of 64 KiB, pushed as docker does: both layers at once, each with HEAD, POST, PATCH and \
         PUT, then the config in the same way, then the manifest; new connections for each push. The client, and the \
         node that it pushes to, are in the leader's region or in a far one. The round trip between regions is {rtt:.0} \
         ms."
    );
    let sheet = bench.chart("wan-push", "Push of a small image", ("round trips", Better::Lower), note);
    let case = "whole push";
    let ways = [
        (site.leader, site.leader, "both in leader's region"),
        (site.far, site.far, "both in far region"),
        (site.far, site.leader, "far client, leader's node"),
    ];
    for _ in 0..bench.plan.repetitions {
        for (from, node, name) in ways {
            let target = site.target(node);
            if !bench.begin(&format!("small push, {name}"), &target, Duration::from_secs(3)) {
                continue;
            }
            let packages: Vec<_> = (0..bench.plan.wan_images).map(|_| Package::seeded(next_seed(), &LAYERS)).collect();
            let (packages, address) = (Arc::new(packages), target.address.clone());
            let (pushed, to) = (Arc::clone(&packages), address.clone());
            let pushes = async move || {
                let mut times_ms = Vec::new();
                for package in pushed.iter() {
                    let started = Instant::now();
                    package.push(&reqwest::Client::new(), &to, REPO, &package.tag()).await?;
                    times_ms.push(started.elapsed().as_secs_f64() * 1e3);
                }
                Ok(times_ms)
            };
            match site.inside(from, pushes).await {
                Ok(times_ms) => bench.add_value(sheet, case, name, stats::median(&times_ms) / rtt),
                Err(error) => bench.add_error(sheet, case, name, &error),
            }
            for package in packages.iter() {
                if let Err(error) = package.verify(&address, REPO, &package.tag()).await {
                    bench.add_error(sheet, case, name, &error);
                }
            }
        }
    }
    site.check_leader().await
}
