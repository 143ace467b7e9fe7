//! P3 and P4: a pull where the blob is not, while sources die, rot or disappear, and where there is no room.

use portolan_chaos_tests::big::{Big, Pulled};
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::tmpfs::Tmpfs;
use portolan_chaos_tests::{Result, tool, wait};
use std::os::unix::fs::FileExt;
use std::time::Duration;

const REPO: &str = "streaming/blobs";
const MIB: u64 = 1 << 20;
const WITHIN: Duration = Duration::from_secs(180);

/// Pulls until a response is complete; each that is not must have been cut short or refused.
async fn pull_until_whole(cluster: &Cluster, node: usize, blob: &Big) -> Result<()> {
    wait::until("a complete pull", WITHIN, async || match blob.pull(&cluster.nodes()[node], REPO, async |_| {}).await {
        Ok(Pulled::Whole) => Ok(()),
        Ok(other) => Err(format!("{other:?}")),
        Err(error) => panic!("{error}"),
    })
    .await
}

async fn wait_for_copy(cluster: &Cluster, node: usize, blob: &Big) -> Result<()> {
    let node = &cluster.nodes()[node];
    wait::until(&format!("a copy at {}", node.name), WITHIN, async || blob.check_file(node)).await
}

/// The peers whose bytes a node fetched so far.
async fn sources(cluster: &Cluster, node: usize) -> Result<Vec<usize>> {
    let metrics = cluster.ops(node).get("/metrics").await?.text().await?;
    let peers = metrics.lines().filter_map(|line| {
        let rest = line.strip_prefix("portolan_replication_fetched_bytes_total{peer=\"")?;
        let (peer, bytes) = rest.split_once("\"} ")?;
        if bytes == "0" { None } else { peer.parse::<usize>().ok() }
    });
    Ok(peers.map(|id| id - 1).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_that_is_killed_midway_is_replaced_unseen_by_the_client() -> Result<()> {
    let mut cluster = Cluster::start(Options::patient()).await?;
    let blob = Big::new(1, 1024);
    cluster.kill(2).await?;
    blob.push(&cluster.nodes()[0], REPO).await?;
    wait_for_copy(&cluster, 1, &blob).await?;
    cluster.restart(2)?;
    let reader = cluster.nodes()[2].clone();
    let mut killed = None;
    let deadline = tokio::time::Instant::now() + WITHIN;
    let pulled = loop {
        let pulled = blob
            .pull(&reader, REPO, async |_| {
                if killed.is_none() {
                    let source = sources(&cluster, 2).await.unwrap_or_default().first().copied();
                    if let Some(source) = source {
                        cluster.kill(source).await.expect("the source can be killed");
                        killed = Some(source);
                    }
                }
            })
            .await?;
        if killed.is_some() || tokio::time::Instant::now() > deadline {
            break pulled;
        }
    };
    assert_eq!(pulled, Pulled::Whole, "the client noticed that {killed:?} died");
    assert_eq!(sources(&cluster, 2).await?.len(), 2, "the source died too late: nothing was tested");
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_another_holder_the_response_is_cut_short_and_the_transfer_resumes() -> Result<()> {
    let mut cluster = Cluster::start(Options::patient()).await?;
    let blob = Big::new(2, 1024);
    blob.push(&cluster.nodes()[0], REPO).await?;
    let reader = cluster.nodes()[2].clone();
    let mut killed = false;
    let pulled = blob
        .pull(&reader, REPO, async |_| {
            if !killed {
                cluster.kill(0).await.expect("the source can be killed");
                killed = true;
            }
        })
        .await?;
    assert!(matches!(pulled, Pulled::Cut(_)), "{pulled:?}");
    cluster.restart(0)?;
    pull_until_whole(&cluster, 2, &blob).await?;
    for node in 0..3 {
        wait_for_copy(&cluster, node, &blob).await?;
    }
    let metrics = cluster.ops(2).get("/metrics").await?.text().await?;
    let fetched: u64 = metrics
        .lines()
        .filter(|line| line.starts_with("portolan_replication_fetched_bytes_total{"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum();
    assert!(fetched < blob.size() + 64 * MIB, "{fetched} bytes were fetched: the transfer began anew");
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_rots_at_its_holder_never_completes_elsewhere_and_is_repaired() -> Result<()> {
    let mut cluster = Cluster::start(Options::patient()).await?;
    let blob = Big::new(3, 64);
    cluster.kill(2).await?;
    blob.push(&cluster.nodes()[0], REPO).await?;
    wait_for_copy(&cluster, 1, &blob).await?;
    cluster.kill(1).await?;
    let rotten = blob.files(&cluster.nodes()[0])?.remove(0);
    std::fs::OpenOptions::new().write(true).open(&rotten)?.write_all_at(b"rot", 20 * MIB)?;
    cluster.restart(2)?;
    // Only the rotten copy can be reached: `pull` fails the test should its bytes be completed.
    wait::until("the holder to put its file aside", WITHIN, async || {
        match blob.pull(&cluster.nodes()[2], REPO, async |_| {}).await {
            Ok(Pulled::Whole) => panic!("nobody has these bytes"),
            Ok(_) if !rotten.exists() => Ok(()),
            Ok(other) => Err(format!("{other:?}")),
            Err(error) => panic!("{error}"),
        }
    })
    .await?;
    cluster.restart(1)?;
    pull_until_whole(&cluster, 2, &blob).await?;
    for node in 0..3 {
        wait_for_copy(&cluster, node, &blob).await?;
    }
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_disappears_is_streamed_from_elsewhere_and_comes_back() -> Result<()> {
    let mut cluster = Cluster::start(Options::patient()).await?;
    let blob = Big::new(4, 64);
    blob.push(&cluster.nodes()[0], REPO).await?;
    for node in 0..3 {
        wait_for_copy(&cluster, node, &blob).await?;
    }
    std::fs::remove_file(blob.files(&cluster.nodes()[1])?.remove(0))?;
    // The copy may not be confirmed yet; then the first pull finds the file gone before anybody is recorded.
    pull_until_whole(&cluster, 1, &blob).await?;
    wait_for_copy(&cluster, 1, &blob).await?;
    cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_room_streams_a_blob_through_and_keeps_nothing_of_it() -> Result<()> {
    if !tool::is_root("a_node_without_room_streams_a_blob_through_and_keeps_nothing_of_it") {
        return Ok(());
    }
    let folder = tempfile::Builder::new().prefix("portolan-chaos").tempdir()?;
    let data = folder.path().join("data");
    let disk = Tmpfs::mount_at(&data.join("b-1"), 256).await?;
    let reserve = 64 * MIB;
    let mut cluster = Cluster::start(Options {
        regions: vec!["a", "b", "c"],
        folder: Some(data),
        environment: vec![("PORTOLAN_STORAGE_RESERVE_BYTES", reserve.to_string())],
        ..Options::default()
    })
    .await?;
    assert_eq!(cluster.nodes()[1].data, disk.path());
    let blob = Big::new(5, 300);
    blob.push(&cluster.nodes()[0], REPO).await?;
    // Some of the file fits at first: readers of it must not notice that it goes.
    let node = &cluster.nodes()[1];
    for round in 0..3 {
        let pulled = blob.pull(node, REPO, async |_| {}).await?;
        assert_eq!(pulled, Pulled::Whole, "round {round}");
    }
    wait::until("the unfinished file to be gone", WITHIN, async || {
        let free = disk.free().map_err(|error| error.to_string())? as u64;
        if free > reserve { Ok(()) } else { Err(format!("{free} bytes free")) }
    })
    .await?;
    assert_eq!(blob.files(node)?.len(), 0);
    // What fits is kept as ever.
    let small = Big::new(6, 2);
    small.push(&cluster.nodes()[0], REPO).await?;
    pull_until_whole(&cluster, 1, &small).await?;
    wait_for_copy(&cluster, 1, &small).await?;
    cluster.stop().await?;
    Ok(())
}
