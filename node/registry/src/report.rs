//! The cluster as an operator sees it from this node, and whether this node is ready.

use crate::config::ms;
use crate::error::RegistryError;
use crate::registry::Registry;
use portolan_consensus::Status;
use portolan_meta::query;
use portolan_meta::row::{NodeRow, NodeState, Role};
use portolan_peer::NodeLoad;
use portolan_replication::RegionLag;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// The cluster (design, section 10, "Admin API").
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ClusterReport {
    /// The cluster's id.
    pub cluster_id: String,
    /// The cluster's epoch.
    pub epoch: u64,
    /// The newest Raft term that this node knows.
    pub term: u64,
    /// Which node leads; `null` when this node knows none.
    pub leader: Option<u64>,
    /// Which node answered; it knows of the others what their last pings told.
    pub asked: u64,
    /// The members, by id.
    pub nodes: Vec<NodeReport>,
    /// How far each region is behind each other one, as far as the asked node knows.
    pub lags: Vec<LagReport>,
    /// How long a ping takes between each two members, once in either direction.
    pub links: Vec<LinkReport>,
    /// What an operator should know, in sentences.
    pub warnings: Vec<String>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NodeReport {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its region.
    pub region: String,
    /// Its zone; empty when there is none.
    pub zone: String,
    /// What it does.
    pub role: Role,
    /// Whether it votes.
    pub voter: bool,
    /// Whether it counts.
    pub state: NodeState,
    /// The newest log entry it is known to have applied; `null` when it never answered this node.
    pub applied: Option<u64>,
    /// How many committed entries it lacked when it answered last.
    pub lag: Option<u64>,
    /// Milliseconds since it answered last; 0 for the node that is asked.
    pub last_seen_ms: Option<u64>,
    /// The version of its software.
    pub version: String,
    /// What it did of late; `null` for a node that is silent, and for one that has not counted yet.
    pub load: Option<LoadReport>,
}

/// What a node does. Totals count from its start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LoadReport {
    /// For how long it had been running when this was counted, in milliseconds: what to divide the totals' growth by.
    pub up_ms: u64,
    /// Requests that ended.
    pub requests: u64,
    /// Those that ended by a fault of the node (5xx).
    pub faults: u64,
    /// Bytes of bodies that came from clients.
    pub received_bytes: u64,
    /// Bytes of bodies that went to clients.
    pub sent_bytes: u64,
    /// Blobs that it lacks and does not fetch yet.
    pub queue: u64,
    /// How many bytes those are.
    pub queue_bytes: u64,
    /// Blobs that it fetches.
    pub fetches: u64,
    /// Open upload sessions.
    pub uploads: u64,
    /// What its disk has left, in bytes; `null` when the disk does not say.
    pub disk_free_bytes: Option<u64>,
}

/// How far one region is behind another: what `from` holds and `to` has no copy of, although it should.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LagReport {
    /// The region that is ahead.
    pub from: String,
    /// The region that is behind.
    pub to: String,
    /// How many blobs.
    pub blobs: u64,
    /// How many bytes those are.
    pub bytes: u64,
    /// How long ago the oldest of them was committed, in milliseconds.
    pub age_ms: u64,
}

/// The way from one node to another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LinkReport {
    /// Who pings.
    pub from: u64,
    /// Who answers.
    pub to: u64,
    /// The smoothed round trip in milliseconds; `null` when no answer came of late, or `from` itself is silent.
    pub rtt_ms: Option<f64>,
}

/// Whether this node can do its work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// What keeps it from it; empty when it is ready.
    pub reasons: Vec<String>,
}

impl Readiness {
    /// Whether it can.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.reasons.is_empty()
    }
}

impl Registry {
    /// The cluster as this node sees it now; asks nobody.
    ///
    /// # Errors
    /// The state could not be read.
    pub fn cluster_report(&self) -> Result<ClusterReport, RegistryError> {
        let status = self.floors.consensus.status();
        let rows = self.local().read(query::nodes)?;
        let mut warnings = warnings(&rows, &status);
        if let Err(error) = self.floors.blobs.check_space() {
            warnings.push(format!("this node takes no uploads: {error}"));
        }
        warnings.extend(self.lost_warning());
        let lags = self.floors.replication.status().lags;
        let links = links(&rows, &status);
        let own = self.load();
        let nodes = rows.into_iter().map(|row| node_report(row, &status, &own)).collect();
        Ok(ClusterReport {
            cluster_id: status.cluster_id,
            epoch: status.epoch,
            term: status.term,
            leader: status.leader.map(|leader| leader.0),
            asked: self.node.0,
            nodes,
            lags: lags.into_iter().map(lag_report).collect(),
            links,
            warnings,
        })
    }

    /// Whether this node can serve pulls: it knows the cluster, its state does not lag far behind what it knows to be
    /// committed, this start of it was confirmed by the cluster, and it is not stopping. A missing leader does not make
    /// it unready: digests can be pulled without.
    ///
    /// # Errors
    /// The state could not be read.
    pub fn pull_readiness(&self) -> Result<Readiness, RegistryError> {
        let mut reasons = Vec::new();
        if self.leaving.load(Ordering::Acquire) || self.stop.is_cancelled() {
            reasons.push("the node is stopping".to_owned());
        }
        let known = self.local().read(|view| query::node(view, self.node))?;
        match known {
            None => reasons.push("this node is not known to its cluster yet".to_owned()),
            Some(row) if !self.is_confirmed(&row) => {
                reasons.push("this start is not confirmed by the cluster yet".to_owned());
            }
            Some(_) => {}
        }
        let status = self.floors.consensus.status();
        let lag = status.committed.saturating_sub(status.applied);
        if lag > self.config.reads.ready_lag_entries {
            reasons.push(format!("the state lags {lag} entries behind"));
        }
        Ok(Readiness { reasons })
    }

    /// Whether this start of the node has caught up with the cluster once: it applied its own boot, or passed a read
    /// barrier. Until then its state is as old as its last stop, by more entries than it knows of, so that a lag of 0
    /// says nothing, and whatever is new since is 503 here while other nodes serve it.
    ///
    /// That is a reason to wait, not to stay away: a node that finds no quorum serves every digest that it can reach
    /// (design, P7), and a region that was cut off and restarted must not lose its pulls. After `reads.ready_wait_ms` it
    /// counts as one whose leader went away while it ran.
    fn is_confirmed(&self, own: &NodeRow) -> bool {
        own.incarnation >= self.floors.consensus.incarnation()
            || self.fresh.last().is_some()
            || self.started.elapsed() >= ms(self.config.reads.ready_wait_ms)
    }

    /// Whether this node can take pushes: it can serve pulls, its disk has room, and a leader answers.
    ///
    /// # Errors
    /// The state could not be read.
    pub async fn push_readiness(&self) -> Result<Readiness, RegistryError> {
        let mut readiness = self.pull_readiness()?;
        if let Err(error) = self.floors.blobs.check_space() {
            readiness.reasons.push(error.to_string());
        }
        if let Err(error) = self.linearizable().await {
            readiness.reasons.push(error.to_string());
        }
        Ok(readiness)
    }
}

fn lag_report(lag: RegionLag) -> LagReport {
    let RegionLag { from, to, blobs, bytes, age_ms } = lag;
    LagReport { from, to, blobs, bytes, age_ms }
}

fn load_report(load: &NodeLoad) -> LoadReport {
    LoadReport {
        up_ms: load.up_ms,
        requests: load.requests,
        faults: load.faults,
        received_bytes: load.received_bytes,
        sent_bytes: load.sent_bytes,
        queue: load.queue,
        queue_bytes: load.queue_bytes,
        fetches: load.fetches,
        uploads: load.uploads,
        disk_free_bytes: load.disk_free_bytes,
    }
}

/// Every ordered pair of members, as the first of each pair tells it.
fn links(rows: &[NodeRow], status: &Status) -> Vec<LinkReport> {
    let mut links = Vec::new();
    for from in rows {
        for to in rows.iter().filter(|to| to.id != from.id) {
            let round_trip = status.nodes.get(&from.id).and_then(|progress| progress.round_trips.get(&to.id));
            let rtt_ms = round_trip.map(|took| took.as_secs_f64() * 1_000.0);
            links.push(LinkReport { from: from.id.0, to: to.id.0, rtt_ms });
        }
    }
    links
}

fn node_report(row: NodeRow, status: &Status, own: &NodeLoad) -> NodeReport {
    let progress = status.nodes.get(&row.id).cloned().unwrap_or_default();
    let load = if row.id == status.node { Some(own) } else { progress.load.as_ref() };
    NodeReport {
        id: row.id.0,
        voter: status.voters.contains(&row.id),
        name: row.name,
        region: row.region,
        zone: row.zone,
        role: row.role,
        state: row.state,
        applied: progress.applied,
        lag: progress.lag,
        last_seen_ms: progress.last_seen_ms,
        version: row.version,
        load: load.map(load_report),
    }
}

/// What an operator should know.
fn warnings(rows: &[NodeRow], status: &Status) -> Vec<String> {
    let mut warnings = Vec::new();
    if status.leader.is_none() {
        warnings.push("no leader is known: writes wait, tags may be stale".to_owned());
    }
    for row in rows {
        match row.state {
            NodeState::Up => {}
            NodeState::Down => warnings.push(format!("{} is down", row.name)),
            NodeState::Out => warnings.push(format!("{} is out: its copies move elsewhere", row.name)),
            NodeState::Draining => warnings.push(format!("{} is draining", row.name)),
        }
    }
    let voters = status.voters.len();
    if voters > 0 && voters.is_multiple_of(2) {
        warnings.push(format!("{voters} voters: an even number survives no more than one fewer"));
    }
    warnings.extend(single_copies(rows));
    warnings
}

/// Where a push is acknowledged with one copy, and why (`portolan_meta::placement::default_ack`).
fn single_copies(rows: &[NodeRow]) -> Vec<String> {
    let mut regions: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for row in rows.iter().filter(|row| row.role == Role::Full && row.state != NodeState::Out) {
        let (full, up) = regions.entry(&row.region).or_default();
        *full += 1;
        *up += usize::from(row.state == NodeState::Up);
    }
    let alone: Vec<&str> = regions.iter().filter(|(_, (full, _))| *full == 1).map(|(region, _)| *region).collect();
    let left: Vec<&str> =
        regions.iter().filter(|(_, (full, up))| *full > 1 && *up == 1).map(|(region, _)| *region).collect();
    let mut warnings = Vec::new();
    if !alone.is_empty() {
        warnings.push(format!(
            "one full node in {}: a push there is acknowledged with one copy until others have fetched it",
            alone.join(", ")
        ));
    }
    if !left.is_empty() {
        warnings.push(format!(
            "one full node left up in {}: a push there is acknowledged with one copy until another is back",
            left.join(", ")
        ));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::{NodeRow, NodeState, Role, Status, links, warnings};
    use portolan_consensus::NodeProgress;
    use portolan_meta::id::NodeId;
    use std::collections::BTreeMap;
    use std::time::Duration;

    fn row(id: u64, region: &str, state: NodeState) -> NodeRow {
        NodeRow {
            id: NodeId(id),
            name: format!("n{id}"),
            region: region.into(),
            zone: String::new(),
            role: Role::Full,
            peer: String::new(),
            storage_uuid: String::new(),
            incarnation: 1,
            state,
            version: String::new(),
        }
    }

    fn status(leader: Option<u64>, voters: &[u64]) -> Status {
        Status {
            node: NodeId(1),
            cluster_id: "c".into(),
            epoch: 0,
            term: 1,
            leader: leader.map(NodeId),
            committed: 1,
            applied: 1,
            last_log: 1,
            snapshot: 0,
            purged: 0,
            voters: voters.iter().copied().map(NodeId).collect(),
            learners: Vec::new(),
            nodes: BTreeMap::new(),
        }
    }

    #[test]
    fn every_ordered_pair_has_a_link_and_the_first_of_it_tells_how_long() {
        let rows = [row(1, "eu", NodeState::Up), row(2, "us", NodeState::Up), row(3, "ap", NodeState::Up)];
        let heard = |nodes: &[(u64, u64)]| NodeProgress {
            round_trips: nodes.iter().map(|(node, ms)| (NodeId(*node), Duration::from_millis(*ms))).collect(),
            ..NodeProgress::default()
        };
        let nodes = BTreeMap::from([(NodeId(1), heard(&[(2, 80), (3, 120)])), (NodeId(2), heard(&[(1, 82)]))]);
        let found = links(&rows, &Status { nodes, ..status(Some(1), &[1, 2, 3]) });
        let found: Vec<_> = found.iter().map(|link| (link.from, link.to, link.rtt_ms)).collect();
        let silent = None;
        assert_eq!(
            found,
            [
                (1, 2, Some(80.0)),
                (1, 3, Some(120.0)),
                (2, 1, Some(82.0)),
                (2, 3, silent),
                (3, 1, silent),
                (3, 2, silent)
            ]
        );
    }

    #[test]
    fn warnings_name_what_is_wrong_and_nothing_else() {
        use NodeState::{Down, Up};
        let two = |state| vec![row(1, "eu", Up), row(2, "eu", state), row(3, "eu", Up)];
        let left = || vec![row(1, "eu", Up), row(2, "eu", Down)];
        let cases: [(_, _, &[&str]); 6] = [
            (two(Up), status(Some(1), &[1, 2, 3]), &[]),
            (two(Down), status(Some(1), &[1, 2, 3]), &["n2 is down"]),
            (left(), status(Some(1), &[1]), &["n2 is down", "one full node left up in eu"]),
            (two(Up), status(None, &[1, 2, 3]), &["no leader"]),
            (two(Up), status(Some(1), &[1, 2]), &["2 voters"]),
            (vec![row(1, "eu", Up), row(2, "us", Up)], status(Some(1), &[1]), &["one full node in eu, us"]),
        ];
        for (rows, status, want) in cases {
            let got = warnings(&rows, &status);
            assert_eq!(got.len(), want.len(), "{got:?}");
            for (got, want) in got.iter().zip(want) {
                assert!(got.starts_with(want), "{got} / {want}");
            }
        }
    }
}
