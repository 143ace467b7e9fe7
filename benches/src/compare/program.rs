//! What the programs that end with a page share: how they run and stop, and what they write.

use super::outcome::{Chart, Outcome};
use super::{page, table};
use portolan_chaos_tests::Result;
use std::future::Future;
use std::path::Path;
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// Runs to the end, or until Ctrl-C or SIGTERM. The exit code says whether nothing failed.
pub fn execute(run: impl Future<Output = Result<bool>>) -> ExitCode {
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = run => Some(ended),
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

/// What was typed, as it gives the same run again.
#[must_use]
pub fn command(script: &str) -> String {
    let arguments = std::env::args()
        .skip(1)
        .map(|argument| if argument.contains([' ', '\'', '"']) { format!("'{argument}'") } else { argument });
    std::iter::once(script.to_owned()).chain(arguments).collect::<Vec<_>>().join(" ")
}

/// Prints the tables, and writes the page and the figures beside it; gives whether nothing failed.
///
/// # Errors
/// When a file cannot be written.
pub fn write(outcome: &Outcome, file: &Path) -> Result<bool> {
    let is_far = |chart: &Chart| chart.scenario.starts_with("wan-");
    let near = outcome.charts.iter().position(is_far).unwrap_or(outcome.charts.len());
    let (near, far) = outcome.charts.split_at(near);
    let tables = [(near, table::compared as fn(&[Chart]) -> String), (far, table::listed)];
    #[expect(clippy::print_stdout, reason = "the table is what these programs are for")]
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
