//! Which files of earlier starts no location tells of, one folder at a time.

use portolan_consensus::Consensus;
use portolan_meta::id::{FileId, StoreId};
use portolan_meta::query;
use portolan_meta::view::ViewError;
use portolan_oci::Digest;
use portolan_store::{Blobs, StoreError};
use std::collections::HashSet;

/// How many rows of the state are read at once.
const PAGE: usize = 4_096;

/// The files in a digest's folder that an earlier start made, in order. Blocks for a listing.
pub(crate) fn earlier_files(blobs: &Blobs, beside: &Digest) -> Result<Vec<(Digest, FileId)>, StoreError> {
    let mut files = blobs.files_beside(beside)?;
    files.retain(|(_, file)| blobs.is_of_earlier_start(*file));
    files.sort_unstable();
    Ok(files)
}

/// Which of these files, in their order, have a location in a store.
pub(crate) fn recorded(
    consensus: &Consensus,
    store: StoreId,
    files: &[(Digest, FileId)],
) -> Result<HashSet<(Digest, FileId)>, ViewError> {
    let (Some((first, _)), Some((last, _))) = (files.first(), files.last()) else { return Ok(HashSet::new()) };
    consensus.local().read(|view| {
        let mut recorded = HashSet::with_capacity(files.len());
        // No file has this id, so that the first digest's own are among what follows.
        let mut after = (*first, FileId(0));
        loop {
            let page = query::copies_in(view, store, Some((&after.0, after.1)), PAGE)?;
            recorded.extend(page.iter().map(|copy| (copy.digest, copy.file)));
            match page.last() {
                Some(copy) if page.len() == PAGE && copy.digest <= *last => after = (copy.digest, copy.file),
                _ => return Ok(recorded),
            }
        }
    })
}
