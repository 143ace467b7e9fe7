//! A blob whose last copy is gone.

use super::{WITHIN, seed};
use portolan_chaos_tests::geo::{self, Geo, Plan};
use portolan_chaos_tests::image::{Blob, Image};
use portolan_chaos_tests::{Result, tool, wait};
use reqwest::Client;
use serde_json::Value;
use std::path::PathBuf;

const REPO: &str = "geo/losses";

/// The files of a blob at a node, with what lies beside them.
fn files(geo: &Geo, at: usize, blob: &Blob) -> Vec<PathBuf> {
    let hex = blob.digest.hex();
    let entries = std::fs::read_dir(geo.node(at).data.join("blobs/sha256").join(&hex[..2])).into_iter().flatten();
    let paths = entries.flatten().map(|entry| entry.path());
    paths.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&hex))).collect()
}

async fn damaged(geo: &Geo, at: usize) -> std::result::Result<Vec<String>, String> {
    let said = geo.command(at, &["rpo", "--json"]).await.map_err(|error| error.to_string())?;
    let said: Value = serde_json::from_str(&said).map_err(|error| error.to_string())?;
    let images = said["damaged"].as_array().ok_or("no list of damaged images")?;
    Ok(images.iter().filter_map(|image| image["image"].as_str().map(str::to_owned)).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blob_without_a_copy_is_404_its_image_listed_as_damaged_and_a_push_mends_it() -> Result<()> {
    if !tool::is_root("a_blob_without_a_copy_is_404_its_image_listed_as_damaged_and_a_push_mends_it") {
        return Ok(());
    }
    let environment = vec![("PORTOLAN_REPLICATION_RESCAN_MS", "2000".to_owned())];
    let geo = Geo::start(geo::THREE, Plan { nodes_per_region: 1, environment, ..Plan::default() }).await?;
    let (image, other) = (Image::seeded(seed(), &[3_000_000, 1_000]), Image::seeded(seed() + 1, &[2_000]));
    let registry = geo.cluster.registry(0);
    registry.push(REPO, "v1", &image).await?;
    registry.push(REPO, "other", &other).await?;
    let layer = &image.layers[0];
    for at in geo.all() {
        wait::until("a copy everywhere", WITHIN, async || {
            let all = image.blobs().chain(other.blobs()).all(|blob| !files(&geo, at, blob).is_empty());
            if all { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await?;
    }
    geo.wait_settled(geo.all(), WITHIN).await?;
    for file in geo.all().flat_map(|at| files(&geo, at, layer)) {
        std::fs::remove_file(file)?;
    }

    let http = Client::new();
    for at in geo.all() {
        let url = format!("http://{}/v2/{REPO}/blobs/{}", geo.node(at).registry, layer.digest);
        wait::until(&format!("a HEAD at {} to be 404", geo.node(at).name), WITHIN, async || {
            // Who finds the file gone is whoever wants its bytes; no answer has them.
            if let Ok(got) = http.get(&url).send().await
                && got.status() == 200
                && let Ok(bytes) = got.bytes().await
            {
                panic!("{} bytes of a file that is gone", bytes.len());
            }
            match http.head(&url).send().await.map(|answer| answer.status().as_u16()) {
                Ok(404) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
    }
    for at in geo.all() {
        wait::until("the image to be listed as damaged", WITHIN, async || {
            let damaged = damaged(&geo, at).await?;
            if damaged == [format!("{REPO}:v1")] { Ok(()) } else { Err(format!("{damaged:?}")) }
        })
        .await?;
    }
    // The manifest stays, and so does everything else.
    registry.manifest(REPO, "v1").await?;
    geo.cluster.registry(2).pull_and_compare(REPO, "other", &other).await?;

    geo.cluster.registry(1).push(REPO, "v1", &image).await?;
    for at in geo.all() {
        geo.cluster.registry(at).pull_and_compare(REPO, "v1", &image).await?;
        wait::until("nothing to be damaged", WITHIN, async || {
            let damaged = damaged(&geo, at).await?;
            if damaged.is_empty() && !files(&geo, at, layer).is_empty() { Ok(()) } else { Err(format!("{damaged:?}")) }
        })
        .await?;
    }
    geo.wait_settled(geo.all(), WITHIN).await?;
    geo.down().await
}
