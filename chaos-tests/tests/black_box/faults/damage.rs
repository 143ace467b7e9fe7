//! Files that rot, are damaged, or gone.

use super::{REPO, WITHIN, answers, heal, image, inject, start, world};
use portolan_chaos_tests::client::Failure;
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::fault::Fault;
use portolan_chaos_tests::faults::World;
use portolan_chaos_tests::image::Image;
use portolan_chaos_tests::{Result, wait};
use std::sync::atomic::{AtomicU64, Ordering};

/// Why the node's last start ended, as its log tells it.
fn last_error(cluster: &Cluster, node: usize) -> Result<String> {
    let logs = cluster.logs(node)?;
    let error = logs.lines().rfind(|line| line.contains(r#""level":"ERROR""#));
    Ok(error.ok_or("no error in the log")?.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rotten_blobs_are_never_served_as_whole_and_are_repaired() -> Result<()> {
    // Else a file that was verified within the interval is served as it is.
    let environment = vec![("PORTOLAN_STORAGE_VERIFY_READS", "always".to_owned())];
    let mut cluster = start(Options { environment, ..Options::default() }).await?;
    let mut world = world(&mut cluster).await?;
    let rot: Fault = "rot eu-west-1".parse()?;
    let others = [inject(&mut world, "pause us-east-1").await?, inject(&mut world, "kill ap-south-1").await?];
    assert!(!rot.is_possible(&world), "never the only copy that can be read");
    for mut other in others {
        other.heal(&mut world).await?;
    }
    let injected = inject(&mut world, "rot eu-west-1").await?;
    let second: Fault = "rot us-east-1".parse()?;
    assert!(second.is_possible(&world), "the third node is sound");
    let quarantine = world.cluster.nodes()[0].data.join("quarantine");
    let registry = world.cluster.registry(0);
    wait::until("the rot to be noticed", WITHIN, async || {
        for blob in image().blobs() {
            // Cut short, or from elsewhere; but never whole and wrong.
            if let Err(wrong @ Failure::WrongBytes(_)) = registry.blob(REPO, &blob.digest.to_string()).await {
                panic!("{wrong}");
            }
        }
        let noticed = std::fs::read_dir(&quarantine).map_err(|error| error.to_string())?.count();
        if noticed > 0 { Ok(()) } else { Err("nothing is in quarantine".to_owned()) }
    })
    .await?;
    let event = heal(&mut world, injected).await?;
    assert_eq!((event.harmed, event.nodes), (vec![0], vec![]));
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_an_empty_disk_is_refused_under_its_old_id() -> Result<()> {
    let mut cluster = start(Options::default()).await?;
    let mut world = world(&mut cluster).await?;
    let injected = inject(&mut world, "lose-disk us-east-1").await?;
    assert!(injected.said().contains("(exit 2)"), "{}", injected.said());
    assert!(!answers(world.cluster, 1).await);
    let error = last_error(world.cluster, 1)?;
    assert!(error.contains("is empty, but the cluster knows the node us-east-1"), "{error}");
    let event = heal(&mut world, injected).await?;
    assert_eq!((event.wiped, event.nodes), (vec![], vec![1]), "the disk was found again");
    assert!(!world.cluster.nodes()[1].data.join("lost-disk").exists(), "nothing of it is left aside");
    cluster.stop().await?;
    Ok(())
}

/// Damages a node's metadata and looks for what it says.
async fn refused_until_healed(world: &mut World<'_>, words: &str, node: usize) -> Result<()> {
    let injected = inject(world, words).await?;
    assert!(!answers(world.cluster, node).await, "{words}");
    let error = last_error(world.cluster, node)?;
    assert!(error.contains("database is corrupt"), "{error}");
    assert!(world.cluster.logs(node)?.contains("append a member with a new name"), "it says how to go on");
    let event = heal(world, injected).await?;
    assert_eq!((event.harmed, event.nodes), (vec![node], vec![node]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_refuses_a_damaged_raft_log_until_it_is_healed() -> Result<()> {
    let mut cluster = start(Options::default()).await?;
    let mut world = world(&mut cluster).await?;
    refused_until_healed(&mut world, "damage-log ap-south-1 MANIFEST", 2).await?;
    // A start writes what was in the write-ahead log into tables.
    refused_until_healed(&mut world, "damage-log ap-south-1 .sst", 2).await?;
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_refuses_a_raft_log_whose_write_ahead_log_is_damaged_in_the_middle() -> Result<()> {
    let mut cluster = start(Options::default()).await?;
    let mut world = world(&mut cluster).await?;
    refused_until_healed(&mut world, "damage-log ap-south-1 .log", 2).await?;
    cluster.stop().await?;
    Ok(())
}

/// A cluster that makes a snapshot soon.
async fn start_with_snapshots() -> Result<Cluster> {
    let environment = vec![("PORTOLAN_CLUSTER_SNAPSHOT_LOG_BYTES", "32768".to_owned())];
    start(Options { environment, ..Options::default() }).await
}

/// Pushes until the third node has a snapshot that can be damaged.
async fn wait_snapshot(world: &World<'_>) -> Result<()> {
    let fault: Fault = "damage-snapshot ap-south-1".parse()?;
    let pushes = AtomicU64::new(0);
    wait::until("a snapshot", WITHIN, async || {
        let number = pushes.fetch_add(1, Ordering::Relaxed);
        let image = Image::seeded(100 + number, &[2_000]);
        let pushed = world.cluster.registry(2).push(REPO, &format!("t{number}"), &image).await;
        pushed.map_err(|error| error.to_string())?;
        if fault.is_possible(world) { Ok(()) } else { Err(format!("none after {number} pushes")) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_refuses_a_damaged_snapshot_however_many_tables_it_has() -> Result<()> {
    let mut cluster = start_with_snapshots().await?;
    let mut world = world(&mut cluster).await?;
    for _ in 0..5 {
        // A start writes what was in the log into tables, one per family at least: soon more than RocksDB opens by itself.
        wait_snapshot(&world).await?;
        refused_until_healed(&mut world, "damage-snapshot ap-south-1", 2).await?;
    }
    cluster.stop().await?;
    Ok(())
}
