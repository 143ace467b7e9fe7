//! The scenarios.

use crate::peer::Peer;
use crate::process;
use crate::report::Report;
use crate::transfer::{self, Payload};
use indicatif::{ProgressBar, ProgressStyle};
use portolan_chaos_tests::Result;
use portolan_chaos_tests::client::Registry;
use portolan_chaos_tests::cluster::{Cluster, Options};
use portolan_chaos_tests::image::Image;
use std::time::{Duration, Instant};

fn progress(what: &'static str, steps: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:10} {bar:40} {pos}/{len} {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(steps as u64).with_style(style).with_message(what)
}

/// From `portolan dev` to ready, and each node's memory when nothing happens.
pub async fn start(report: &mut Report, repetitions: usize) -> Result<()> {
    let bar = progress("start", repetitions);
    let (mut seconds, mut idle) = (Vec::new(), Vec::new());
    for _ in 0..repetitions {
        let started = Instant::now();
        let mut cluster = Cluster::start(Options::default()).await?;
        seconds.push(started.elapsed().as_secs_f64());
        for node in cluster.nodes() {
            idle.push(process::resident_mib(node.pid)?);
        }
        cluster.stop().await?;
        bar.inc(1);
    }
    bar.finish();
    report.add("portolan dev (3 regions) until ready", "s", seconds);
    report.add("idle memory per node", "MiB", idle);
    Ok(())
}

/// Peak memory of each node while one large blob goes in at the first and out at the last and the first.
pub async fn memory(report: &mut Report, size_mib: u64) -> Result<()> {
    let bar = progress("memory", 3);
    let mut cluster = Cluster::start(Options::default()).await?;
    let payload = Payload::seeded(42, size_mib);
    let addresses: Vec<_> = cluster.nodes().iter().map(|node| node.registry.clone()).collect();
    transfer::push(&addresses[0], "bench/memory", &payload).await?;
    bar.inc(1);
    transfer::verify(&addresses[2], "bench/memory", &payload).await?;
    bar.inc(1);
    transfer::verify(&addresses[0], "bench/memory", &payload).await?;
    bar.inc(1);
    bar.finish();
    for node in cluster.nodes() {
        let name = format!("peak memory of {} with a blob of {size_mib} MiB", node.name);
        report.add(name, "MiB", vec![process::peak_mib(node.pid)?]);
    }
    cluster.stop().await?;
    Ok(())
}

/// What one registry did, repetition by repetition.
#[derive(Default)]
struct Series {
    push_seconds: Vec<f64>,
    pull_seconds: Vec<f64>,
    cpu_seconds: Vec<f64>,
}

impl Series {
    async fn measure(&mut self, address: &str, pid: i32, repo: &str, payload: &Payload) -> Result<()> {
        let before = process::cpu_seconds(pid)?;
        self.push_seconds.push(transfer::push(address, repo, payload).await?);
        self.pull_seconds.push(transfer::pull(address, repo, payload).await?);
        self.cpu_seconds.push(process::cpu_seconds(pid)? - before);
        transfer::verify(address, repo, payload).await
    }

    fn report(&self, report: &mut Report, who: &str, size_mib: u64) {
        report.add(format!("{who}: push of {size_mib} MiB"), "s", self.push_seconds.clone());
        report.add(format!("{who}: pull of {size_mib} MiB"), "s", self.pull_seconds.clone());
        report.add(format!("{who}: server CPU for both"), "s", self.cpu_seconds.clone());
    }
}

/// Push and pull of one large layer through one node, in turn with docker-registry, new bytes each time.
pub async fn transfer(report: &mut Report, repetitions: usize, size_mib: u64) -> Result<()> {
    let bar = progress("transfer", repetitions);
    let mut cluster = Cluster::start(Options { regions: vec!["solo"], ..Options::default() }).await?;
    let peer = Peer::docker_registry().await?;
    let (address, pid) = (cluster.nodes()[0].registry.clone(), cluster.nodes()[0].pid);
    let (mut ours, mut theirs) = (Series::default(), Series::default());
    for repetition in 0..repetitions {
        let payload = Payload::seeded(repetition as u64, size_mib);
        let repo = format!("bench/transfer-{repetition}");
        // Who goes first alternates, so that neither always finds the quieter disk.
        if repetition % 2 == 0 {
            ours.measure(&address, pid, &repo, &payload).await?;
            theirs.measure(&peer.address, peer.pid()?, &repo, &payload).await?;
        } else {
            theirs.measure(&peer.address, peer.pid()?, &repo, &payload).await?;
            ours.measure(&address, pid, &repo, &payload).await?;
        }
        bar.inc(1);
    }
    bar.finish();
    ours.report(report, "portolan", size_mib);
    theirs.report(report, "docker-registry", size_mib);
    report.add_ratio("push: portolan / docker-registry", &ours.push_seconds, &theirs.push_seconds);
    report.add_ratio("pull: portolan / docker-registry", &ours.pull_seconds, &theirs.pull_seconds);
    cluster.stop().await?;
    Ok(())
}

/// From SIGKILL of the leader to the first push that another node accepts.
pub async fn failover(report: &mut Report, repetitions: usize) -> Result<()> {
    let bar = progress("failover", repetitions);
    let mut cluster = Cluster::start(Options::default()).await?;
    let mut seconds = Vec::new();
    for repetition in 0..repetitions {
        let leader = cluster.leader().await?;
        let other = (leader + 1) % cluster.nodes().len();
        cluster.wait_writable(other).await?;
        let registry = Registry::new(&cluster.nodes()[other].registry, Duration::from_secs(10));
        let image = Image::seeded(repetition as u64, &[1_000]);
        let deadline = Instant::now() + Duration::from_secs(60);
        let started = Instant::now();
        cluster.kill(leader).await?;
        while let Err(error) = registry.push("bench/failover", &format!("v{repetition}"), &image).await {
            if Instant::now() > deadline {
                return Err(format!("no push accepted: {error}").into());
            }
        }
        seconds.push(started.elapsed().as_secs_f64());
        cluster.restart(leader)?;
        cluster.wait_writable(leader).await?;
        bar.inc(1);
    }
    bar.finish();
    report.add("leader killed until the first accepted push", "s", seconds);
    cluster.stop().await?;
    Ok(())
}
