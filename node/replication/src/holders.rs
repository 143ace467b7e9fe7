//! Who has a blob, nearest first: what the state says, and what this node measured.

use crate::me::Me;
use crate::plan::Missing;
use crate::suspects::Suspects;
use portolan_consensus::Consensus;
use portolan_meta::id::{FileId, NodeId, StoreId};
use portolan_meta::placement::{self, Topology};
use portolan_meta::query;
use portolan_meta::row::{BlobState, NodeRow, NodeState, Role};
use portolan_meta::view::{View, ViewError};
use portolan_oci::Digest;
use portolan_peer::Peers;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// A node that may be asked for a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    /// The node.
    pub(crate) node: NodeId,
    /// Whether it may fetch what it lacks on our behalf: only the one node of our region that crosses the WAN for
    /// this blob is asked so.
    pub(crate) relay: bool,
}

/// What is known of a blob at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Its length in bytes.
    pub(crate) size: u64,
    /// Its generation, for the confirmation of a copy made now.
    pub(crate) generation: u64,
    /// The files of it that this node is recorded to hold.
    pub(crate) own: Vec<FileId>,
    /// Whether any copy is recorded anywhere.
    pub(crate) recorded: bool,
    /// Whom to ask, in this order. Behind the recorded holders come all other nodes: one of them may have a copy
    /// that nobody could record yet.
    pub(crate) candidates: Vec<Candidate>,
    /// Whether this node may keep a copy.
    pub(crate) keeps: bool,
}

/// Looks holders up.
pub(crate) struct Holders {
    me: Me,
    consensus: Arc<Consensus>,
    peers: Arc<Peers>,
    suspects: Suspects,
}

impl Holders {
    pub(crate) fn new(me: Me, consensus: Arc<Consensus>, peers: Arc<Peers>) -> Self {
        Self { me, consensus, peers, suspects: Suspects::default() }
    }

    /// What is known of a blob now; `None` when no live blob is recorded under the digest.
    pub(crate) fn of(&self, digest: &Digest) -> Result<Option<Known>, ViewError> {
        self.consensus.local().read(|view| {
            let distance = |node: &NodeRow| self.distance(node);
            known(view, digest, self.me.node, &self.me.region, &distance)
        })
    }

    /// Whether placement wants a copy on this node that is not there.
    pub(crate) fn lacks(&self, digest: &Digest) -> Result<bool, ViewError> {
        let own = StoreId::from(self.me.node);
        self.consensus.local().read(|view| {
            let topology = Topology::read(view)?;
            Ok(missing(view, &topology, digest)?.is_some_and(|missing| missing.stores.contains(&own)))
        })
    }

    /// Tries a node last for a while.
    pub(crate) fn accuse(&self, node: NodeId, span: Duration) {
        self.suspects.accuse(node, span, Instant::now());
    }

    /// The smaller, the earlier it is asked.
    fn distance(&self, node: &NodeRow) -> Distance {
        let tier = match () {
            () if node.region == self.me.region && node.zone == self.me.zone => Tier::Zone,
            () if node.region == self.me.region => Tier::Region,
            () => Tier::Elsewhere,
        };
        let rtt = self.peers.health(node.id).and_then(|health| health.rtt).unwrap_or(Duration::MAX);
        Distance { suspect: self.suspects.has(node.id, Instant::now()), tier, rtt, node: node.id }
    }
}

/// How near a node is; its fields are compared in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Distance {
    suspect: bool,
    tier: Tier,
    rtt: Duration,
    node: NodeId,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Tier {
    Zone,
    Region,
    Elsewhere,
}

/// See [`Holders::of`]. Pure but for `distance`, which knows what was measured.
fn known(
    view: &dyn View,
    digest: &Digest,
    me: NodeId,
    my_region: &str,
    distance: &dyn Fn(&NodeRow) -> Distance,
) -> Result<Option<Known>, ViewError> {
    let Some(blob) = query::blob(view, digest)?.filter(|blob| blob.state == BlobState::Live) else {
        return Ok(None);
    };
    let mut locations = query::locations(view, digest)?;
    locations.retain(|location| location.generation == blob.generation);
    let own_store = StoreId::from(me);
    let nodes = query::nodes(view)?;
    let topology = Topology::read(view)?;
    let holds = |node: &NodeRow| locations.iter().any(|location| location.store == StoreId::from(node.id));
    let answers = |node: &NodeRow| matches!(node.state, NodeState::Up | NodeState::Draining);

    let mut peers: Vec<(bool, Distance, &NodeRow)> = nodes
        .iter()
        .filter(|node| node.id != me && node.role == Role::Full)
        .map(|node| (!(holds(node) && answers(node)), distance(node), node))
        .collect();
    peers.sort_by_key(|(last, distance, _)| (*last, *distance));
    let mut candidates: Vec<Candidate> =
        peers.iter().map(|(_, _, node)| Candidate { node: node.id, relay: false }).collect();

    let near = |node: &&NodeRow| node.region == my_region && answers(node);
    let held_nearby = nodes.iter().filter(near).any(|node| node.id != me && holds(node) && !distance(node).suspect);
    if !held_nearby && !locations.is_empty() {
        // The first target of the region crosses the WAN; the region's other nodes read through it.
        let targets = placement::targets(digest, &topology);
        let first =
            targets.iter().find_map(|store| nodes.iter().filter(near).find(|node| StoreId::from(node.id) == *store));
        if let Some(node) = first.filter(|node| node.id != me && !distance(node).suspect) {
            candidates.insert(0, Candidate { node: node.id, relay: true });
        }
    }
    Ok(Some(Known {
        size: blob.size,
        generation: blob.generation,
        own: locations.iter().filter(|location| location.store == own_store).map(|location| location.file).collect(),
        recorded: !locations.is_empty(),
        candidates,
        keeps: nodes.iter().any(|node| node.id == me && node.role == Role::Full),
    }))
}

/// Which targets of a blob lack it: targets minus facts.
pub(crate) fn missing(view: &dyn View, topology: &Topology, digest: &Digest) -> Result<Option<Missing>, ViewError> {
    let Some(blob) = query::blob(view, digest)?.filter(|blob| blob.state == BlobState::Live) else {
        return Ok(None);
    };
    let mut locations = query::locations(view, digest)?;
    locations.retain(|location| location.generation == blob.generation);
    let holders: Vec<StoreId> = locations.iter().map(|location| location.store).collect();
    let mut stores = placement::targets(digest, topology);
    stores.retain(|store| !holders.contains(store));
    Ok((!stores.is_empty()).then_some(Missing { size: blob.size, at_ms: blob.at_ms, holders, stores }))
}

#[cfg(test)]
mod tests;
