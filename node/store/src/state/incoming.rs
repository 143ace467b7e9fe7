//! A snapshot that is being received, file by file.

use super::checkpoint::CheckpointFile;
use crate::error::StoreError;
use crate::files;
use portolan_oci::{Algorithm, Hasher};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use ulid::Ulid;

/// A folder in which the files of a peer's checkpoint land. Dropped before it is installed, it is removed.
#[derive(Debug)]
pub struct Incoming {
    dir: Option<PathBuf>,
}

impl Incoming {
    pub(super) fn create(parent: &Path) -> Result<Self, StoreError> {
        let dir = parent.join(Ulid::new().to_string());
        files::create_dir(&dir)?;
        Ok(Self { dir: Some(dir) })
    }

    /// Begins one of the announced files.
    ///
    /// # Errors
    /// [`StoreError::BadName`] when its name is not a plain file name; when it was begun before.
    pub fn file(&self, announced: &CheckpointFile) -> Result<IncomingFile, StoreError> {
        let dir = self.dir.as_ref().expect("only install() takes it, and that consumes the value");
        let path = dir.join(files::checked_name(&announced.name)?);
        let file = File::create_new(&path).map_err(|source| files::io("creating", &path, source))?;
        let hasher = Hasher::new(Algorithm::Sha256);
        Ok(IncomingFile { announced: announced.clone(), file, path, hasher, written: 0 })
    }

    /// Moves the folder to its place; durable on return.
    pub(super) fn move_to(mut self, target: &Path) -> Result<(), StoreError> {
        let dir = self.dir.take().expect("only this takes it, and it consumes the value");
        files::sync_dir(&dir)?;
        files::rename(&dir, target)?;
        files::sync_dir(target.parent().unwrap_or(target))
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if let Some(dir) = &self.dir
            && let Err(error) = files::remove_dir(dir)
        {
            tracing::warn!(%error, "removing an unfinished snapshot; the next start tries again");
        }
    }
}

/// One file that lands.
#[derive(Debug)]
pub struct IncomingFile {
    announced: CheckpointFile,
    file: File,
    path: PathBuf,
    hasher: Hasher,
    written: u64,
}

impl IncomingFile {
    /// Takes the next bytes.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when there are more than announced.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.written += bytes.len() as u64;
        if self.written > self.announced.size {
            return Err(self.corrupt(format!("more than the announced {} bytes", self.announced.size)));
        }
        self.hasher.update(bytes);
        self.file.write_all(bytes).map_err(|source| files::io("writing", &self.path, source))
    }

    /// Checks length and digest; the bytes are durable on return.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when either differs from what was announced.
    pub fn finish(self) -> Result<(), StoreError> {
        if self.written != self.announced.size {
            return Err(self.corrupt(format!("{} of {} bytes", self.written, self.announced.size)));
        }
        let actual = self.hasher.clone().finish();
        if actual != self.announced.digest {
            return Err(self.corrupt(format!("expected {}, got {actual}", self.announced.digest)));
        }
        files::sync_file(&self.file, &self.path)
    }

    fn corrupt(&self, reason: String) -> StoreError {
        StoreError::Corrupt { what: format!("snapshot file {}", self.announced.name), reason }
    }
}
