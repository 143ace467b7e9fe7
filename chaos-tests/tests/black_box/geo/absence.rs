//! A region that comes back after it has missed a lot.

use super::{WITHIN, seed};
use futures::{StreamExt, TryStreamExt, stream};
use portolan_chaos_tests::client::{Failure, Pulled, Registry};
use portolan_chaos_tests::geo::{self, Geo, Plan};
use portolan_chaos_tests::image::Image;
use portolan_chaos_tests::{Result, tool, wait};
use reqwest::StatusCode;
use std::time::{Duration, Instant};

const REPO: &str = "geo/absence";
const PUSHES: u64 = 1_000;
const AT_ONCE: usize = 32;
/// From the healing until every blob is in the region.
const BACK_WITHIN: Duration = Duration::from_secs(60);

/// A small image of its own, whose tag is its number.
fn image(seed: u64, number: u64) -> Image {
    Image::seeded(seed ^ (number + 1), &[2_000])
}

/// How many blobs of these images have a file at one of the nodes.
fn there(geo: &Geo, nodes: &[usize], seed: u64) -> usize {
    let holds = |hex: &str| {
        nodes.iter().any(|at| {
            let folder = geo.node(*at).data.join("blobs/sha256").join(&hex[..2]);
            std::fs::read_dir(folder).is_ok_and(|entries| {
                entries.flatten().any(|entry| {
                    let name = entry.file_name().to_string_lossy().into_owned();
                    name.starts_with(hex) && !name.ends_with(".sum")
                })
            })
        })
    };
    (0..PUSHES).filter(|number| image(seed, *number).blobs().all(|blob| holds(&blob.digest.hex()))).count()
}

/// Waits until an answer is not marked stale: then it is what was pushed.
async fn wait_tag(far: &Registry, tag: &str, image: &Image) -> Result<()> {
    wait::until(tag, WITHIN, async || match far.manifest(REPO, tag).await {
        Ok(Pulled { warning: Some(stale), .. }) => Err(stale),
        Ok(pulled) if pulled.bytes == image.manifest.bytes => Ok(()),
        Ok(pulled) => panic!("{tag} is {}", pulled.digest),
        Err(error @ Failure::Status { status: StatusCode::SERVICE_UNAVAILABLE, .. }) => Err(error.to_string()),
        Err(error) => panic!("{tag}: {error}"),
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_region_that_missed_a_thousand_pushes_has_all_of_them_soon_after_it_is_back() -> Result<()> {
    if !tool::is_root("a_region_that_missed_a_thousand_pushes_has_all_of_them_soon_after_it_is_back") {
        return Ok(());
    }
    let geo = Geo::start(geo::THREE, Plan { nodes_per_region: 1, ..Plan::default() }).await?;
    let seed = seed();
    let regions = geo.regions().await?;
    let (here, away) = (geo.cluster.leader().await?, geo.nodes_of(&regions[2]));
    geo.wan.cut(&regions[2])?;
    let registry = geo.cluster.registry(here);
    let began = Instant::now();
    stream::iter(0..PUSHES)
        .map(|number| {
            let registry = registry.clone();
            async move { registry.push(REPO, &format!("t{number}"), &image(seed, number)).await }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    eprintln!("{PUSHES} pushes in {:.1} s", began.elapsed().as_secs_f64());
    assert_eq!(there(&geo, &away, seed), 0, "it is not cut off: nothing is tested");

    geo.wan.heal();
    let healed = Instant::now();
    // P2: what is not marked stale is what was pushed, long before its blobs are there.
    let far = Registry::new(&geo.node(away[0]).registry, Duration::from_secs(10));
    wait_tag(&far, "t999", &image(seed, 999)).await?;
    eprintln!("the first tag that is not stale after {:.1} s", healed.elapsed().as_secs_f64());
    stream::iter(0..PUSHES)
        .map(|number| {
            let far = far.clone();
            async move { wait_tag(&far, &format!("t{number}"), &image(seed, number)).await }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect::<()>()
        .await?;
    eprintln!("every tag is right after {:.1} s", healed.elapsed().as_secs_f64());
    let nodes = away.clone();
    wait::until("every blob in the region", BACK_WITHIN, async || {
        let there = there(&geo, &nodes, seed) as u64;
        if there == PUSHES { Ok(()) } else { Err(format!("{there} of {PUSHES} images are there")) }
    })
    .await?;
    eprintln!("every blob is there after {:.1} s", healed.elapsed().as_secs_f64());
    assert!(healed.elapsed() < BACK_WITHIN, "it took {:?}", healed.elapsed());
    geo.wait_settled(geo.all(), WITHIN).await?;
    // What lies there is right, and needs nobody else.
    geo.wan.cut(&regions[2])?;
    for number in (0..PUSHES).step_by(97) {
        for blob in image(seed, number).blobs() {
            far.blob(REPO, &blob.digest.to_string()).await?;
        }
    }
    geo.down().await
}
