//! The node processes of `portolan dev`: started, watched, stopped; never restarted on their own.

use super::layout::NodePlan;
use crate::error::Failure;
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// How long a child may take to stop after SIGTERM before it is killed: longer than a node's own deadline.
const STOP_DEADLINE: Duration = Duration::from_secs(25);

/// A child that ended without having been asked to.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Which node, by its place in the plan.
    pub(crate) at: usize,
    /// Its process id.
    pid: u32,
    /// How.
    pub(crate) status: ExitStatus,
}

/// What a child's watcher is asked for.
enum Order {
    /// SIGTERM, and SIGKILL after a deadline.
    Stop,
    /// SIGKILL.
    Kill(oneshot::Sender<()>),
}

/// All children. Each is owned by a task that awaits it.
pub(crate) struct Children {
    nodes: Vec<NodePlan>,
    running: Vec<Option<Running>>,
    watchers: JoinSet<()>,
    ended: mpsc::Receiver<Ended>,
    report: mpsc::Sender<Ended>,
}

/// A child as its owner sees it.
struct Running {
    pid: u32,
    orders: mpsc::Sender<Order>,
}

impl Children {
    /// No child yet.
    pub(crate) fn new(nodes: Vec<NodePlan>) -> Self {
        let (report, ended) = mpsc::channel(nodes.len());
        let running = nodes.iter().map(|_| None).collect();
        Self { nodes, running, watchers: JoinSet::new(), ended, report }
    }

    /// The plan they follow.
    pub(crate) fn nodes(&self) -> &[NodePlan] {
        &self.nodes
    }

    /// A node's process id; 0 when it does not run.
    pub(crate) fn pid(&self, at: usize) -> u32 {
        self.running[at].as_ref().map_or(0, |running| running.pid)
    }

    /// Starts a node that does not run.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub(crate) fn start(&mut self, at: usize) -> Result<(), Failure> {
        let node = &self.nodes[at];
        let child = spawn(node)?;
        let (orders, inbox) = mpsc::channel(2);
        self.running[at] = Some(Running { pid: child.id().unwrap_or_default(), orders });
        self.watchers.spawn(watch(at, child, inbox, self.report.clone()));
        Ok(())
    }

    /// Ends a node as a power cut would, and returns once it is gone.
    pub(crate) async fn kill(&mut self, at: usize) {
        let Some(running) = self.running[at].take() else { return };
        let (gone, wait) = oneshot::channel();
        // A closed channel means that it is gone already.
        if running.orders.send(Order::Kill(gone)).await.is_ok() {
            let _ = wait.await;
        }
    }

    /// Waits for a child that ended on its own. Cancelling it loses nothing.
    pub(crate) async fn next_ended(&mut self) -> Ended {
        loop {
            let ended = self.ended.recv().await.expect("the sender lives in self");
            // A node that was killed on purpose meanwhile, or runs again, is no news.
            if self.pid(ended.at) == ended.pid {
                self.running[ended.at] = None;
                return ended;
            }
        }
    }

    /// Stops all of them and waits until they are gone. When `at_once` is done, they are killed.
    pub(crate) async fn stop(&mut self, at_once: impl Future<Output = ()>) {
        for running in self.running.iter_mut().filter_map(Option::take) {
            let _ = running.orders.send(Order::Stop).await;
        }
        tokio::select! {
            () = async { while self.watchers.join_next().await.is_some() {} } => {}
            () = at_once => self.watchers.shutdown().await,
        }
    }
}

/// Overrides of the tables that differ from node to node.
const OWN_TABLES: [&str; 4] = ["PORTOLAN_NODE_", "PORTOLAN_PUBLIC_", "PORTOLAN_PEER_", "PORTOLAN_OPS_"];
/// Overrides of who the members are; the other keys of their table are consensus' timing and limits.
const OWN_KEYS: [&str; 2] = ["PORTOLAN_CLUSTER_NAME", "PORTOLAN_CLUSTER_MEMBERS"];

/// Starts a node's process: its output goes to its log; its standard input is a pipe whose end tells it that this
/// process is gone; its own process group keeps the terminal's Ctrl-C from it, which this process passes on.
fn spawn(node: &NodePlan) -> Result<Child, Failure> {
    let binary = std::env::current_exe().map_err(Failure::file("/proc/self/exe"))?;
    let log_path = node.log();
    let log = File::options().create(true).append(true).open(&log_path).map_err(Failure::file(&log_path))?;
    let second = log.try_clone().map_err(Failure::file(&log_path))?;
    let mut words = node.launcher.iter().map(String::as_str).chain([binary.to_str().unwrap_or("portolan")]);
    let program = words.next().unwrap_or("portolan");
    let mut command = Command::new(program);
    command
        .args(words)
        .arg("serve")
        .arg("--config")
        .arg(node.config())
        .arg("--stop-on-stdin-eof")
        .stdin(Stdio::piped())
        .stdout(log)
        .stderr(second)
        .process_group(0)
        .kill_on_drop(true);
    // Who a node is and where it listens is what its file says; how it behaves may be overridden for all of them.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if OWN_TABLES.iter().any(|table| text.starts_with(table)) || OWN_KEYS.contains(&text.as_ref()) {
            command.env_remove(&name);
        }
    }
    command.spawn().map_err(|source| Failure::Process { command: program.to_owned(), source })
}

async fn watch(at: usize, mut child: Child, mut orders: mpsc::Receiver<Order>, report: mpsc::Sender<Ended>) {
    // Held here until the child is gone: `Child::wait` closes a standard input that it finds, which would stop it.
    let _stdin = child.stdin.take();
    let pid = child.id().unwrap_or_default();
    let order = tokio::select! {
        status = child.wait() => {
            if let Ok(status) = status {
                // Nobody listens any more when everything stops.
                let _ = report.send(Ended { at, pid, status }).await;
            }
            return;
        }
        order = orders.recv() => order,
    };
    match order {
        Some(Order::Kill(gone)) => {
            let _ = child.kill().await;
            let _ = gone.send(());
        }
        Some(Order::Stop) | None => {
            if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
                let _ = kill_process(pid, Signal::TERM);
            }
            if tokio::time::timeout(STOP_DEADLINE, child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
        }
    }
}

/// The last lines of a node's log.
pub(crate) fn log_tail(log: &Path, lines: usize) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    let last = &all[all.len().saturating_sub(lines)..];
    last.iter().map(|line| plain(line)).collect::<Vec<_>>().join("\n")
}

/// A line of a log for a person: its time, its level, and what it says.
fn plain(line: &str) -> String {
    let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(line) else {
        return line.to_owned();
    };
    let text = |key: &str| fields.get(key).and_then(serde_json::Value::as_str).unwrap_or_default();
    let mut words = format!("{} {:5} {}", text("timestamp"), text("level"), text("message"));
    let told = ["timestamp", "level", "message", "node", "target", "span", "spans"];
    for (key, value) in fields.iter().filter(|(key, _)| !told.contains(&key.as_str())) {
        words.push_str(&format!("; {key}: {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
    }
    words
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_line_of_json_is_told_in_plain_words_and_any_other_as_it_is() {
        let line =
            r#"{"node":"a","timestamp":"T","level":"ERROR","message":"the node ends","error":"a\nb","target":"t"}"#;
        assert_eq!(plain(line), "T ERROR the node ends; error: a\nb");
        assert_eq!(plain("thread panicked"), "thread panicked");
    }
}
