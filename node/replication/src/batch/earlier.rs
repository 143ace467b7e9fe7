//! What an earlier start of this node finished and did not announce. A disk may hold millions of files and hardly ever one
//! of these, so that each folder is listed once per start, and only what no location tells of is remembered.

use portolan_consensus::Consensus;
use portolan_meta::id::{FileId, StoreId};
use portolan_meta::query;
use portolan_meta::view::ViewError;
use portolan_oci::{Algorithm, Digest};
use portolan_store::{Blobs, StoreError};
use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::warn;

/// How many rows of the state are read at once.
const PAGE: usize = 4_096;

/// A folder of blob files: all whose digests are of one algorithm and begin with the same byte.
type Folder = (Algorithm, u8);

/// The unannounced files of earlier starts, folder by folder, as they are asked for.
pub(super) struct Earlier {
    /// When this start began, in milliseconds since the Unix epoch, as file ids count it.
    started: u64,
    store: StoreId,
    blobs: Arc<Blobs>,
    consensus: Arc<Consensus>,
    folders: Mutex<HashMap<Folder, HashMap<Digest, Vec<FileId>>>>,
}

impl Earlier {
    pub(super) fn new(started: u64, store: StoreId, blobs: Arc<Blobs>, consensus: Arc<Consensus>) -> Self {
        Self { started, store, blobs, consensus, folders: Mutex::default() }
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
        let mut files = self.blobs.files_beside(digest)?;
        files.retain(|(_, file)| ulid::Ulid(file.0).timestamp_ms() < self.started);
        files.sort_unstable();
        // Without the state all of them are looked at when they are asked for, which costs but time.
        let recorded = self.recorded(&files).unwrap_or_else(|error| {
            warn!(%error, "the copies of this node could not be read");
            HashSet::new()
        });
        let mut unknown: HashMap<Digest, Vec<FileId>> = HashMap::new();
        for (digest, file) in files.into_iter().filter(|file| !recorded.contains(file)) {
            unknown.entry(digest).or_default().push(file);
        }
        Ok(unknown)
    }

    /// Which of these files, in their order, have a location.
    fn recorded(&self, files: &[(Digest, FileId)]) -> Result<HashSet<(Digest, FileId)>, ViewError> {
        let (Some((first, _)), Some((last, _))) = (files.first(), files.last()) else { return Ok(HashSet::new()) };
        self.consensus.local().read(|view| {
            let mut recorded = HashSet::with_capacity(files.len());
            // No file has this id, so that the first digest's own are among what follows.
            let mut after = (*first, FileId(0));
            loop {
                let page = query::copies_in(view, self.store, Some((&after.0, after.1)), PAGE)?;
                recorded.extend(page.iter().map(|copy| (copy.digest, copy.file)));
                match page.last() {
                    Some(copy) if page.len() == PAGE && copy.digest <= *last => after = (copy.digest, copy.file),
                    _ => return Ok(recorded),
                }
            }
        })
    }
}
