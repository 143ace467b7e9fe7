//! A node that may use only so much memory: its process goes into a cgroup, of whichever version the machine has.

use super::effect::Effect;
use super::process::bring_back;
use crate::cluster::Cluster;
use crate::{Result, wait};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The memory controller of version 1, and the one tree of version 2.
const V1: &str = "/sys/fs/cgroup/memory";
const V2: &str = "/sys/fs/cgroup";

/// What a process may use at least: what it has is not counted again when it moves.
const LEAST: u64 = 1 << 20;

/// A process that was killed leaves its group at last.
const LEFT_WITHIN: Duration = Duration::from_secs(10);

/// A group of one process.
pub(super) struct Limited {
    node: usize,
    pid: u32,
    group: PathBuf,
    /// Where the process was before.
    home: PathBuf,
}

/// The tree, and the file with the limit in it.
fn tree() -> Option<(&'static Path, &'static str)> {
    let (v1, v2) = (Path::new(V1), Path::new(V2));
    let has_memory = || fs::read_to_string(v2.join("cgroup.controllers")).is_ok_and(|names| names.contains("memory"));
    if v1.join("memory.limit_in_bytes").exists() {
        Some((v1, "memory.limit_in_bytes"))
    } else if has_memory() {
        Some((v2, "memory.max"))
    } else {
        None
    }
}

pub(super) fn is_possible() -> bool {
    tree().is_some() && rustix::process::geteuid().is_root()
}

pub(super) fn limit(cluster: &Cluster, node: usize, bytes: u64) -> Result<(Effect, Limited)> {
    let (tree, limit_file) = tree().ok_or("this machine limits no memory")?;
    let pid = cluster.pid(node)?.as_raw_nonzero().get().unsigned_abs();
    let group = tree.join(format!("portolan-chaos-{pid}"));
    if limit_file == "memory.max" {
        fs::write(tree.join("cgroup.subtree_control"), "+memory")?;
    }
    fs::create_dir_all(&group)?;
    // What it has stays with its old group: only what it takes from now on is counted.
    let has = anonymous(pid)?;
    fs::write(group.join(limit_file), bytes.saturating_sub(has).max(LEAST).to_string())?;
    let home = home(tree, pid)?;
    fs::write(group.join("cgroup.procs"), pid.to_string())?;
    let name = &cluster.nodes()[node].name;
    let said = format!("{name} may use {} MiB of memory, of which it has {} MiB", bytes >> 20, has >> 20);
    Ok((Effect { said, nodes: vec![node], ..Effect::default() }, Limited { node, pid, group, home }))
}

/// The memory of a process that is in no file, in bytes.
fn anonymous(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).ok_or("no RssAnon")?;
    let kib: u64 = line.split_whitespace().next().ok_or("no figure")?.parse()?;
    Ok(kib << 10)
}

/// The group that a process is in.
fn home(tree: &Path, pid: u32) -> Result<PathBuf> {
    let groups = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let names = groups.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let wanted = |controllers: &str| match tree == Path::new(V1) {
        true => controllers.split(',').any(|controller| controller == "memory"),
        false => controllers.is_empty(),
    };
    let (_, path) = names.into_iter().find(|(controllers, _)| wanted(controllers)).ok_or("it is in no group")?;
    Ok(tree.join(path.trim_start_matches('/')))
}

pub(super) async fn lift(cluster: &mut Cluster, limited: Limited, effect: &mut Effect) -> Result<()> {
    let Limited { node, pid, group, home } = limited;
    // The same process: another fault may have restarted the node meanwhile.
    let lives = cluster.is_running(node) && cluster.pid(node)?.as_raw_nonzero().get().unsigned_abs() == pid;
    if lives {
        fs::write(home.join("cgroup.procs"), pid.to_string())?;
        effect.nodes.clear();
    } else {
        effect.said += ", and was killed for it";
    }
    bring_back(cluster, &[node]).await?;
    wait::until("the group to be empty", LEFT_WITHIN, async || {
        fs::remove_dir(&group).map_err(|error| error.to_string())
    })
    .await
}
