//! What an operator may know about the group, as this node sees it now.

use portolan_meta::id::NodeId;
use portolan_peer::NodeLoad;
use std::collections::BTreeMap;
use std::time::Duration;

/// The group as this node sees it.
#[derive(Clone, Debug)]
pub struct Status {
    /// This node.
    pub node: NodeId,
    /// The cluster's id.
    pub cluster_id: String,
    /// The cluster's epoch.
    pub epoch: u64,
    /// The newest term this node has seen.
    pub term: u64,
    /// Who leads, if this node knows.
    pub leader: Option<NodeId>,
    /// The newest entry known to be committed; 0 when there is none.
    pub committed: u64,
    /// The newest entry applied here; 0 when there is none.
    pub applied: u64,
    /// The newest entry in this node's log; 0 when there is none.
    pub last_log: u64,
    /// The newest entry contained in a snapshot; 0 when there is none.
    pub snapshot: u64,
    /// The newest entry purged from this node's log; 0 when there is none.
    pub purged: u64,
    /// Who votes.
    pub voters: Vec<NodeId>,
    /// Who follows without a vote.
    pub learners: Vec<NodeId>,
    /// How each member stands, this node included.
    pub nodes: BTreeMap<NodeId, NodeProgress>,
}

/// How one member stands.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeProgress {
    /// The newest entry it said it applied; `None` when it never answered.
    pub applied: Option<u64>,
    /// How many committed entries it lacked when it answered.
    pub lag: Option<u64>,
    /// Milliseconds since it answered last; 0 for this node.
    pub last_seen_ms: Option<u64>,
    /// What it did of late; `None` for this node and for one that is silent.
    pub load: Option<NodeLoad>,
    /// Its round trips to those that answered it of late; empty for one that is silent.
    pub round_trips: BTreeMap<NodeId, Duration>,
}

impl Status {
    /// Whether this node leads.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.leader == Some(self.node)
    }
}
