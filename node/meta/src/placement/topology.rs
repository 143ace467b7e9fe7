//! Nodes, stores and policies at one moment: what placement is computed from.

use super::rendezvous;
use super::union::Union;
use crate::id::{NodeId, RepoId, StoreId};
use crate::policies::Policies;
use crate::policy::{Policy, Regions};
use crate::query;
use crate::row::{NodeRow, NodeState, Role, StoreRow};
use crate::view::{View, ViewError};
use portolan_oci::Digest;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

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
    /// The regions that have a full node, in lexical order.
    all_regions: Vec<String>,
    remembered: Remembered,
}

/// What follows from the rest, and is computed when it is first asked for.
#[derive(Debug, Default)]
struct Remembered {
    /// What all policies that a repository may have want together.
    most: OnceLock<Union>,
    /// What holds for a repository. One that is gone has no name, and nothing that its blobs could be found by.
    policies: Mutex<HashMap<RepoId, Arc<Policy>>>,
}

/// How many repositories' policies are remembered.
const REMEMBERED_REPOS: usize = 10_000;

impl Clone for Remembered {
    fn clone(&self) -> Self {
        Self::default()
    }
}

impl PartialEq for Remembered {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Remembered {}

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
        let regions = nodes.values().filter(|node| node.role == Role::Full).map(|node| node.region.clone());
        let all_regions = regions.collect::<BTreeSet<_>>().into_iter().collect();
        let (policies, remembered) = (Policies::default(), Remembered::default());
        Self { policies, nodes, stores, candidates, all_regions, remembered }
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
        self.all_regions.iter().map(String::as_str)
    }

    /// [`Topology::all_regions`].
    pub(super) fn region_names(&self) -> &[String] {
        &self.all_regions
    }

    /// What holds for a repository.
    ///
    /// # Errors
    /// What the view fails with, or [`ViewError::Corrupt`].
    pub(super) fn policy_of(&self, view: &dyn View, repo: RepoId) -> Result<Arc<Policy>, ViewError> {
        let remembered = || self.remembered.policies.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = remembered().get(&repo) {
            return Ok(Arc::clone(known));
        }
        // Without policies the name says nothing.
        let name = if self.policies.is_empty() { None } else { query::repo_name(view, repo)? };
        let policy = Arc::new(name.map_or_else(Policy::default, |name| self.policies.of(&name)));
        let mut policies = remembered();
        if policies.len() < REMEMBERED_REPOS {
            policies.insert(repo, Arc::clone(&policy));
        }
        Ok(policy)
    }

    /// What all policies want together that a repository may have: no blob is wanted in more places.
    pub(super) fn most(&self) -> &Union {
        self.remembered.most.get_or_init(|| Union::of_all(&self.policies, &self.all_regions))
    }

    /// Whether any policy forbids copies somewhere.
    pub(super) fn confines(&self) -> bool {
        let confines = |regions: &Regions| matches!(regions, Regions::NeverOutside(_));
        self.policies.iter().any(|(_, row)| row.regions.as_ref().is_some_and(confines))
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
