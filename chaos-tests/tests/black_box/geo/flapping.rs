//! A node that comes and goes.

use super::{WITHIN, holders, push_all, seed, wait_copies};
use portolan_chaos_tests::big::{Big, Pulled};
use portolan_chaos_tests::geo::{self, Geo, Plan};
use portolan_chaos_tests::{Result, tool};
use std::time::{Duration, Instant};

const REPO: &str = "geo/flapping";
const BLOBS: u64 = 24;
const FLAPS: usize = 3;
/// Long enough to be committed as down each time.
const AWAY: Duration = Duration::from_secs(3);
const BACK: Duration = Duration::from_secs(2);

/// Bytes that all nodes ever read from each other, but for pulls.
async fn moved(geo: &Geo) -> Result<u64> {
    let mut moved = 0.0;
    for at in geo.all() {
        let metrics = geo.metrics(at).await?;
        let classes = metrics.by("portolan_replication_bytes_total", "class");
        moved += classes.filter(|(class, _)| *class != "pull").map(|(_, bytes)| bytes).sum::<f64>();
    }
    Ok(moved as u64)
}

/// A blob that a reader lacks and the flapping node has: the nearest source of such a pull hangs.
fn colds(geo: &Geo, blobs: &[Big], flapper: usize, readers: &[usize]) -> Vec<(usize, Big)> {
    let lacking = |blob: &Big| readers.iter().copied().find(|reader| !holders(geo, blob).contains(reader));
    let held = blobs.iter().filter(|blob| holders(geo, blob).contains(&flapper));
    held.filter_map(|blob| Some((lacking(blob)?, *blob))).collect()
}

/// Pulls from a node, as any client; how long it took.
async fn pull(geo: &Geo, reader: usize, blob: &Big) -> Result<Duration> {
    let began = Instant::now();
    let pulled = blob.pull(geo.node(reader), REPO, async |_| {}).await?;
    assert_eq!(pulled, Pulled::Whole, "a pull at {}", geo.node(reader).name);
    Ok(began.elapsed())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flapping_node_moves_nothing_and_pulls_go_on() -> Result<()> {
    if !tool::is_root("a_flapping_node_moves_nothing_and_pulls_go_on") {
        return Ok(());
    }
    let environment = vec![
        ("PORTOLAN_CLUSTER_DOWN_AFTER_MS", "1500".to_owned()),
        ("PORTOLAN_REPLICATION_RESCAN_MS", "2000".to_owned()),
        // What a pull may wait for a source that hangs.
        ("PORTOLAN_REPLICATION_OPEN_TIMEOUT_MS", "1000".to_owned()),
        ("PORTOLAN_REPLICATION_STALL_TIMEOUT_MS", "1000".to_owned()),
    ];
    let geo = Geo::start(geo::TWO, Plan { nodes_per_region: 3, environment, ..Plan::default() }).await?;
    let seed = seed();
    let blobs: Vec<_> = (0..BLOBS).map(|number| Big::new(seed ^ (number + 1), 1)).collect();
    let far = geo.regions().await?[1].clone();
    let nodes = geo.nodes_of(&far);
    let near = geo.cluster.leader().await?;
    push_all(&geo, near, blobs.iter().map(|blob| (*blob, REPO))).await?;
    for region in geo.regions().await? {
        wait_copies(&geo, &region, &blobs, 2).await?;
    }
    geo.wait_settled(geo.all(), WITHIN).await?;
    let before = moved(&geo).await?;

    let (flapper, readers) = (nodes[0], &nodes[1..]);
    let mut colds = colds(&geo, &blobs, flapper, readers);
    assert!(colds.len() >= FLAPS, "{} blobs lie at {} and not at its neighbours", colds.len(), flapper);
    let (mut pulls, mut slowest, mut downs) = (0_usize, Duration::ZERO, 0);
    for _ in 0..FLAPS {
        geo.cluster.pause(flapper)?;
        let back = Instant::now() + AWAY;
        let (reader, blob) = colds.pop().ok_or("no cold blob is left")?;
        slowest = slowest.max(pull(&geo, reader, &blob).await?);
        pulls += pull_until(&geo, readers, &blobs, back).await?;
        let metrics = geo.metrics(near).await?;
        downs += usize::from(metrics.by("portolan_nodes", "state").any(|row| row == ("down", 1.0)));
        let missing = metrics.sum("portolan_replication_missing_copies");
        assert!(missing < 0.5, "{missing} copies are wanted anew while a node is away");
        geo.cluster.resume(flapper)?;
        pulls += pull_until(&geo, readers, &blobs, Instant::now() + BACK).await?;
    }
    eprintln!(
        "{pulls} pulls, the slowest of {FLAPS} cold ones in {} ms; committed as down {downs} times",
        slowest.as_millis()
    );
    assert!(downs >= FLAPS / 2, "down {downs} times: nothing was tested");
    // Two timeouts of sources that hang, at most.
    assert!(slowest < Duration::from_secs(3), "a pull took {slowest:?}");
    geo.wait_settled(geo.all(), WITHIN).await?;
    assert_eq!(moved(&geo).await?, before, "copies were made for a node that only flaps");
    for region in geo.regions().await? {
        wait_copies(&geo, &region, &blobs, 2).await?;
    }
    geo.down().await
}

/// Pulls what the readers have, again and again, until a moment; how often.
async fn pull_until(geo: &Geo, readers: &[usize], blobs: &[Big], end: Instant) -> Result<usize> {
    let mut pulls = 0;
    while Instant::now() < end {
        for blob in blobs.iter().take_while(|_| Instant::now() < end) {
            let holders = holders(geo, blob);
            for reader in readers.iter().filter(|reader| holders.contains(reader)) {
                pull(geo, *reader, blob).await?;
                pulls += 1;
            }
        }
    }
    Ok(pulls)
}
