//! P1 on disks that lose power: what was not synced is gone after each kill, and nothing acknowledged with it.

use portolan_chaos_tests::Result;
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::forget::{Forgetting, Survives};
use portolan_chaos_tests::image::Image;
use portolan_chaos_tests::kills::{self, Plan};
use portolan_chaos_tests::wait;
use std::ffi::OsString;
use std::path::Path;
use std::time::{Duration, Instant};

const REPO: &str = "chaos/disk";
/// A first start and a push make the disk note about so many acts.
const FIRST_START_ACTS: usize = 180;
const FIRST_START_STEP: usize = 7;

async fn start(survives: Survives, orders: &str) -> Result<Cluster> {
    let forgetting = Some(Forgetting { survives, orders: orders.to_owned() });
    Cluster::start(Options { forgetting, ..Options::patient() }).await
}

/// Half of the loop's kills each; every fifth one takes all nodes at once.
async fn kills_lose_nothing(survives: Survives, seed: u64, kills: usize) -> Result<()> {
    let mut cluster = start(survives, "").await?;
    kills::run(&mut cluster, Plan { seed, kills, all_every: 5 }).await?;
    let forgotten = cluster.forgotten();
    eprintln!("{survives:?}: {forgotten:?}");
    assert!(forgotten.names > 0 && forgotten.bytes > 0, "the disk forgot nothing: nothing was tested");
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_on_a_disk_that_forgets_everything_unsynced_lose_nothing_that_was_acknowledged() -> Result<()> {
    kills_lose_nothing(Survives::Nothing, kills::seed(), kills::kills().div_ceil(2)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_on_a_disk_that_keeps_beginnings_lose_nothing_that_was_acknowledged() -> Result<()> {
    let seed = kills::seed();
    kills_lose_nothing(Survives::Beginnings(seed), seed ^ 1, kills::kills().div_ceil(2)).await
}

/// Alone, so that nobody helps: what a snapshot holds is no longer in the log, so that the snapshot must be durable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_alone_that_purged_its_log_has_everything_after_a_power_loss() -> Result<()> {
    let mut cluster = Cluster::start(Options {
        regions: vec!["solo"],
        environment: vec![("PORTOLAN_CLUSTER_SNAPSHOT_LOG_BYTES", (16 << 10).to_string())],
        forgetting: Some(Forgetting::default()),
        ..Options::default()
    })
    .await?;
    let checkpoints = cluster.nodes()[0].data.join("state/checkpoints");
    let mut images: Vec<(String, Image)> = Vec::new();
    for round in 0..3 {
        // `portolan dev` keeps such settings from its children; a node that was started again has them.
        cluster.kill(0).await?;
        cluster.restart(0)?;
        cluster.wait_writable(0).await?;
        for (tag, image) in &images {
            cluster.registry(0).pull_and_compare(REPO, tag, image).await?;
        }
        let before = names_in(&checkpoints)?;
        let deadline = Instant::now() + Duration::from_secs(60);
        while names_in(&checkpoints)? == before {
            assert!(Instant::now() < deadline, "no snapshot after {} pushes", images.len());
            let (tag, image) = (format!("v{}", images.len()), Image::seeded(images.len() as u64, &[2_000]));
            cluster.registry(0).push(REPO, &tag, &image).await?;
            images.push((tag, image));
        }
        eprintln!("round {round}: {} pushes, {:?}", images.len(), cluster.forgotten());
    }
    cluster.stop().await?;
    Ok(())
}

/// Every moment of a first start and of the first push is a moment to lose power in: each leaves what the next start
/// can go on with.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_first_start_may_lose_power_at_any_moment() -> Result<()> {
    let mut cluster = Cluster::start(Options {
        regions: vec!["solo"],
        forgetting: Some(Forgetting::default()),
        ..Options::default()
    })
    .await?;
    let image = Image::seeded(1, &[2_000]);
    cluster.kill(0).await?;
    for acts in (1..FIRST_START_ACTS).step_by(FIRST_START_STEP) {
        cluster.lose_disk(0)?;
        cluster.restart_to_die(0, acts)?;
        // It may live to acknowledge a push before it dies, or need one to die.
        let registry = cluster.registry(0);
        let acknowledged = wait::until("a push, or the end", Duration::from_secs(60), async || {
            if !cluster.is_running(0) {
                return Ok(false);
            }
            registry.push(REPO, "first", &image).await.map(|()| true).map_err(|error| error.to_string())
        });
        let acknowledged = acknowledged.await.map_err(|error| format!("after {acts} acts: {error}"))?;
        if acknowledged {
            cluster.kill(0).await.map_err(|error| format!("after {acts} acts: {error}"))?;
        } else {
            let ended = cluster.wait_ended(0, Duration::from_secs(10)).await;
            ended.map_err(|error| format!("after {acts} acts: {error}"))?;
        }
        cluster.restart(0)?;
        let back = cluster.wait_writable(0).await;
        back.map_err(|error| format!("after {acts} acts: {error}\n{}", cluster.logs(0).unwrap_or_default()))?;
        if !acknowledged {
            cluster.registry(0).push(REPO, "first", &image).await?;
        }
        cluster.kill(0).await?;
        let state = cluster.nodes()[0].data.join("state");
        let live = std::fs::read_to_string(state.join("CURRENT-STATE"))?;
        assert!(state.join(&live).is_dir(), "after {acts} acts: the applied state has no name");
        cluster.restart(0)?;
        cluster.wait_writable(0).await?;
        cluster.registry(0).pull_and_compare(REPO, "first", &image).await?;
        cluster.kill(0).await?;
    }
    Ok(())
}

fn names_in(folder: &Path) -> Result<Vec<OsString>> {
    let mut names: Vec<_> = std::fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
    names.sort();
    Ok(names)
}

/// The loops above can fail: the same with syncs left out, as a bug would.
async fn a_skipped_sync_is_caught(pattern: &str, reason: &str) -> Result<()> {
    let mut cluster = start(Survives::Nothing, &format!("skip={pattern}")).await?;
    let plan = Plan { seed: kills::seed(), kills: 4, all_every: 2 };
    let caught = tokio::time::timeout(Duration::from_secs(240), kills::run(&mut cluster, plan)).await?;
    let caught = caught.expect_err("nobody noticed that nothing was synced").to_string();
    eprintln!("caught: {caught}");
    assert!(caught.contains(reason), "something else went wrong: {caught}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_skipped_sync_of_uploads_is_caught() -> Result<()> {
    a_skipped_sync_is_caught("*/uploads/*/data skip=*/fetches/*", "chaos/kills:").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_skipped_sync_of_a_blob_folder_is_caught() -> Result<()> {
    a_skipped_sync_is_caught("*/blobs/sha256/??", "chaos/kills:").await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_skipped_sync_of_the_raft_log_is_caught() -> Result<()> {
    a_skipped_sync_is_caught("*/raft/*.log", "/readyz of").await
}

/// Small blobs are pushed at one node, and another, which has fetched and announced them all, loses its power. Tells how
/// many of them it no longer has: it reads those from elsewhere.
async fn lost_small_copies(orders: &str) -> Result<u64> {
    let mut cluster = start(Survives::Nothing, orders).await?;
    let image = Image::seeded(3, &[9_000; 40]);
    let blobs = image.blobs().count() as u64;
    cluster.registry(0).push(REPO, "small", &image).await?;
    wait::until("the copies to be announced", Duration::from_secs(60), async || {
        let copies =
            metric(&cluster, 1, "portolan_replication_copies_total").await.map_err(|error| error.to_string())?;
        if copies >= blobs { Ok(()) } else { Err(format!("{copies} of {blobs}")) }
    })
    .await?;
    cluster.kill(1).await?;
    cluster.restart(1)?;
    cluster.wait_ready(1).await?;
    cluster.registry(1).pull_and_compare(REPO, "small", &image).await?;
    let own = metric(&cluster, 1, r#"portolan_blob_open_total{source="local"}"#).await?;
    cluster.stop().await?;
    Ok(blobs - own)
}

async fn metric(cluster: &Cluster, node: usize, name: &str) -> Result<u64> {
    let text = cluster.ops(node).get("/metrics").await?.text().await?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    Ok(line.map(str::parse).transpose()?.unwrap_or_default())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_blobs_that_were_stored_together_survive_a_power_loss() -> Result<()> {
    assert_eq!(lost_small_copies("").await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_skipped_sync_of_blobs_that_are_stored_together_is_caught() -> Result<()> {
    let lost = lost_small_copies("skip=*/fetches/batch-*").await?;
    assert!(lost > 0, "nobody noticed that nothing was synced");
    eprintln!("lost: {lost}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pushes_onto_slow_disks_are_slow_and_fine() -> Result<()> {
    let mut cluster = start(Survives::Nothing, "").await?;
    for node in 0..cluster.nodes().len() {
        cluster.order_disk(node, "slow=100")?;
    }
    let image = Image::seeded(1, &[100_000, 3_000]);
    let began = Instant::now();
    cluster.registry(0).push(REPO, "slow", &image).await?;
    // At least one sync of a layer and one of the log, one after the other.
    assert!(began.elapsed() > Duration::from_millis(200), "{:?}", began.elapsed());
    for node in 0..cluster.nodes().len() {
        cluster.registry(node).pull_and_compare(REPO, "slow", &image).await?;
    }
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_log_cannot_be_synced_stops_and_the_others_go_on() -> Result<()> {
    let mut cluster = start(Survives::Nothing, "").await?;
    let (before, after) = (Image::seeded(1, &[50_000]), Image::seeded(2, &[50_000]));
    cluster.registry(0).push(REPO, "before", &before).await?;
    let leader = cluster.leader().await?;
    let other = (leader + 1) % cluster.nodes().len();
    cluster.order_disk(leader, "fail=*/raft/*.log")?;
    // The node dies of the next entry, and with it perhaps the answer.
    let _ = cluster.registry(leader).push(REPO, "lost", &Image::seeded(3, &[1_000])).await;
    cluster.wait_ended(leader, Duration::from_secs(30)).await?;
    let logs = cluster.logs(leader)?;
    assert!(logs.contains("ERROR") && logs.contains("the Raft log could not be made durable"), "{logs}");
    cluster.wait_writable(other).await?;
    cluster.registry(other).push(REPO, "after", &after).await?;
    cluster.restart(leader)?;
    cluster.wait_writable(leader).await?;
    for (tag, image) in [("before", &before), ("after", &after)] {
        cluster.registry(leader).pull_and_compare(REPO, tag, image).await?;
    }
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_cannot_be_synced_is_not_acknowledged() -> Result<()> {
    let mut cluster = start(Survives::Nothing, "").await?;
    let image = Image::seeded(1, &[50_000]);
    cluster.order_disk(0, "fail=*/uploads/*/data")?;
    let refused = cluster.registry(0).push(REPO, "v1", &image).await;
    assert!(refused.is_err(), "acknowledged what is on no disk");
    cluster.order_disk(0, "")?;
    cluster.registry(0).push(REPO, "v1", &image).await?;
    cluster.kill_all().await?;
    for node in 0..cluster.nodes().len() {
        cluster.restart(node)?;
    }
    for node in 0..cluster.nodes().len() {
        cluster.wait_ready(node).await?;
        cluster.registry(node).pull_and_compare(REPO, "v1", &image).await?;
    }
    cluster.stop().await?;
    Ok(())
}
