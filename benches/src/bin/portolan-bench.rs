//! Measurements of whole processes: how fast a cluster starts, what it weighs, how fast blobs go in and out beside
//! Debian's docker-registry, how long a failover keeps pushes waiting.

use clap::Parser;
use portolan_benches::{report, scenario};
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures Portolan on this machine.
#[derive(Parser)]
struct Arguments {
    /// Which scenarios: start, memory, transfer, failover. All when none is named.
    scenarios: Vec<String>,
    /// How often each is repeated.
    #[arg(long, default_value_t = 5)]
    repetitions: usize,
    /// The blob of the transfer scenario, in MiB.
    #[arg(long, default_value_t = 1024)]
    transfer_mib: u64,
    /// The blob of the memory scenario, in MiB.
    #[arg(long, default_value_t = 2048)]
    memory_mib: u64,
    /// Writes the figures to a file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> portolan_chaos_tests::Result<()> {
    const KNOWN: [&str; 4] = ["start", "memory", "transfer", "failover"];
    if let Some(unknown) = arguments.scenarios.iter().find(|name| !KNOWN.contains(&name.as_str())) {
        return Err(format!("no scenario {unknown}; there are {}", KNOWN.join(", ")).into());
    }
    let wanted = |name: &str| arguments.scenarios.is_empty() || arguments.scenarios.iter().any(|other| other == name);
    let mut report = report::Report::default();
    if wanted("start") {
        scenario::start(&mut report, arguments.repetitions).await?;
    }
    if wanted("memory") {
        scenario::memory(&mut report, arguments.memory_mib).await?;
    }
    if wanted("transfer") {
        scenario::transfer(&mut report, arguments.repetitions, arguments.transfer_mib).await?;
    }
    if wanted("failover") {
        scenario::failover(&mut report, arguments.repetitions).await?;
    }
    report.print();
    if let Some(file) = arguments.json {
        std::fs::write(file, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}
