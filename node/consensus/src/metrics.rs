//! Gauges, counters and histograms of this floor.

use crate::error::ProposeError;
use crate::status::Status;
use portolan_meta::outcome::Outcome;
use std::time::Duration;

/// An append is durable: how long that took, queueing included (the sync alone is `portolan_raft_fsync_seconds`).
pub(crate) fn appended(took: Duration) {
    metrics::histogram!("portolan_raft_append_seconds").record(took.as_secs_f64());
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
    metrics::histogram!("portolan_propose_seconds", "result" => result).record(took.as_secs_f64());
}

/// The leader is asked for a read index.
pub(crate) fn read_round() {
    metrics::counter!("portolan_read_index_rounds_total").increment(1);
}

/// So many entries were applied in one write.
pub(crate) fn applied(entries: usize, took: Duration) {
    metrics::counter!("portolan_raft_applied_entries_total").increment(entries as u64);
    metrics::histogram!("portolan_raft_apply_seconds").record(took.as_secs_f64());
}

/// A snapshot replaced the state.
pub(crate) fn installed() {
    metrics::counter!("portolan_raft_snapshots_installed_total").increment(1);
}

/// Where the group stands.
pub(crate) fn record(status: &Status, log_bytes: u64) {
    let set = |name: &'static str, value: u64| metrics::gauge!(name).set(value as f64);
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
    for (node, progress) in &status.nodes {
        if let Some(lag) = progress.lag {
            metrics::gauge!("portolan_raft_lag_entries", "node" => node.to_string()).set(lag as f64);
        }
    }
}
