//! `portolan-chaos`: real nodes, real clients, everything breaks, and what clients saw is held against the promises.
#![allow(clippy::print_stdout, reason = "a program for people prints")]

use clap::{Parser, Subcommand};
use portolan_chaos_tests::report::{Report, dr, table};
use portolan_chaos_tests::run::{self, Asked, Done};
use portolan_chaos_tests::sabotage::{Nodes, Outcome};
use portolan_chaos_tests::scenario::Scenario;
use portolan_chaos_tests::{Result, sabotage, scenarios, tool};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};

/// The seed of everything that nobody gave another one.
const SEED: u64 = 20_260_101;

/// The exit code of a run that a signal ended, as shells tell it.
const INTERRUPTED: u8 = 130;

#[derive(Parser)]
#[command(
    name = "portolan-chaos",
    version,
    about = "Breaks a real cluster under load, and holds what clients saw against the promises",
    after_help = "The nodes are those of PORTOLAN_BIN, else of the `portolan` beside this program. Exit code: 0 all \
        promises held, 1 one was broken, 2 wrong usage or a run that could not be made."
)]
struct Arguments {
    /// Where reports go; each run has a folder of its own in it
    #[arg(long, global = true, default_value = "chaos-reports", value_name = "FOLDER")]
    report: PathBuf,
    #[command(subcommand)]
    act: Act,
}

#[derive(Subcommand)]
enum Act {
    /// List the scenarios
    List,
    /// Run one scenario
    Run {
        /// Its name, as `list` tells it
        scenario: String,
        /// What all that is random in it comes from
        #[arg(long, default_value_t = SEED)]
        seed: u64,
        /// How long it is under load, instead of the scenario's own length (like 90s, 10m)
        #[arg(long = "for", value_name = "LENGTH", value_parser = humantime::parse_duration)]
        length: Option<Duration>,
        /// Keep the nodes' data beside the report
        #[arg(long)]
        keep: bool,
    },
    /// Run the short scenarios with fixed seeds, as CI does
    Ci,
    /// Run the long scenarios in turns, each with a seed of its own
    Soak {
        /// How long (like 2h)
        #[arg(long = "for", value_name = "LENGTH", value_parser = humantime::parse_duration)]
        length: Duration,
        /// What the seeds of the single runs come from
        #[arg(long, default_value_t = SEED)]
        seed: u64,
    },
    /// Make the table of DR numbers
    Dr {
        #[arg(long, default_value_t = SEED)]
        seed: u64,
    },
    /// Prove the harness: run nodes that break promises on purpose, each of which has to be noticed
    Sabotage {
        /// Only these ways (like skip-fsync); all when none is named
        ways: Vec<String>,
        #[arg(long, default_value_t = SEED)]
        seed: u64,
        /// Run the same with sound nodes, with which nothing may be noticed
        #[arg(long)]
        sound: bool,
    },
    /// Judge a run again from what it left
    Judge {
        /// The run's folder
        folder: PathBuf,
    },
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut terminate = match signal(SignalKind::terminate()) {
        Ok(terminate) => terminate,
        Err(error) => {
            eprintln!("portolan-chaos: {error}");
            return ExitCode::from(2);
        }
    };
    // What is dropped takes its nodes, namespaces and mounts down.
    let acted = tokio::select! {
        acted = act(arguments) => acted,
        _ = tokio::signal::ctrl_c() => return ExitCode::from(INTERRUPTED),
        _ = terminate.recv() => return ExitCode::from(INTERRUPTED),
    };
    match acted {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("portolan-chaos: {error}");
            ExitCode::from(2)
        }
    }
}

async fn act(arguments: Arguments) -> Result<bool> {
    let report = arguments.report;
    match arguments.act {
        Act::List => {
            for scenario in scenarios::all()? {
                println!("{:<28} {}", scenario.name, scenario.about);
            }
            Ok(true)
        }
        Act::Run { scenario, seed, length, keep } => {
            let scenario = scenarios::named(&scenario)?;
            Ok(one(&scenario, &report, seed, length, keep).await?.report.held)
        }
        Act::Ci => {
            let mut held = true;
            for name in scenarios::CI {
                let scenario = scenarios::named(name)?;
                // Says that it is skipped.
                if !scenario.wants_root() || tool::is_root(name) {
                    held &= one(&scenario, &report, scenarios::CI_SEED, None, false).await?.report.held;
                }
            }
            Ok(held)
        }
        Act::Soak { length, seed } => soak(&report, length, seed).await,
        Act::Dr { seed } => {
            let scenario = scenarios::named(scenarios::DR)?;
            let done = one(&scenario, &report, seed, None, false).await?;
            println!("\n{}", dr::markdown(std::slice::from_ref(&done.report), "portolan-chaos dr"));
            Ok(done.report.held)
        }
        Act::Sabotage { ways, seed, sound } => {
            let nodes = if sound { Nodes::Sound } else { Nodes::Sabotaged };
            sabotaged(&report, &ways, nodes, seed).await
        }
        Act::Judge { folder } => {
            let (run, evidence) = run::read(&folder)?;
            let done = run::judged(run, evidence).await?;
            done.report.write(&folder)?;
            tell(&done, &folder);
            Ok(done.report.held)
        }
    }
}

/// Runs a scenario in a folder of its own, and tells what came of it.
async fn one(scenario: &Scenario, report: &Path, seed: u64, length: Option<Duration>, keep: bool) -> Result<Done> {
    if scenario.wants_root() && !tool::is_root(scenario.name) {
        return Err(format!("{} wants root: for namespaces and mounts", scenario.name).into());
    }
    let length_words =
        length.map(|length| format!(" --for {}", humantime::format_duration(length).to_string().replace(' ', "")));
    let command = format!("portolan-chaos run {} --seed {seed}{}", scenario.name, length_words.unwrap_or_default());
    let folder = report.join(format!("{}-{seed}", scenario.name));
    eprintln!("\n{}: {} (seed {seed})", scenario.name, scenario.about);
    let asked = Asked { seed, length, folder: folder.clone(), command, keep };
    let done = run::run(scenario, &asked).await.map_err(|error| format!("{}: {error}", asked.command))?;
    tell(&done, &folder);
    Ok(done)
}

/// Whether each way is caught by an invariant that has to, and none with sound nodes.
async fn sabotaged(report: &Path, names: &[String], nodes: Nodes, seed: u64) -> Result<bool> {
    let mut ways = sabotage::ways()?;
    if let Some(name) = names.iter().find(|name| ways.iter().all(|way| way.name != name.as_str())) {
        let known: Vec<_> = ways.iter().map(|way| way.name).collect();
        return Err(format!("{name:?} is no way to sabotage a node; there are {}", known.join(", ")).into());
    }
    ways.retain(|way| names.is_empty() || names.iter().any(|name| name == way.name));
    let outcomes = sabotage::run(&std::env::current_exe()?, ways, nodes, report, seed).await?;
    println!("\n{}", sabotage::table(&outcomes));
    for outcome in outcomes.iter().filter(|outcome| !outcome.is_right()) {
        let verdict =
            if nodes == Nodes::Sound { "something was noticed" } else { "no invariant that has to notice did" };
        println!("{}: {}", outcome.way, outcome.error.as_deref().unwrap_or(verdict));
    }
    Ok(outcomes.iter().all(Outcome::is_right))
}

fn tell(done: &Done, folder: &Path) {
    table::print(&done.report);
    for failure in &done.failures {
        println!("\n{failure}");
    }
    println!("report: {}", folder.join("report.html").display());
}

/// Goes through the long scenarios until the time is over. A broken promise does not end it: the next may be another one.
async fn soak(report: &Path, length: Duration, seed: u64) -> Result<bool> {
    let mut seeds = StdRng::seed_from_u64(seed);
    let (began, mut reports, mut unmade) = (Instant::now(), Vec::<Report>::new(), Vec::new());
    for name in scenarios::SOAK.iter().cycle() {
        // In whole seconds, as the command that replays a run tells them.
        let left = Duration::from_secs(length.saturating_sub(began.elapsed()).as_secs());
        if left.is_zero() {
            break;
        }
        let scenario = scenarios::named(name)?;
        let length = scenario.length.min(left.max(SHORTEST));
        match one(&scenario, report, seeds.random_range(1..1_000_000_000), Some(length), false).await {
            Ok(done) => reports.push(done.report),
            Err(error) => {
                eprintln!("portolan-chaos: {error}");
                unmade.push(error.to_string());
            }
        }
    }
    let broken: Vec<_> = reports.iter().filter(|report| !report.held).map(|report| &report.run.command).collect();
    println!(
        "\n{}",
        dr::markdown(
            &reports,
            &format!("portolan-chaos soak --for {} --seed {seed}", humantime::format_duration(length))
        )
    );
    println!(
        "{} runs in {}, {} with a broken promise, {} that could not be made",
        reports.len() + unmade.len(),
        humantime::format_duration(Duration::from_secs(began.elapsed().as_secs())),
        broken.len(),
        unmade.len()
    );
    for command in &broken {
        println!("{command}");
    }
    for error in &unmade {
        println!("{error}");
    }
    Ok(broken.is_empty() && unmade.is_empty())
}

/// No run of a soak is shorter: it would be over before much can break.
const SHORTEST: Duration = Duration::from_secs(120);
