//! Copies that replication made, and copies that are no more.

use super::tx::{Tx, refused};
use crate::command::{DropReason, FoundCopy};
use crate::family::Family;
use crate::id::{FileId, StoreId};
use crate::key;
use crate::limits;
use crate::outcome::{Outcome, Refusal};
use crate::placement::{Topology, is_surplus, may_store};
use crate::query;
use crate::row::{BlobState, ReclaimRow};
use crate::view::ViewError;
use portolan_oci::Digest;

/// Confirms copies, each judged alone: the blob must be Live and of the generation that was fetched, the store must not
/// have another file of it, and where policies confine, some repository that shows the blob must allow it there.
pub(super) fn add(tx: &mut Tx<'_>, store: StoreId, found: &[FoundCopy]) -> Result<Outcome, ViewError> {
    if found.len() > limits::LOCATIONS_PER_ADD {
        let what = "copies in one confirmation".to_owned();
        return refused(Refusal::TooMany { what, limit: limits::LOCATIONS_PER_ADD });
    }
    if let Some(refusal) = tx.foreign(store)? {
        return Ok(refusal);
    }
    let topology = Topology::read(tx.view())?;
    let region = topology.owner(store).map_or("", |node| node.region.as_str());
    let mut counted = Vec::with_capacity(found.len());
    for copy in found {
        let blob = query::blob(tx.view(), &copy.digest)?;
        let current = blob.is_some_and(|row| row.state == BlobState::Live && row.generation == copy.generation);
        let held = query::copy_in(tx.view(), &copy.digest, store)?;
        let free =
            held.is_none() && !tx.given_up(store, copy.file)? && may_store(tx.view(), &topology, &copy.digest, region)?;
        if current && free {
            tx.add_location(&copy.digest, store, copy.file, copy.generation);
        }
        counted.push(current && (free || held == Some(copy.file)));
    }
    Ok(Outcome::LocationsAdded(counted))
}

/// Forgets a copy. A surplus file is handed to its owner for unlinking; a damaged one is already in its owner's
/// hands.
pub(super) fn drop(
    tx: &mut Tx<'_>,
    digest: &Digest,
    store: StoreId,
    file: FileId,
    reason: DropReason,
) -> Result<Outcome, ViewError> {
    if let Some(refusal) = tx.foreign(store)? {
        return Ok(refusal);
    }
    if tx.view().get(Family::Loc, &key::location(digest, store, file))?.is_none() {
        return refused(Refusal::UnknownLocation);
    }
    if reason == DropReason::Surplus {
        let topology = Topology::read(tx.view())?;
        if !is_surplus(tx.view(), &topology, store, digest)? {
            return refused(Refusal::TargetLacks);
        }
        tx.put(Family::Reclaim, key::reclaim(store, file), &ReclaimRow { digest: *digest });
    }
    tx.remove_location(digest, store, file);
    Ok(Outcome::Done)
}

/// Forgets files that their owner has unlinked. What was never handed over, or was forgotten before, is no error.
pub(super) fn unlinked(tx: &mut Tx<'_>, store: StoreId, files: &[FileId]) -> Result<Outcome, ViewError> {
    if files.len() > limits::LOCATIONS_PER_ADD {
        let what = "files in one command".to_owned();
        return refused(Refusal::TooMany { what, limit: limits::LOCATIONS_PER_ADD });
    }
    if let Some(refusal) = tx.foreign(store)? {
        return Ok(refusal);
    }
    for file in files {
        tx.delete(Family::Reclaim, key::reclaim(store, *file));
    }
    Ok(Outcome::Done)
}
