//! What `GET /api/v1/cluster` answers, as far as the command line reads it. What an older node does not tell may be absent.

use serde::{Deserialize, Serialize};

/// The cluster.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ClusterAnswer {
    /// The cluster's id.
    pub(crate) cluster_id: Option<String>,
    /// The epoch.
    pub(crate) epoch: u64,
    /// The term.
    pub(crate) term: u64,
    /// Who leads, by name or id.
    pub(crate) leader: serde_json::Value,
    /// Who answered, by id.
    #[serde(default)]
    pub(crate) asked: Option<u64>,
    /// The members.
    pub(crate) nodes: Vec<NodeAnswer>,
    /// How far each region is behind each other one.
    #[serde(default)]
    pub(crate) lags: Vec<LagAnswer>,
    /// The way between each two nodes, in either direction.
    #[serde(default)]
    pub(crate) links: Vec<LinkAnswer>,
    /// The way between each two regions, in either direction.
    #[serde(default)]
    pub(crate) region_links: Vec<RegionLinkAnswer>,
    /// In which order a reader in each region would ask the nodes.
    #[serde(default)]
    pub(crate) orders: Vec<OrderAnswer>,
    /// What an operator should know.
    #[serde(default)]
    pub(crate) warnings: Vec<String>,
}

/// The way from one region to another.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct RegionLinkAnswer {
    /// Whose nodes ping.
    pub(crate) from: String,
    /// Whose nodes answer.
    pub(crate) to: String,
    /// The round trip in milliseconds; absent when none is known.
    pub(crate) rtt_ms: Option<f64>,
}

/// In which order nodes are asked for a blob.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct OrderAnswer {
    /// Where the reader is.
    pub(crate) region: String,
    /// The nodes by id.
    pub(crate) nodes: Vec<u64>,
}

/// How well a node would serve a read.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct HealthAnswer {
    /// In one word; `ok` when nothing speaks against asking it.
    pub(crate) state: String,
    /// How surprising its silence is.
    #[serde(default)]
    pub(crate) phi: Option<f64>,
    /// For how long it is still ejected, in milliseconds.
    #[serde(default)]
    pub(crate) ejected_ms: Option<u64>,
}

/// One node of a [`ClusterAnswer`].
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct NodeAnswer {
    /// Its id.
    pub(crate) id: u64,
    /// Its name.
    pub(crate) name: String,
    /// Its region.
    pub(crate) region: String,
    /// Its zone.
    #[serde(default)]
    pub(crate) zone: Option<String>,
    /// What it does.
    pub(crate) role: String,
    /// Whether it votes.
    pub(crate) voter: bool,
    /// Up, down, out or draining.
    pub(crate) state: String,
    /// The last log index that it has applied, as far as is known.
    pub(crate) applied: Option<u64>,
    /// How many entries it is behind.
    pub(crate) lag: Option<u64>,
    /// How long ago it was heard, in milliseconds.
    pub(crate) last_seen_ms: Option<u64>,
    /// Its software version.
    pub(crate) version: String,
    /// What it did of late; absent when it is silent.
    #[serde(default)]
    pub(crate) load: Option<LoadAnswer>,
    /// How well it would serve a read.
    #[serde(default)]
    pub(crate) health: Option<HealthAnswer>,
}

/// What a node did. Totals count from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LoadAnswer {
    /// For how long it had been running when this was counted, in milliseconds.
    #[serde(default)]
    pub(crate) up_ms: u64,
    /// Requests that ended.
    pub(crate) requests: u64,
    /// Those that ended by a fault of the node (5xx).
    pub(crate) faults: u64,
    /// Bytes of bodies that came from clients.
    pub(crate) received_bytes: u64,
    /// Bytes of bodies that went to clients.
    pub(crate) sent_bytes: u64,
    /// Blobs that it lacks and does not fetch yet.
    pub(crate) queue: u64,
    /// How many bytes those are.
    pub(crate) queue_bytes: u64,
    /// Blobs that it fetches.
    pub(crate) fetches: u64,
    /// Open upload sessions.
    pub(crate) uploads: u64,
    /// What its disk has left, in bytes.
    pub(crate) disk_free_bytes: Option<u64>,
}

/// How far one region is behind another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LagAnswer {
    /// The region that is ahead.
    pub(crate) from: String,
    /// The region that is behind.
    pub(crate) to: String,
    /// How many blobs it lacks.
    pub(crate) blobs: u64,
    /// How many bytes those are.
    pub(crate) bytes: u64,
    /// How long ago the oldest of them was committed, in milliseconds.
    pub(crate) age_ms: u64,
}

/// The way from one node to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LinkAnswer {
    /// Who pings, by id.
    pub(crate) from: u64,
    /// Who answers, by id.
    pub(crate) to: u64,
    /// The round trip in milliseconds; absent when no answer came of late.
    pub(crate) rtt_ms: Option<f64>,
}

impl ClusterAnswer {
    /// The leader, when there is one.
    pub(crate) fn leading(&self) -> Option<&NodeAnswer> {
        let leads =
            |node: &&NodeAnswer| self.leader.as_u64() == Some(node.id) || self.leader.as_str() == Some(&node.name);
        self.nodes.iter().find(leads)
    }

    /// The leader's name, when there is one.
    pub(crate) fn leader_name(&self) -> Option<&str> {
        self.leading().map(|node| node.name.as_str())
    }
}
