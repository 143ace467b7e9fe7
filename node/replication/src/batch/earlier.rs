//! What an earlier start of this node finished and did not announce. A disk may hold millions of files and hardly ever one
//! of these, so that each folder is listed once per start, and only what no location tells of is remembered.

use crate::unlisted::{earlier_files, recorded};
use portolan_consensus::Consensus;
use portolan_meta::id::{FileId, StoreId};
use portolan_oci::{Algorithm, Digest};
use portolan_store::{Blobs, StoreError};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::warn;

/// A folder of blob files: all whose digests are of one algorithm and begin with the same byte.
type Folder = (Algorithm, u8);

/// The unannounced files of earlier starts, folder by folder, as they are asked for.
pub(super) struct Earlier {
    store: StoreId,
    blobs: Arc<Blobs>,
    consensus: Arc<Consensus>,
    folders: Mutex<HashMap<Folder, HashMap<Digest, Vec<FileId>>>>,
}

impl Earlier {
    pub(super) fn new(store: StoreId, blobs: Arc<Blobs>, consensus: Arc<Consensus>) -> Self {
        Self { store, blobs, consensus, folders: Mutex::default() }
    }

    /// Such files of these blobs. Some may be gone by now. Blocks.
    pub(super) fn find(&self, digests: &[Digest]) -> Result<Vec<(Digest, FileId)>, StoreError> {
        let mut folders = self.folders.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = Vec::new();
        for digest in digests {
            let folder = (digest.algorithm(), digest.raw().first().copied().unwrap_or_default());
            let files = match folders.entry(folder) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(self.list(digest)?),
            };
            found.extend(files.get(digest).into_iter().flatten().map(|file| (*digest, *file)));
        }
        Ok(found)
    }

    /// What lies in a digest's folder from before this start and has no location.
    fn list(&self, digest: &Digest) -> Result<HashMap<Digest, Vec<FileId>>, StoreError> {
        let files = earlier_files(&self.blobs, digest)?;
        // Without the state all of them are looked at when they are asked for, which costs but time.
        let recorded = recorded(&self.consensus, self.store, &files).unwrap_or_else(|error| {
            warn!(%error, "the copies of this node could not be read");
            HashSet::new()
        });
        let mut unknown: HashMap<Digest, Vec<FileId>> = HashMap::new();
        for (digest, file) in files.into_iter().filter(|file| !recorded.contains(file)) {
            unknown.entry(digest).or_default().push(file);
        }
        Ok(unknown)
    }
}
