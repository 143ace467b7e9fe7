//! Nodes, stores and policies at one moment: what placement is computed from.

use super::rendezvous;
use crate::id::{NodeId, StoreId};
use crate::policies::Policies;
use crate::query;
use crate::row::{NodeRow, NodeState, Role, StoreRow};
use crate::view::{View, ViewError};
use portolan_oci::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// The weight of a node's disk: all are equal until they say their size.
pub const DISK_WEIGHT: u32 = 100;

/// Nodes, stores and policies at one moment of the state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Topology {
    policies: Policies,
    nodes: BTreeMap<NodeId, NodeRow>,
    stores: BTreeMap<StoreId, StoreRow>,
    /// The stores that may be targets, with their weights, by region.
    candidates: BTreeMap<String, Vec<(StoreId, u32)>>,
}

impl Topology {
    /// Reads it.
    ///
    /// # Errors
    /// What the view fails with, or [`ViewError::Corrupt`].
    pub fn read(view: &dyn View) -> Result<Self, ViewError> {
        Ok(Self { policies: Policies::read(view)?, ..Self::new(query::nodes(view)?, query::stores(view)?) })
    }

    /// Builds it from its rows, without policies.
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
        Self { policies: Policies::default(), nodes, stores, candidates }
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

    /// What is wanted per repository prefix.
    #[must_use]
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    /// The regions that have a full node, in lexical order, also when none of them counts at the moment.
    pub fn all_regions(&self) -> impl Iterator<Item = &str> {
        let regions = self.nodes.values().filter(|node| node.role == Role::Full).map(|node| node.region.as_str());
        regions.collect::<BTreeSet<_>>().into_iter()
    }

    /// The stores of a region that may be targets, with their weights.
    pub(super) fn stores_in(&self, region: &str) -> &[(StoreId, u32)] {
        self.candidates.get(region).map_or(&[], Vec::as_slice)
    }

    /// Some stores of a region for a digest, best first, whether or not a policy wants a copy there: who does for the
    /// region what only one node shall do. Nodes that `healthy` refuses are passed over.
    #[must_use]
    pub fn elect(&self, digest: &Digest, region: &str, healthy: impl Fn(&NodeRow) -> bool) -> Option<NodeId> {
        let stores = self.stores_in(region);
        let preferred = rendezvous::best(digest, stores, stores.len()).into_iter();
        preferred.filter_map(|store| self.owner(store)).find(|node| healthy(node)).map(|node| node.id)
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
