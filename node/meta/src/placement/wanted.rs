//! Which stores shall hold a blob: what the policies of the repositories that show it want, together.

use super::rendezvous;
use super::topology::Topology;
use crate::family::Family;
use crate::id::{RepoId, StoreId};
use crate::key;
use crate::limits;
use crate::policy::Policy;
use crate::query;
use crate::row::ChildKind;
use crate::view::{View, ViewError};
use portolan_oci::Digest;
use std::collections::{BTreeMap, BTreeSet};

/// Where one blob shall lie. A blob that several repositories show is wanted wherever one of them wants it, and may be
/// stored wherever one of them allows it: residency binds what only such repositories show. A blob that no repository
/// shows is wanted nowhere.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// The stores, regions in lexical order, in each the best first.
    pub targets: Vec<StoreId>,
    /// How many copies each region shall have; a region that wants none is not in it.
    pub copies: BTreeMap<String, u32>,
    /// The regions in which no copy may be stored.
    barred: BTreeSet<String>,
}

impl Wanted {
    /// Whether a copy may be stored in a region.
    #[must_use]
    pub fn may_store(&self, region: &str) -> bool {
        !self.barred.contains(region)
    }
}

/// Where a blob shall lie now: a pure function of its repositories, their policies and the topology.
///
/// # Errors
/// What the view fails with, or [`ViewError::Corrupt`].
pub fn wanted(view: &dyn View, topology: &Topology, digest: &Digest) -> Result<Wanted, ViewError> {
    let mut union = Union::new(topology);
    for_each_repo(view, digest, |repo| {
        // Without policies the name says nothing.
        let name = if topology.policies().is_empty() { None } else { query::repo_name(view, repo)? };
        let policy = name.map_or_else(Policy::default, |name| topology.policies().of(&name));
        union.add(&policy);
        Ok(!union.is_full())
    })?;
    Ok(union.finish(digest))
}

/// The stores that a policy alone would want a blob in.
#[must_use]
pub fn targets(digest: &Digest, topology: &Topology, policy: &Policy) -> Vec<StoreId> {
    let mut union = Union::new(topology);
    union.add(policy);
    union.finish(digest).targets
}

/// What several policies want together.
struct Union<'a> {
    topology: &'a Topology,
    most: u32,
    copies: BTreeMap<String, u32>,
    allowed: BTreeSet<String>,
}

impl<'a> Union<'a> {
    fn new(topology: &'a Topology) -> Self {
        let most = topology.policies().most_copies();
        Self { topology, most, copies: BTreeMap::new(), allowed: BTreeSet::new() }
    }

    fn add(&mut self, policy: &Policy) {
        for region in self.topology.all_regions() {
            if policy.regions.allow(region) {
                self.allowed.insert(region.to_owned());
            }
            if policy.regions.want(region) {
                let copies = self.copies.entry(region.to_owned()).or_default();
                *copies = policy.copies.max(*copies);
            }
        }
    }

    /// Whether no further policy can add anything.
    fn is_full(&self) -> bool {
        self.topology.all_regions().all(|region| self.copies.get(region).is_some_and(|copies| *copies >= self.most))
    }

    fn finish(self, digest: &Digest) -> Wanted {
        let best = |(region, copies): (&String, &u32)| {
            rendezvous::best(digest, self.topology.stores_in(region), usize::try_from(*copies).unwrap_or(usize::MAX))
        };
        let targets = self.copies.iter().flat_map(best).collect();
        let barred = self.topology.all_regions().filter(|region| !self.allowed.contains(*region));
        Wanted { targets, barred: barred.map(str::to_owned).collect(), copies: self.copies }
    }
}

/// Calls `each` for every repository that has an edge to the blob or a pin of it, expired ones too: that a pin's time
/// has come changes no row, so that nobody would notice. Stops when it answers false, and after
/// [`limits::PLACEMENT_REPOS`].
fn for_each_repo(
    view: &dyn View,
    digest: &Digest,
    mut each: impl FnMut(RepoId) -> Result<bool, ViewError>,
) -> Result<(), ViewError> {
    let mut after = None;
    for _ in 0..limits::PLACEMENT_REPOS {
        let prefixes = [(Family::Edges, key::edges(ChildKind::Blob, digest)), (Family::Pins, key::pins(digest))];
        let mut next = None;
        for (family, prefix) in prefixes {
            next = [next, query::repo_after(view, family, &prefix, after)?].into_iter().flatten().min();
        }
        let Some(repo) = next else { return Ok(()) };
        if !each(repo)? {
            return Ok(());
        }
        after = Some(repo);
    }
    Ok(())
}
