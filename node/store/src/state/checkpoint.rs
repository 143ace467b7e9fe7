//! Snapshots: a RocksDB checkpoint (hard links to files that never change) with a list of its files.

use crate::engine::{self, Layout};
use crate::error::StoreError;
use crate::files;
use portolan_oci::{Algorithm, Digest, Hasher};
use rocksdb::DB;
use rocksdb::checkpoint::Checkpoint as RocksCheckpoint;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use ulid::Ulid;

/// Lists the files of a checkpoint; written last, so that a folder without it is not a checkpoint.
const LIST: &str = "checkpoint.json";

/// One file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointFile {
    /// Its name in the folder; no path.
    pub name: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256.
    pub digest: Digest,
}

#[derive(Debug, Serialize, Deserialize)]
struct List {
    /// The folder of the live database it was made from.
    of: String,
    files: Vec<CheckpointFile>,
    markers: BTreeMap<String, Vec<u8>>,
}

/// The state at one moment, as files. They stay until a newer checkpoint has taken its place *and* nobody holds this
/// one any more, so that a transfer is never cut off.
#[derive(Debug)]
pub struct Checkpoint {
    id: String,
    dir: PathBuf,
    list: List,
    superseded: AtomicBool,
}

impl Checkpoint {
    /// A name that no other checkpoint has; later ones sort behind it.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Its files, sorted by name: all that a receiver needs.
    #[must_use]
    pub fn files(&self) -> &[CheckpointFile] {
        &self.list.files
    }

    /// The length of all files together.
    #[must_use]
    pub fn total_bytes(&self) -> u64 {
        self.list.files.iter().map(|file| file.size).sum()
    }

    /// A marker as it was written with the state that this checkpoint holds: read from the checkpoint itself.
    #[must_use]
    pub fn marker(&self, key: &str) -> Option<&[u8]> {
        self.list.markers.get(key).map(Vec::as_slice)
    }

    /// Opens one of its files.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] when it has no such file.
    pub fn open_file(&self, name: &str) -> Result<File, StoreError> {
        if !self.list.files.iter().any(|file| file.name == name) {
            return Err(StoreError::NotFound { what: format!("file {name} of checkpoint {}", self.id) });
        }
        let path = self.dir.join(name);
        File::open(&path).map_err(|source| files::io("opening", &path, source))
    }

    /// Lets the files go with the last holder.
    pub(super) fn supersede(&self) {
        self.superseded.store(true, Ordering::Release);
    }

    /// Makes a checkpoint of the live database in folder `of` below `parent`, durable on return. `read_markers` is shown the database inside it.
    pub(super) fn create(
        db: &DB,
        of: &str,
        parent: &Path,
        layout: &Layout,
        read_markers: impl Fn(&DB) -> Result<BTreeMap<String, Vec<u8>>, StoreError>,
    ) -> Result<Arc<Self>, StoreError> {
        let id = Ulid::new().to_string();
        let dir = parent.join(&id);
        let fill = || {
            // Flushes the write buffers first (a flush threshold of 0; any other never flushes): after this the
            // whole state below the snapshot is durable, and the log that made it may be purged.
            RocksCheckpoint::new(db)
                .and_then(|checkpoint| checkpoint.create_checkpoint(&dir))
                .map_err(engine::failed(layout.name, "making a checkpoint"))?;
            // What was written while the families were flushed one after the other is in the copy's log, but in the
            // live database's only as far as the kernel got.
            db.flush_wal(true).map_err(engine::failed(layout.name, "syncing what a checkpoint holds"))?;
            let markers = read_markers(&engine::open_read_only(&dir, layout)?)?;
            let list = List { of: of.to_owned(), files: list_files(&dir)?, markers };
            let text = serde_json::to_vec(&list).expect("strings, numbers and bytes always serialize");
            files::replace(&dir.join(LIST), &text)?;
            files::sync_dir(parent)?;
            Ok(list)
        };
        match fill() {
            Ok(list) => Ok(Arc::new(Self { id, dir, list, superseded: AtomicBool::new(false) })),
            Err(error) => {
                files::remove_dir(&dir)?;
                Err(error)
            }
        }
    }

    /// The newest whole checkpoint of the live database in folder `of` below `parent`; the others are removed. One of a
    /// database that a snapshot has replaced since is older than the log's beginning: whoever got it would lack the
    /// entries that follow it.
    pub(super) fn find_newest(parent: &Path, of: &str) -> Result<Option<Arc<Self>>, StoreError> {
        let mut names = files::names_in(parent)?;
        names.sort();
        let mut newest = None;
        while let Some(name) = names.pop() {
            let dir = parent.join(&name);
            match newest {
                None => newest = Self::load(name, &dir)?.filter(|found| found.list.of == of),
                Some(_) => files::remove_dir(&dir)?,
            }
            if newest.is_none() {
                files::remove_dir(&dir)?;
            }
        }
        Ok(newest.map(Arc::new))
    }

    fn load(id: String, dir: &Path) -> Result<Option<Self>, StoreError> {
        let Some(text) = files::read_optional(&dir.join(LIST))? else { return Ok(None) };
        let Ok(list) = serde_json::from_slice::<List>(&text) else { return Ok(None) };
        let whole =
            |file: &CheckpointFile| fs::metadata(dir.join(&file.name)).is_ok_and(|found| found.len() == file.size);
        let found = list.files.iter().all(whole);
        Ok(found.then(|| Self { id, dir: dir.to_owned(), list, superseded: AtomicBool::new(false) }))
    }
}

impl Drop for Checkpoint {
    fn drop(&mut self) {
        if self.superseded.load(Ordering::Acquire)
            && let Err(error) = files::remove_dir(&self.dir)
        {
            tracing::warn!(%error, checkpoint = self.id, "removing an old checkpoint; the next start tries again");
        }
    }
}

/// Lists and syncs what a receiver needs: all but RocksDB's own text logs and lock.
fn list_files(dir: &Path) -> Result<Vec<CheckpointFile>, StoreError> {
    let mut names = files::names_in(dir)?;
    names.retain(|name| !name.starts_with("LOG") && name != "LOCK" && name != LIST);
    names.sort();
    names.into_iter().map(|name| describe(dir, name)).collect()
}

fn describe(dir: &Path, name: String) -> Result<CheckpointFile, StoreError> {
    let path = dir.join(&name);
    let mut file = File::open(&path).map_err(|source| files::io("opening", &path, source))?;
    files::sync_file(&file, &path)?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut buffer = vec![0; 256 << 10];
    let mut size = 0;
    loop {
        let read = file.read(&mut buffer).map_err(|source| files::io("reading", &path, source))?;
        if read == 0 {
            return Ok(CheckpointFile { name, size, digest: hasher.finish() });
        }
        hasher.update(&buffer[..read]);
        size += read as u64;
    }
}
