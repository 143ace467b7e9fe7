//! The folders of files that grow: `uploads/<id>/` and `fetches/<id>/`, each with `data`, `state` and `note`.

use super::home::{DATA, Home, NOTE, STATE};
use super::layout::PartKind;
use super::part::Part;
use super::progress::{Progress, Saved};
use super::shared::Shared;
use crate::error::StoreError;
use crate::files;
use bytes::Bytes;
use portolan_oci::Algorithm;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

/// A part as it lies on the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartInfo {
    /// Its id.
    pub id: String,
    /// How much of it survives a crash, in bytes; an open part may be longer.
    pub synced_bytes: u64,
    /// When that was last written down.
    pub modified: SystemTime,
    /// What its creator noted.
    pub note: Bytes,
}

/// The parts of one kind. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Parts {
    kind: PartKind,
    shared: Arc<Shared>,
}

impl Parts {
    pub(super) fn new(kind: PartKind, shared: Arc<Shared>) -> Self {
        Self { kind, shared }
    }

    /// Begins an empty part, hashed with `algorithm` as it grows; `note` is kept beside it for its creator. It is
    /// not durable before its first [`Part::sync`].
    ///
    /// # Errors
    /// [`StoreError::Full`]; [`StoreError::Busy`] when it is open; [`StoreError::Io`] when it exists;
    /// [`StoreError::BadName`] when the id is not a plain file name.
    pub fn create(&self, id: &str, algorithm: Algorithm, note: &[u8]) -> Result<Part, StoreError> {
        self.shared.space.check()?;
        let home = Home::claim(&self.shared, self.kind, id)?;
        fs::create_dir(&home.dir).map_err(|source| files::io("creating", &home.dir, source))?;
        let progress = Box::new(Progress::new(algorithm));
        let made = write_new(&home.dir.join(NOTE), note)
            .and_then(|_| write_new(&home.dir.join(STATE), &progress.encode()))
            .and_then(|_| write_new(&home.dir.join(DATA), &[]));
        match made {
            Ok(file) => Ok(Part::new(home, file, Bytes::copy_from_slice(note), progress)),
            Err(error) => {
                files::remove_dir(&home.dir)?;
                Err(error)
            }
        }
    }

    /// Opens a part where its last sync left it: what landed after that is cut off.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Busy`] when it is open; [`StoreError::Corrupt`] when it is shorter
    /// than its last sync or its state is damaged: remove it then.
    pub fn open(&self, id: &str) -> Result<Part, StoreError> {
        let home = Home::claim(&self.shared, self.kind, id)?;
        let not_found = || StoreError::NotFound { what: format!("part {id}") };
        let note = files::read_optional(&home.dir.join(NOTE))?.ok_or_else(not_found)?;
        let saved = read_state(&home.dir)?.ok_or_else(not_found)?;
        let path = home.dir.join(DATA);
        let file =
            File::options().read(true).write(true).open(&path).map_err(|source| files::io("opening", &path, source))?;
        let length = file.metadata().map_err(|source| files::io("measuring", &path, source))?.len();
        if length < saved.offset() {
            let reason = format!("{length} of {} synced bytes are there", saved.offset());
            return Err(StoreError::Corrupt { what: path.display().to_string(), reason });
        }
        file.set_len(saved.offset()).map_err(|source| files::io("truncating", &path, source))?;
        let progress = match saved {
            Saved::Whole(progress) => progress,
            Saved::OffsetOnly(algorithm, _) => Box::new(hash_again(&file, &path, algorithm)?),
        };
        home.names_durable.store(true, Ordering::Release);
        Ok(Part::new(home, file, note.into(), progress))
    }

    /// All parts that can be opened, in no order.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn list(&self) -> Result<Vec<PartInfo>, StoreError> {
        let mut found = Vec::new();
        for id in files::names_in(&self.folder())? {
            match self.info(&id) {
                Ok(info) => found.push(info),
                // Removed meanwhile, or not to be opened either.
                Err(StoreError::NotFound { .. } | StoreError::Corrupt { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// One part, whether it is open or not.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Corrupt`] when its state is damaged.
    pub fn info(&self, id: &str) -> Result<PartInfo, StoreError> {
        let dir = self.folder().join(files::checked_name(id)?);
        let not_found = || StoreError::NotFound { what: format!("part {id}") };
        let note = files::read_optional(&dir.join(NOTE))?.ok_or_else(not_found)?;
        let saved = read_state(&dir)?.ok_or_else(not_found)?;
        let path = dir.join(STATE);
        let modified = fs::metadata(&path)
            .and_then(|metadata| metadata.modified())
            .map_err(|source| files::io("measuring", &path, source))?;
        Ok(PartInfo { id: id.to_owned(), synced_bytes: saved.offset(), modified, note: note.into() })
    }

    /// Removes a part. Tells whether there was one.
    ///
    /// # Errors
    /// [`StoreError::Busy`] while it is open.
    pub fn remove(&self, id: &str) -> Result<bool, StoreError> {
        let home = Home::claim(&self.shared, self.kind, id)?;
        let was_there = home.dir.exists();
        files::remove_dir(&home.dir)?;
        Ok(was_there)
    }

    /// Waits until nobody in this process has the part open, its background sync included. Somebody else may open it
    /// before the caller does.
    pub async fn wait_free(&self, id: &str) {
        let key = (self.kind, id.to_owned());
        loop {
            let freed = self.shared.open.freed.notified();
            let mut freed = std::pin::pin!(freed);
            // Listens before it looks, so that no wake-up falls in between.
            freed.as_mut().enable();
            if !self.shared.open.claimed().contains(&key) {
                return;
            }
            freed.await;
        }
    }

    /// Removes the folders that no [`Parts::open`] would open: a crash came before their first file, or in the middle
    /// of their removal, or what was saved of them is damaged.
    pub(super) fn sweep(&self) -> Result<(), StoreError> {
        for id in files::names_in(&self.folder())? {
            let dir = self.folder().join(&id);
            let whole = [DATA, STATE, NOTE].iter().all(|name| dir.join(name).exists());
            if !whole || matches!(self.info(&id), Err(StoreError::Corrupt { .. })) {
                tracing::info!(part = id, "removing a part that cannot be resumed");
                files::remove_dir(&dir)?;
            }
        }
        Ok(())
    }

    fn folder(&self) -> PathBuf {
        self.shared.layout.parts(self.kind)
    }
}

fn write_new(path: &Path, contents: &[u8]) -> Result<File, StoreError> {
    use std::io::Write;
    let opened = File::options().read(true).write(true).create_new(true).open(path);
    let mut file = opened.map_err(|source| files::io("creating", path, source))?;
    file.write_all(contents).map_err(|source| files::io("writing", path, source))?;
    Ok(file)
}

fn read_state(dir: &Path) -> Result<Option<Saved>, StoreError> {
    let path = dir.join(STATE);
    let Some(bytes) = files::read_optional(&path)? else { return Ok(None) };
    let damaged =
        || StoreError::Corrupt { what: path.display().to_string(), reason: "its checksum differs".to_owned() };
    Progress::decode(&bytes).ok_or_else(damaged).map(Some)
}

fn hash_again(mut file: &File, path: &Path, algorithm: Algorithm) -> Result<Progress, StoreError> {
    let mut progress = Progress::new(algorithm);
    let mut buffer = vec![0; 256 << 10];
    loop {
        let read = file.read(&mut buffer).map_err(|source| files::io("reading", path, source))?;
        if read == 0 {
            return Ok(progress);
        }
        progress.update(&buffer[..read]);
    }
}
