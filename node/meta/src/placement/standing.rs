//! Targets against facts: what a blob lacks, what it has too much of, and what its loss hangs on.

use super::topology::Topology;
use super::wanted::wanted;
use crate::id::{FileId, StoreId};
use crate::query;
use crate::row::{BlobState, NodeState};
use crate::view::{View, ViewError};
use portolan_oci::Digest;
use std::collections::BTreeSet;

/// How a Live blob stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its length in bytes.
    pub size: u64,
    /// Its generation; a copy is confirmed for this one only.
    pub generation: u64,
    /// When it was committed, by the state's clock.
    pub at_ms: u64,
    /// Whether any repository shows it.
    pub is_shown: bool,
    /// The stores that hold it.
    pub holders: Vec<StoreId>,
    /// On how many nodes that answer.
    pub live_copies: usize,
    /// The region that all of those are in, when it is one: with it the blob would go.
    pub lone_region: Option<String>,
    /// The regions of the holders when none of them answers: nobody can read the blob until one of these is back. Empty
    /// while one answers.
    pub silent_regions: BTreeSet<String>,
    /// The targets that lack it: the deficit.
    pub missing: Vec<StoreId>,
    /// The files that no target needs: the surplus. Whether one may be dropped is for the apply of the drop to say.
    pub surplus: Vec<(StoreId, FileId)>,
    /// The regions of surplus files that must not store the blob at all.
    pub barred: BTreeSet<String>,
}

/// How a blob stands; `None` when no Live one has the digest. Whether anybody has it to fetch is another question.
///
/// # Errors
/// What the view fails with, or [`ViewError::Corrupt`].
pub fn standing(view: &dyn View, topology: &Topology, digest: &Digest) -> Result<Option<Standing>, ViewError> {
    let Some(row) = query::blob(view, digest)?.filter(|row| row.state == BlobState::Live) else {
        return Ok(None);
    };
    let wanted = wanted(view, topology, digest)?;
    let mut copies = query::locations(view, digest)?;
    copies.retain(|copy| copy.generation == row.generation);
    let holders: Vec<StoreId> = copies.iter().map(|copy| copy.store).collect();
    let owners = || copies.iter().filter_map(|copy| topology.owner(copy.store));
    let live: BTreeSet<_> = owners().filter(|node| answers(node.state)).map(|node| (&node.region, node.id)).collect();
    let regions: BTreeSet<&String> = live.iter().map(|(region, _)| *region).collect();
    let silent = owners().filter(|_| live.is_empty());
    let surplus: Vec<_> = copies.iter().filter(|copy| !wanted.targets.contains(&copy.store)).collect();
    let region_of = |store| topology.owner(store).map(|node| node.region.as_str());
    let barred = surplus.iter().filter_map(|copy| region_of(copy.store)).filter(|region| !wanted.may_store(region));
    Ok(Some(Standing {
        size: row.size,
        generation: row.generation,
        at_ms: row.at_ms,
        is_shown: !wanted.copies.is_empty(),
        live_copies: live.len(),
        lone_region: regions.first().filter(|_| regions.len() == 1).map(|region| (*region).clone()),
        silent_regions: silent.map(|node| node.region.clone()).collect(),
        missing: wanted.targets.iter().copied().filter(|target| !holders.contains(target)).collect(),
        barred: barred.map(str::to_owned).collect(),
        surplus: surplus.iter().map(|copy| (copy.store, copy.file)).collect(),
        holders,
    }))
}

/// Whether a copy on a node in this state can be read.
pub(super) fn answers(state: NodeState) -> bool {
    matches!(state, NodeState::Up | NodeState::Draining)
}

/// Whether dropping a store's copy leaves one in every current target, each of them on a node that answers. Without
/// targets nothing may be dropped.
///
/// # Errors
/// What the view fails with, or [`ViewError::Corrupt`].
pub fn is_surplus(view: &dyn View, topology: &Topology, store: StoreId, digest: &Digest) -> Result<bool, ViewError> {
    let Some(row) = query::blob(view, digest)?.filter(|row| row.state == BlobState::Live) else {
        return Ok(false);
    };
    let targets = wanted(view, topology, digest)?.targets;
    let copies = query::locations(view, digest)?;
    let counts = |target: &StoreId| {
        let held = copies.iter().any(|copy| copy.store == *target && copy.generation == row.generation);
        held && topology.owner(*target).is_some_and(|node| answers(node.state))
    };
    Ok(!targets.is_empty() && targets.iter().all(|target| *target != store && counts(target)))
}
