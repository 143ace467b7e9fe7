//! P1: nothing that was acknowledged is lost, whichever node dies at whichever moment.

use portolan_chaos_tests::Result;
use portolan_chaos_tests::client::{Failure, Registry};
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::image::Image;
use portolan_chaos_tests::wait;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;

const REPO: &str = "chaos/kills";
const PUSHERS: u64 = 3;

/// What was acknowledged, and whether to go on.
#[derive(Default)]
struct Ledger {
    acked: Mutex<Vec<(String, Image)>>,
    count: AtomicUsize,
    stop: AtomicBool,
}

/// `PORTOLAN_CHAOS_SEED` replays a run's choices; the seed of each run is printed.
fn seed() -> u64 {
    let seed = std::env::var("PORTOLAN_CHAOS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_260_101);
    eprintln!("seed {seed} (replay with PORTOLAN_CHAOS_SEED={seed})");
    seed
}

fn kills() -> usize {
    std::env::var("PORTOLAN_CHAOS_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(50)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_kills_lose_nothing_that_was_acknowledged() -> Result<()> {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let mut cluster = Cluster::start(Options::default()).await?;
    let ledger = Arc::new(Ledger::default());
    let addresses: Vec<String> = cluster.nodes().iter().map(|node| node.registry.clone()).collect();
    let mut pushers = JoinSet::new();
    for pusher in 0..PUSHERS {
        pushers.spawn(push_until_stopped(pusher, seed, addresses.clone(), ledger.clone()));
    }
    for kill in 1..=kills() {
        wait_for_pushes(&ledger, random.random_range(1..6)).await?;
        let victim = random.random_range(0..addresses.len());
        cluster.kill(victim).await?;
        // Half of the victims come back at once, half after the others have gone on without them.
        if random.random_bool(0.5) {
            wait_for_pushes(&ledger, 1).await?;
        }
        cluster.restart(victim)?;
        cluster.wait_ready(victim).await?;
        if kill % 10 == 0 {
            eprintln!("{kill} kills, {} pushes acknowledged", ledger.count.load(Ordering::SeqCst));
        }
    }
    ledger.stop.store(true, Ordering::SeqCst);
    while let Some(ended) = pushers.join_next().await {
        ended?;
    }
    check_everything(&cluster, &ledger).await?;
    cluster.stop().await?;
    Ok(())
}

/// Waits until so many more pushes are acknowledged.
async fn wait_for_pushes(ledger: &Ledger, more: usize) -> Result<()> {
    let goal = ledger.count.load(Ordering::SeqCst) + more;
    wait::until("pushes to be acknowledged", Duration::from_secs(60), || async {
        let count = ledger.count.load(Ordering::SeqCst);
        if count >= goal { Ok(()) } else { Err(format!("{count} of {goal}")) }
    })
    .await
}

/// Pushes image after image, each to a node of its own choice, until it is told to stop.
async fn push_until_stopped(pusher: u64, seed: u64, addresses: Vec<String>, ledger: Arc<Ledger>) {
    let mut random = StdRng::seed_from_u64(seed ^ (pusher + 1));
    let mut number = 0_u64;
    while !ledger.stop.load(Ordering::SeqCst) {
        number += 1;
        let sizes = [random.random_range(1..40_000), random.random_range(1..4_000)];
        let image = Image::seeded(seed ^ (pusher << 32) ^ number, &sizes);
        let tag = format!("p{pusher}-{number}");
        // A failed attempt is an unknown outcome; only what was acknowledged counts, so that the tag is tried again.
        while !ledger.stop.load(Ordering::SeqCst) {
            let node = Registry::new(&addresses[random.random_range(0..addresses.len())], Duration::from_secs(20));
            match node.push(REPO, &tag, &image).await {
                Ok(()) => {
                    ledger.acked.lock().expect("no holder panics").push((tag, image));
                    ledger.count.fetch_add(1, Ordering::SeqCst);
                    break;
                }
                Err(Failure::WrongBytes(reason)) => panic!("{reason}"),
                Err(Failure::Status { status, body, .. }) if status.as_u16() != 503 && status.as_u16() != 404 => {
                    panic!("a push got {status}: {body}")
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
}

/// Every node serves every acknowledged image, bit for bit.
async fn check_everything(cluster: &Cluster, ledger: &Ledger) -> Result<()> {
    let acked = std::mem::take(&mut *ledger.acked.lock().expect("no holder panics"));
    eprintln!("checking {} acknowledged pushes at {} nodes", acked.len(), cluster.nodes().len());
    assert!(acked.len() >= kills(), "fewer pushes than kills: nothing was tested");
    for node in 0..cluster.nodes().len() {
        cluster.wait_writable(node).await?;
        let registry = cluster.registry(node);
        for (tag, image) in &acked {
            registry
                .pull_and_compare(REPO, tag, image)
                .await
                .map_err(|error| format!("{REPO}:{tag} at {}: {error}", cluster.nodes()[node].name))?;
        }
    }
    Ok(())
}
