//! What is left once everything has healed: waited for with a deadline, then looked at.

use super::{copies, histories, leftovers, pulls};
use crate::Result;
use crate::client::Registry;
use crate::cluster::Cluster;
use crate::geo::Metrics;
use crate::invariants::Evidence;
use crate::scenario::Scenario;
use crate::truth::Truth;
use crate::wait;
use futures::future::join_all;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a node may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);

/// How long nodes may take to come to one applied index.
const SAME_INDEX_WITHIN: Duration = Duration::from_secs(60);

/// How long a node may take to hash its state.
const HASH_WITHIN: Duration = Duration::from_secs(60);

/// What in a log no run may have.
const COMPLAINTS: [&str; 2] = ["panicked at", "violated"];

/// The most complaints that are taken from one node's log.
const MOST_COMPLAINTS: usize = 10;

/// Fills in what was found after the run: `evidence.after` has the nodes that are gone, and what was complained of so far.
pub(super) async fn collect(
    evidence: &mut Evidence,
    cluster: &Cluster,
    truth: &Arc<Truth>,
    scenario: &Scenario,
) -> Result<()> {
    let patience = scenario.patience;
    let there: Vec<usize> = (0..cluster.nodes().len()).filter(|node| !evidence.after.gone.contains(node)).collect();
    // What is gone for good keeps the others from having what they want there.
    let is_whole = evidence.after.gone.is_empty();
    let settled = join_all(there.iter().map(async |at| (*at, settle(cluster, *at, is_whole, patience).await)));
    let late = settled.await.into_iter().filter_map(|(node, settled)| Some((node, settled.err()?.to_string())));
    evidence.after.leftovers.extend(late);
    evidence.after.leftovers.extend(leftovers::look(cluster, &there, truth, patience).await?);
    evidence.after.hashes = hashes(cluster, &there).await;
    let wanted = evidence.acknowledged();
    // Some policies want copies in some regions only.
    if is_whole && scenario.policies.is_empty() {
        evidence.after.missing = Some(copies::missing(cluster, truth, &wanted, patience).await?);
    }
    evidence.after.pulls = pulls::pull(cluster, &there, truth, &wanted).await?;
    match histories::read(cluster, &there, &evidence.history).await {
        Ok(histories) => evidence.after.tag_histories = histories,
        Err(untold) => evidence.after.complaints.extend(there.first().map(|node| (*node, untold.to_string()))),
    }
    for node in 0..cluster.nodes().len() {
        let logs = cluster.logs(node)?;
        let found = logs.lines().filter(|line| COMPLAINTS.iter().any(|word| line.contains(word)));
        evidence.after.complaints.extend(found.take(MOST_COMPLAINTS).map(|line| (node, line.to_owned())));
    }
    Ok(())
}

/// Waits until a node knows of no copy that placement wants and nobody made.
async fn settle(cluster: &Cluster, node: usize, is_whole: bool, patience: Duration) -> Result<()> {
    let ops = &cluster.nodes()[node].ops;
    wait::until("copies under way to land", patience, async || {
        let metrics = Metrics::of(ops, ANSWER_WITHIN).await.map_err(|error| error.to_string())?;
        let open = metrics.open_ends();
        if open.is_empty() || !is_whole { Ok(()) } else { Err(format!("{open:?}")) }
    })
    .await
}

/// The applied index and the hash of every node, of one index where they come to one.
async fn hashes(cluster: &Cluster, there: &[usize]) -> BTreeMap<usize, (u64, String)> {
    let last = Mutex::new(BTreeMap::new());
    let _ = wait::until("the same index at all nodes", SAME_INDEX_WITHIN, async || {
        let told = there.iter().map(async |node| Some((*node, hash(cluster, *node).await.ok()?)));
        let told: BTreeMap<_, _> = join_all(told).await.into_iter().flatten().collect();
        let indexes: BTreeSet<u64> = told.values().map(|(index, _): &(u64, String)| *index).collect();
        let all = told.len() == there.len();
        *last.lock().expect("no holder panics") = told;
        if indexes.len() == 1 && all { Ok(()) } else { Err(format!("{indexes:?}")) }
    })
    .await;
    // Nodes that never came to one index are judged by what they said last.
    last.into_inner().expect("no holder panics")
}

async fn hash(cluster: &Cluster, node: usize) -> Result<(u64, String)> {
    let client = Registry::new(&cluster.nodes()[node].ops, HASH_WITHIN);
    let told: Value = client.get("/statehash").await?.error_for_status()?.json().await?;
    let index = told["applied"].as_u64().ok_or("no applied index")?;
    Ok((index, told["sha256"].as_str().ok_or("no hash")?.to_owned()))
}
