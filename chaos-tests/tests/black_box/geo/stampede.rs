//! A crowd that wants the same cold blob at once: one transfer crosses the WAN.

use super::{MIB, WITHIN, holders, push_behind_a_cut, seed};
use futures::future::join_all;
use portolan_chaos_tests::big::Big;
use portolan_chaos_tests::cluster::Node;
use portolan_chaos_tests::geo::{self, Geo, Plan};
use portolan_chaos_tests::{Result, tool, wait};
use reqwest::Client;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const REPO: &str = "geo/stampede";
const SIZE_MIB: u64 = 64;
/// Of the blob whose fetching node dies.
const SECOND_MIB: u64 = 48;
const CLIENTS: usize = 200;
/// Headers of packets (3.6 %) and of frames, acknowledgements, and what the nodes tell each other meanwhile.
const ONCE: f64 = 1.1;

/// How one client fared.
struct Pull {
    node: usize,
    took: Duration,
    failure: Option<String>,
}

/// Lets so many clients, spread over these nodes of one region, pull a blob at once from inside the region. `came`
/// counts the bytes that all of them have got.
async fn crowd(
    region: String,
    nodes: Vec<(usize, Node)>,
    clients: usize,
    blob: Big,
    came: Arc<AtomicU64>,
) -> Result<Vec<Pull>> {
    let right: Arc<[u8]> = blob.bytes(0..blob.size()).into();
    geo::inside(region, async move || {
        let started = Instant::now();
        let pulls = (0..clients).map(|client| {
            let (node, address) = (nodes[client % nodes.len()].0, &nodes[client % nodes.len()].1.registry);
            let url = format!("http://{address}/v2/{REPO}/blobs/{}", blob.digest);
            let (right, came) = (Arc::clone(&right), Arc::clone(&came));
            async move {
                let failure = compare(&url, &right, &came).await.err();
                Pull { node, took: started.elapsed(), failure }
            }
        });
        Ok(join_all(pulls).await)
    })
    .await
}

/// Pulls and compares byte by byte, which costs less than a digest for each client.
async fn compare(url: &str, right: &[u8], came: &AtomicU64) -> std::result::Result<(), String> {
    // A connection for each.
    let mut answer = Client::new().get(url).send().await.map_err(|error| format!("{error:?}"))?;
    if answer.status() != 200 {
        return Err(format!("{}: {}", answer.status(), answer.text().await.unwrap_or_default()));
    }
    let mut at = 0;
    while let Some(bytes) = answer.chunk().await.map_err(|error| format!("cut after {at} bytes: {error:?}"))? {
        // Not a failure that may be tried again: wrong bytes must never leave a node, let alone be completed.
        assert!(right[at..].starts_with(&bytes), "wrong bytes at {at} from {url}");
        at += bytes.len();
        came.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }
    if at == right.len() { Ok(()) } else { Err(format!("completed after {at} bytes")) }
}

fn report(what: &str, pulls: &[Pull], wan: u64, blob: &Big) {
    let mut took: Vec<_> = pulls.iter().filter(|pull| pull.failure.is_none()).map(|pull| pull.took).collect();
    took.sort();
    let at = |share: usize| took.get(took.len() * share / 100).copied().unwrap_or_default().as_secs_f64();
    eprintln!(
        "{what}: {} of {} pulls complete, p50 {:.1} s, p99 {:.1} s, WAN bytes {:.3} x the blob",
        took.len(),
        pulls.len(),
        at(50),
        at(99),
        wan as f64 / blob.size() as f64,
    );
    for failure in pulls.iter().filter_map(|pull| Some((pull.node, pull.failure.as_ref()?))).take(5) {
        eprintln!("  at node {}: {}", failure.0, failure.1);
    }
}

/// A blob that the far region of three nodes knows and has not.
async fn cold(geo: &Geo, far: &str, blob: Big) -> Result<u64> {
    push_behind_a_cut(geo, far, REPO, &[blob]).await?;
    let before = geo.bytes_into(far).await?;
    geo.wan.heal();
    geo.set_all("rate=200mbit")?;
    for at in geo.nodes_of(far) {
        geo.wait_known(at, &blob, REPO, WITHIN).await?;
    }
    assert!(!holders(geo, &blob).iter().any(|at| geo.nodes_of(far).contains(at)), "it is warm: nothing is tested");
    Ok(before)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_cold_pulls_in_a_region_cost_one_transfer_even_when_the_fetching_node_is_killed() -> Result<()> {
    if !tool::is_root("two_hundred_cold_pulls_in_a_region_cost_one_transfer_even_when_the_fetching_node_is_killed") {
        return Ok(());
    }
    let mut geo = Geo::start(geo::TWO, Plan { nodes_per_region: 3, ..Plan::default() }).await?;
    let seed = seed();
    let far = geo.regions().await?[1].clone();
    let nodes: Vec<_> = geo.nodes_of(&far).into_iter().map(|at| (at, geo.node(at).clone())).collect();

    let blob = Big::new(seed, SIZE_MIB);
    let before = cold(&geo, &far, blob).await?;
    let pulls = crowd(far.clone(), nodes.clone(), CLIENTS, blob, Arc::default()).await?;
    let wan = geo.bytes_into(&far).await? - before;
    report("stampede", &pulls, wan, &blob);
    assert!(pulls.iter().all(|pull| pull.failure.is_none()), "a pull failed");
    assert!(wan as f64 <= ONCE * blob.size() as f64, "the blob crossed the WAN more than once");

    let blob = Big::new(seed + 1, SECOND_MIB);
    let before = cold(&geo, &far, blob).await?;
    let fetched = fetched_from_afar(&geo, &far).await?;
    let came = Arc::<AtomicU64>::default();
    let pulls = tokio::spawn(crowd(far.clone(), nodes, CLIENTS, blob, Arc::clone(&came)));
    let fetcher = wait::until("the node that crosses the WAN", WITHIN, async || {
        let now = fetched_from_afar(&geo, &far).await.map_err(|error| error.to_string())?;
        let grown = now.iter().zip(&fetched).map(|((at, now), (_, before))| (now - before, *at)).max();
        grown.filter(|(bytes, _)| *bytes > blob.size() / 4).map(|(_, at)| at).ok_or(format!("{grown:?}"))
    })
    .await?;
    geo.cluster.kill(fetcher).await?;
    let (at_kill, crossed) = (came.load(Ordering::Relaxed), geo.bytes_into(&far).await? - before);
    let pulls = pulls.await??;
    let wan = geo.bytes_into(&far).await? - before;
    report(&format!("stampede, {} killed", geo.node(fetcher).name), &pulls, wan, &blob);
    assert!(at_kill < blob.size() * CLIENTS as u64 / 2, "it was killed too late: nothing was tested");
    let failed = pulls.iter().filter(|pull| pull.failure.is_some() && pull.node != fetcher).count();
    assert_eq!(failed, 0, "clients of the nodes that live noticed");
    // What the dead node had got is at most fetched again, by one of the others.
    let again = wan - crossed;
    assert!(
        again as f64 <= ONCE * blob.size() as f64,
        "{} MiB crossed the WAN for {SECOND_MIB} after {} had",
        again / MIB,
        crossed / MIB
    );
    geo.cluster.restart(fetcher)?;
    geo.cluster.wait_ready(fetcher).await?;
    geo.down().await
}

/// How many bytes each node of a region has read from nodes of other regions.
async fn fetched_from_afar(geo: &Geo, region: &str) -> Result<Vec<(usize, u64)>> {
    let mut fetched = Vec::new();
    for at in geo.nodes_of(region) {
        let metrics = geo.metrics(at).await?;
        let far = |peer: &str| peer.parse::<usize>().is_ok_and(|id| geo.node(id - 1).region != region);
        let bytes = metrics.by("portolan_replication_fetched_bytes_total", "peer");
        fetched.push((at, bytes.filter(|(peer, _)| far(peer)).map(|(_, bytes)| bytes as u64).sum()));
    }
    Ok(fetched)
}
