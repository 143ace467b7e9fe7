//! Disks that are full, slow, broken or forgetful.

use super::processes::wait_logged_at;
use super::{REPO, WITHIN, answers, heal, image, inject, start, wait_ends_under_load, world};
use portolan_chaos_tests::client::Failure;
use portolan_chaos_tests::cluster::Options;
use portolan_chaos_tests::faults::clock;
use portolan_chaos_tests::forget::Forgetting;
use portolan_chaos_tests::image::{Blob, Image};
use portolan_chaos_tests::tmpfs::Tmpfs;
use portolan_chaos_tests::{Result, tool, wait};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_takes_no_blobs_until_there_is_room() -> Result<()> {
    if !tool::is_root("a_full_disk_takes_no_blobs_until_there_is_room") {
        return Ok(());
    }
    let folder = tempfile::Builder::new().prefix("portolan-chaos").tempdir()?;
    let data = folder.path().join("data");
    let _disk = Tmpfs::mount_at(&data.join("eu-west-1"), 512).await?;
    let environment = vec![("PORTOLAN_STORAGE_RESERVE_BYTES", (64 * MIB).to_string())];
    let mut cluster = start(Options { folder: Some(data), environment, ..Options::default() }).await?;
    let mut world = world(&mut cluster).await?;
    let large: portolan_chaos_tests::fault::Fault = "full-disk us-east-1".parse()?;
    assert!(!large.is_possible(&world), "the machine's own disk is never filled");

    let injected = inject(&mut world, "full-disk eu-west-1").await?;
    let registry = world.cluster.registry(0);
    let refused = registry.push_blob(REPO, &Blob::new(vec![9; MIB])).await;
    assert!(matches!(&refused, Err(Failure::Status { status, .. }) if *status == 507), "{refused:?}");
    registry.pull_and_compare(REPO, "v1", &image()).await?;
    let event = heal(&mut world, injected).await?;
    assert!(event.nodes.is_empty(), "it answered all the time");
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn syncs_are_slow_fail_or_are_forgotten_until_they_are_healed() -> Result<()> {
    let forgetting = Some(Forgetting::default());
    let mut cluster = start(Options { forgetting, ..Options::default() }).await?;
    let mut world = world(&mut cluster).await?;

    let injected = inject(&mut world, "slow-fsync us-east-1 400ms").await?;
    let slow = Instant::now();
    world.cluster.registry(1).push(REPO, "slow", &Image::seeded(8, &[10_000])).await?;
    let slow = slow.elapsed();
    assert!(slow > Duration::from_millis(400), "{slow:?}");
    assert!(heal(&mut world, injected).await?.nodes.is_empty());
    let (registry, number) = (world.cluster.registry(1), AtomicU64::new(100));
    wait::until("a push without the delay", WITHIN, async || {
        let image = Image::seeded(number.fetch_add(1, Ordering::Relaxed), &[10_000]);
        let began = Instant::now();
        registry.push(REPO, "quick", &image).await.map_err(|error| error.to_string())?;
        let quick = began.elapsed();
        if quick < slow { Ok(()) } else { Err(format!("{quick:?} after {slow:?}")) }
    })
    .await?;

    let injected = inject(&mut world, "failing-fsync us-east-1 uploads/*/data").await?;
    let refused = world.cluster.registry(1).push(REPO, "refused", &Image::seeded(10, &[10_000])).await;
    assert!(refused.is_err(), "acknowledged what is on no disk");
    assert!(heal(&mut world, injected).await?.nodes.is_empty(), "it answered all the time");

    let injected = inject(&mut world, "failing-fsync ap-south-1 raft/*.log").await?;
    wait_ends_under_load(world.cluster, 2).await?;
    assert_eq!(heal(&mut world, injected).await?.nodes, [2]);

    let injected = inject(&mut world, "forget eu-west-1").await?;
    assert!(!answers(world.cluster, 0).await);
    assert!(injected.said().contains("its disk forgot"), "{}", injected.said());
    assert_eq!(heal(&mut world, injected).await?.nodes, [0]);
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_forgets_and_a_clock_that_jumps_go_together() -> Result<()> {
    let clocks = tempfile::tempdir()?;
    let environment = clock::environment(clocks.path());
    if environment.is_empty() {
        eprintln!("skipped: libfaketime is not installed");
        return Ok(());
    }
    let forgetting = Some(Forgetting::default());
    let mut cluster = start(Options { forgetting, environment, ..Options::default() }).await?;
    let mut world = world(&mut cluster).await?;
    let day = Duration::from_secs(86_400);
    let mut forget = inject(&mut world, "forget eu-west-1").await?;
    assert!(!forget.said().contains("forgot 0 names and 0 bytes"), "{}", forget.said());
    let clock = inject(&mut world, "clock us-east-1 +1day").await?;
    wait_logged_at(world.cluster, 1, |now| now + day).await?;
    forget.heal(&mut world).await?;
    heal(&mut world, clock).await?;
    cluster.stop().await?;
    Ok(())
}
