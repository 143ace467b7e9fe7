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

    /// Refuses a folder of which a part is gone, before anything is opened. An empty log beside an applied state would
    /// look like one that a snapshot has replaced: the node would go on, without its vote and without what it
    /// acknowledged. The blobs' folder is made last at a first start, so that it tells that both databases were there.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`]; the node has to rejoin with an empty folder.
    pub fn check_whole(&self) -> Result<(), StoreError> {
        if !self.root.join("blobs").exists() {
            return Ok(());
        }
        for part in ["raft/CURRENT", "state/CURRENT-STATE"] {
            if !self.root.join(part).exists() {
                let reason = format!("{part} is missing: the metadata of this node are gone or were not mounted");
                return Err(StoreError::Corrupt { what: self.root.display().to_string(), reason });
            }
        }
        Ok(())
    }

    /// Whether a node has ever kept metadata here. A folder without it and without an identity is empty.
    #[must_use]
    pub fn holds_metadata(&self) -> bool {
        self.root.join("raft").exists() || self.root.join("state").exists()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::DataDir;
    use crate::{Blobs, Config, RaftLog, State, StoreError};

    #[test]
    fn a_folder_of_which_one_database_is_gone_is_refused() {
        for part in ["raft", "raft/CURRENT", "state", "state/CURRENT-STATE"] {
            let root = tempfile::tempdir().unwrap();
            let (folder, config) = (DataDir::lock(root.path()).unwrap(), Config::default());
            folder.check_whole().unwrap();
            drop(RaftLog::open(root.path(), &config).unwrap());
            folder.check_whole().unwrap();
            drop(State::open(root.path(), &config).unwrap());
            drop(Blobs::open(root.path(), &config).unwrap());
            folder.check_whole().unwrap();
            let path = root.path().join(part);
            if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
            assert!(matches!(folder.check_whole(), Err(StoreError::Corrupt { .. })), "without {part}");
        }
    }
}
