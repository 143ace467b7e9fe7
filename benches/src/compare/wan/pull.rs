//! A pull in a far region that has nothing of the blob: how much of the link it fills.

use super::super::bench::Bench;
use super::super::http::{Check, Connection};
use super::super::load::{self, Client, Kind, Meter, Until};
use super::super::metrics;
use super::super::outcome::Better;
use super::super::push::next_seed;
use super::super::target::Target;
use super::site::{PORTOLAN, Site};
use crate::transfer::{self, Payload, Way};
use hyper::Method;
use portolan_chaos_tests::Result;
use portolan_chaos_tests::wan::probe;
use std::sync::Arc;
use std::time::Duration;

const REPO: &str = "compare/cold";
const WITHIN: Duration = Duration::from_secs(120);

/// Bytes that a node has read from its peers.
const FETCHED: &str = "portolan_replication_bytes_total";
/// The share of a blob that may be there when its pull begins.
const COLD: f64 = 0.01;

struct Puller {
    connection: Connection,
    path: String,
    check: Check,
}

impl Client for Puller {
    async fn send(&mut self, _number: usize, meter: &Meter) -> Result<Kind> {
        self.connection.read(Method::GET, &self.path, self.check, meter).await?;
        Ok(Kind::Read)
    }
}

/// The share of the link that a cold pull fills, beside what one plain TCP stream does on the same link.
///
/// # Errors
/// When the cluster is gone, or the link has no rate.
pub async fn run(bench: &mut Bench, site: &Site) -> Result<()> {
    let rate = site.rate();
    if rate == 0 {
        return Err("the link has no rate to compare with".into());
    }
    let size = bench.plan.largest();
    let note = format!(
        "A blob of {size} is pushed in the leader's region and pulled by a client beside the node of a far region, {:.0} \
         ms away over {:.0} Mbit/s, from its request to the last byte; the digest is compared. The request goes out at \
         the push's 201, before the far node knows of the blob; it counts only if less than 1 % is there by then. The \
         third region's node is stopped, so that nobody else copies. Of a full link 96.5 % are TCP's payload; TLS, \
         HTTP/2 and slow start take their part of that. Routers, nodes and clients share the cores of one machine.",
        site.round_trip_ms(),
        rate as f64 / 1e6
    );
    let title = format!("Cold pull of {size} in a far region");
    let sheet = bench.chart("wan-pull", title, ("% of the link", Better::Higher), note);
    let case = "one client";
    for _ in 0..bench.plan.repetitions {
        let payload = Arc::new(Payload::seeded(next_seed(), bench.plan.largest_mib));
        let target = site.target(site.far);
        // At a fifth of the link, and the push before it.
        let wanted = Duration::from_secs_f64(payload.size() as f64 * 8.0 * 5.0 / rate as f64 + 10.0);
        if !bench.begin("cold pull", &target, wanted) {
            continue;
        }
        let (address, pushed) = (site.target(site.leader).address, Arc::clone(&payload));
        let fetched = fetched(&target, site.far).await?;
        let push =
            async move || transfer::push_blob(&reqwest::Client::new(), &address, REPO, &pushed, Way::Streamed).await;
        site.inside(site.leader, push).await?;
        let early = self::fetched(&target, site.far).await? - fetched;
        let (_, router) = site.measured();
        let within = WITHIN.min(bench.bound.left());
        let (loaded, digest, length) = (target.clone(), payload.digest(), payload.size());
        let load = async move || {
            let puller = Puller {
                connection: Connection::new(&loaded.address),
                path: format!("/v2/{REPO}/blobs/{digest}"),
                check: Check { length: Some(length), digest: Some(digest) },
            };
            load::run(&loaded, vec![puller], Until::Requests { each: 1, within }).await
        };
        let mut sample = site.inside(site.far, load).await?;
        sample.client_cpu_seconds = (sample.client_cpu_seconds - (site.measured().1 - router)).max(0.0);
        let share = sample.bytes as f64 * 8.0 / sample.seconds / rate as f64 * 100.0;
        bench.add(sheet, case, PORTOLAN, share, &sample);
        if early > COLD * payload.size() as f64 {
            bench.add_error(sheet, case, PORTOLAN, &format!("{early} bytes were there already").into());
        }
        let (from, to) = (site.place(site.leader), site.place(site.far));
        let stream =
            tokio::task::spawn_blocking(move || probe::tcp(&from, &to, Duration::from_secs(3), Duration::from_secs(3)));
        bench.add_value(sheet, case, "one TCP stream, no registry", stream.await??.rate / rate as f64 * 100.0);
    }
    Ok(())
}

async fn fetched(target: &Target, node: usize) -> Result<f64> {
    Ok(metrics::sum(&metrics::read(&target.ops[node]).await?, FETCHED, ""))
}
