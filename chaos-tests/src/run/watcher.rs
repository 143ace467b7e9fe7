//! Who leads from when on, and what the nodes' processes use, for as long as a run lasts.

use crate::client::Registry;
use crate::cluster::Node;
use crate::geo::Metrics;
use crate::history::Micros;
use crate::invariants::Sample;
use crate::workload::Clock;
use futures::future::join_all;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};

/// How often nodes are asked who leads.
const LEADERS_EVERY: Duration = Duration::from_millis(250);

/// How often processes are looked at, in rounds of the above.
const SAMPLES_EVERY: u32 = 40;

/// How long a node may take to answer.
const WITHIN: Duration = Duration::from_secs(2);

/// What was seen.
#[derive(Default)]
pub(super) struct Watched {
    pub(super) leaders: Vec<(Micros, Option<usize>)>,
    pub(super) samples: Vec<Sample>,
}

/// Looks until it is stopped.
pub(super) struct Watcher {
    stop: watch::Sender<bool>,
    looking: JoinHandle<Watched>,
}

impl Watcher {
    pub(super) fn start(nodes: Vec<Node>, clock: Clock) -> Self {
        let (stop, stopped) = watch::channel(false);
        Self { stop, looking: tokio::spawn(look(nodes, clock, stopped)) }
    }

    pub(super) async fn stop(self) -> crate::Result<Watched> {
        self.stop.send_replace(true);
        Ok(self.looking.await?)
    }
}

async fn look(nodes: Vec<Node>, clock: Clock, mut stopped: watch::Receiver<bool>) -> Watched {
    let clients: Vec<Registry> = nodes.iter().map(|node| Registry::new(&node.registry, WITHIN)).collect();
    let mut watched = Watched::default();
    for round in 0_u32.. {
        let leader = leader(&nodes, &clients).await;
        if watched.leaders.last().is_none_or(|(_, last)| *last != leader) {
            watched.leaders.push((clock.now(), leader));
        }
        if round % SAMPLES_EVERY == 0 {
            let samples = join_all(nodes.iter().enumerate().map(|(at, node)| sample(at, node, clock))).await;
            watched.samples.extend(samples.into_iter().flatten());
        }
        if tokio::time::timeout(LEADERS_EVERY, stopped.wait_for(|stop| *stop)).await.is_ok() {
            break;
        }
    }
    watched
}

/// Whom the answer of the latest term names.
async fn leader(nodes: &[Node], clients: &[Registry]) -> Option<usize> {
    let answers = join_all(clients.iter().map(async |client| {
        let status: serde_json::Value = client.get("/api/v1/cluster").await.ok()?.json().await.ok()?;
        Some((status["term"].as_u64()?, status["leader"].as_u64()?))
    }));
    let (_, id) = answers.await.into_iter().flatten().max()?;
    nodes.iter().position(|node| node.id == id)
}

/// A process now; nothing when it does not answer.
async fn sample(at: usize, node: &Node, clock: Clock) -> Option<Sample> {
    let metrics = Metrics::of(&node.ops, WITHIN).await.ok()?;
    let data = node.data.clone();
    let disk_bytes = spawn_blocking(move || bytes_below(&data, &mut BTreeSet::new())).await.ok()?;
    Some(Sample {
        at: clock.now(),
        node: at,
        resident_bytes: metrics.sum("process_resident_memory_bytes") as u64,
        disk_bytes,
        open_files: metrics.sum("process_open_fds") as u64,
    })
}

/// The bytes of all files below a folder, a file of several names once. What vanishes meanwhile does not count.
fn bytes_below(folder: &Path, seen: &mut BTreeSet<u64>) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let mut bytes = 0;
    for entry in entries.flatten() {
        let Ok(found) = entry.metadata() else { continue };
        if found.is_dir() {
            bytes += bytes_below(&entry.path(), seen);
        } else if found.is_file() && (found.nlink() == 1 || seen.insert(found.ino())) {
            // What others put there to fill the disk up is not the node's.
            bytes += if entry.file_name() == "ballast" { 0 } else { found.len() };
        }
    }
    bytes
}
