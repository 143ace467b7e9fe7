//! Two nodes per region: what a push waits for (the default ack policy), and when one of the two is gone.

use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::image::{Blob, Image};
use portolan_chaos_tests::{Result, wait};
use std::time::Duration;

const REPO: &str = "two/nodes";

fn holders(cluster: &Cluster, region: &str, blob: &Blob) -> usize {
    let hex = blob.digest.hex();
    let in_region = cluster.nodes().iter().filter(|node| node.region == region);
    let holds = |folder: std::path::PathBuf| {
        std::fs::read_dir(folder).is_ok_and(|entries| {
            entries.flatten().any(|entry| {
                let name = entry.file_name().to_string_lossy().into_owned();
                name.starts_with(&hex) && !name.ends_with(".sum")
            })
        })
    };
    in_region.filter(|node| holds(node.data.join("blobs/sha256").join(&hex[..2]))).count()
}

fn regions(cluster: &Cluster) -> impl Iterator<Item = &str> {
    cluster.nodes().iter().map(|node| node.region.as_str())
}

async fn warnings(cluster: &Cluster) -> Result<String> {
    let status = cluster.registry(0).get("/api/v1/cluster").await?.text().await?;
    let status: serde_json::Value = serde_json::from_str(&status)?;
    Ok(status["warnings"].to_string())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_has_two_copies_in_a_region_or_one_when_the_other_node_is_down() -> Result<()> {
    let mut cluster =
        Cluster::start(Options { regions: vec!["solo"], nodes_per_region: 2, ..Options::default() }).await?;
    let registry = cluster.registry(0);
    for number in 0..5 {
        let image = Image::seeded(number, &[2_000_000, 1_000]);
        registry.push(REPO, &format!("v{number}"), &image).await?;
        for blob in image.blobs() {
            let best = regions(&cluster).map(|region| holders(&cluster, region, blob)).max();
            assert_eq!(best, Some(2), "acknowledged with fewer copies than two in one region");
        }
    }
    assert!(!warnings(&cluster).await?.contains("one full node"));

    // No other region could make up for it. Until the silence is noticed a push waits; then it is taken with one copy,
    // and the status says so.
    cluster.kill(1).await?;
    let image = Image::seeded(9, &[2_000_000]);
    wait::until("a push with one node of two", Duration::from_secs(60), async || {
        registry.push(REPO, "alone", &image).await.map_err(|error| error.to_string())
    })
    .await?;
    assert!(warnings(&cluster).await?.contains("one full node left up"));
    cluster.restart(1)?;
    wait::until("the second copy", Duration::from_secs(60), async || {
        let region = &cluster.nodes()[1].region;
        let all = image.blobs().all(|blob| holders(&cluster, region, blob) == 2);
        if all { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await?;
    cluster.stop().await?;
    Ok(())
}
