//! A node that was away for longer than the others keep their log: it comes back by a snapshot, whenever it dies again.

use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::forget::{Forgetting, Survives};
use portolan_chaos_tests::image::Image;
use portolan_chaos_tests::kills::Plan;
use portolan_chaos_tests::{Result, kills, wait};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::time::Duration;

const REPO: &str = "chaos/snapshot";
/// A log of a few dozen pushes.
const LOG_BYTES: &str = "32768";
/// How long the log may take to be purged, or a node to say something in its metrics.
const WITHIN: Duration = Duration::from_secs(60);

fn short_logs() -> Vec<(&'static str, String)> {
    vec![("PORTOLAN_CLUSTER_SNAPSHOT_LOG_BYTES", LOG_BYTES.to_owned())]
}

/// A cluster and all that it acknowledged.
struct World {
    cluster: Cluster,
    seed: u64,
    acked: Vec<(String, Image)>,
}

impl World {
    async fn start() -> Result<Self> {
        let cluster = Cluster::start(Options { environment: short_logs(), ..Options::default() }).await?;
        Ok(Self { cluster, seed: kills::seed(), acked: Vec::new() })
    }

    /// Pushes one more image to a node, as often as it takes.
    async fn push(&mut self, node: usize) -> Result<()> {
        let number = self.acked.len() as u64;
        let (tag, image) = (format!("t{number}"), Image::seeded(self.seed ^ number, &[2_000]));
        let registry = self.cluster.registry(node);
        let pushed = || async { registry.push(REPO, &tag, &image).await.map_err(|error| error.to_string()) };
        wait::until("a push", WITHIN, pushed).await?;
        self.acked.push((tag, image));
        Ok(())
    }

    /// Pushes to the first of these nodes until all of them have purged their logs beyond an index.
    async fn push_past(&mut self, nodes: &[usize], index: u64) -> Result<()> {
        let begin = self.acked.len();
        for &node in nodes {
            while self.metric(node, "portolan_raft_purged_index").await? <= index {
                if self.acked.len() - begin > 2_000 {
                    return Err("no purge".into());
                }
                self.push(nodes[0]).await?;
            }
        }
        Ok(())
    }

    /// A gauge or counter without labels, as a node tells it; 0 until it has something to tell.
    async fn metric(&self, node: usize, name: &str) -> Result<u64> {
        let text = self.cluster.ops(node).get("/metrics").await?.text().await?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        // Gauges are floats.
        Ok(line.map(str::parse::<f64>).transpose()?.unwrap_or_default() as u64)
    }

    /// Every tag, which is read linearizably, and every byte behind it.
    async fn check(&self, node: usize) -> Result<()> {
        self.cluster.wait_ready(node).await?;
        let registry = self.cluster.registry(node);
        for (tag, image) in &self.acked {
            let name = &self.cluster.nodes()[node].name;
            let pulled = registry.pull_and_compare(REPO, tag, image).await;
            pulled.map_err(|error| format!("{REPO}:{tag} of {} at {name}: {error}", self.acked.len()))?;
        }
        Ok(())
    }

    /// A node that does not lead, and the two others, the leader first.
    async fn roles(&self) -> Result<(usize, [usize; 2])> {
        let leader = self.cluster.leader().await?;
        Ok(((leader + 1) % 3, [leader, (leader + 2) % 3]))
    }

    /// Kills a node and makes the others forget the log that it would need.
    async fn leave_behind(&mut self, away: usize, others: &[usize]) -> Result<()> {
        let left_at = self.metric(away, "portolan_raft_last_log_index").await?;
        self.cluster.kill(away).await?;
        // What it was sent after it last told its metrics, it may have.
        self.push(others[0]).await?;
        let left_at = left_at.max(self.metric(others[0], "portolan_raft_last_log_index").await?);
        self.push_past(others, left_at).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_past_the_end_of_the_log_catches_up_by_snapshot_and_survives_more_kills() -> Result<()> {
    let mut world = World::start().await?;
    let (away, others) = world.roles().await?;
    world.push(away).await?;
    world.leave_behind(away, &others).await?;
    world.cluster.restart(away)?;
    world.check(away).await?;
    let installed = world.metric(away, "portolan_raft_snapshots_installed_total").await?;
    assert!(installed >= 1, "it came back without a snapshot");
    for _ in 0..2 {
        world.cluster.kill(away).await?;
        world.cluster.restart(away)?;
        world.check(away).await?;
    }
    // Its log and its state fit together: without the leader it is half of the quorum.
    world.cluster.kill(others[0]).await?;
    world.push(away).await?;
    world.check(away).await?;
    world.cluster.restart(others[0])?;
    world.check(others[0]).await?;
    world.cluster.stop().await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_dies_at_any_moment_of_a_snapshot_comes_back_with_everything() -> Result<()> {
    let mut world = World::start().await?;
    let mut random = StdRng::seed_from_u64(world.seed);
    let mut installed = 0;
    for _ in 0..4 {
        let (away, others) = world.roles().await?;
        world.leave_behind(away, &others).await?;
        for _ in 0..4 {
            world.cluster.restart(away)?;
            // From before its databases are open to after the state was replaced.
            tokio::time::sleep(Duration::from_millis(random.random_range(50..800))).await;
            world.cluster.kill(away).await?;
        }
        world.cluster.restart(away)?;
        world.check(away).await?;
        installed += world.cluster.logs(away)?.matches("a snapshot replaced the state").count();
        // Whoever follows must be able to follow it too.
        world.push(away).await?;
    }
    eprintln!("{installed} installs, {} pushes", world.acked.len());
    assert!(installed >= 4, "no snapshots: nothing was tested");
    for node in 0..world.cluster.nodes().len() {
        world.check(node).await?;
    }
    world.cluster.stop().await?;
    Ok(())
}

/// Purges, checkpoints and installs between power cuts: what they remove must not be gone before what replaces it is
/// durable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_on_a_disk_that_forgets_lose_nothing_while_logs_are_short() -> Result<()> {
    let forgetting = Some(Forgetting { survives: Survives::Nothing, orders: String::new() });
    let environment = vec![
        ("PORTOLAN_CLUSTER_SNAPSHOT_LOG_BYTES", "16384".to_owned()),
        ("PORTOLAN_CLUSTER_HOUSEKEEPING_INTERVAL_MS", "50".to_owned()),
    ];
    let mut cluster = Cluster::start(Options { forgetting, environment, ..Options::default() }).await?;
    let plan = Plan { seed: kills::seed(), kills: kills::kills().div_ceil(2), all_every: 5 };
    kills::run(&mut cluster, plan).await?;
    let made = (0..cluster.nodes().len()).map(|node| Ok(cluster.logs(node)?.matches("made a snapshot").count()));
    let made = made.sum::<Result<usize>>()?;
    eprintln!("{made} snapshots made");
    assert!(made > plan.kills, "no snapshots: nothing was tested");
    cluster.stop().await?;
    Ok(())
}
