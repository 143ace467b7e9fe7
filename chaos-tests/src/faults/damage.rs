//! Metadata that are damaged while a node is down: it must refuse to start, and say why.

use super::effect::Effect;
use super::process::bring_back;
use super::refusal::refusal;
use super::synced::synced_until;
use crate::cluster::{Cluster, READY_WITHIN};
use crate::data_folder::LogMark;
use crate::{Result, wait};
use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// How many bytes of a file change.
const BYTES: usize = 16;

/// What is shorter is left alone.
const SHORTEST: u64 = 8 * BYTES as u64;

/// How an error names what happened to the files.
const NAMED: [&str; 2] = ["is corrupt", "is missing"];

/// What is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    /// A file of the Raft log, of those with this in their name where it is given.
    Log(Option<&'a str>),
    /// A file of the newest snapshot that the live state shares.
    Snapshot,
}

/// A file that may be damaged, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Target {
    path: PathBuf,
    /// Where the first byte may lie.
    begin: (u64, u64),
    /// The database's own name of a table.
    table: Option<PathBuf>,
}

/// A node whose metadata are damaged.
pub(super) struct Damage {
    node: usize,
    folder: PathBuf,
    /// The folder as it was; nothing when the node went on.
    backup: Option<TempDir>,
}

/// Whether there is anything to damage.
pub(super) fn is_possible(data: &Path, part: Part<'_>) -> bool {
    targets(data, part).is_ok_and(|targets| !targets.is_empty())
}

/// The files whose damage a node must notice, in the order of their names.
fn targets(data: &Path, part: Part<'_>) -> Result<Vec<Target>> {
    let mut targets = match part {
        Part::Log(wanted) => log_targets(&data.join("raft"), wanted.unwrap_or_default())?,
        Part::Snapshot => snapshot_targets(data)?,
    };
    targets.sort();
    Ok(targets)
}

fn log_targets(raft: &Path, wanted: &str) -> Result<Vec<Target>> {
    let current = fs::read_to_string(raft.join("CURRENT"))?;
    let mut targets = Vec::new();
    for entry in fs::read_dir(raft)? {
        let path = entry?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !name.contains(wanted) {
            continue;
        }
        if name == current.trim() {
            // Before the middle: what is behind was synced long ago.
            let used = used(&fs::read(&path)?);
            targets.extend(target(path, used, used / 4..used / 2));
        } else if name.ends_with(".log") {
            let synced = synced_until(&fs::read(&path)?) as u64;
            targets.extend(target(path, synced, 0..synced.saturating_sub(BYTES as u64)));
        } else if name.ends_with(".sst") {
            targets.extend(table(path.clone(), path)?);
        }
    }
    Ok(targets)
}

fn snapshot_targets(data: &Path) -> Result<Vec<Target>> {
    let live = data.join("state").join(fs::read_to_string(data.join("state/CURRENT-STATE"))?.trim());
    let mut targets = Vec::new();
    for entry in fs::read_dir(newest_snapshot(data).ok_or("there is no snapshot")?)? {
        let path = entry?.path();
        let shared = path.file_name().map(|name| live.join(name)).filter(|live| live.exists());
        if let Some(live) = shared.filter(|live| is_table(live)) {
            targets.extend(table(path, live)?);
        }
    }
    Ok(targets)
}

fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "sst")
}

/// A file of which so many bytes count, if they are enough.
fn target(path: PathBuf, bytes: u64, begin: Range<u64>) -> Option<Target> {
    (bytes > SHORTEST).then_some(Target { path, begin: (begin.start, begin.end), table: None })
}

/// What a table is opened by is at its end. Its blocks are read, and checked, only when somebody asks for what is in them.
fn table(path: PathBuf, live: PathBuf) -> Result<Option<Target>> {
    let length = fs::metadata(&path)?.len();
    let end = length.saturating_sub(2 * BYTES as u64);
    let target = target(path, length, end..end + 1);
    Ok(target.map(|target| Target { table: Some(live), ..target }))
}

/// Snapshots are named by when they were made, and have an ending until they are whole.
fn newest_snapshot(data: &Path) -> Option<PathBuf> {
    let folders = fs::read_dir(data.join("state/checkpoints")).ok()?;
    folders.filter_map(|entry| Some(entry.ok()?.path())).filter(|path| path.extension().is_none()).max()
}

pub(super) async fn damage(
    cluster: &mut Cluster,
    node: usize,
    part: Part<'_>,
    rng: &mut StdRng,
) -> Result<(Effect, Damage)> {
    let (data, name) = (cluster.nodes()[node].data.clone(), cluster.nodes()[node].name.clone());
    cluster.kill(node).await?;
    let logs = LogMark::now(&data)?;
    let folder = data.join(if part == Part::Snapshot { "state" } else { "raft" });
    let targets = targets(&data, part)?;
    let Some(target) = targets.choose(rng) else {
        // The files came and went: it was a kill.
        let said = format!("{name} was killed, and nothing was there to damage");
        let effect = Effect { said, nodes: vec![node], ..Effect::default() };
        return Ok((effect, Damage { node, folder, backup: None }));
    };
    // Whole, since a node that refuses may have changed what it opened.
    let backup = TempDir::with_prefix("portolan-chaos-damage")?;
    copy(&folder, &backup.path().join("folder"))?;
    let said = change(target, rng)?;
    let mut effect = Effect { said: said.clone(), nodes: vec![node], harmed: vec![node], ..Effect::default() };
    let mut damage = Damage { node, folder, backup: Some(backup) };
    cluster.restart(node)?;
    match wait_refused(cluster, node).await {
        Ok(true) => match refused(cluster, node, &logs).await? {
            Ok(how) => effect.said += &format!("; it refused to start ({how})"),
            Err(why) => effect.complaints.push((node, format!("{name} did not refuse to start: {said}; {why}"))),
        },
        Ok(false) => {
            damage.backup = None;
            if target.table.as_ref().is_some_and(|table| !table.exists()) {
                // A start removes what a kill left of a table that was being made, or was not needed any more.
                effect.said += "; it was not needed any more";
                effect.harmed.clear();
            } else {
                effect.complaints.push((node, format!("{name} serves although {said}")));
            }
        }
        Err(neither) => {
            effect.complaints.push((node, format!("{name} neither refuses nor serves: {said}; {neither}")));
            cluster.kill(node).await?;
        }
    }
    Ok((effect, damage))
}

/// Whether it ends by itself, and not becomes ready.
async fn wait_refused(cluster: &Cluster, node: usize) -> Result<bool> {
    let ops = cluster.ops(node);
    wait::until("a node with damaged metadata to end, or to be ready", READY_WITHIN, async || {
        if !cluster.is_running(node) {
            return Ok(true);
        }
        match ops.get("/readyz").await {
            Ok(answer) if answer.status().is_success() => Ok(false),
            other => Err(format!("{other:?}")),
        }
    })
    .await
}

/// How a node that ended since refused to go on, or why that was no refusal.
async fn refused(cluster: &mut Cluster, node: usize, since: &LogMark) -> Result<std::result::Result<String, String>> {
    let code = cluster.wait_ended(node, READY_WITHIN).await?;
    Ok(refusal(code, &since.since(&cluster.nodes()[node].data)?, &NAMED))
}

/// Puts back what was there. A node that went on keeps its folder: it would forget what it promised meanwhile.
pub(super) async fn heal(cluster: &mut Cluster, damage: Damage) -> Result<()> {
    if let Some(backup) = &damage.backup {
        fs::remove_dir_all(&damage.folder)?;
        copy(&backup.path().join("folder"), &damage.folder)?;
    }
    bring_back(cluster, &[damage.node]).await
}

/// Copies a folder as it is, hard links in it included.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).output()?;
    if copied.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&copied.stderr).into()) }
}

/// Changes some bytes of a file, and tells which.
fn change(target: &Target, rng: &mut StdRng) -> Result<String> {
    let Target { path, begin, .. } = target;
    let at = rng.random_range(begin.0..begin.1);
    let file = File::options().read(true).write(true).open(path)?;
    let (length, mut bytes) = (file.metadata()?.len(), [0; BYTES]);
    file.read_exact_at(&mut bytes, at)?;
    file.write_all_at(&bytes.map(|byte| !byte), at)?;
    Ok(format!("{BYTES} bytes at {at} of {length} in {} changed", path.display()))
}

/// A file's length without the zeros at its end, room that RocksDB set aside.
fn used(bytes: &[u8]) -> u64 {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last as u64 + 1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::{BYTES, Part, Target, change, is_possible, targets};
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use std::fs;
    use std::path::Path;

    fn of(data: &Path, part: Part<'_>) -> Vec<Target> {
        targets(data, part).unwrap()
    }

    fn write(data: &Path, name: &str, bytes: usize) {
        let path = data.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, vec![b'x'; bytes]).unwrap();
    }

    #[test]
    fn only_what_a_start_must_read_is_damaged_of_a_log() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        fs::create_dir(data.join("raft")).unwrap();
        fs::write(data.join("raft/CURRENT"), "MANIFEST-000009\n").unwrap();
        for (name, bytes) in [("MANIFEST-000004", 400), ("MANIFEST-000009", 400), ("000008.sst", 400)] {
            write(data, &format!("raft/{name}"), bytes);
        }
        // No mark says that it was synced.
        write(data, "raft/000010.log", 4_000);
        write(data, "raft/000007.sst", 20);
        let found = of(data, Part::Log(None));
        let names: Vec<_> = found.iter().map(|target| target.path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["000008.sst", "MANIFEST-000009"]);
        assert_eq!((found[0].begin, found[1].begin), ((368, 369), (100, 200)));
        assert!(is_possible(data, Part::Log(Some(".sst"))) && !is_possible(data, Part::Log(Some(".log"))));
    }

    #[test]
    fn only_what_the_live_state_shares_is_damaged_of_a_snapshot() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path();
        fs::create_dir_all(data.join("state")).unwrap();
        fs::write(data.join("state/CURRENT-STATE"), "db-1\n").unwrap();
        for name in ["checkpoints/1/000001.sst", "checkpoints/1/000002.sst", "db-1/000001.sst", "db-1/000003.sst"] {
            write(data, &format!("state/{name}"), 400);
        }
        let found = of(data, Part::Snapshot);
        assert_eq!(
            found.iter().map(|target| &target.path).collect::<Vec<_>>(),
            [&data.join("state/checkpoints/1/000001.sst")]
        );
    }

    #[test]
    fn sixteen_bytes_change_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        fs::write(&path, [7; 400]).unwrap();
        let target = Target { path: path.clone(), begin: (0, 300), table: None };
        let said = change(&target, &mut StdRng::seed_from_u64(1)).unwrap();
        let wrong = fs::read(&path).unwrap().iter().filter(|byte| **byte != 7).count();
        assert_eq!(wrong, BYTES, "{said}");
    }
}
