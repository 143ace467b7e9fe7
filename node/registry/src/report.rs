//! The cluster as an operator sees it from this node.

use crate::error::RegistryError;
use crate::registry::Registry;
use portolan_consensus::Status;
use portolan_meta::id::NodeId;
use portolan_meta::query;
use portolan_meta::row::{NodeRow, NodeState, Role};
use portolan_peer::NodeLoad;
use portolan_replication::{PeerHealth, RegionLag};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

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
    /// The same between regions, in either direction: the median of their nodes.
    pub region_links: Vec<RegionLinkReport>,
    /// For each region that keeps blobs, in which order a reader there would ask the nodes for one that all of them hold.
    pub orders: Vec<OrderReport>,
    /// What an operator should know, in sentences.
    pub warnings: Vec<String>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
    /// How well it would serve a read, as the asked node sees it.
    pub health: HealthReport,
}

/// How well a node would serve a read. Others ask it last unless it is well.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct HealthReport {
    /// In one word.
    pub state: HealthState,
    /// How surprising its silence is: minus the decimal logarithm of its chance; `null` unless it is suspect.
    pub phi: Option<f64>,
    /// For how long it is still ejected, in milliseconds; `null` unless it is.
    pub ejected_ms: Option<u64>,
}

/// See [`HealthReport`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthState {
    /// Nothing speaks against asking it.
    #[default]
    Ok,
    /// It is silent for longer than can be expected of it.
    Suspect,
    /// Its last ping found nobody, or was refused.
    Gone,
    /// It answers, and says that it cannot serve pulls.
    NotReady,
    /// It answers again, but not for long enough yet.
    Returning,
    /// Reads of it failed, or its bytes were wrong.
    Ejected,
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

/// The way from one region to another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegionLinkReport {
    /// Whose nodes ping.
    pub from: String,
    /// Whose nodes answer.
    pub to: String,
    /// The median of the smoothed round trips in milliseconds; `null` when none is known.
    pub rtt_ms: Option<f64>,
}

/// In which order nodes are asked for a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrderReport {
    /// Where the reader is.
    pub region: String,
    /// The nodes by id, whoever is asked first at the front.
    pub nodes: Vec<u64>,
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
        warnings.extend(self.lost_warnings());
        let lags = self.floors.replication.status().lags;
        let links = links(&rows, &status);
        let region_links = region_links(&rows, &links);
        let orders = self.orders(&rows);
        let own = self.load();
        let node = |row: NodeRow| NodeReport { health: self.health(row.id), ..node_report(row, &status, &own) };
        let nodes = rows.into_iter().map(node).collect();
        Ok(ClusterReport {
            cluster_id: status.cluster_id,
            epoch: status.epoch,
            term: status.term,
            leader: status.leader.map(|leader| leader.0),
            asked: self.node.0,
            nodes,
            lags: lags.into_iter().map(lag_report).collect(),
            links,
            region_links,
            orders,
            warnings,
        })
    }

    fn orders(&self, rows: &[NodeRow]) -> Vec<OrderReport> {
        let keep = rows.iter().filter(|row| row.role == Role::Full);
        let regions: BTreeSet<&str> = keep.map(|row| row.region.as_str()).collect();
        let order = |region: &str| OrderReport {
            region: region.to_owned(),
            nodes: self.floors.replication.order(region).iter().map(|node| node.0).collect(),
        };
        regions.into_iter().map(order).collect()
    }

    fn health(&self, node: NodeId) -> HealthReport {
        let of = |state| HealthReport { state, ..HealthReport::default() };
        if node == self.node {
            let ready = self.pull_readiness().is_ok_and(|readiness| readiness.is_ready());
            return of(if ready { HealthState::Ok } else { HealthState::NotReady });
        }
        match self.floors.replication.health(node) {
            PeerHealth::Well => of(HealthState::Ok),
            PeerHealth::Suspect { phi } => HealthReport { phi: Some(phi), ..of(HealthState::Suspect) },
            PeerHealth::Gone => of(HealthState::Gone),
            PeerHealth::NotReady => of(HealthState::NotReady),
            PeerHealth::Returning => of(HealthState::Returning),
            PeerHealth::Ejected { left } => {
                let ejected_ms = Some(u64::try_from(left.as_millis()).unwrap_or(u64::MAX));
                HealthReport { ejected_ms, ..of(HealthState::Ejected) }
            }
        }
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

/// Every ordered pair of regions that nodes of both are known of, and of regions of several nodes with themselves.
fn region_links(rows: &[NodeRow], links: &[LinkReport]) -> Vec<RegionLinkReport> {
    let region_of: BTreeMap<u64, &str> = rows.iter().map(|row| (row.id.0, row.region.as_str())).collect();
    let mut between: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
    for link in links {
        if let (Some(from), Some(to)) = (region_of.get(&link.from), region_of.get(&link.to)) {
            between.entry((from, to)).or_default().extend(link.rtt_ms);
        }
    }
    let median = |mut trips: Vec<f64>| {
        trips.sort_by(f64::total_cmp);
        trips.get(trips.len() / 2).copied()
    };
    let report = |((from, to), trips): ((&str, &str), _)| RegionLinkReport {
        from: from.to_owned(),
        to: to.to_owned(),
        rtt_ms: median(trips),
    };
    between.into_iter().map(report).collect()
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
        health: HealthReport::default(),
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
    use super::{LinkReport, NodeRow, NodeState, Role, Status, links, region_links, warnings};
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
    fn regions_are_as_far_apart_as_the_median_of_their_nodes() {
        let rows = [row(1, "eu", NodeState::Up), row(2, "eu", NodeState::Up), row(3, "us", NodeState::Up)];
        let link = |from, to, rtt_ms| LinkReport { from, to, rtt_ms };
        let links = [
            link(1, 2, Some(0.5)),
            link(2, 1, None),
            link(1, 3, Some(80.0)),
            link(2, 3, Some(90.0)),
            link(3, 1, None),
            link(3, 2, None),
        ];
        let found = region_links(&rows, &links);
        let found: Vec<_> = found.iter().map(|link| (&*link.from, &*link.to, link.rtt_ms)).collect();
        assert_eq!(found, [("eu", "eu", Some(0.5)), ("eu", "us", Some(90.0)), ("us", "eu", None)]);
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
