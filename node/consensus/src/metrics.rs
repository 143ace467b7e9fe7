//! Gauges, counters and histograms of this floor.

use crate::error::ProposeError;
use crate::status::Status;
use metrics::{Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use portolan_meta::id::NodeId;
use portolan_meta::outcome::Outcome;
use portolan_meta::row::{NodeRow, NodeState};
use std::time::Duration;

/// What the gauges of [`record`] mean.
const GAUGES: [(&str, &str); 16] = [
    ("portolan_raft_term", "The newest term that this node has seen."),
    ("portolan_raft_leader", "1 when this node leads."),
    ("portolan_raft_has_leader", "1 when this node knows a leader."),
    ("portolan_raft_committed_index", "The newest log entry that this node knows to be committed."),
    ("portolan_raft_applied_index", "The newest log entry that this node has applied."),
    ("portolan_raft_last_log_index", "The newest entry of this node's log."),
    ("portolan_raft_snapshot_index", "The newest log entry that a snapshot of this node covers."),
    ("portolan_raft_purged_index", "The newest log entry that this node has purged."),
    ("portolan_raft_voters", "Nodes that vote."),
    ("portolan_raft_voters_up", "Nodes that vote and are committed as up or draining."),
    ("portolan_raft_learners", "Nodes that follow without a vote."),
    ("portolan_raft_lag_entries", "Committed log entries that a node had not applied when it last answered this one."),
    (
        "portolan_raft_snapshot_transfers",
        "Snapshots that this node sends at the moment; the log is not purged meanwhile.",
    ),
    ("portolan_nodes", "Nodes by their committed state."),
    ("portolan_node_up", "1 when a node is committed as up or draining, 0 when it is down or out."),
    ("portolan_peer_silence_seconds", "How long ago a peer last answered a ping of this node."),
];

/// How a proposal can end, as a label.
const RESULTS: [&str; 6] = ["done", "refused", "no_leader", "unknown", "too_large", "stopped"];

/// Says what each metric means, and begins what would else be absent until it first happens. Repeating it is harmless.
pub(crate) fn describe(snapshot_log_bytes: u64) {
    for (name, help) in GAUGES {
        describe_gauge!(name, help);
    }
    describe_gauge!("portolan_raft_log_bytes", Unit::Bytes, "Stored entries, an estimate.");
    describe_gauge!("portolan_raft_log_limit_bytes", Unit::Bytes, "The size of the log at which a snapshot is made.");
    describe_histogram!(
        "portolan_raft_append_seconds",
        Unit::Seconds,
        "From an append to its durability, queue included."
    );
    describe_histogram!("portolan_raft_apply_seconds", Unit::Seconds, "One batch of entries applied and written.");
    describe_histogram!(
        "portolan_propose_seconds",
        Unit::Seconds,
        "Proposals of this node, until it has applied them or given up."
    );
    describe_histogram!(
        "portolan_read_index_seconds",
        Unit::Seconds,
        "Rounds in which the leader confirmed a read index: what a tag read waits for."
    );
    describe_counter!("portolan_read_index_rounds_total", "Rounds in which the leader was asked for a read index.");
    describe_counter!("portolan_raft_applied_entries_total", "Log entries applied.");
    describe_counter!("portolan_raft_snapshots_built_total", "Snapshots made of the own state.");
    describe_counter!("portolan_raft_snapshots_installed_total", "Snapshots of others that replaced the own state.");
    gauge!("portolan_raft_log_limit_bytes").set(number(snapshot_log_bytes));
    counter!("portolan_read_index_rounds_total").increment(0);
    counter!("portolan_raft_applied_entries_total").increment(0);
    counter!("portolan_raft_snapshots_built_total").increment(0);
    counter!("portolan_raft_snapshots_installed_total").increment(0);
    // Made without a value: their buckets are there, and empty.
    for name in ["portolan_raft_append_seconds", "portolan_raft_apply_seconds", "portolan_read_index_seconds"] {
        drop(histogram!(name));
    }
    for result in RESULTS {
        drop(proposals(result));
    }
}

/// An append is durable: how long that took, queueing included (the sync alone is `portolan_raft_fsync_seconds`).
pub(crate) fn appended(took: Duration) {
    histogram!("portolan_raft_append_seconds").record(took);
}

/// A proposal of this node came to an end.
pub(crate) fn proposed(took: Duration, result: &Result<Outcome, ProposeError>) {
    let result = match result {
        Ok(Outcome::Refused(_)) => "refused",
        Ok(_) => "done",
        Err(ProposeError::NoLeader) => "no_leader",
        Err(ProposeError::Deadline) => "unknown",
        Err(ProposeError::TooLarge { .. }) => "too_large",
        Err(ProposeError::Stopped) => "stopped",
    };
    proposals(result).record(took);
}

fn proposals(result: &'static str) -> Histogram {
    histogram!("portolan_propose_seconds", "result" => result)
}

/// The leader is asked for a read index.
pub(crate) fn read_round() {
    counter!("portolan_read_index_rounds_total").increment(1);
}

/// It confirmed one.
pub(crate) fn read_confirmed(took: Duration) {
    histogram!("portolan_read_index_seconds").record(took);
}

/// So many entries were applied in one write.
pub(crate) fn applied(entries: usize, took: Duration) {
    counter!("portolan_raft_applied_entries_total").increment(entries as u64);
    histogram!("portolan_raft_apply_seconds").record(took);
}

/// A snapshot of this node's state was made.
pub(crate) fn built() {
    counter!("portolan_raft_snapshots_built_total").increment(1);
}

/// A snapshot replaced the state.
pub(crate) fn installed() {
    counter!("portolan_raft_snapshots_installed_total").increment(1);
}

/// Where the group stands.
pub(crate) fn record(status: &Status, log_bytes: u64, transfers: usize) {
    let set = |name: &'static str, value: u64| gauge!(name).set(number(value));
    set("portolan_raft_term", status.term);
    set("portolan_raft_leader", u64::from(status.is_leader()));
    set("portolan_raft_has_leader", u64::from(status.leader.is_some()));
    set("portolan_raft_committed_index", status.committed);
    set("portolan_raft_applied_index", status.applied);
    set("portolan_raft_last_log_index", status.last_log);
    set("portolan_raft_snapshot_index", status.snapshot);
    set("portolan_raft_purged_index", status.purged);
    set("portolan_raft_log_bytes", log_bytes);
    set("portolan_raft_voters", status.voters.len() as u64);
    set("portolan_raft_learners", status.learners.len() as u64);
    set("portolan_raft_snapshot_transfers", transfers as u64);
    for (node, progress) in &status.nodes {
        if let Some(lag) = progress.lag {
            gauge!("portolan_raft_lag_entries", "node" => node.to_string()).set(number(lag));
        }
        if *node != status.node
            && let Some(silence_ms) = progress.last_seen_ms
        {
            gauge!("portolan_peer_silence_seconds", "peer" => node.to_string()).set(number(silence_ms) / 1000.0);
        }
    }
}

/// What is committed about the nodes.
pub(crate) fn nodes(rows: &[NodeRow], voters: &[NodeId]) {
    let states =
        [(NodeState::Up, "up"), (NodeState::Down, "down"), (NodeState::Out, "out"), (NodeState::Draining, "draining")];
    for (state, label) in states {
        let count = rows.iter().filter(|row| row.state == state).count();
        gauge!("portolan_nodes", "state" => label).set(number(count as u64));
    }
    let mut voters_up = 0;
    for row in rows {
        let up = matches!(row.state, NodeState::Up | NodeState::Draining);
        voters_up += u64::from(up && voters.contains(&row.id));
        let labels = [("node", row.id.to_string()), ("name", row.name.clone()), ("region", row.region.clone())];
        gauge!("portolan_node_up", &labels).set(f64::from(u8::from(up)));
    }
    gauge!("portolan_raft_voters_up").set(number(voters_up));
}

/// How many of something, as a gauge takes it.
#[expect(clippy::cast_precision_loss, reason = "a gauge is a float; beyond 2^53 nobody reads the last digits")]
fn number(count: u64) -> f64 {
    count as f64
}
