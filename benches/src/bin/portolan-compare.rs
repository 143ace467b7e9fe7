//! Runs one load against Portolan (one node, three nodes), Debian's docker-registry and nginx, in turn, and Portolan
//! alone over an emulated WAN.

use clap::Parser;
use portolan_benches::compare::outcome::{Chart, Outcome, Part};
use portolan_benches::compare::plan::{LOOPBACK, Plan, WAN};
use portolan_benches::compare::target::Programs;
use portolan_benches::compare::{host, loopback, program, wan};
use portolan_chaos_tests::Result;
use portolan_chaos_tests::wan::Topology;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const INTRODUCTION: &str = "One load, sent in turn to each server on one machine: closed loops with a warm-up, \
    repetitions interleaved and each begun by another server. Bars are the middle repetition, whiskers the least and \
    the greatest. Latencies are the middle repetition's. ◆ marks where the load generator, which shares the machine's \
    cores, had most of a busy machine: the server could have done more. ▲ tells how busy the machine was where that may \
    have set the pace.";

/// A busier machine than this before the first measurement is told on the page.
const BUSY: f64 = 0.5;

/// Compares Portolan with docker-registry and nginx on this machine.
#[derive(Parser)]
#[command(after_help = scenarios())]
struct Arguments {
    /// Only these scenarios, separated by commas.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Everything small and once, in some two minutes: whether it works, not how fast it is.
    #[arg(long)]
    quick: bool,
    /// Repetitions of every measurement.
    #[arg(long)]
    repetitions: Option<usize>,
    /// The largest blob, in MiB.
    #[arg(long)]
    largest_mib: Option<u64>,
    /// The regions and links of the part over the WAN.
    #[arg(long)]
    topology: Option<PathBuf>,
    /// Where the page with the charts goes; the figures go beside it as JSON.
    #[arg(long, default_value = "compare.html")]
    page: PathBuf,
}

fn scenarios() -> String {
    let lines = LOOPBACK.iter().chain(&WAN).map(|(name, what)| format!("  {name:12} {what}\n"));
    format!("Scenarios:\n{}  wan          all of the last four", lines.collect::<String>())
}

fn main() -> ExitCode {
    program::execute(run(Arguments::parse()))
}

/// Whether nothing failed.
async fn run(arguments: Arguments) -> Result<bool> {
    let plan = plan(&arguments)?;
    let default = Path::new(env!("CARGO_MANIFEST_DIR")).join("../chaos-tests/topologies/three-at-100ms.toml");
    let topology = Topology::load(arguments.topology.as_deref().unwrap_or(&default))?;
    let mut machine = host::machine();
    let mut notes = notes(&plan);
    if host::load_average() > BUSY {
        notes.push("The machine was busy when the run began: these figures are no good for comparing.".to_owned());
    }
    let programs = Programs { docker_registry: host::has("docker-registry"), nginx: host::has("nginx") };
    let wants_wan = WAN.iter().any(|(name, _)| plan.wants(name));
    let wants_loopback = LOOPBACK.iter().any(|(name, _)| plan.wants(name));
    announce(&plan, wants_loopback, wants_wan);
    let (mut parts, mut charts): (Vec<Part>, Vec<Chart>) = (Vec::new(), Vec::new());
    if wants_loopback {
        let (part, found) = loopback(&plan, &programs).await;
        parts.push(part);
        charts.extend(found);
    }
    if wants_wan {
        let (part, found) = wan::run(&plan, &topology).await;
        machine.push(("WAN".to_owned(), topology.name.clone()));
        parts.push(part);
        charts.extend(found);
    }
    let (ended, versions) = (host::now(), host::versions());
    let (title, command) = ("Portolan beside others", program::command("benches/compare"));
    let outcome =
        Outcome { title, introduction: INTRODUCTION, ended, command, machine, versions, notes, parts, charts };
    program::write(&outcome, &arguments.page)
}

fn plan(arguments: &Arguments) -> Result<Plan> {
    let mut plan = if arguments.quick { Plan::quick() } else { Plan::full() };
    plan.only.clone_from(&arguments.only);
    if let Some(unknown) = plan.unknown() {
        return Err(format!("no scenario {unknown}\n{}", scenarios()).into());
    }
    plan.repetitions = arguments.repetitions.unwrap_or(plan.repetitions).max(1);
    plan.largest_mib = arguments.largest_mib.unwrap_or(plan.largest_mib).max(1);
    Ok(plan)
}

fn announce(plan: &Plan, loopback: bool, wan: bool) {
    let mut parts = Vec::new();
    if loopback {
        parts.push(format!("on this machine at most {} s", plan.loopback_seconds));
    }
    if wan {
        parts.push(wan::missing().map_or_else(
            || format!("over the emulated WAN at most {} s", plan.wan_seconds),
            |why| format!("the part over the WAN is skipped ({why})"),
        ));
    }
    eprintln!("{}; Ctrl-C stops everything", parts.join(", "));
}

fn notes(plan: &Plan) -> Vec<String> {
    let mut notes = vec![
        "Durability differs. Portolan acknowledges what is fsynced, folders too, and committed. docker-registry 2.8 fsyncs \
         each file that it writes, but no folder after a new name or a rename: power that fails may take names of files \
         whose bytes are there."
            .to_owned(),
        "Portolan's three nodes share this machine's cores and disk with each other and with the load generator; on \
         three machines each has its own."
            .to_owned(),
        "No server writes an access log: Portolan runs with RUST_LOG=warn, docker-registry and nginx have theirs off. \
         docker-registry keeps Debian's in-memory cache of descriptors."
            .to_owned(),
        "Every answer's status and length is checked. Digests: of every blob and image after it was pushed, of every \
         large blob before and after its reads, of each reader's first answer otherwise, and of one layer in eight of the \
         replay."
            .to_owned(),
    ];
    if plan.repetitions < 3 {
        notes
            .push("Fewer than three repetitions: this run shows that everything works, not how fast it is.".to_owned());
    }
    notes
}
