//! Each fault shows its effect, and is gone when it is healed: one test per family.

mod damage;
mod disks;
mod links;
mod processes;

use portolan_chaos_tests::client::{Failure, Registry};
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::fault::Fault;
use portolan_chaos_tests::faults::{Injected, World};
use portolan_chaos_tests::history::Micros;
use portolan_chaos_tests::image::Image;
use portolan_chaos_tests::invariants::Event;
use portolan_chaos_tests::{Result, kills, wait};
use reqwest::StatusCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const REPO: &str = "chaos/faults";

/// How long an effect may take to show.
const WITHIN: Duration = Duration::from_secs(60);

/// What every node serves before and after a fault.
fn image() -> Image {
    Image::seeded(6, &[300_000, 2_000])
}

/// A cluster of three nodes that serve an image.
async fn start(options: Options) -> Result<Cluster> {
    let cluster = Cluster::start(options).await?;
    cluster.registry(0).push(REPO, "v1", &image()).await?;
    for node in 0..cluster.nodes().len() {
        let registry = cluster.registry(node);
        // A node that is not sure may say so, and never has another image.
        wait::until("the image at every node", WITHIN, async || {
            match registry.pull_and_compare(REPO, "v1", &image()).await {
                Err(error @ Failure::Status { status: StatusCode::SERVICE_UNAVAILABLE, .. }) => Err(error.to_string()),
                Err(error) => panic!("{error}"),
                Ok(()) => Ok(()),
            }
        })
        .await?;
    }
    Ok(cluster)
}

async fn world(cluster: &mut Cluster) -> Result<World<'_>> {
    World::new(cluster, None, kills::seed()).await
}

async fn inject(world: &mut World<'_>, words: &str) -> Result<Injected> {
    let fault: Fault = words.parse()?;
    assert!(fault.is_possible(world), "{words} is possible");
    let injected = fault.inject(world).await?;
    eprintln!("{words}: {}", injected.said());
    assert_eq!(injected.complaints(), [], "{words}");
    Ok(injected)
}

/// Heals it; all nodes serve then and take pushes. What the invariants are told.
async fn heal(world: &mut World<'_>, mut injected: Injected) -> Result<Event> {
    injected.heal(world).await?;
    assert_eq!((world.sides().stops_writes, world.sides().minority.len()), (false, 0), "all is mended");
    for node in 0..world.cluster.nodes().len() {
        world.cluster.wait_writable(node).await?;
        let registry = world.cluster.registry(node);
        registry.pull_and_compare(REPO, "v1", &image()).await?;
        registry.push(REPO, &format!("after-{}", injected.fault().kind()), &Image::seeded(7, &[500])).await?;
    }
    let event = injected.event(Micros(1), Some(Micros(2)));
    eprintln!("{}: {}; {event:?}", injected.fault(), injected.said());
    assert_eq!(event.fault.parse::<Fault>()?, *injected.fault());
    Ok(event)
}

/// Whether a node answers at all.
async fn answers(cluster: &Cluster, node: usize) -> bool {
    Registry::new(&cluster.nodes()[node].registry, Duration::from_secs(2)).get("/v2/").await.is_ok()
}

/// Waits until a node's process has ended, with pushes to it that give it something to do.
async fn wait_ends_under_load(cluster: &Cluster, node: usize) -> Result<()> {
    let registry = Registry::new(&cluster.nodes()[node].registry, Duration::from_secs(5));
    let number = AtomicU64::new(1_000);
    wait::until("the node to end", WITHIN, async || {
        if !cluster.is_running(node) {
            return Ok(());
        }
        let seed = number.fetch_add(1, Ordering::Relaxed);
        let pushed = registry.push(REPO, "load", &Image::seeded(seed, &[3_000_000])).await;
        Err(format!("it runs, and a push got {pushed:?}"))
    })
    .await
}
