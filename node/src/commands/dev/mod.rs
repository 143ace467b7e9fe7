//! `portolan dev`: a whole cluster on this machine, one child process per node.

mod certificates;
mod children;
mod files;
mod layout;
mod ports;
mod present;
mod ready;

pub(crate) use children::Children;
pub(crate) use layout::NodePlan;
pub(crate) use ready::wait as wait_ready;

use super::demo;
use super::terminal::say;
use crate::cli::DevArgs;
use crate::error::Failure;
use crate::shutdown::Stop;
use children::{Ended, log_tail};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

/// How long the cluster may take until it is ready.
const READY_LIMIT: Duration = Duration::from_secs(90);
/// How many lines of a dead node's log are shown.
const TAIL_LINES: usize = 12;

/// Runs the cluster until it is told to stop (or until the demo is over).
///
/// # Errors
/// When it cannot be started, or the demo fails.
pub(crate) async fn run(args: &DevArgs) -> Result<(), Failure> {
    let began = Instant::now();
    // Checked once before anything is written, and planned again below with the folder's absolute path.
    layout::plan(args, &args.data).map_err(Failure::Usage)?;
    let data = files::open(args)?;
    let nodes = layout::plan(args, &data).map_err(Failure::Usage)?;
    ports::check(&nodes)?;
    files::make_folders(&nodes)?;
    certificates::ensure(&data, &nodes)?;
    files::write_configs(&data, &nodes)?;
    let stop = Stop::watch(false)?;
    let mut children = Children::new(nodes);
    let result = drive(args, &data, &mut children, &stop.token(), began).await;
    if !args.json {
        eprintln!("stopping {} nodes …", children.nodes().len());
    }
    // The second signal ends this process at once; the children then see their pipes end.
    children.stop(std::future::pending()).await;
    stop.finish().await;
    match result {
        Err(Failure::Interrupted) => Ok(()),
        other => other,
    }
}

async fn drive(
    args: &DevArgs,
    data: &Path,
    children: &mut Children,
    stop: &CancellationToken,
    began: Instant,
) -> Result<(), Failure> {
    for at in 0..children.nodes().len() {
        children.start(at)?;
    }
    if !args.json {
        say(&format!("starting {} nodes in {} …", children.nodes().len(), data.display()))?;
    }
    until_ready(children, stop).await?;
    let pids: Vec<u32> = (0..children.nodes().len()).map(|at| children.pid(at)).collect();
    if args.json {
        say(&present::json(children.nodes(), &pids))?;
    } else {
        say(&present::table_of(children.nodes(), began.elapsed()).await)?;
    }
    if args.demo {
        tokio::select! {
            result = demo::run(args, children) => result?,
            () = stop.cancelled() => return Err(Failure::Interrupted),
        }
        if !args.keep {
            return Ok(());
        }
    }
    if !args.json {
        say(&present::hints(children.nodes(), data, if args.demo { Some(demo::IMAGE) } else { None }))?;
    }
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            ended = children.next_ended() => eprintln!("{}", obituary(&children.nodes()[ended.at], &ended)),
        }
    }
}

/// Waits until all are ready; a child that dies meanwhile ends the wait.
async fn until_ready(children: &mut Children, stop: &CancellationToken) -> Result<(), Failure> {
    let nodes = children.nodes().to_vec();
    let ended = tokio::select! {
        result = wait_ready(&nodes, READY_LIMIT) => return result,
        () = stop.cancelled() => return Err(Failure::Interrupted),
        ended = children.next_ended() => ended,
    };
    let node = &nodes[ended.at];
    Err(Failure::ChildEnded {
        name: node.name.clone(),
        how: ended.status.to_string(),
        log: node.log(),
        tail: log_tail(&node.log(), TAIL_LINES),
    })
}

fn obituary(node: &NodePlan, ended: &Ended) -> String {
    format!(
        "portolan: node {} died ({}); the end of its log {}:\n{}\nIt is not restarted. To bring it back:\n  \
         portolan serve --config {}",
        node.name,
        ended.status,
        node.log().display(),
        log_tail(&node.log(), TAIL_LINES),
        node.config().display(),
    )
}
