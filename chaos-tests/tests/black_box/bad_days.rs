//! No quorum, a full disk: what the others see.

use portolan_chaos_tests::Result;
use portolan_chaos_tests::client::Failure;
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::image::{Blob, Image};
use portolan_chaos_tests::tmpfs::Tmpfs;
use portolan_chaos_tests::{tool, wait};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use std::time::Duration;

const REPO: &str = "bad/days";
const MIB: usize = 1 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_pulls_go_on_and_pushes_are_told_when_to_retry() -> Result<()> {
    let mut cluster = Cluster::start(Options::default()).await?;
    let image = Image::seeded(7, &[300_000]);
    cluster.registry(0).push(REPO, "v1", &image).await?;
    let survivor = cluster.registry(2);
    survivor.pull_and_compare(REPO, "v1", &image).await?;
    cluster.kill(0).await?;
    cluster.kill(1).await?;

    let digest = image.manifest.digest.to_string();
    assert_eq!(survivor.manifest(REPO, &digest).await?.bytes, image.manifest.bytes, "digests go on");
    for blob in image.blobs() {
        survivor.blob(REPO, &blob.digest.to_string()).await?;
    }
    let stale = survivor.manifest(REPO, "v1").await?;
    assert_eq!(stale.bytes, image.manifest.bytes);
    assert!(stale.warning.is_some_and(|warning| warning.starts_with("299 ")), "a stale answer says so");

    let unknown_tag = survivor.manifest(REPO, "never-seen").await;
    assert!(matches!(unknown_tag, Err(Failure::Status { status, .. }) if status == 503), "{unknown_tag:?}");
    let unknown_blob = survivor.blob(REPO, &Blob::new(b"never seen".to_vec()).digest.to_string()).await;
    assert!(matches!(unknown_blob, Err(Failure::Status { status, .. }) if status == 503), "{unknown_blob:?}");
    let refused = survivor.push(REPO, "v2", &Image::seeded(8, &[1_000])).await;
    match refused {
        Err(Failure::Status { status, retry_after: Some(seconds), .. }) => {
            assert_eq!(status, 503);
            assert!(seconds.parse::<u32>().is_ok(), "Retry-After: {seconds}");
        }
        other => panic!("a push without a quorum got {other:?}"),
    }

    cluster.restart(0)?;
    cluster.restart(1)?;
    cluster.wait_writable(2).await?;
    survivor.push(REPO, "v2", &Image::seeded(8, &[1_000])).await?;
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_fails_the_upload_cleanly_and_keeps_serving() -> Result<()> {
    if !tool::is_root("a_full_disk_fails_the_upload_cleanly_and_keeps_serving") {
        return Ok(());
    }
    let disk = Tmpfs::mount(256).await?;
    let reserve = 64 * MIB;
    let mut cluster = Cluster::start(Options {
        regions: vec!["solo"],
        folder: Some(disk.path().join("data")),
        environment: vec![("PORTOLAN_STORAGE_RESERVE_BYTES", reserve.to_string())],
        ..Options::default()
    })
    .await?;
    let registry = cluster.registry(0);
    let image = Image::seeded(3, &[MIB]);
    registry.push(REPO, "fits", &image).await?;

    let mut bytes = vec![0; 240 * MIB];
    StdRng::seed_from_u64(4).fill_bytes(&mut bytes);
    let failed = registry.push_blob(REPO, &Blob::new(bytes)).await;
    // The node may close the connection while the client still sends: then the client sees a broken pipe instead.
    match &failed {
        Err(Failure::Status { status, .. }) => assert_eq!(*status, 507, "{failed:?}"),
        Err(Failure::Broken(_)) => {}
        other => panic!("more than fits got {other:?}"),
    }
    registry.pull_and_compare(REPO, "fits", &image).await?;
    wait::until("the partial upload to be gone", Duration::from_secs(30), || async {
        let free = disk.free().map_err(|error| error.to_string())?;
        // RocksDB sets room aside for its log: some 90 MiB.
        if free > 128 * MIB { Ok(()) } else { Err(format!("{free} bytes free")) }
    })
    .await?;
    cluster.wait_writable(0).await?;
    registry.push(REPO, "fits-too", &Image::seeded(5, &[MIB])).await?;

    // What others put on the disk counts as well: no room at the start of an upload.
    std::fs::write(disk.path().join("ballast"), vec![1; disk.free()? - reserve / 2])?;
    let ops = cluster.ops(0);
    wait::until("/readyz/write to fail", Duration::from_secs(10), || async {
        match ops.get("/readyz/write").await {
            Ok(answer) if answer.status() == 503 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let refused = registry.push_blob(REPO, &Blob::new(vec![9; MIB])).await;
    assert!(matches!(&refused, Err(Failure::Status { status, .. }) if *status == 507), "{refused:?}");
    registry.pull_and_compare(REPO, "fits", &image).await?;
    cluster.stop().await?;
    Ok(())
}
