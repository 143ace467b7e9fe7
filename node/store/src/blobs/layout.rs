//! Where blob files lie: drawn once, here.

use crate::error::StoreError;
use crate::files;
use portolan_meta::id::FileId;
use portolan_oci::{Algorithm, Digest};
use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use ulid::Ulid;

/// What a sidecar's name ends with.
const SUMS: &str = ".sum";

/// Which files grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PartKind {
    /// A client's upload: `uploads/`.
    Upload,
    /// A copy of a peer's blob: `fetches/`.
    Fetch,
}

impl PartKind {
    pub(super) const ALL: [Self; 2] = [Self::Upload, Self::Fetch];
}

/// The paths below a data folder.
#[derive(Debug)]
pub(super) struct Layout {
    root: PathBuf,
    /// Fan-out folders that are known to be durable: at most 256 per algorithm.
    durable: Mutex<HashSet<PathBuf>>,
}

impl Layout {
    /// Creates the folders that must be there before the first file.
    pub(super) fn create(root: &Path) -> Result<Self, StoreError> {
        for name in ["blobs", "uploads", "fetches", "quarantine"] {
            files::create_dir(&root.join(name))?;
        }
        for algorithm in Algorithm::ALL {
            files::create_dir(&root.join("blobs").join(algorithm.name()))?;
        }
        files::sync_dir(&root.join("blobs"))?;
        files::sync_dir(root)?;
        Ok(Self { root: root.to_owned(), durable: Mutex::default() })
    }

    /// Reads from each folder of blobs.
    pub(super) fn check_readable(&self) -> Result<(), StoreError> {
        for algorithm in Algorithm::ALL {
            let folder = self.root.join("blobs").join(algorithm.name());
            files::first_name_in(&folder)?;
        }
        Ok(())
    }

    /// The folder of a digest's files.
    pub(super) fn folder(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs").join(digest.algorithm().name()).join(&digest.hex()[..2])
    }

    /// The folder of a digest's files, existing and durable.
    pub(super) fn durable_folder(&self, digest: &Digest) -> Result<PathBuf, StoreError> {
        let folder = self.folder(digest);
        // Held while syncing: whoever finds the folder made must also find it durable.
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if !durable.contains(&folder) {
            files::create_dir(&folder)?;
            files::sync_dir(folder.parent().unwrap_or(&folder))?;
            durable.insert(folder.clone());
        }
        Ok(folder)
    }

    /// The folders of many digests, each once, existing and durable: those that are new with one sync for all.
    pub(super) fn durable_folders<'a>(
        &self,
        digests: impl Iterator<Item = &'a Digest>,
    ) -> Result<Vec<PathBuf>, StoreError> {
        let folders: BTreeSet<PathBuf> = digests.map(|digest| self.folder(digest)).collect();
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        let new: Vec<&PathBuf> = folders.iter().filter(|folder| !durable.contains(*folder)).collect();
        let mut parents = BTreeSet::new();
        for folder in &new {
            files::create_dir(folder)?;
            parents.extend(folder.parent());
        }
        parents.into_iter().try_for_each(files::sync_dir)?;
        durable.extend(new.into_iter().cloned());
        Ok(folders.into_iter().collect())
    }

    pub(super) fn blob(&self, digest: &Digest, file: FileId) -> PathBuf {
        self.folder(digest).join(name(digest, file))
    }

    pub(super) fn sums(&self, digest: &Digest, file: FileId) -> PathBuf {
        self.folder(digest).join(name(digest, file) + SUMS)
    }

    pub(super) fn quarantine(&self) -> PathBuf {
        self.root.join("quarantine")
    }

    pub(super) fn quarantined(&self, digest: &Digest, file: FileId) -> PathBuf {
        self.quarantine().join(name(digest, file))
    }

    pub(super) fn parts(&self, kind: PartKind) -> PathBuf {
        self.root.join(match kind {
            PartKind::Upload => "uploads",
            PartKind::Fetch => "fetches",
        })
    }
}

/// A file's name: what it holds and which copy it is.
fn name(digest: &Digest, file: FileId) -> String {
    format!("{}.{}", digest.hex(), Ulid(file.0))
}

/// A file id that was never used, and no older than the start that makes it: a clock that is set back must not make a
/// file look like one of an earlier start.
pub(super) fn fresh_file_id(started_ms: u64) -> FileId {
    let fresh = Ulid::new();
    FileId(Ulid::from_parts(fresh.timestamp_ms().max(started_ms), fresh.random()).0)
}

/// The file id in a name, if it is one of `digest`'s blob files and not a sidecar.
pub(super) fn file_id_in(name: &str, digest: &Digest) -> Option<FileId> {
    let id = name.strip_prefix(&digest.hex())?.strip_prefix('.')?;
    Ulid::from_string(id).ok().map(|id| FileId(id.0))
}

/// The name of the blob file that a sidecar of this name belongs to, written whole or not; `None` when it is none.
pub(super) fn file_of_sums(name: &str) -> Option<&str> {
    name.strip_suffix(".tmp").unwrap_or(name).strip_suffix(SUMS)
}

/// What a name in a folder of this algorithm holds, if it is a blob file's and not a sidecar's.
pub(super) fn blob_in(name: &str, algorithm: Algorithm) -> Option<(Digest, FileId)> {
    let (hex, id) = name.split_once('.')?;
    let digest = format!("{}:{hex}", algorithm.name()).parse().ok()?;
    Some((digest, FileId(Ulid::from_string(id).ok()?.0)))
}
