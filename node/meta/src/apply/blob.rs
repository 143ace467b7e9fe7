//! Blobs: uploads and mounts.

use super::tx::{Tx, refused};
use crate::family::Family;
use crate::id::{FileId, StoreId};
use crate::key;
use crate::outcome::{Outcome, Refusal};
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
}

/// An upload's bytes are durable: the blob becomes (or stays) Live, the file counts unless the store already has one,
/// and a pin makes it visible.
pub(super) fn commit(tx: &mut Tx<'_>, name: &RepoName, upload: &Upload, pin_ms: u64) -> Result<Outcome, ViewError> {
    if let Some(refusal) = tx.foreign(upload.store)? {
        return Ok(refusal);
    }
    let digest = &upload.digest;
    let known = query::blob(tx.view(), digest)?;
    if let Some(other) = known.as_ref().filter(|row| row.size != upload.size) {
        return refused(Refusal::OtherSize { recorded: other.size });
    }
    let (generation, file) = match known {
        Some(row) if row.state == BlobState::Live => match query::copy_in(tx.view(), digest, upload.store)? {
            Some(held) => (row.generation, held),
            None => {
                tx.add_location(digest, upload.store, upload.file, row.generation);
                (row.generation, upload.file)
            }
        },
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

fn make_live(tx: &mut Tx<'_>, upload: &Upload) {
    let row = BlobRow { size: upload.size, state: BlobState::Live, generation: tx.index, at_ms: tx.now_ms };
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
