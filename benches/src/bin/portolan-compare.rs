//! Runs one load against Portolan (one node, three nodes), Debian's docker-registry and nginx, in turn.

use clap::Parser;
use portolan_benches::compare::target::Targets;
use portolan_benches::compare::{Comparison, Plan, listing, page, push, read, summary};
use std::path::PathBuf;
use std::process::ExitCode;

/// Compares Portolan with docker-registry and nginx on this machine.
#[derive(Parser)]
struct Arguments {
    /// Repetitions of every measurement.
    #[arg(long, default_value_t = 3)]
    repetitions: usize,
    /// How long one closed loop of reads lasts, in milliseconds.
    #[arg(long, default_value_t = 1000)]
    window_ms: u64,
    /// The largest blob, in MiB.
    #[arg(long, default_value_t = 1024)]
    largest_mib: u64,
    /// How many tags are listed.
    #[arg(long, default_value_t = 10_000)]
    tags: usize,
    /// How many images are pushed.
    #[arg(long, default_value_t = 8)]
    images: usize,
    /// Where the page with the charts goes; the figures go beside it as JSON.
    #[arg(long, default_value = "compare.html")]
    page: PathBuf,
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
    let plan = Plan {
        repetitions: arguments.repetitions.max(1),
        window_ms: arguments.window_ms,
        largest_mib: arguments.largest_mib,
        tags: arguments.tags,
        images: arguments.images,
    };
    // Manifests: 4 by 3 targets; blobs: 9 by 4; pushes: 9 by 3; images and the list: 3 each; the tags once.
    let steps = plan.repetitions * (12 + 36 + 27 + 3 + 3) + 3;
    let targets = Targets::start().await?;
    let mut comparison = Comparison::new(steps as u64);
    read::manifests(&mut comparison, &targets, plan).await?;
    listing::tags(&mut comparison, &targets, plan).await?;
    push::blobs(&mut comparison, &targets, plan).await?;
    push::images(&mut comparison, &targets, plan).await?;
    read::blobs(&mut comparison, &targets, plan).await?;
    targets.stop().await?;
    let rows = comparison.finish();
    summary(&rows).print();
    std::fs::write(&arguments.page, page::draw(&rows))?;
    let json = arguments.page.with_extension("json");
    std::fs::write(&json, serde_json::to_vec_pretty(&rows)?)?;
    eprintln!("charts: {}\nfigures: {}", arguments.page.display(), json.display());
    Ok(())
}
