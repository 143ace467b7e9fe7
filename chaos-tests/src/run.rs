//! A scenario from its start to its report: the cluster stands, clients work, things break and heal; then it is quiet, what
//! is left is looked at, and everything is judged. In reading order: [`stand`] is the cluster and what is below it,
//! [`director`] breaks and mends by the schedule, [`watcher`] looks at the nodes meanwhile, [`after`] at what is left, and
//! [`judge`] holds it all to the invariants.

mod after;
mod copies;
mod director;
mod folder;
mod histories;
pub mod judge;
mod leftovers;
mod pulls;
mod stand;
mod watcher;

pub use folder::{read, write};
pub use judge::Verdict;

use crate::faults::World;
use crate::invariants::{After, Evidence, NodeInfo};
use crate::report::{Report, Run};
use crate::scenario::Scenario;
use crate::workload::{Clock, Plan, Workload};
use stand::Stand;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How a scenario is run.
#[derive(Clone, Debug)]
pub struct Asked {
    /// What everything random in it comes from.
    pub seed: u64,
    /// How long it is under load; the scenario's own length when not said.
    pub length: Option<Duration>,
    /// Where its history, its evidence and its report go.
    pub folder: PathBuf,
    /// What replays it.
    pub command: String,
    /// Whether nodes log and store where one can look at them afterwards, too.
    pub keep: bool,
}

/// What came of it.
pub struct Done {
    pub report: Report,
    pub evidence: Evidence,
    /// Each violation in words, with the shortest history that shows it.
    pub failures: Vec<String>,
}

/// Runs a scenario and writes its report.
///
/// # Errors
/// When it could not be run or judged: what is worth nothing is no verdict.
pub async fn run(scenario: &Scenario, asked: &Asked) -> crate::Result<Done> {
    std::fs::create_dir_all(&asked.folder)?;
    let length = asked.length.unwrap_or(scenario.length);
    let mut stand = Stand::start(scenario, &asked.folder, asked.keep).await?;
    let began_unix = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (cluster, wan) = stand.parts();
    let version = stand::version(cluster).await?;
    for (prefix, settings) in scenario.plan.settings().iter().chain(&scenario.policies) {
        cluster.set_repos(0, prefix, settings).await?;
    }
    let clock = Clock::default();
    let file = Some(asked.folder.join(folder::HISTORY));
    let plan = Plan { seed: asked.seed, clock, length: None, file, ..scenario.plan.clone() };
    let mut bounds = scenario.bounds.clone();
    plan.bound(&mut bounds);

    let nodes = cluster.nodes().to_vec();
    let mut world = World::new(cluster, wan, asked.seed).await?;
    let schedule = scenario.faults.schedule(asked.seed, length, world.places());
    let watcher = watcher::Watcher::start(nodes.clone(), clock);
    let began = Instant::now();
    let running = Workload::start(&nodes, plan)?;
    let (counts, truth) = (running.watch(), running.truth());
    let directed = director::direct(&mut world, &schedule, (clock, began, length), &counts).await;
    let loaded = clock.now();
    let history = running.stop().await?;
    let directed = directed?;
    let mut evidence = Evidence {
        nodes: nodes.iter().map(|node| NodeInfo { name: node.name.clone(), region: node.region.clone() }).collect(),
        history,
        events: directed.events,
        bounds,
        contents: truth.contents(),
        subjects: truth.subjects(),
        ..Evidence::default()
    };
    evidence.after = After { gone: directed.gone, complaints: directed.complaints, ..After::default() };
    after::collect(&mut evidence, world.cluster, &truth, scenario).await?;
    let watched = watcher.stop().await?;
    evidence.samples = watched.samples;
    let run = Run {
        scenario: scenario.name.to_owned(),
        seed: asked.seed,
        topology: scenario.topology(),
        began_unix,
        length: loaded,
        version,
        command: asked.command.clone(),
        leaders: watched.leaders,
        ..Run::default()
    };
    folder::write(&asked.folder, &run, &evidence)?;
    let done = judged(run, evidence).await?;
    done.report.write(&asked.folder)?;
    if !done.report.held {
        stand.keep_logs(&asked.folder)?;
    }
    stand.down().await?;
    Ok(done)
}

/// Judges evidence off the async threads, which a long history would block.
///
/// # Errors
/// When an invariant panics.
pub async fn judged(mut run: Run, evidence: Evidence) -> crate::Result<Done> {
    let judging = tokio::task::spawn_blocking(move || {
        let verdict = judge::judge(&evidence);
        (run.judged, run.violations) = (verdict.judged, verdict.violations);
        Done { report: Report::new(run, &evidence), evidence, failures: verdict.failures }
    });
    Ok(judging.await?)
}
