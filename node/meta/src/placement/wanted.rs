//! Which stores shall hold a blob: what the policies of the repositories that show it want, together.

use super::rendezvous;
use super::topology::Topology;
use super::union::Union;
use crate::family::Family;
use crate::id::{RepoId, StoreId};
use crate::key;
use crate::limits;
use crate::policy::Policy;
use crate::query;
use crate::row::ChildKind;
use crate::view::{View, ViewError};
use portolan_oci::Digest;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

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
    let mut union = Union::default();
    for_each_policy(view, topology, digest, |policy| {
        union.add(topology.region_names(), &policy.regions, policy.copies);
        // Once it is what all policies want together, no further repository can add anything.
        union != *topology.most()
    })?;
    Ok(finish(union, topology, digest))
}

/// Whether a copy of a blob may be stored in a region: [`Wanted::may_store`], without looking at its repositories where no
/// policy forbids anything.
///
/// # Errors
/// What the view fails with, or [`ViewError::Corrupt`].
pub fn may_store(view: &dyn View, topology: &Topology, digest: &Digest, region: &str) -> Result<bool, ViewError> {
    if !topology.confines() || !topology.all_regions().any(|known| known == region) {
        return Ok(true);
    }
    let mut allowed = false;
    for_each_policy(view, topology, digest, |policy| {
        allowed = policy.regions.allow(region);
        !allowed
    })?;
    Ok(allowed)
}

/// The stores that a policy alone would want a blob in.
#[must_use]
pub fn targets(digest: &Digest, topology: &Topology, policy: &Policy) -> Vec<StoreId> {
    let mut union = Union::default();
    union.add(topology.region_names(), &policy.regions, policy.copies);
    finish(union, topology, digest).targets
}

fn finish(union: Union, topology: &Topology, digest: &Digest) -> Wanted {
    let best = |(region, copies): (&String, &u32)| {
        rendezvous::best(digest, topology.stores_in(region), usize::try_from(*copies).unwrap_or(usize::MAX))
    };
    let targets = union.copies.iter().flat_map(best).collect();
    let barred = topology.all_regions().filter(|region| !union.allowed.contains(*region));
    Wanted { targets, barred: barred.map(str::to_owned).collect(), copies: union.copies }
}

/// Calls `each` with the policy of every repository that shows a blob, until it answers false.
fn for_each_policy(
    view: &dyn View,
    topology: &Topology,
    digest: &Digest,
    mut each: impl FnMut(&Policy) -> bool,
) -> Result<(), ViewError> {
    for_each_repo(view, digest, |repo| Ok(each(&*topology.policy_of(view, repo)?)))
}

/// How many rows of a blob's repositories are read at first: most blobs have fewer.
const FIRST_ROWS: usize = 4;
/// How many then.
const MORE_ROWS: usize = 64;

/// Calls `each` for every repository that has an edge to the blob or a pin of it, expired ones too: that a pin's time
/// has come changes no row, so that nobody would notice. Stops when it answers false, and after
/// [`limits::PLACEMENT_REPOS`].
fn for_each_repo(
    view: &dyn View,
    digest: &Digest,
    mut each: impl FnMut(RepoId) -> Result<bool, ViewError>,
) -> Result<(), ViewError> {
    let mut edges = Repos::new(view, Family::Edges, key::edges(ChildKind::Blob, digest));
    let mut pins = Repos::new(view, Family::Pins, key::pins(digest));
    let mut after = None;
    for _ in 0..limits::PLACEMENT_REPOS {
        let Some(repo) = [edges.next(after)?, pins.next(after)?].into_iter().flatten().min() else { return Ok(()) };
        if !each(repo)? {
            return Ok(());
        }
        after = Some(repo);
    }
    Ok(())
}

/// The repositories in rows whose key goes on with one behind a prefix, read some rows at a time.
struct Repos<'a> {
    view: &'a dyn View,
    family: Family,
    prefix: Vec<u8>,
    /// Read and not left behind yet, in ascending order.
    read: VecDeque<RepoId>,
    /// The last of the rows that were read; `None` before the first.
    last: Option<RepoId>,
    is_at_end: bool,
}

impl<'a> Repos<'a> {
    fn new(view: &'a dyn View, family: Family, prefix: Vec<u8>) -> Self {
        Self { view, family, prefix, read: VecDeque::new(), last: None, is_at_end: false }
    }

    /// The first one after another one; what comes before it is left behind.
    fn next(&mut self, after: Option<RepoId>) -> Result<Option<RepoId>, ViewError> {
        loop {
            while self.read.front().is_some_and(|repo| Some(*repo) <= after) {
                self.read.pop_front();
            }
            if !self.read.is_empty() || self.is_at_end {
                return Ok(self.read.front().copied());
            }
            let limit = if self.last.is_none() { FIRST_ROWS } else { MORE_ROWS };
            let rows = query::repos_after(self.view, self.family, &self.prefix, after.max(self.last), limit)?;
            self.is_at_end = rows.len() < limit;
            self.last = rows.last().copied().max(self.last);
            self.read.extend(rows);
        }
    }
}
