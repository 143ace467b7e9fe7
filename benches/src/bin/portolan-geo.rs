//! Measures the geo data plane on an emulated WAN: three regions, 100 ms and 1 Gbit/s between them.

use clap::Parser;
use portolan_benches::compare::outcome::Outcome;
use portolan_benches::compare::{host, program};
use portolan_benches::geo::plan::{GeoPlan, SCENARIOS};
use portolan_benches::geo::{self, site};
use portolan_chaos_tests::Result;
use std::path::PathBuf;
use std::process::ExitCode;

/// A busier machine than this before the first measurement is told on the page.
const BUSY: f64 = 0.5;

const INTRODUCTION: &str = "One cluster on one machine, each region in a network namespace of its own, an emulated WAN \
    between them. Bars are the middle repetition, whiskers the least and the greatest; dashed lines are what is aimed at. \
    Nodes, clients and the WAN's router share the machine's cores: below each chart is who used them, and ▲ marks where \
    more than 90 % were busy, so that the cores and not the link may have set the pace.";

/// Measures what regions do for each other, on this machine. Wants root.
#[derive(Parser)]
#[command(after_help = scenarios())]
struct Arguments {
    /// Only these scenarios, separated by commas; `crowd` stands for `wan-crowd`.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Everything small and once: whether it works, not how fast it is.
    #[arg(long)]
    quick: bool,
    /// Repetitions of every measurement.
    #[arg(long)]
    repetitions: Option<usize>,
    /// Nodes of each region.
    #[arg(long)]
    nodes: Option<usize>,
    /// Clients of the crowd.
    #[arg(long)]
    clients: Option<usize>,
    /// The image that the crowd pulls, in MiB.
    #[arg(long)]
    crowd_mib: Option<u64>,
    /// The large blob that fills the link, in MiB.
    #[arg(long)]
    large_mib: Option<u64>,
    /// What the node that is lost held, in MiB; the disk needs four times as much.
    #[arg(long)]
    repair_mib: Option<u64>,
    /// The bound of it all, in minutes.
    #[arg(long)]
    minutes: Option<u64>,
    /// Where the page with the charts goes; the figures go beside it as JSON.
    #[arg(long, default_value = "geo.html")]
    page: PathBuf,
}

fn scenarios() -> String {
    let lines = SCENARIOS.iter().map(|(name, what)| format!("  {name:12} {what}\n"));
    format!("Scenarios:\n{}", lines.collect::<String>())
}

fn main() -> ExitCode {
    program::execute(run(Arguments::parse()))
}

/// Whether nothing failed.
async fn run(arguments: Arguments) -> Result<bool> {
    let plan = plan(&arguments)?;
    let mut machine = host::machine();
    machine.push(("WAN".to_owned(), site::name()?));
    machine.push(("nodes".to_owned(), format!("{} in each region", plan.nodes_per_region)));
    let notes = notes(&plan);
    eprintln!("at most {} min; Ctrl-C stops everything", plan.seconds / 60);
    let (part, charts) = geo::run(&plan).await;
    let versions = host::versions().into_iter().filter(|(program, _)| program == "Portolan").collect();
    let outcome = Outcome {
        title: "Portolan across regions",
        introduction: INTRODUCTION,
        ended: host::now(),
        command: program::command("benches/geo"),
        machine,
        versions,
        notes,
        parts: vec![part],
        charts,
    };
    program::write(&outcome, &arguments.page)
}

fn plan(arguments: &Arguments) -> Result<GeoPlan> {
    let mut plan = if arguments.quick { GeoPlan::quick() } else { GeoPlan::full() };
    plan.only.clone_from(&arguments.only);
    if let Some(unknown) = plan.unknown() {
        return Err(format!("no scenario {unknown}\n{}", scenarios()).into());
    }
    plan.repetitions = arguments.repetitions.unwrap_or(plan.repetitions).max(1);
    plan.nodes_per_region = arguments.nodes.unwrap_or(plan.nodes_per_region).clamp(2, 8);
    plan.clients = arguments.clients.unwrap_or(plan.clients).max(1);
    plan.crowd_mib = arguments.crowd_mib.unwrap_or(plan.crowd_mib).max(1);
    plan.large_mib = arguments.large_mib.unwrap_or(plan.large_mib).max(1);
    plan.repair_mib = arguments.repair_mib.unwrap_or(plan.repair_mib).max(1);
    plan.seconds = arguments.minutes.map_or(plan.seconds, |minutes| minutes * 60);
    Ok(plan)
}

fn notes(plan: &GeoPlan) -> Vec<String> {
    let mut notes = vec![
        "All nodes are on one machine and one disk; on machines of their own each has its cores and its disk."
            .to_owned(),
        "A busy share counts everything on the machine, the kernel's own work included.".to_owned(),
        "Every answer's status and length is checked, and the digests of a part of them.".to_owned(),
    ];
    if host::load_average() > BUSY {
        notes.push("The machine was busy when the run began: these figures are no good for comparing.".to_owned());
    }
    if plan.repetitions < 3 {
        notes.push("Fewer than three repetitions: there is no spread to speak of.".to_owned());
    }
    notes
}
