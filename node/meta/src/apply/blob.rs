//! Blobs: uploads and mounts.

use super::tx::{Tx, refused};
use crate::family::Family;
use crate::id::{FileId, NodeId, StoreId};
use crate::key;
use crate::outcome::{Outcome, Refusal};
use crate::policies::Policies;
use crate::query;
use crate::row::{BlobRow, BlobState, ReclaimRow};
use crate::view::ViewError;
use portolan_oci::{Digest, RepoName};

/// A file that an upload left in a store.
pub(super) struct Upload {
    pub(super) digest: Digest,
    pub(super) size: u64,
    pub(super) store: StoreId,
    pub(super) file: FileId,
    pub(super) sums: Option<Digest>,
}

/// An upload's bytes are durable: the blob becomes (or stays) Live, the file counts unless the store already has one,
/// and a pin makes it visible.
pub(super) fn commit(tx: &mut Tx<'_>, name: &RepoName, upload: &Upload, pin_ms: u64) -> Result<Outcome, ViewError> {
    if let Some(refusal) = tx.foreign(upload.store)? {
        return Ok(refusal);
    }
    if let Some(refusal) = barred(tx, name, upload.store)? {
        return refused(refusal);
    }
    let digest = &upload.digest;
    let known = query::blob(tx.view(), digest)?;
    if let Some(other) = known.as_ref().filter(|row| row.size != upload.size) {
        return refused(Refusal::OtherSize { recorded: other.size });
    }
    let (generation, file) = match known {
        Some(row) if row.state == BlobState::Live => {
            let generation = row.generation;
            if row.sums.is_none() && upload.sums.is_some() {
                tx.put(Family::Blobs, key::blob(digest), &BlobRow { sums: upload.sums, ..row });
            }
            match query::copy_in(tx.view(), digest, upload.store)? {
                Some(held) => (generation, held),
                None => {
                    tx.add_location(digest, upload.store, upload.file, generation);
                    (generation, upload.file)
                }
            }
        }
        known => {
            if known.is_some() {
                give_up_copies(tx, digest)?;
            }
            make_live(tx, upload);
            (tx.index, upload.file)
        }
    };
    if tx.given_up(upload.store, file)? {
        return refused(Refusal::FileGivenUp);
    }
    let repo = tx.repo_or_new(name)?;
    tx.pin(digest, repo.id, pin_ms)?;
    Ok(Outcome::BlobCommitted { generation, file })
}

/// Why a repository's bytes must not be stored in that store, if so.
fn barred(tx: &Tx<'_>, name: &RepoName, store: StoreId) -> Result<Option<Refusal>, ViewError> {
    let policies = Policies::read(tx.view())?;
    if policies.is_empty() {
        return Ok(None);
    }
    let owner = query::node(tx.view(), NodeId(store.0))?;
    let (regions, region) = (policies.of(name).regions, owner.map(|node| node.region).unwrap_or_default());
    let allowed = || regions.named().into_iter().flatten().cloned().collect();
    Ok((!regions.allow(&region)).then(|| Refusal::Barred { region, allowed: allowed() }))
}

fn make_live(tx: &mut Tx<'_>, upload: &Upload) {
    let (generation, at_ms) = (tx.index, tx.now_ms);
    let row = BlobRow { size: upload.size, state: BlobState::Live, generation, at_ms, sums: upload.sums };
    tx.put(Family::Blobs, key::blob(&upload.digest), &row);
    tx.add_location(&upload.digest, upload.store, upload.file, tx.index);
}

/// Hands all files of a condemned blob to their owners for unlinking: after its revival only the new file counts,
/// since some of the old may be unlinked already.
fn give_up_copies(tx: &mut Tx<'_>, digest: &Digest) -> Result<(), ViewError> {
    for copy in query::locations(tx.view(), digest)? {
        tx.remove_location(digest, copy.store, copy.file);
        tx.put(Family::Reclaim, key::reclaim(copy.store, copy.file), &ReclaimRow { digest: *digest });
    }
    Ok(())
}

/// Makes a blob visible in a repository because another shows it. Whether the caller may pull from that one was
/// decided before the proposal.
pub(super) fn mount(
    tx: &mut Tx<'_>,
    name: &RepoName,
    from: &RepoName,
    digest: &Digest,
    pin_ms: u64,
) -> Result<Outcome, ViewError> {
    let Some(from) = query::repo(tx.view(), from)? else {
        return refused(Refusal::UnknownRepo);
    };
    if query::visible_blob_in(tx.view(), from.id, digest)?.is_none() {
        return refused(Refusal::UnknownBlob);
    }
    let repo = tx.repo_or_new(name)?;
    tx.pin(digest, repo.id, pin_ms)?;
    Ok(Outcome::Done)
}
