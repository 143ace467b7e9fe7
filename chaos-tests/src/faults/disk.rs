//! Disks that are full, slow, broken, forgetful or gone.

use super::effect::Effect;
use super::process::bring_back;
use super::refusal::refusal;
use crate::Result;
use crate::cluster::Cluster;
use crate::data_folder::{LogMark, is_kept};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is left of a full disk, in bytes: less than any reserve for the metadata.
const LEFT: u64 = 8 << 20;

/// A disk that is larger belongs to the machine.
const SMALL: u64 = 8 << 30;

/// How soon a node must find out that its disk is not its own.
const REFUSED_WITHIN: Duration = Duration::from_secs(60);

/// How an error names a disk that is gone.
const NAMED: [&str; 1] = ["is empty, but the cluster knows the node"];

/// Where a lost disk's files are meanwhile, inside the data folder: a rename must not leave the disk.
const ASIDE: &str = "lost-disk";

/// What fills a disk.
pub(super) struct Ballast {
    node: usize,
    path: PathBuf,
}

/// Whether a folder is a small disk of its own, that may be filled.
pub(super) fn is_small(data: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    let own = data.parent().is_some_and(|parent| device(parent) != device(data));
    own && rustix::fs::statvfs(data).is_ok_and(|disk| disk.f_blocks * disk.f_frsize <= SMALL)
}

pub(super) fn fill(cluster: &Cluster, node: usize) -> Result<(Effect, Ballast)> {
    let crate::cluster::Node { data, name, .. } = &cluster.nodes()[node];
    if !is_small(data) {
        return Err(format!("{} is no small disk of its own", data.display()).into());
    }
    let disk = rustix::fs::statvfs(data)?;
    let bytes = (disk.f_bavail * disk.f_frsize).saturating_sub(LEFT);
    let path = data.join("ballast");
    rustix::fs::fallocate(File::create(&path)?, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
    let said = format!("the disk of {name} is full: {} MiB of ballast", bytes >> 20);
    Ok((Effect { said, nodes: vec![node], ..Effect::default() }, Ballast { node, path }))
}

pub(super) async fn make_room(cluster: &mut Cluster, ballast: Ballast, effect: &mut Effect) -> Result<()> {
    fs::remove_file(&ballast.path)?;
    revive(cluster, ballast.node, effect).await
}

/// Starts a node again if the fault made it end; if it did not, it answered all the time.
async fn revive(cluster: &mut Cluster, node: usize, effect: &mut Effect) -> Result<()> {
    if cluster.is_running(node) {
        effect.nodes.clear();
    } else {
        effect.said += ", of which it ended";
    }
    bring_back(cluster, &[node]).await
}

pub(super) fn slow(cluster: &Cluster, node: usize, by: Duration) -> Result<Effect> {
    cluster.order_disk(node, &format!("slow={}", by.as_millis()))?;
    let said = format!("each sync of {} takes {} more", cluster.nodes()[node].name, humantime::format_duration(by));
    Ok(Effect { said, ..Effect::default() })
}

pub(super) fn fail(cluster: &Cluster, node: usize, pattern: &str) -> Result<Effect> {
    let name = &cluster.nodes()[node].name;
    cluster.order_disk(node, &format!("fail={name}/{pattern}"))?;
    let said = format!("syncs of {pattern} fail at {name}");
    Ok(Effect { said, nodes: vec![node], ..Effect::default() })
}

pub(super) async fn obey(cluster: &mut Cluster, node: usize, effect: &mut Effect) -> Result<()> {
    if cluster.is_running(node) {
        cluster.order_disk(node, "")?;
    }
    revive(cluster, node, effect).await
}

pub(super) async fn forget(cluster: &mut Cluster, node: usize) -> Result<Effect> {
    if !cluster.forgets() {
        return Err("its disk forgets nothing".into());
    }
    let before = cluster.forgotten();
    cluster.kill(node).await?;
    let after = cluster.forgotten();
    let (names, bytes) = (after.names - before.names, after.bytes - before.bytes);
    let said = format!("{} was killed, its disk forgot {names} names and {bytes} bytes", cluster.nodes()[node].name);
    Ok(Effect { said, nodes: vec![node], ..Effect::default() })
}

/// A node whose disk is in other hands.
pub(super) struct Lost {
    node: usize,
    /// Each file or folder, and where it is meanwhile.
    moved: Vec<(PathBuf, PathBuf)>,
}

pub(super) async fn lose(cluster: &mut Cluster, node: usize) -> Result<(Effect, Lost)> {
    cluster.kill(node).await?;
    let (data, name) = (cluster.nodes()[node].data.clone(), cluster.nodes()[node].name.clone());
    let aside = data.join(ASIDE);
    fs::create_dir_all(&aside)?;
    let mut moved = Vec::new();
    for entry in fs::read_dir(&data)? {
        let path = entry?.path();
        if let Some(file) = path.file_name().filter(|_| !is_kept(&path) && path != aside) {
            let place = aside.join(file);
            fs::rename(&path, &place)?;
            moved.push((path, place));
        }
    }
    let mut effect = Effect { said: format!("{name} lost its disk"), nodes: vec![node], ..Effect::default() };
    effect.wiped.push(node);
    let logs = LogMark::now(&data)?;
    cluster.restart(node)?;
    match cluster.wait_ended(node, REFUSED_WITHIN).await {
        Ok(code) => match refusal(code, &logs.since(&data)?, &NAMED) {
            Ok(how) => effect.said += &format!(", and was refused under its old id ({how})"),
            Err(why) => effect.complaints.push((node, format!("{name} has an empty disk; {why}"))),
        },
        Err(_) => {
            effect.complaints.push((node, format!("{name} runs on an empty disk under its old id")));
            cluster.kill(node).await?;
        }
    }
    Ok((effect, Lost { node, moved }))
}

/// The disk is found and put back.
pub(super) async fn find(cluster: &mut Cluster, lost: Lost) -> Result<()> {
    for (path, place) in lost.moved {
        // Whatever the refused node made.
        if path.is_dir() {
            fs::remove_dir_all(&path)?;
        } else if path.exists() {
            fs::remove_file(&path)?;
        }
        fs::rename(place, path)?;
    }
    fs::remove_dir(cluster.nodes()[lost.node].data.join(ASIDE))?;
    bring_back(cluster, &[lost.node]).await
}

/// All nodes of a region die with their disks.
pub(super) async fn wipe(cluster: &mut Cluster, region: &str) -> Result<Effect> {
    let nodes: Vec<usize> = (0..cluster.nodes().len()).filter(|at| cluster.nodes()[*at].region == region).collect();
    for &node in &nodes {
        cluster.kill(node).await?;
    }
    for &node in &nodes {
        cluster.lose_disk(node)?;
    }
    let said = format!("{} nodes of {region} are gone with their disks", nodes.len());
    Ok(Effect { said, wiped: nodes.clone(), nodes, ..Effect::default() })
}
