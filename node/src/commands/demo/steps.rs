//! The steps of the demo, one after the other.

use super::image::Image;
use super::registry::{Pulled, Registry, RegistryError};
use super::timeline::{Timeline, in_words};
use crate::client::Client;
use crate::commands::dev::{Children, NodePlan, wait_ready};
use crate::error::Failure;
use futures::future::try_join_all;
use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

/// The repository that the demo pushes to.
const REPO: &str = "demo/hello";
/// The seed of the first image; the second image has the next.
const SEED: u64 = 2026;
/// How long the cluster may take for anything.
const LIMIT: Duration = Duration::from_secs(60);
/// The pause between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// The demo on a running cluster.
pub(crate) struct Demo<'a> {
    children: &'a mut Children,
    nodes: Vec<NodePlan>,
    registries: Vec<Registry>,
    timeline: Timeline,
    /// From the kill to the first accepted push.
    failover: Option<Duration>,
}

impl<'a> Demo<'a> {
    /// Prepares the clients.
    ///
    /// # Errors
    /// When a client cannot be made.
    pub(crate) fn new(children: &'a mut Children, silent: bool) -> Result<Self, Failure> {
        let nodes = children.nodes().to_vec();
        let registries = nodes
            .iter()
            .map(|node| Registry::new(node.public))
            .collect::<Result<_, _>>()
            .map_err(failed("preparing the clients"))?;
        Ok(Self { children, nodes, registries, timeline: Timeline::begin(silent), failover: None })
    }

    /// All steps.
    ///
    /// # Errors
    /// The first that fails.
    pub(crate) async fn run(&mut self) -> Result<(), Failure> {
        let first = Image::build(SEED, "v1").map_err(failed("building the image"))?;
        let second = Image::build(SEED + 1, "v2").map_err(failed("building the image"))?;
        let last = self.nodes.len() - 1;
        let lost = self.nodes[0].region.clone();

        self.timeline.chapter("Push in the first region")?;
        self.push("push", 0, "v1", &first).await?;
        self.timeline.chapter("Pull in the last region at once: what has not arrived yet is streamed through")?;
        self.pull("pull-at-once", last, "v1", &first).await?;
        self.timeline.chapter("Every region gets its own copy in the background")?;
        self.wait_replicated(&first).await?;
        self.pull("pull-replicated", last, "v1", &first).await?;

        self.timeline.chapter(&format!("The region {lost} dies (SIGKILL); the others go on"))?;
        let killed = self.kill(&lost).await?;
        self.pull_and_push_without(&lost, killed, &first, &second).await?;

        self.timeline.chapter(&format!("The region {lost} comes back and catches up"))?;
        self.restart(&lost).await?;
        self.pull("pull-new-in-restarted", 0, "v2", &second).await?;
        Ok(())
    }

    /// What is printed at the end.
    pub(crate) fn summary(&self) -> String {
        let failover = self.failover.map(in_words).unwrap_or_default();
        format!(
            "Everything pulled was bit for bit what was pushed. A region died and no pull failed; the next push was \
             accepted {failover} after the kill."
        )
    }

    /// The timeline as one line of JSON.
    pub(crate) fn json(&self, ok: bool) -> String {
        serde_json::json!({
            "ok": ok,
            "failover_ms": self.failover.map(|took| took.as_millis() as u64),
            "timeline": self.timeline.events(),
        })
        .to_string()
    }

    async fn push(&mut self, step: &'static str, at: usize, tag: &str, image: &Image) -> Result<(), Failure> {
        let since = Instant::now();
        self.registries[at].push(REPO, tag, image).await.map_err(failed(step))?;
        let what = pushed(tag, image);
        self.timeline.done(step, &self.nodes[at].name, since, what)?;
        Ok(())
    }

    async fn pull(&mut self, step: &'static str, at: usize, tag: &str, image: &Image) -> Result<(), Failure> {
        let since = Instant::now();
        let pulled = pull_image(&self.registries[at], tag, image).await.map_err(failed(step))?;
        self.timeline.done(step, &self.nodes[at].name, since, describe(tag, &pulled, &self.nodes))?;
        Ok(())
    }

    /// Waits until a node of every region has every blob on its disk.
    async fn wait_replicated(&mut self, image: &Image) -> Result<(), Failure> {
        let since = Instant::now();
        let regions: BTreeSet<String> = self.nodes.iter().map(|node| node.region.clone()).collect();
        while !regions.iter().all(|region| self.region_has(region, image)) {
            if since.elapsed() > LIMIT {
                return Err(demo_failure("waiting for the copies", "they did not arrive in time"));
            }
            tokio::time::sleep(PAUSE).await;
        }
        let what = format!("every layer lies on a disk in {} regions", regions.len());
        self.timeline.done("replicated", "cluster", since, what)?;
        Ok(())
    }

    fn region_has(&self, region: &str, image: &Image) -> bool {
        let nodes: Vec<&NodePlan> = self.nodes.iter().filter(|node| node.region == region).collect();
        image.blobs.iter().all(|blob| nodes.iter().any(|node| has_file(node, &blob.digest.hex())))
    }

    async fn kill(&mut self, region: &str) -> Result<Instant, Failure> {
        let leader = Client::new(&self.nodes[0].public.to_string())?.cluster().await?.0;
        let leader = leader.leader_name().map(str::to_owned);
        let killed = Instant::now();
        for at in self.of_region(region) {
            let since = Instant::now();
            self.children.kill(at).await;
            let name = self.nodes[at].name.clone();
            let led = if leader.as_deref() == Some(name.as_str()) { "; it was the leader" } else { "" };
            self.timeline.done("kill", &name, since, format!("killed{led}"))?;
        }
        Ok(killed)
    }

    /// Pulls from every node that is left while a new image is pushed to the first of them.
    async fn pull_and_push_without(
        &mut self,
        lost: &str,
        killed: Instant,
        first: &Image,
        second: &Image,
    ) -> Result<(), Failure> {
        let left: Vec<usize> = (0..self.nodes.len()).filter(|at| self.nodes[*at].region != lost).collect();
        let target = left[0];
        let registries = &self.registries;
        let pulls = try_join_all(left.iter().map(|at| async move {
            let since = Instant::now();
            let pulled = pull_image(&registries[*at], "v1", first).await?;
            Ok::<_, RegistryError>((*at, since, since.elapsed(), pulled))
        }));
        let (pulls, tries) = tokio::join!(pulls, push_until_accepted(&registries[target], "v2", second));
        let mut pulls = pulls.map_err(failed("pull-after-loss"))?;
        pulls.sort_by_key(|(_, since, took, _)| *since + *took);
        for (at, since, took, pulled) in pulls {
            let what = describe("v1", &pulled, &self.nodes);
            self.timeline.done_after("pull-after-loss", &self.nodes[at].name, since, took, what)?;
        }
        let (accepted, refused) = tries.map_err(failed("push-after-loss"))?;
        let took = accepted.duration_since(killed);
        self.failover = Some(took);
        let patience = match refused {
            0 => "accepted at once when a leader was there".to_owned(),
            1 => "accepted at the second try".to_owned(),
            more => format!("accepted after {more} refusals"),
        };
        let what = format!("{}, {patience}", pushed("v2", second));
        self.timeline.done_after("push-after-loss", &self.nodes[target].name, killed, took, what)?;
        Ok(())
    }

    /// Starts the lost nodes again and waits until they are ready and have applied everything.
    async fn restart(&mut self, region: &str) -> Result<(), Failure> {
        let lost = self.of_region(region);
        let since = Instant::now();
        for at in &lost {
            self.children.start(*at)?;
        }
        let plans: Vec<NodePlan> = lost.iter().map(|at| self.nodes[*at].clone()).collect();
        wait_ready(&plans, LIMIT).await?;
        for plan in plans {
            self.wait_caught_up(&plan).await?;
            self.timeline.done("caught-up", &plan.name, since, "restarted, and has caught up".to_owned())?;
        }
        Ok(())
    }

    async fn wait_caught_up(&self, plan: &NodePlan) -> Result<(), Failure> {
        let witness = self.nodes.last().unwrap_or(plan);
        let client = Client::new(&witness.public.to_string())?;
        let since = Instant::now();
        loop {
            let (cluster, _) = client.cluster().await?;
            let row = cluster.nodes.iter().find(|row| row.id == plan.id);
            if row.is_some_and(|row| row.state == "up" && row.lag == Some(0)) {
                return Ok(());
            }
            if since.elapsed() > LIMIT {
                return Err(demo_failure("catching up", &format!("{} is still behind", plan.name)));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn of_region(&self, region: &str) -> Vec<usize> {
        (0..self.nodes.len()).filter(|at| self.nodes[*at].region == region).collect()
    }
}

/// Pulls a tag and everything below it.
async fn pull_image(registry: &Registry, tag: &str, image: &Image) -> Result<Vec<Pulled>, RegistryError> {
    let manifest = registry.pull_manifest(REPO, tag, &image.manifest).await?;
    let blobs = try_join_all(image.blobs.iter().map(|blob| registry.pull_blob(REPO, &blob.digest))).await?;
    Ok([manifest].into_iter().chain(blobs).collect())
}

/// Repeats a push until it is accepted; gives when that was and how often it was refused before.
async fn push_until_accepted(registry: &Registry, tag: &str, image: &Image) -> Result<(Instant, u32), RegistryError> {
    let (since, mut refused) = (Instant::now(), 0);
    loop {
        match registry.push(REPO, tag, image).await {
            Ok(()) => return Ok((Instant::now(), refused)),
            Err(error) if error.is_passing() && since.elapsed() < LIMIT => refused += 1,
            Err(error) => return Err(error),
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Whether a node's disk holds a blob's file.
fn has_file(node: &NodePlan, hex: &str) -> bool {
    let folder = node.folder.join("blobs").join("sha256").join(&hex[..2]);
    let Ok(files) = std::fs::read_dir(folder) else { return false };
    files.filter_map(Result::ok).any(|file| file.file_name().to_string_lossy().starts_with(hex))
}

fn pushed(tag: &str, image: &Image) -> String {
    format!("pushed {REPO}:{tag}, {} blobs, {}", image.blobs.len(), megabytes(image.size()))
}

/// What was pulled and from where.
fn describe(tag: &str, pulled: &[Pulled], nodes: &[NodePlan]) -> String {
    let bytes = pulled.iter().map(|part| part.bytes).sum();
    let mut text = format!("pulled {REPO}:{tag}, {}, every digest right", megabytes(bytes));
    let sources: Vec<&str> = pulled.iter().filter_map(|part| part.source.as_deref()).collect();
    let own = sources.iter().filter(|source| **source == "local").count();
    let following = sources.iter().filter(|source| **source == "following").count();
    let away: BTreeSet<&str> = sources.iter().filter_map(|source| holder(source, nodes)).collect();
    let streamed = sources.len() - own - following;
    if own == sources.len() {
        text.push_str("; all blobs from its own disk");
    } else {
        text.push_str(&format!("; {own} blobs from its own disk"));
    }
    if following > 0 {
        text.push_str(&format!(", {following} while still arriving from another region"));
    }
    if streamed > 0 {
        let names: Vec<&str> = away.into_iter().collect();
        text.push_str(&format!(", {streamed} streamed through from {}", names.join(" and ")));
    }
    if pulled.iter().any(|part| part.warning.is_some()) {
        text.push_str("; the tag is marked as possibly stale, as no leader confirmed it");
    }
    text
}

/// The name of the node that a source such as `peer 1` speaks of.
fn holder<'a>(source: &str, nodes: &'a [NodePlan]) -> Option<&'a str> {
    let id: u64 = source.split_once(' ')?.1.parse().ok()?;
    nodes.iter().find(|node| node.id == id).map(|node| node.name.as_str())
}

fn megabytes(bytes: usize) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

/// A failed step.
fn failed<E: std::fmt::Display>(step: &'static str) -> impl FnOnce(E) -> Failure {
    move |error| Failure::Demo { step, reason: error.to_string() }
}

fn demo_failure(step: &'static str, reason: &str) -> Failure {
    failed(step)(io::Error::other(reason.to_owned()))
}
