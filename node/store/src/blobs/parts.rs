//! The folders of files that grow: `uploads/<id>/` and `fetches/<id>/`, each with `data`, `state` and `note`.

use super::chunked::ChunkedPart;
use super::chunks::Chunks;
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
        let progress = Box::new(Progress::new(algorithm));
        let file = make(&home, note, &progress.encode())?;
        Ok(Part::new(home, file, Bytes::copy_from_slice(note), progress))
    }

    /// Begins an empty part for a blob of `size` bytes, hashed with `algorithm`, whose chunks come in any order. It is not
    /// durable before its first sync.
    ///
    /// # Errors
    /// As [`Parts::create`].
    pub fn create_chunked(&self, id: &str, algorithm: Algorithm, size: u64) -> Result<ChunkedPart, StoreError> {
        self.shared.space.check()?;
        let home = Home::claim(&self.shared, self.kind, id)?;
        let chunks = Chunks::new(algorithm, size);
        let file = make(&home, b"", &chunks.encode())?;
        Ok(ChunkedPart::new(home, file, chunks))
    }

    /// Opens a chunked part with every chunk that its last sync left; what landed after that is none. Reads no more of
    /// the file than what the front has to be hashed on by, at [`ChunkedPart::advance`].
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Busy`] when it is open; [`StoreError::Corrupt`] when it is shorter
    /// than its last sync, its state is damaged, or it is for another size or of another kind: remove it then.
    pub fn open_chunked(&self, id: &str, algorithm: Algorithm, size: u64) -> Result<ChunkedPart, StoreError> {
        let home = Home::claim(&self.shared, self.kind, id)?;
        let Some(saved) = read_state(&home.dir)? else {
            return Err(StoreError::NotFound { what: format!("part {id}") });
        };
        let path = home.dir.join(DATA);
        let corrupt = |reason| StoreError::Corrupt { what: path.display().to_string(), reason };
        let Saved::Chunks(chunks) = saved else { return Err(corrupt("it grows at its end".to_owned())) };
        if chunks.size() != size || chunks.hasher.algorithm() != algorithm {
            return Err(corrupt(format!("it is for a blob of {} bytes", chunks.size())));
        }
        let (file, length) = open_data(&path)?;
        if length < chunks.end() {
            return Err(corrupt(format!("{length} of {} synced bytes are there", chunks.end())));
        }
        file.set_len(chunks.end()).map_err(|source| files::io("truncating", &path, source))?;
        home.names_durable.store(true, Ordering::Release);
        Ok(ChunkedPart::new(home, file, *chunks))
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
        let (file, length) = open_data(&path)?;
        let corrupt = |reason| StoreError::Corrupt { what: path.display().to_string(), reason };
        let cut_back = |offset| {
            if length < offset {
                return Err(corrupt(format!("{length} of {offset} synced bytes are there")));
            }
            file.set_len(offset).map_err(|source| files::io("truncating", &path, source))
        };
        let progress = match saved {
            Saved::Whole(progress) => {
                cut_back(progress.offset())?;
                progress
            }
            Saved::OffsetOnly(algorithm, offset) => {
                cut_back(offset)?;
                Box::new(hash_again(&file, &path, algorithm)?)
            }
            Saved::Chunks(_) => return Err(corrupt("its chunks come in any order".to_owned())),
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
    let chunks = || Chunks::decode(&bytes).map(|chunks| Saved::Chunks(Box::new(chunks)));
    Progress::decode(&bytes).or_else(chunks).ok_or_else(damaged).map(Some)
}

/// Makes the folder and the files of an empty part; its data is open.
fn make(home: &Home, note: &[u8], state: &[u8]) -> Result<File, StoreError> {
    fs::create_dir(&home.dir).map_err(|source| files::io("creating", &home.dir, source))?;
    let made = write_new(&home.dir.join(NOTE), note)
        .and_then(|_| write_new(&home.dir.join(STATE), state))
        .and_then(|_| write_new(&home.dir.join(DATA), &[]));
    if made.is_err() {
        files::remove_dir(&home.dir)?;
    }
    made
}

/// A part's data, and its length.
fn open_data(path: &Path) -> Result<(File, u64), StoreError> {
    let file =
        File::options().read(true).write(true).open(path).map_err(|source| files::io("opening", path, source))?;
    let length = file.metadata().map_err(|source| files::io("measuring", path, source))?.len();
    Ok((file, length))
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
