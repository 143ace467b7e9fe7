//! Where blobs shall lie: a pure function of topology and digest, so that no two nodes disagree.

mod rendezvous;
#[cfg(test)]
mod tests;
mod voters;

use crate::id::{NodeId, StoreId};
use crate::query;
use crate::row::{AckPolicy, BlobState, NodeRow, NodeState, RepoRow, Role, StoreRow};
use crate::view::{View, ViewError};
use portolan_oci::Digest;
use std::collections::{BTreeMap, BTreeSet};

pub use voters::voters;

/// How many stores of a region hold each blob, where the region has as many.
pub const COPIES_PER_REGION: usize = 2;

/// The weight of a node's disk: all are equal until they say their size.
pub const DISK_WEIGHT: u32 = 100;

/// Nodes and stores at one moment of the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    nodes: BTreeMap<NodeId, NodeRow>,
    stores: BTreeMap<StoreId, StoreRow>,
    /// The stores that may be targets, with their weights, by region.
    candidates: BTreeMap<String, Vec<(StoreId, u32)>>,
}

/// A blob that a store should hold and does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deficit {
    /// The blob.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// Its generation; a copy is confirmed for this one only.
    pub generation: u64,
}

impl Topology {
    /// Reads it.
    ///
    /// # Errors
    /// What the view fails with, or [`ViewError::Corrupt`].
    pub fn read(view: &dyn View) -> Result<Self, ViewError> {
        Ok(Self::new(query::nodes(view)?, query::stores(view)?))
    }

    /// Builds it from its rows.
    #[must_use]
    pub fn new(nodes: Vec<NodeRow>, stores: Vec<(StoreId, StoreRow)>) -> Self {
        let nodes: BTreeMap<NodeId, NodeRow> = nodes.into_iter().map(|node| (node.id, node)).collect();
        let stores: BTreeMap<StoreId, StoreRow> = stores.into_iter().collect();
        let mut candidates: BTreeMap<String, Vec<(StoreId, u32)>> = BTreeMap::new();
        for (&id, store) in &stores {
            let StoreRow::Disk { node, weight } = store;
            if let Some(node) = nodes.get(node).filter(|node| may_be_target(node)) {
                candidates.entry(node.region.clone()).or_default().push((id, *weight));
            }
        }
        Self { nodes, stores, candidates }
    }

    /// A node's row.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&NodeRow> {
        self.nodes.get(&id)
    }

    /// All nodes, by id.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeRow> {
        self.nodes.values()
    }

    /// The node whose disk a store is.
    #[must_use]
    pub fn owner(&self, store: StoreId) -> Option<&NodeRow> {
        let StoreRow::Disk { node, .. } = self.stores.get(&store)?;
        self.nodes.get(node)
    }

    /// The regions that hold blobs, in lexical order.
    pub fn regions(&self) -> impl Iterator<Item = &str> {
        self.candidates.keys().map(String::as_str)
    }

    /// How many full nodes a region has; those that are out or leave do not count, those that are silent for a
    /// moment do.
    #[must_use]
    pub fn full_nodes(&self, region: &str) -> usize {
        self.candidates.get(region).map_or(0, Vec::len)
    }

    /// How many of them are up, so that a copy there counts.
    #[must_use]
    pub fn full_nodes_up(&self, region: &str) -> usize {
        let stores = self.candidates.get(region).map_or(&[][..], Vec::as_slice);
        let up = |store: &StoreId| self.owner(*store).is_some_and(|node| node.state == NodeState::Up);
        stores.iter().filter(|(store, _)| up(store)).count()
    }
}

/// Full, and neither gone nor going. A node that is down keeps its targets: flapping moves nothing.
fn may_be_target(node: &NodeRow) -> bool {
    node.role == Role::Full && matches!(node.state, NodeState::Up | NodeState::Down)
}

/// The stores that shall hold a blob: in each region the [`COPIES_PER_REGION`] (or as many as there are) that
/// weighted rendezvous hashing prefers, best first, regions in lexical order.
#[must_use]
pub fn targets(digest: &Digest, topology: &Topology) -> Vec<StoreId> {
    let regions = topology.candidates.values();
    regions.flat_map(|stores| rendezvous::best(digest, stores, COPIES_PER_REGION)).collect()
}

/// What a store lacks of a blob, if anything: the blob is Live, the store is a target, and it has no copy. Whether
/// anybody has one to fetch is another question.
///
/// # Errors
/// What the view fails with, or [`ViewError::Corrupt`].
pub fn lacks(
    view: &dyn View,
    topology: &Topology,
    store: StoreId,
    digest: &Digest,
) -> Result<Option<Deficit>, ViewError> {
    let Some(owner) = topology.owner(store) else {
        return Ok(None);
    };
    let in_region = topology.candidates.get(&owner.region).map_or(&[][..], Vec::as_slice);
    if !rendezvous::best(digest, in_region, COPIES_PER_REGION).contains(&store) {
        return Ok(None);
    }
    let Some(row) = query::blob(view, digest)?.filter(|row| row.state == BlobState::Live) else {
        return Ok(None);
    };
    if query::copy_in(view, digest, store)?.is_some() {
        return Ok(None);
    }
    Ok(Some(Deficit { digest: *digest, size: row.size, generation: row.generation }))
}

/// Whether dropping a store's copy leaves one in every current target. Without targets nothing may be dropped.
///
/// # Errors
/// What the view fails with, or [`ViewError::Corrupt`].
pub fn is_surplus(view: &dyn View, topology: &Topology, store: StoreId, digest: &Digest) -> Result<bool, ViewError> {
    let targets = targets(digest, topology);
    let holders: BTreeSet<StoreId> = query::locations(view, digest)?.iter().map(|copy| copy.store).collect();
    Ok(!targets.is_empty() && targets.iter().all(|target| *target != store && holders.contains(target)))
}

/// The policy of a repository that has none of its own, pushed to in a region with so many full nodes that are up: two
/// of them where there are two. One region suffices.
///
/// Nodes that are down are not waited for: a copy there would not count, so a region of two nodes could take no push
/// until the lost one is out. It takes them with one copy, as a region of one node does; the second is made when the
/// node is back. Who wants pushes to fail rather than that writes the policy into the repository.
#[must_use]
pub const fn default_ack(full_nodes_up: usize) -> AckPolicy {
    AckPolicy { regions: 1, copies: if full_nodes_up >= 2 { 2 } else { 1 } }
}

/// The policy that a put through this node has to meet: the repository's own, or the default of the node's region.
#[must_use]
pub fn ack_policy(topology: &Topology, repo: Option<&RepoRow>, proposer: NodeId) -> AckPolicy {
    repo.and_then(|repo| repo.ack).unwrap_or_else(|| {
        let region = topology.node(proposer).map_or("", |node| node.region.as_str());
        default_ack(topology.full_nodes_up(region))
    })
}

/// On how many nodes of each region a blob is durable; nodes that are down or out do not count, and a blob that is
/// not Live is durable nowhere.
///
/// # Errors
/// What the view fails with, or [`ViewError::Corrupt`].
pub fn durability(view: &dyn View, topology: &Topology, digest: &Digest) -> Result<BTreeMap<String, u32>, ViewError> {
    let mut regions = BTreeMap::new();
    let Some(row) = query::blob(view, digest)?.filter(|row| row.state == BlobState::Live) else {
        return Ok(regions);
    };
    let mut counted = BTreeSet::new();
    for copy in query::locations(view, digest)? {
        let Some(owner) = topology.owner(copy.store) else {
            continue;
        };
        let counts = matches!(owner.state, NodeState::Up | NodeState::Draining) && copy.generation == row.generation;
        if counts && counted.insert(owner.id) {
            *regions.entry(owner.region.clone()).or_default() += 1;
        }
    }
    Ok(regions)
}

/// Whether a blob is durable enough for a policy: on `copies` nodes in each of `regions` regions.
///
/// # Errors
/// What the view fails with, or [`ViewError::Corrupt`].
pub fn durable(view: &dyn View, topology: &Topology, digest: &Digest, policy: AckPolicy) -> Result<bool, ViewError> {
    let regions = durability(view, topology, digest)?;
    let enough = regions.values().filter(|copies| **copies >= policy.copies).count();
    Ok(enough >= policy.regions as usize)
}
