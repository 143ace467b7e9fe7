//! Clocks that jump, by libfaketime: a library before libc that reads an offset from a file at each look at the clock.
//! Only the wall clock jumps; what measures time goes on.

use super::effect::Effect;
use crate::client::Registry;
use crate::cluster::Cluster;
use crate::data_folder::{LogMark, logged_at};
use crate::{Result, wait};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// Where Debian puts it, of all machines. The variant for threads: the other one may forget that it is inside of itself.
const FOLDERS: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime",
    "/usr/lib/aarch64-linux-gnu/faketime",
    "/usr/lib/faketime",
    "/usr/lib64/faketime",
];
const LIBRARY: &str = "libfaketimeMT.so.1";
const FILE: &str = "FAKETIME_TIMESTAMP_FILE";

/// How soon a node must log something at its new time.
const SHOWN_WITHIN: Duration = Duration::from_secs(20);

/// How long it may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// How far its time may be off at most: what is read was logged a little earlier.
const OFF: Duration = Duration::from_secs(30);

fn library() -> Option<PathBuf> {
    FOLDERS.iter().map(|folder| Path::new(folder).join(LIBRARY)).find(|path| path.exists())
}

/// What a cluster's environment must have so that each node's clock can be set, in files of an empty folder. Nothing
/// where libfaketime is not installed.
#[must_use]
pub fn environment(folder: &Path) -> Vec<(&'static str, String)> {
    let Some(library) = library() else { return Vec::new() };
    vec![
        ("LD_PRELOAD", library.display().to_string()),
        (FILE, folder.join("{name}.clock").display().to_string()),
        // Each look at the clock reads the file, else a jump is noticed seconds later.
        ("FAKETIME_NO_CACHE", "1".to_owned()),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        // Files keep their real times.
        ("NO_FAKE_STAT", "1".to_owned()),
    ]
}

pub(super) fn is_possible(cluster: &Cluster, node: usize) -> bool {
    cluster.setting(node, FILE).is_some()
}

/// A jump that nobody notices would prove nothing, so that the node's log must show it. (The `Date` of its answers does not
/// when time goes back: it stays until it is in the past.)
pub(super) async fn jump(cluster: &Cluster, node: usize, offset_ms: i64) -> Result<Effect> {
    let crate::cluster::Node { data, name, .. } = &cluster.nodes()[node];
    let before = LogMark::now(data)?;
    set(cluster, node, offset_ms)?;
    let offset = Duration::from_millis(offset_ms.unsigned_abs());
    let (way, by) = (if offset_ms < 0 { "back" } else { "ahead" }, humantime::format_duration(offset));
    let said = format!("the clock of {name} is {by} {way}");
    let mut effect = Effect { said, ..Effect::default() };
    // Half of a small jump: the time as it is must not pass for it.
    let most = OFF.min(offset / 2).max(Duration::from_secs(1));
    let theirs = |now| if offset_ms < 0 { now - offset } else { now + offset };
    if let Err(error) = wait_shown(cluster, node, &before, theirs, most).await {
        let complaint = format!("{} by what it was told, and its log does not show it: {error}", effect.said);
        effect.complaints.push((node, complaint));
    }
    Ok(effect)
}

/// Waits until a node has logged a line at what is about now by its own clock.
async fn wait_shown(
    cluster: &Cluster,
    node: usize,
    before: &LogMark,
    theirs: impl Fn(SystemTime) -> SystemTime,
    most: Duration,
) -> Result<()> {
    let crate::cluster::Node { data, registry, .. } = &cluster.nodes()[node];
    let client = Registry::new(registry, ANSWER_WITHIN);
    wait::until("a log line at the time of the new clock", SHOWN_WITHIN, async || {
        // A request is logged, whatever its answer is.
        let _ = client.get("/v2/").await;
        let logs = before.since(data).map_err(|error| error.to_string())?;
        let now = theirs(SystemTime::now());
        let off = |time: SystemTime| time.duration_since(now).unwrap_or_else(|early| early.duration());
        let nearest = logs.lines().filter_map(logged_at).map(off).min();
        if nearest.is_some_and(|off| off <= most) { Ok(()) } else { Err(format!("the nearest is {nearest:?} off")) }
    })
    .await
}

pub(super) async fn set_right(cluster: &Cluster, node: usize) -> Result<()> {
    set(cluster, node, 0)?;
    cluster.wait_ready(node).await
}

/// Moves a new file in place, so that no look at the clock finds half of one.
fn set(cluster: &Cluster, node: usize, offset_ms: i64) -> Result<()> {
    let path = PathBuf::from(cluster.setting(node, FILE).ok_or("it was started with a clock that cannot be set")?);
    let fresh = path.with_extension("fresh");
    let sign = if offset_ms < 0 { '-' } else { '+' };
    let offset = offset_ms.unsigned_abs();
    fs::write(&fresh, format!("{sign}{}.{:03}\n", offset / 1000, offset % 1000))?;
    Ok(fs::rename(fresh, path)?)
}
