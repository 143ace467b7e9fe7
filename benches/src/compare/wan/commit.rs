//! How long a commit takes: a manifest put under a new tag, by one client and by 256, near the leader and far away.

use super::super::bench::Bench;
use super::super::http::Connection;
use super::super::load::{self, Client, Kind, Meter, Until};
use super::super::outcome::Better;
use super::super::stats;
use super::site::{PORTOLAN, Site};
use bytes::Bytes;
use portolan_chaos_tests::Result;
use portolan_chaos_tests::client::Registry;
use portolan_chaos_tests::image::{self, Image};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const REPO: &str = "compare/commit";
const WRITERS: [usize; 2] = [1, 256];
const WARM_UP: Duration = Duration::from_millis(1_500);

struct Writer {
    connection: Connection,
    series: usize,
    client: usize,
    manifest: Bytes,
}

impl Client for Writer {
    async fn send(&mut self, number: usize, meter: &Meter) -> Result<Kind> {
        let path = format!("/v2/{REPO}/manifests/t{}-{}-{number}", self.series, self.client);
        self.connection.put(&path, image::MANIFEST, self.manifest.clone(), meter).await?;
        Ok(Kind::Write)
    }
}

/// The latencies in round trips, and the commits per second.
///
/// # Errors
/// When the cluster is gone.
pub async fn run(bench: &mut Bench, site: &Site) -> Result<()> {
    let rtt = site.round_trip_ms();
    let image = Image::seeded(3, &[1_000]);
    let setting = Registry::new(&site.target(site.leader).address, Duration::from_secs(30));
    setting.push(REPO, "v0", &image).await?;
    let note = format!(
        "PUT of a small manifest under a new tag, from the client's first byte to the 201: committed and fsynced on a \
         majority. The client is beside its node; the round trip between regions is {rtt:.0} ms. The least possible is \
         1 near the leader; far from it 2, because the request goes to the leader and its answer comes back."
    );
    let latency = bench.chart("wan-commit", "Commit latency", ("round trips", Better::Lower), note);
    let note = "Of the same loops.";
    let rate = bench.chart("wan-commit", "Commits", ("commits/s", Better::Higher), note);
    let window = Duration::from_millis(bench.plan.commit_window_ms);
    for (node, place) in [(site.leader, "leader's region"), (site.far, "far region")] {
        for writers in WRITERS {
            let case = format!("{place}, {writers} writer{}", if writers == 1 { "" } else { "s" });
            for _ in 0..bench.plan.repetitions {
                if !bench.begin(&format!("commits, {case}"), &site.target(node), WARM_UP + window) {
                    continue;
                }
                let manifest = Bytes::from(image.manifest.bytes.clone());
                let sample = measure(site, node, writers, manifest, window).await?;
                let latencies: Vec<f64> = sample.latencies_ms().collect();
                bench.add(rate, &case, PORTOLAN, sample.requests_per_second(), &sample);
                for percent in [50, 99] {
                    let value = stats::percentile(&latencies, percent) / rtt;
                    bench.add_value(latency, &case, &format!("p{percent}"), value);
                }
            }
        }
    }
    site.check_leader().await
}

async fn measure(site: &Site, node: usize, writers: usize, manifest: Bytes, window: Duration) -> Result<load::Sample> {
    static SERIES: AtomicUsize = AtomicUsize::new(0);
    let series = SERIES.fetch_add(1, Ordering::Relaxed);
    let target = site.target(node);
    let (_, router) = site.measured();
    let load = async move || {
        let writer = |client| Writer {
            connection: Connection::new(&target.address),
            series,
            client,
            manifest: manifest.clone(),
        };
        let until = Until::Window { warm_up: WARM_UP, window };
        load::run(&target, (0..writers).map(writer).collect(), until).await
    };
    let mut sample = site.inside(node, load).await?;
    // The router is a thread of this process and no part of the client.
    sample.client_cpu_seconds = (sample.client_cpu_seconds - (site.measured().1 - router)).max(0.0);
    Ok(sample)
}
