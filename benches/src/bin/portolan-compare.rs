//! Runs one load against Portolan (one node, three nodes), Debian's docker-registry and nginx, in turn, and Portolan
//! alone over an emulated WAN.

use clap::Parser;
use portolan_benches::compare::outcome::{Chart, Outcome, Part};
use portolan_benches::compare::plan::{LOOPBACK, Plan, WAN};
use portolan_benches::compare::target::Programs;
use portolan_benches::compare::{host, loopback, page, table, wan};
use portolan_chaos_tests::Result;
use portolan_chaos_tests::wan::Topology;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

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
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = run(Arguments::parse()) => Some(ended),
            () = stopped() => None,
        }
    });
    // What ran is dropped by now: servers are killed, the WAN is down. A client that was cut off may still wait.
    runtime.shutdown_background();
    match ended {
        Some(Ok(true)) => ExitCode::SUCCESS,
        Some(Ok(false)) => ExitCode::FAILURE,
        Some(Err(error)) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
        None => {
            eprintln!("stopped; nothing is written");
            ExitCode::from(130)
        }
    }
}

/// Ctrl-C or SIGTERM.
async fn stopped() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else { return std::future::pending().await };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
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
    let outcome = Outcome { ended, command: command(), machine, versions, notes, parts, charts };
    write(&outcome, &arguments.page)
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

/// What was typed, as it gives the same run again.
fn command() -> String {
    let arguments = std::env::args()
        .skip(1)
        .map(|argument| if argument.contains([' ', '\'', '"']) { format!("'{argument}'") } else { argument });
    std::iter::once("benches/compare".to_owned()).chain(arguments).collect::<Vec<_>>().join(" ")
}

fn write(outcome: &Outcome, file: &Path) -> Result<bool> {
    let is_far = |chart: &Chart| chart.scenario.starts_with("wan-");
    let near = outcome.charts.iter().position(is_far).unwrap_or(outcome.charts.len());
    let (near, far) = outcome.charts.split_at(near);
    let tables = [(near, table::compared as fn(&[Chart]) -> String), (far, table::listed)];
    #[expect(clippy::print_stdout, reason = "the table is what this program is for")]
    for (charts, draw) in tables.into_iter().filter(|(charts, _)| !charts.is_empty()) {
        println!("{}\n", draw(charts));
    }
    std::fs::write(file, page::draw(outcome))?;
    let json = file.with_extension("json");
    std::fs::write(&json, serde_json::to_vec_pretty(outcome)?)?;
    for part in &outcome.parts {
        eprintln!("{}: {:.0} s of at most {:.0} s", part.name, part.seconds, part.bound_seconds);
        for skipped in &part.skipped {
            eprintln!("skipped: {skipped}");
        }
    }
    let bars = || outcome.charts.iter().flat_map(|chart| &chart.cases).flat_map(|case| &case.bars);
    let errors: u64 = bars().map(|bar| bar.errors).sum();
    if errors > 0 {
        eprintln!("{errors} errors");
        for (bar, error) in bars().filter_map(|bar| Some((bar, bar.first_error.as_ref()?))) {
            eprintln!("  {}: {error}", bar.name);
        }
    }
    eprintln!("page: {}\nfigures: {}", file.display(), json.display());
    Ok(errors == 0)
}
