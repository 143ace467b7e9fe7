//! The workload of the kill loops: clients push without end, nodes die, and what was acknowledged must be there.

use crate::client::{Failure, Registry};
use crate::cluster::Cluster;
use crate::image::Image;
use crate::wait;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::task::JoinSet;

const REPO: &str = "chaos/kills";
const PUSHERS: u64 = 3;
/// How long a push may wait for a cluster that lost a node.
const PUSH_WITHIN: Duration = Duration::from_secs(60);

/// What is done to a cluster.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Replays the choices of a run.
    pub seed: u64,
    /// How often something dies.
    pub kills: usize,
    /// Every so many kills all nodes die at once; never when it is 0.
    pub all_every: usize,
}

/// `PORTOLAN_CHAOS_SEED` replays a run's choices; the seed of each run is printed.
#[must_use]
pub fn seed() -> u64 {
    let seed = std::env::var("PORTOLAN_CHAOS_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_260_101);
    eprintln!("seed {seed} (replay with PORTOLAN_CHAOS_SEED={seed})");
    seed
}

/// `PORTOLAN_CHAOS_KILLS`, else fifty.
#[must_use]
pub fn kills() -> usize {
    std::env::var("PORTOLAN_CHAOS_KILLS").ok().and_then(|kills| kills.parse().ok()).unwrap_or(50)
}

/// What was acknowledged, and whether to go on.
#[derive(Default)]
struct Ledger {
    acked: Mutex<Vec<(String, Image)>>,
    count: AtomicUsize,
    stop: AtomicBool,
}

/// Runs a plan: pushes and kills, then compares everything that was acknowledged at every node.
///
/// # Errors
/// When a node does not come back, pushes stop being acknowledged, or something acknowledged is lost.
pub async fn run(cluster: &mut Cluster, plan: Plan) -> crate::Result<()> {
    let ledger = Arc::new(Ledger::default());
    let addresses: Vec<String> = cluster.nodes().iter().map(|node| node.registry.clone()).collect();
    let mut pushers = JoinSet::new();
    for pusher in 0..PUSHERS {
        pushers.spawn(push_until_stopped(pusher, plan.seed, addresses.clone(), Arc::clone(&ledger)));
    }
    let killed = kill_nodes(cluster, plan, &ledger).await;
    ledger.stop.store(true, Ordering::SeqCst);
    let pushed: crate::Result<Vec<()>> = pushers.join_all().await.into_iter().collect();
    // What a client saw says more than a wait that ended in vain.
    pushed?;
    killed?;
    check_everything(cluster, plan, &ledger).await
}

async fn kill_nodes(cluster: &mut Cluster, plan: Plan, ledger: &Ledger) -> crate::Result<()> {
    let mut random = StdRng::seed_from_u64(plan.seed);
    for kill in 1..=plan.kills {
        wait_for_pushes(ledger, random.random_range(1..6)).await?;
        let everything = plan.all_every > 0 && kill % plan.all_every == 0;
        let victims = if everything {
            cluster.kill_all().await?;
            0..cluster.nodes().len()
        } else {
            let victim = random.random_range(0..cluster.nodes().len());
            cluster.kill(victim).await?;
            victim..victim + 1
        };
        // Half of the victims come back at once, half after the others have gone on without them.
        if !everything && random.random_bool(0.5) {
            wait_for_pushes(ledger, 1).await?;
        }
        for victim in victims.clone() {
            cluster.restart(victim)?;
        }
        for victim in victims {
            cluster.wait_ready(victim).await?;
        }
        if kill % 10 == 0 {
            eprintln!("{kill} kills, {} pushes acknowledged", ledger.count.load(Ordering::SeqCst));
        }
    }
    Ok(())
}

/// Waits until so many more pushes are acknowledged.
async fn wait_for_pushes(ledger: &Ledger, more: usize) -> crate::Result<()> {
    let goal = ledger.count.load(Ordering::SeqCst) + more;
    wait::until("pushes to be acknowledged", PUSH_WITHIN, || async {
        let count = ledger.count.load(Ordering::SeqCst);
        if count >= goal { Ok(()) } else { Err(format!("{count} of {goal}")) }
    })
    .await
}

/// Pushes image after image, each to a node of its own choice, until it is told to stop.
async fn push_until_stopped(pusher: u64, seed: u64, addresses: Vec<String>, ledger: Arc<Ledger>) -> crate::Result<()> {
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
                Err(Failure::WrongBytes(reason)) => return Err(reason.into()),
                Err(Failure::Status { status, body, .. }) if status.as_u16() != 503 && status.as_u16() != 404 => {
                    return Err(format!("a push got {status}: {body}").into());
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }
    Ok(())
}

/// Every node serves every acknowledged image, bit for bit.
async fn check_everything(cluster: &Cluster, plan: Plan, ledger: &Ledger) -> crate::Result<()> {
    let acked = std::mem::take(&mut *ledger.acked.lock().expect("no holder panics"));
    eprintln!("checking {} acknowledged pushes at {} nodes", acked.len(), cluster.nodes().len());
    if acked.len() < plan.kills {
        return Err("fewer pushes than kills: nothing was tested".into());
    }
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
