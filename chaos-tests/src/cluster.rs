//! A cluster of real processes: `portolan dev`, whose nodes can be killed and brought back.

use crate::client::Registry;
use crate::data_folder::{LogMark, is_kept};
use crate::forget::{Disk, Forgetting, Forgotten};
use crate::ports::Ports;
use crate::wait;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde::Deserialize;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// How long a cluster may take until it is ready, and a node until it is back.
pub const READY_WITHIN: Duration = Duration::from_secs(60);

/// The variable that keeps the folders of clusters, for whoever wants to read the logs of a test that failed.
const KEEP: &str = "PORTOLAN_CHAOS_KEEP";

/// A node, as `portolan dev --json` names it.
#[derive(Clone, Debug, Deserialize)]
pub struct Node {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// Where clients reach it, `host:port`.
    pub registry: String,
    /// Where operators reach it, `host:port`.
    pub ops: String,
    /// Where its peers reach it, `host:port`.
    pub peer: String,
    /// Its process.
    pub pid: i32,
    /// Its data folder.
    pub data: PathBuf,
}

impl Node {
    /// A figure of its process, in KiB: `VmRSS`, `VmHWM` or another line of `/proc/PID/status`.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn memory_kib(&self, name: &str) -> crate::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid))?;
        let line = status.lines().find(|line| line.split(':').next() == Some(name)).ok_or("no such line")?;
        Ok(line.split_whitespace().nth(1).ok_or("no figure")?.parse()?)
    }
}

#[derive(Deserialize)]
struct Ready {
    nodes: Vec<Node>,
}

/// A running cluster. Dropping it kills what is left of it.
pub struct Cluster {
    dev: Child,
    nodes: Vec<Node>,
    restarted: HashMap<usize, Child>,
    /// Those whose end was seen, and that were not started again.
    gone: HashSet<usize>,
    folder: PathBuf,
    ports: Ports,
    options: Vec<String>,
    environment: Vec<(String, String)>,
    disk: Option<Disk>,
    forgotten: Forgotten,
    // Last, so that the processes are gone before their folder.
    _own_folder: Option<TempDir>,
}

/// How a cluster is started.
#[derive(Default)]
pub struct Options {
    /// Regions; empty for the three of `portolan dev`.
    pub regions: Vec<&'static str>,
    /// How many nodes each region has; 0 for the one of `portolan dev`.
    pub nodes_per_region: usize,
    /// Further arguments of `portolan dev`.
    pub arguments: Vec<String>,
    /// A folder to keep the data in; a temporary one when there is none.
    pub folder: Option<PathBuf>,
    /// Settings by environment, for every node; `{name}` in a value is the node's name.
    pub environment: Vec<(&'static str, String)>,
    /// A disk that forgets what was not synced when a node is killed; not with a folder of one's own.
    pub forgetting: Option<Forgetting>,
}

/// The setting of nodes that wait four seconds instead of one until a read is confirmed: a machine that stands still for
/// a moment costs those time and not the answer.
pub const PATIENT: (&str, &str) = ("PORTOLAN_READS_LINEARIZABLE_TIMEOUT_MS", "4000");

impl Options {
    /// The defaults, but for nodes that are [`PATIENT`]: for what says nothing of how soon a read is answered.
    #[must_use]
    pub fn patient() -> Self {
        Self { environment: vec![(PATIENT.0, PATIENT.1.to_owned())], ..Self::default() }
    }
}

/// The binary under test: `PORTOLAN_BIN`, else beside the test's own target folder.
#[must_use]
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("PORTOLAN_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().unwrap_or_default();
    test.ancestors().nth(2).unwrap_or(Path::new(".")).join("portolan")
}

impl Cluster {
    /// Starts one and waits until it is ready.
    ///
    /// # Errors
    /// When it does not become ready in time.
    pub async fn start(options: Options) -> crate::Result<Self> {
        let (folder, own_folder) = match options.folder {
            Some(folder) => (folder, None),
            None => {
                let own = TempDir::with_prefix("portolan-chaos")?;
                if std::env::var_os(KEEP).is_some() && options.forgetting.is_none() {
                    let kept = own.keep();
                    eprintln!("data and logs stay in {}", kept.display());
                    (kept.join("data"), None)
                } else {
                    (own.path().join("data"), Some(own))
                }
            }
        };
        let mut arguments = Vec::new();
        if !options.regions.is_empty() {
            arguments.extend(["--regions".to_owned(), options.regions.join(",")]);
        }
        if options.nodes_per_region > 0 {
            arguments.extend(["--nodes-per-region".to_owned(), options.nodes_per_region.to_string()]);
        }
        arguments.extend(options.arguments);
        let mut environment: Vec<_> =
            options.environment.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let disk = match (options.forgetting, &own_folder) {
            (None, _) => None,
            (Some(forgetting), Some(own)) => Some(Disk::new(&folder, own.path(), forgetting)?),
            (Some(_), None) => return Err("a disk that forgets wants a temporary folder".into()),
        };
        environment.extend(disk.iter().flat_map(Disk::environment));
        let environment = preload_all(environment);
        launch_with_own(&mut arguments, &environment);
        let ports = Ports::take()?;
        let (dev, nodes) = launch(&folder, ports.base(), &arguments, &environment).await?;
        Ok(Self {
            dev,
            nodes,
            restarted: HashMap::new(),
            gone: HashSet::new(),
            folder,
            ports,
            options: arguments,
            environment,
            disk,
            forgotten: Forgotten::default(),
            _own_folder: own_folder,
        })
    }

    /// Its nodes, in the order of their ids.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// A client of one node.
    #[must_use]
    pub fn registry(&self, node: usize) -> Registry {
        Registry::new(&self.nodes[node].registry, Duration::from_secs(30))
    }

    /// Replaces the settings of a repository prefix, as the admin API takes them.
    ///
    /// # Errors
    /// When a node refuses.
    pub async fn set_repos(&self, at: usize, prefix: &str, settings: &serde_json::Value) -> crate::Result<()> {
        let node = &self.nodes[at];
        let token = std::fs::read_to_string(node.data.join("admin.token"))?;
        let url = format!("http://{}/api/v1/repos?prefix={prefix}", node.registry);
        let answer = reqwest::Client::new().put(url).bearer_auth(token.trim()).json(settings).send().await?;
        let status = answer.status();
        if status.is_success() { Ok(()) } else { Err(format!("{settings}: {status}: {}", answer.text().await?).into()) }
    }

    /// A client of one node's ops port.
    #[must_use]
    pub fn ops(&self, node: usize) -> Registry {
        Registry::new(&self.nodes[node].ops, Duration::from_secs(5))
    }

    /// Kills a node with SIGKILL and waits until the process is gone; a disk that forgets then does so.
    ///
    /// # Errors
    /// When it does not go.
    pub async fn kill(&mut self, node: usize) -> crate::Result<()> {
        self.signal(node, Signal::KILL)?;
        self.wait_ended(node, Duration::from_secs(10)).await?;
        Ok(())
    }

    /// Stops a node as an operator would, with SIGTERM, and waits until the process is gone.
    ///
    /// # Errors
    /// When it does not go in time.
    pub async fn terminate(&mut self, node: usize) -> crate::Result<()> {
        self.signal(node, Signal::TERM)?;
        self.wait_ended(node, READY_WITHIN).await?;
        Ok(())
    }

    /// A process that ended by itself needs no signal.
    fn signal(&self, node: usize, signal: Signal) -> crate::Result<()> {
        if self.gone.contains(&node) {
            return Ok(());
        }
        match kill_process(self.pid(node)?, signal) {
            Err(Errno::SRCH) => Ok(()),
            other => Ok(other?),
        }
    }

    /// Kills all nodes at once: the power of the building.
    ///
    /// # Errors
    /// When one does not go.
    pub async fn kill_all(&mut self) -> crate::Result<()> {
        for node in 0..self.nodes.len() {
            self.signal(node, Signal::KILL)?;
        }
        for node in 0..self.nodes.len() {
            self.wait_ended(node, Duration::from_secs(10)).await?;
        }
        Ok(())
    }

    /// Waits until a node's process is gone, whatever ended it; a disk that forgets then does so. Gives the exit code of
    /// a node that had been restarted and was not killed.
    ///
    /// # Errors
    /// When it is there for longer than `within`.
    pub async fn wait_ended(&mut self, node: usize, within: Duration) -> crate::Result<Option<i32>> {
        if self.gone.contains(&node) {
            return Ok(None);
        }
        let (pid, mut code) = (self.pid(node)?, None);
        if let Some(child) = self.restarted.get_mut(&node) {
            let ended = tokio::time::timeout(within, child.wait()).await;
            code = ended.map_err(|_| format!("process {pid:?} is there"))??.code();
            self.restarted.remove(&node);
        } else {
            wait::until("the process to be gone", within, || async move {
                if test_kill_process(pid).is_err() { Ok(()) } else { Err(format!("process {pid:?} is there")) }
            })
            .await?;
        }
        self.gone.insert(node);
        if let Some(disk) = &mut self.disk {
            self.forgotten += disk.forget(pid.as_raw_nonzero().get().unsigned_abs())?;
        }
        Ok(code)
    }

    /// Whether a node's process is there and has not ended, paused or not.
    #[must_use]
    pub fn is_running(&self, node: usize) -> bool {
        let Ok(pid) = self.pid(node) else { return false };
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        // The name before it may have anything in it. A process that nobody has waited for yet is a zombie.
        let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
        !self.gone.contains(&node) && state.is_some_and(|state| !matches!(state, 'Z' | 'X'))
    }

    /// Whether kills lose what was not synced.
    #[must_use]
    pub fn forgets(&self) -> bool {
        self.disk.is_some()
    }

    /// A setting of one node's environment, as it was started and is restarted.
    #[must_use]
    pub fn setting(&self, node: usize, key: &str) -> Option<String> {
        let value = &self.environment.iter().find(|(name, _)| name == key)?.1;
        Some(value.replace("{name}", &self.nodes[node].name))
    }

    /// What the disk forgot so far.
    #[must_use]
    pub fn forgotten(&self) -> Forgotten {
        self.forgotten
    }

    /// Gives a running node's disk other orders, until the process ends: see [`Disk::order`].
    ///
    /// # Errors
    /// When the disk is a plain one.
    pub fn order_disk(&self, node: usize, orders: &str) -> crate::Result<()> {
        let disk = self.disk.as_ref().ok_or("no disk that forgets")?;
        disk.order(self.pid(node)?.as_raw_nonzero().get().unsigned_abs(), orders)
    }

    /// What a node wrote to its logs so far.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn logs(&self, node: usize) -> crate::Result<String> {
        Ok(LogMark::default().since(&self.nodes[node].data)?)
    }

    /// A node's process, as it was last started.
    ///
    /// # Errors
    /// When it has ended.
    pub fn pid(&self, node: usize) -> crate::Result<Pid> {
        let raw = match self.restarted.get(&node) {
            Some(child) => i32::try_from(child.id().ok_or("the process has ended")?)?,
            None => self.nodes[node].pid,
        };
        Ok(Pid::from_raw(raw).ok_or("a pid of 0")?)
    }

    /// Kills `portolan dev` itself with SIGKILL.
    ///
    /// # Errors
    /// When it does not go.
    pub async fn kill_parent(&mut self) -> crate::Result<()> {
        Ok(self.dev.kill().await?)
    }

    /// Empties a killed node's folder, its configuration and certificates aside: a lost disk.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn lose_disk(&self, node: usize) -> crate::Result<()> {
        for entry in std::fs::read_dir(&self.nodes[node].data)? {
            let path = entry?.path();
            if is_kept(&path) {
                continue;
            }
            if path.is_dir() {
                std::fs::remove_dir_all(path)?;
            } else if path.is_file() {
                std::fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Brings a killed node back with its own configuration; does not wait for it.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn restart(&mut self, node: usize) -> crate::Result<()> {
        self.serve(node, None)
    }

    /// [`Cluster::restart`] on a disk that forgets, for a life that ends by itself: the process kills itself once the
    /// disk has noted so many acts. [`Cluster::wait_ended`] waits for it.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn restart_to_die(&mut self, node: usize, acts: usize) -> crate::Result<()> {
        self.serve(node, Some(("FORGET_DIE_AT", acts.to_string())))
    }

    fn serve(&mut self, node: usize, more: Option<(&str, String)>) -> crate::Result<()> {
        let data = &self.nodes[node].data;
        let log = std::fs::OpenOptions::new().create(true).append(true).open(data.join("restarted.log"))?;
        let mut words = self.launcher(node);
        words.push(binary().to_string_lossy().into_owned());
        let child = Command::new(&words[0])
            .args(&words[1..])
            .args(["serve", "--config"])
            .arg(data.join("portolan.toml"))
            .envs(shared(&self.environment))
            .envs(more)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        self.restarted.insert(node, child);
        self.gone.remove(&node);
        Ok(())
    }

    /// The words that `portolan dev` was told to start nodes with, filled in for one of them.
    fn launcher(&self, node: usize) -> Vec<String> {
        let at = self.options.iter().position(|word| word == "--launcher");
        let Some(template) = at.and_then(|at| self.options.get(at + 1)) else { return Vec::new() };
        let Node { name, region, .. } = &self.nodes[node];
        template.split_whitespace().map(|word| word.replace("{region}", region).replace("{name}", name)).collect()
    }

    /// Stops a node in the middle of whatever it does (SIGSTOP), as a machine that hangs.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn pause(&self, node: usize) -> crate::Result<()> {
        Ok(kill_process(self.pid(node)?, Signal::STOP)?)
    }

    /// Lets a stopped node go on.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn resume(&self, node: usize) -> crate::Result<()> {
        Ok(kill_process(self.pid(node)?, Signal::CONT)?)
    }

    /// Waits until a node serves pulls.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn wait_ready(&self, node: usize) -> crate::Result<()> {
        self.wait_status(node, "/readyz").await
    }

    /// Waits until a node takes pushes.
    ///
    /// # Errors
    /// When it does not in time.
    pub async fn wait_writable(&self, node: usize) -> crate::Result<()> {
        self.wait_status(node, "/readyz/write").await
    }

    async fn wait_status(&self, node: usize, path: &str) -> crate::Result<()> {
        let ops = self.ops(node);
        wait::until(&format!("{path} of {}", self.nodes[node].name), READY_WITHIN, || async {
            match ops.get(path).await {
                Ok(answer) if answer.status().is_success() => Ok(()),
                Ok(answer) => Err(answer.status().to_string()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await
    }

    /// Stops everything with SIGTERM, as Ctrl-C would, and gives the exit code of `portolan dev`.
    ///
    /// # Errors
    /// When it does not end in time.
    pub async fn stop(&mut self) -> crate::Result<Option<i32>> {
        for child in self.restarted.values_mut() {
            terminate(child).await?;
        }
        self.restarted.clear();
        self.gone.clear();
        terminate(&mut self.dev).await
    }

    /// Starts the stopped cluster again on the same data and ports.
    ///
    /// # Errors
    /// When it does not become ready in time.
    pub async fn start_again(&mut self) -> crate::Result<()> {
        let (dev, nodes) = launch(&self.folder, self.ports.base(), &self.options, &self.environment).await?;
        (self.dev, self.nodes) = (dev, nodes);
        Ok(())
    }

    /// Which node leads, by the cluster status of any node that answers.
    ///
    /// # Errors
    /// When nobody knows one in time.
    pub async fn leader(&self) -> crate::Result<usize> {
        wait::until("a leader", READY_WITHIN, || async {
            for node in &self.nodes {
                let Ok(answer) = Registry::new(&node.registry, Duration::from_secs(2)).get("/api/v1/cluster").await
                else {
                    continue;
                };
                let status: serde_json::Value = answer.json().await.map_err(|error| error.to_string())?;
                let leader = status["leader"].as_u64();
                if let Some(found) = self.nodes.iter().position(|node| Some(node.id) == leader) {
                    return Ok(found);
                }
            }
            Err("nobody knows one".to_owned())
        })
        .await
    }
}

impl Drop for Cluster {
    /// Nodes stop with `portolan dev`, unless they hang: nobody would ever end those.
    fn drop(&mut self) {
        for node in (0..self.nodes.len()).filter(|node| self.is_running(*node)).collect::<Vec<_>>() {
            // One that ends meanwhile needs no signal.
            let _ = self.signal(node, Signal::KILL);
        }
    }
}

/// What all nodes have alike.
fn shared(environment: &[(String, String)]) -> impl Iterator<Item = (&String, &String)> {
    environment.iter().filter(|(_, value)| !value.contains("{name}")).map(|(key, value)| (key, value))
}

/// Several libraries may want to be loaded before libc.
fn preload_all(environment: Vec<(String, String)>) -> Vec<(String, String)> {
    let (preloads, mut rest): (Vec<_>, Vec<_>) = environment.into_iter().partition(|(key, _)| key == "LD_PRELOAD");
    let libraries: Vec<_> = preloads.into_iter().map(|(_, library)| library).collect();
    if !libraries.is_empty() {
        rest.push(("LD_PRELOAD".to_owned(), libraries.join(":")));
    }
    rest
}

/// What each node has for itself comes by its launcher, the only words of `portolan dev` that know a node's name.
fn launch_with_own(arguments: &mut Vec<String>, environment: &[(String, String)]) {
    let own: Vec<_> = environment.iter().filter(|(_, value)| value.contains("{name}")).collect();
    if own.is_empty() {
        return;
    }
    let own = own.iter().fold("env".to_owned(), |words, (key, value)| format!("{words} {key}={value}"));
    match arguments.iter().position(|word| word == "--launcher").and_then(|at| arguments.get_mut(at + 1)) {
        Some(launcher) => *launcher = format!("{launcher} {own}"),
        None => arguments.extend(["--launcher".to_owned(), own]),
    }
}

/// Sends SIGTERM and waits for the end.
async fn terminate(child: &mut Child) -> crate::Result<Option<i32>> {
    if let Some(pid) = child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) {
        kill_process(pid, Signal::TERM)?;
    }
    let status = tokio::time::timeout(READY_WITHIN, child.wait()).await.map_err(|_| "it ignores SIGTERM")??;
    Ok(status.code())
}

async fn launch(
    folder: &Path,
    base_port: u16,
    options: &[String],
    environment: &[(String, String)],
) -> crate::Result<(Child, Vec<Node>)> {
    let mut dev = Command::new(binary())
        .args(["dev", "--json", "--base-port", &base_port.to_string(), "--data"])
        .arg(folder)
        .args(options)
        .envs(shared(environment))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| format!("{}: {error}", binary().display()))?;
    let mut lines = BufReader::new(dev.stdout.take().ok_or("no standard output")?).lines();
    let line = tokio::time::timeout(READY_WITHIN, lines.next_line())
        .await
        .map_err(|_| "portolan dev is not ready in time")??
        .ok_or("portolan dev ended before it was ready")?;
    let ready: Ready = serde_json::from_str(&line).map_err(|error| format!("{error} in {line}"))?;
    Ok((dev, ready.nodes))
}
