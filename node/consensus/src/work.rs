//! What runs by itself: pings, the leader's judgement of silence, learners to add, snapshots and purges, gauges.
//!
//! Every worker looks at what is, compares it with what should be, and does one step; none of them remembers anything
//! that a restart would lose, so that their owner may drop them anywhere.

use crate::clock::millis;
use crate::group::{Group, Standing};
use crate::liveness::{Liveness, Seen, judge};
use crate::members::StaticMember;
use crate::metrics;
use crate::propose::Proposer;
use crate::snapshot::Transfers;
use crate::status::{NodeProgress, Status};
use futures::future::join_all;
use openraft::EmptyNode;
use openraft::async_runtime::WatchReceiver;
use portolan_meta::command::Command;
use portolan_meta::id::NodeId;
use portolan_meta::query;
use portolan_meta::row::NodeState;
use portolan_store::RaftLog;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};

/// What the workers share.
pub(crate) struct Work {
    pub(crate) group: Arc<Group>,
    pub(crate) log: Arc<RaftLog>,
    pub(crate) proposer: Arc<Proposer>,
    pub(crate) liveness: Arc<Liveness>,
    pub(crate) members: Vec<StaticMember>,
    pub(crate) transfers: Transfers,
    pub(crate) cluster_id: String,
    pub(crate) epoch: u64,
}

impl Work {
    /// Pings every other member, for ever, each at its own pace: one that is silent must not delay the pings of the
    /// others, who would seem silent by it. There is one ping per node at a time.
    pub(crate) async fn ping_all(self: Arc<Self>) {
        let others = self.members.iter().map(|member| member.id).filter(|id| *id != self.group.node);
        join_all(others.map(|id| self.ping_one(id))).await;
    }

    async fn ping_one(&self, id: NodeId) {
        let limit = Duration::from_millis(self.group.config.ping_timeout_ms.max(1));
        let mut ticks = ticks(self.group.config.ping_interval_ms);
        loop {
            ticks.tick().await;
            match self.group.peers.ping(id, limit).await {
                Ok(reply) => self.liveness.saw(id, reply),
                Err(error) => tracing::debug!(%error, peer = %id, "no answer to a ping"),
            }
        }
    }

    /// Takes note of starts and, as leader, has silence and return committed, for ever.
    pub(crate) async fn judge_all(self: Arc<Self>) {
        let mut ticks = ticks(self.group.config.ping_interval_ms);
        loop {
            ticks.tick().await;
            self.judge_once().await;
        }
    }

    async fn judge_once(&self) {
        let rows = match self.group.state.read(query::nodes) {
            Ok(rows) => rows,
            Err(error) => {
                tracing::error!(%error, "the nodes cannot be read");
                return;
            }
        };
        metrics::nodes(&rows, &self.status().voters);
        for row in &rows {
            self.liveness.noticed_boot(row.id, row.incarnation);
        }
        if !self.group.leads() {
            return;
        }
        for row in rows {
            let (silence, answered) = if row.id == self.group.node {
                (Duration::ZERO, true)
            } else {
                (self.liveness.silence(row.id), self.liveness.seen(row.id).is_some())
            };
            let Some(state) = judge(&self.group.config, row.state, silence, answered) else { continue };
            let silence_ms = millis(silence);
            if state == NodeState::Up {
                tracing::info!(id = %row.id, peer = row.name, from = ?row.state, "a node is up");
            } else {
                tracing::warn!(id = %row.id, peer = row.name, from = ?row.state, to = ?state, silence_ms, "a node is silent");
            }
            let command = Command::SetNodeState { node: row.id, incarnation: row.incarnation, state };
            let deadline = Instant::now() + Duration::from_millis(self.group.config.down_after_ms);
            if let Err(error) = self.proposer.propose(command, deadline).await {
                // The next tick judges again.
                tracing::warn!(%error, peer = row.name, "a node's state was not committed");
            }
        }
    }

    /// Adds missing learners, makes snapshots, purges the log and refreshes the gauges, for ever.
    pub(crate) async fn keep_house(self: Arc<Self>) {
        let mut ticks = ticks(self.group.config.housekeeping_interval_ms);
        let mut history = History::of(&self.status());
        loop {
            ticks.tick().await;
            metrics::record(&self.status(), self.log.bytes(), self.transfers.count());
            self.log.record_gauges();
            self.group.state.record_gauges();
            if self.group.leads() {
                self.add_learners().await;
            }
            self.compact(&mut history).await;
        }
    }

    /// Listed members that the group lacks: they follow without a vote.
    async fn add_learners(&self) {
        let known = self.status();
        let missing =
            |member: &&StaticMember| !known.voters.contains(&member.id) && !known.learners.contains(&member.id);
        for member in self.members.iter().filter(missing) {
            let add = self.group.raft.add_learner(member.id.0, EmptyNode {}, false);
            match timeout(Duration::from_millis(self.group.config.forwarded_timeout_ms), add).await {
                Ok(Ok(_)) => tracing::info!(id = %member.id, peer = member.name, "added a learner"),
                Ok(Err(error)) => tracing::warn!(%error, peer = member.name, "a learner was not added"),
                Err(_) => tracing::warn!(peer = member.name, "adding a learner found no quorum"),
            }
        }
    }

    async fn compact(&self, history: &mut History) {
        let (status, appended, transferring) = (self.status(), self.log.appended_bytes(), self.transfers.count() > 0);
        let step = history.step(self.group.config.snapshot_log_bytes, &status, appended, transferring);
        let done = match step {
            Compaction::Nothing => return,
            Compaction::Snapshot => self.group.raft.trigger().snapshot().await,
            Compaction::Purge { upto } => self.group.raft.trigger().purge_log(upto).await,
        };
        if let Err(error) = done {
            tracing::warn!(%error, ?step, "the log was not compacted");
        }
    }

    /// See [`crate::Consensus::status`].
    pub(crate) fn status(&self) -> Status {
        let standing = self.group.standing();
        // A copy: whoever asks for the metrics again while it holds them waits for a writer that waits for it.
        let metrics = self.group.raft.metrics().borrow_watched().clone();
        let membership = metrics.membership_config.membership();
        let voters: Vec<NodeId> = membership.voter_ids().map(NodeId).collect();
        let learners: Vec<NodeId> = membership.learner_ids().map(NodeId).collect();
        let nodes = self.members.iter().map(|member| (member.id, self.progress(member.id, &standing)));
        Status {
            node: self.group.node,
            cluster_id: self.cluster_id.clone(),
            epoch: self.epoch,
            term: standing.term,
            leader: standing.leader,
            committed: standing.committed,
            applied: standing.applied,
            last_log: metrics.last_log_index.unwrap_or(0),
            snapshot: crate::types::index_of(metrics.snapshot),
            purged: crate::types::index_of(metrics.purged),
            voters,
            learners,
            nodes: nodes.collect::<BTreeMap<_, _>>(),
        }
    }

    fn progress(&self, node: NodeId, standing: &Standing) -> NodeProgress {
        let silent_after = self.group.config.silent_after();
        let lag = |applied| Some(standing.committed.saturating_sub(applied));
        if node == self.group.node {
            let round_trips = self.group.peers.round_trips(silent_after);
            let applied = standing.applied;
            return NodeProgress {
                applied: Some(applied),
                lag: lag(applied),
                last_seen_ms: Some(0),
                load: None,
                round_trips,
            };
        }
        let Some(Seen { at, reply }) = self.liveness.seen(node) else { return NodeProgress::default() };
        let (silence, applied) = (at.elapsed(), reply.applied);
        // What it said then is not what it does now.
        let (load, round_trips) =
            if silence <= silent_after { (reply.load, reply.round_trips) } else { Default::default() };
        let last_seen_ms = Some(millis(silence));
        NodeProgress { applied: Some(applied), lag: lag(applied), last_seen_ms, load, round_trips }
    }
}

/// After a tick that took long the next one waits a whole interval: work must not crowd.
fn ticks(interval_ms: u64) -> Interval {
    let mut ticks = interval(Duration::from_millis(interval_ms.max(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

/// The next step towards a log within its bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Compaction {
    Nothing,
    Snapshot,
    Purge { upto: u64 },
}

/// The last two snapshots, as far as the log is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct History {
    /// The newest one's index.
    newest: u64,
    /// The one's before it; what was purged already stands in for one from before this start.
    before: u64,
    /// [`RaftLog::appended_bytes`] when the newest was asked for.
    mark: u64,
}

impl History {
    fn of(status: &Status) -> Self {
        Self { newest: status.snapshot, before: status.purged, mark: 0 }
    }

    /// A snapshot for each `limit` of log; then what lies before the last but one goes, so that between one and two
    /// times the limit stays for those who were away, and not while somebody receives a snapshot, who will need the
    /// entries that follow it.
    fn step(&mut self, limit: u64, status: &Status, appended: u64, transferring: bool) -> Compaction {
        if status.snapshot > self.newest {
            (self.before, self.newest) = (self.newest, status.snapshot);
        }
        if self.before > status.purged && !transferring {
            return Compaction::Purge { upto: self.before };
        }
        if appended.saturating_sub(self.mark) < limit || status.applied <= status.snapshot {
            return Compaction::Nothing;
        }
        self.mark = appended;
        Compaction::Snapshot
    }
}

#[cfg(test)]
mod tests {
    use super::{BTreeMap, Compaction, History, NodeId, Status};

    const LIMIT: u64 = 1_000;

    fn check(name: &str, history: (u64, u64, u64), state: (u64, u64, u64), appended: u64, expected: Compaction) {
        let ((newest, before, mark), (applied, snapshot, purged)) = (history, state);
        let status = Status { applied, snapshot, purged, ..status() };
        for transferring in [false, true] {
            let mut history = History { newest, before, mark };
            let expected = match expected {
                Compaction::Purge { .. } if transferring => Compaction::Nothing,
                other => other,
            };
            assert_eq!(history.step(LIMIT, &status, appended, transferring), expected, "{name}, {transferring}");
        }
    }

    #[test]
    fn the_log_is_snapshotted_by_bytes_and_purged_behind_the_last_but_one() {
        check("small", (0, 0, 0), (50, 0, 0), 999, Compaction::Nothing);
        check("grown", (0, 0, 0), (50, 0, 0), 1_000, Compaction::Snapshot);
        check("the first snapshot lets nothing go", (0, 0, 1_000), (60, 50, 0), 1_500, Compaction::Nothing);
        check("grown again", (50, 0, 1_000), (90, 50, 0), 2_000, Compaction::Snapshot);
        check(
            "the second lets go what the first holds",
            (50, 0, 2_000),
            (95, 90, 0),
            2_100,
            Compaction::Purge { upto: 50 },
        );
        check("once", (90, 50, 2_000), (95, 90, 50), 2_100, Compaction::Nothing);
        check("nothing new since the snapshot", (50, 0, 1_000), (50, 50, 0), 5_000, Compaction::Nothing);
        check("one that a leader sent", (50, 40, 1_000), (200, 200, 200), 1_100, Compaction::Nothing);
    }

    #[test]
    fn one_snapshot_is_asked_for_once() {
        let status = Status { applied: 50, ..status() };
        let mut history = History::of(&status);
        assert_eq!(history.step(LIMIT, &status, 1_000, false), Compaction::Snapshot);
        assert_eq!(history.step(LIMIT, &status, 1_100, false), Compaction::Nothing);
        assert_eq!(history.step(LIMIT, &status, 2_100, false), Compaction::Snapshot, "the first one failed");
    }

    fn status() -> Status {
        Status {
            node: NodeId(1),
            cluster_id: "c".into(),
            epoch: 0,
            term: 1,
            leader: None,
            committed: 0,
            applied: 0,
            last_log: 0,
            snapshot: 0,
            purged: 0,
            voters: vec![],
            learners: vec![],
            nodes: BTreeMap::new(),
        }
    }
}
