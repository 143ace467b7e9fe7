//! The data folder and its lock.

use crate::error::StoreError;
use crate::files;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// A data folder that this process has for itself, for as long as this value lives.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    /// Held for its lock, which ends with the file.
    _lock: File,
}

impl DataDir {
    /// Creates the folder if it is missing and locks it.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has it.
    pub fn lock(root: &Path) -> Result<Self, StoreError> {
        files::create_dir(root)?;
        let path = root.join("lock");
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|source| files::io("creating", &path, source))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { root: root.to_owned(), _lock: lock }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: root.to_owned() }),
            Err(TryLockError::Error(source)) => Err(files::io("locking", &path, source)),
        }
    }

    /// The folder: what [`crate::RaftLog::open`], [`crate::State::open`], [`crate::Blobs::open`] and
    /// [`crate::Identity`] take.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// Whether a node has ever kept metadata here. A folder without it and without an identity is empty.
    #[must_use]
    pub fn holds_metadata(&self) -> bool {
        self.root.join("raft").exists() || self.root.join("state").exists()
    }
}
