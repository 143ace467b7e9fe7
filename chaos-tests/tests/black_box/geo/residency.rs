//! A repository whose bytes may lie in some regions only, decided while they lie elsewhere and are on their way.

use super::heavy::Heavy;
use super::{MIB, WITHIN, holders, seed, wait_copies};
use portolan_chaos_tests::big::Pulled;
use portolan_chaos_tests::cluster::Node;
use portolan_chaos_tests::geo::{self, Geo, Plan};
use portolan_chaos_tests::{Result, tool, wait};
use serde_json::Value;
use std::path::Path;
use std::time::Duration;

const REPO: &str = "geo/residency";
const LAYERS: u64 = 4;
const LAYER_MIB: u64 = 24;
/// What is on its way when the policy is narrowed would take twenty seconds to come.
const EMPTY_WITHIN: Duration = Duration::from_secs(10);

/// Bytes of files below a folder.
fn bytes_below(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(data) if data.is_dir() => bytes_below(&entry.path()),
        Ok(data) => data.len(),
        Err(_) => 0,
    });
    sizes.sum()
}

/// Bytes of blobs at a node, whole or on their way. The config of an image and the files beside blobs are small.
fn stored(node: &Node) -> u64 {
    bytes_below(&node.data.join("blobs")) + bytes_below(&node.data.join("fetches"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn narrowed_residency_empties_other_regions_while_they_go_on_pulling_and_widened_it_fills_them() -> Result<()> {
    if !tool::is_root("narrowed_residency_empties_other_regions_while_they_go_on_pulling_and_widened_it_fills_them") {
        return Ok(());
    }
    let environment = vec![
        ("PORTOLAN_REPLICATION_RESCAN_MS", "2000".to_owned()),
        ("PORTOLAN_REPLICATION_RECLAIM_MS", "500".to_owned()),
    ];
    let geo = Geo::start(geo::THREE, Plan { nodes_per_region: 1, environment, ..Plan::default() }).await?;
    let image = Heavy::new(seed(), LAYERS, LAYER_MIB);
    let home = geo.nodes_of("eu-west")[0];
    let outside: Vec<_> = geo.all().filter(|at| *at != home).collect();
    // One region has copies when the policy is narrowed, the other is in the middle of fetching them.
    geo.set_all("rate=400mbit")?;
    geo.set("eu-west", "ap-south", "rate=40mbit")?;
    geo.set("us-east", "ap-south", "rate=40mbit")?;
    image.push(&geo.cluster, home, REPO, "v1").await?;
    wait_copies(&geo, "us-east", &image.layers[..2], 1).await?;
    let far = geo.nodes_of("ap-south")[0];
    wait::until("a copy on its way", WITHIN, async || {
        let bytes = stored(geo.node(far));
        if bytes > MIB { Ok(()) } else { Err(format!("{bytes} bytes")) }
    })
    .await?;
    geo.command(home, &["repo", "set", REPO, "--never-outside", "eu-west"]).await?;
    for at in &outside {
        wait::until(&format!("{} to store nothing", geo.node(*at).name), EMPTY_WITHIN, async || {
            match stored(geo.node(*at)) {
                bytes if bytes < MIB => Ok(()),
                bytes => Err(format!(
                    "{bytes} bytes are stored, holders {:?}",
                    image.layers.iter().map(|layer| holders(&geo, layer)).collect::<Vec<_>>()
                )),
            }
        })
        .await?;
    }
    check_status(&geo, outside[0], &["eu-west"]).await?;

    geo.wan.heal();
    for at in &outside {
        for layer in &image.layers {
            let mut most = 0;
            let node = geo.node(*at);
            let pulled = layer.pull(node, REPO, async |_| most = most.max(stored(node))).await?;
            assert_eq!(pulled, Pulled::Whole, "at {}", node.name);
            assert!(most < MIB, "{most} bytes were stored at {} during a pull", node.name);
        }
        assert!(stored(geo.node(*at)) < MIB, "a pull left something behind");
    }
    assert!(image.layers.iter().all(|layer| holders(&geo, layer) == [home]));

    geo.command(outside[1], &["repo", "set", REPO, "--regions", "all"]).await?;
    for region in ["us-east", "ap-south"] {
        wait_copies(&geo, region, &image.layers, 1).await?;
    }
    geo.command(
        outside[0],
        &["image", "wait", &format!("{REPO}:v1"), "--regions", "us-east,ap-south", "--timeout", "60s"],
    )
    .await?;
    check_status(&geo, home, &["ap-south", "eu-west", "us-east"]).await?;
    for at in &outside {
        for layer in &image.layers {
            layer.check_file(geo.node(*at))?;
        }
    }
    geo.down().await
}

/// The regions that have bytes of the image by `portolan image status`, asked at any node.
async fn check_status(geo: &Geo, at: usize, regions: &[&str]) -> Result<()> {
    wait::until("the status to tell the same", WITHIN, async || {
        let said = geo.command(at, &["image", "status", &format!("{REPO}:v1"), "--json"]).await;
        let said: Value =
            serde_json::from_str(&said.map_err(|error| error.to_string())?).map_err(|error| error.to_string())?;
        let holding =
            said["regions"].as_array().into_iter().flatten().filter(|region| region["bytes"].as_u64() > Some(0));
        let holding: Vec<_> = holding.filter_map(|region| region["region"].as_str()).collect();
        if holding == regions { Ok(()) } else { Err(said.to_string()) }
    })
    .await
}
