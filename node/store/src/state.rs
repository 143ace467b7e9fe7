//! The applied state: a RocksDB database with one column family per [`Family`], its snapshots, and the replacement of
//! the whole by a peer's snapshot.
//!
//! Writes are not synced: what is lost in a crash is the end, in order, never a part of a batch, and the Raft log
//! still has it. A log is purged only below a [`Checkpoint`], whose making flushes everything it covers. So damage in
//! the write-ahead log needs no refusal: it is cut there ([`crate::wal`]), and the Raft log replays what came after.
//!
//! `state/CURRENT-STATE` names the live folder. It is written before that folder when a node begins (so that a folder
//! without a pointer is damage, not a beginning) and after it when a snapshot is installed.

mod checkpoint;
mod hash;
mod incoming;
#[cfg(test)]
mod tests;
mod view;

pub use checkpoint::{Checkpoint, CheckpointFile};
pub use hash::StateHash;
pub use incoming::{Incoming, IncomingFile};

use crate::config::Config;
use crate::engine::{self, FamilySpec, Layout};
use crate::error::StoreError;
use crate::files;
use crate::gauges;
use bytes::Bytes;
use hash::Counted;
use portolan_meta::family::Family;
use portolan_meta::view::{Row, View, ViewError, Write, Writes};
use rocksdb::{DB, IteratorMode, WriteBatch};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use ulid::Ulid;
use view::{Reader, family};

const NAME: &str = "state";
const POINTER: &str = "CURRENT-STATE";
const FOLDER_PREFIX: &str = "db-";
/// Markers lie in `sys` below this; the state machine's own keys there begin with `meta.`.
const MARKER_PREFIX: &str = "marker.";

/// The applied state.
pub struct State {
    root: PathBuf,
    layout: Layout,
    live: RwLock<Arc<Live>>,
    /// The newest checkpoint.
    checkpoint: Mutex<Option<Arc<Checkpoint>>>,
    /// Held while a checkpoint is made or the state replaced: two at a time would let go of each other. Apart from
    /// `checkpoint`, so that whoever asks for the newest does not wait for the next, which may take minutes.
    replacing: Mutex<()>,
}

/// An open database. Whoever still reads an old one after an install keeps it; its folder goes with the last reader.
struct Live {
    /// Closed before the folder is removed: fields are dropped in this order.
    db: DB,
    folder: Folder,
}

struct Folder {
    path: PathBuf,
    retired: AtomicBool,
}

impl Folder {
    /// As the pointer says it.
    fn name(&self) -> &str {
        self.path.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.retired.load(Ordering::Acquire)
            && let Err(error) = files::remove_dir(&self.path)
        {
            tracing::warn!(%error, "removing a replaced state; the next start tries again");
        }
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("root", &self.root).finish_non_exhaustive()
    }
}

impl State {
    /// Opens the state of a data folder, creating it if the folder has none, and removes what a crash left unfinished.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when it is damaged; the node has to rejoin with an empty folder.
    pub fn open(data_dir: &Path, config: &Config) -> Result<Arc<Self>, StoreError> {
        let root = data_dir.join("state");
        files::create_dir(&root.join("checkpoints"))?;
        files::remove_dir(&root.join("incoming"))?;
        files::create_dir(&root.join("incoming"))?;
        let name = live_folder(&root)?;
        for other in files::names_in(&root)? {
            if other.starts_with(FOLDER_PREFIX) && other != name {
                files::remove_dir(&root.join(other))?;
            }
        }
        let layout = layout(config);
        let checkpoint = Checkpoint::find_newest(&root.join("checkpoints"), &name)?;
        let live = open_live(root.join(name), &layout)?;
        // Without this a power loss takes the name of the folder, and the next start goes on with an empty state.
        files::sync_dir(&root)?;
        Ok(Arc::new(Self {
            root,
            layout,
            live: RwLock::new(live),
            checkpoint: Mutex::new(checkpoint),
            replacing: Mutex::new(()),
        }))
    }

    /// Reads the state as it is at one moment, however long `read` takes. Blocks for disk reads.
    pub fn read<R>(&self, read: impl FnOnce(&dyn View) -> R) -> R {
        let live = self.live();
        let reader = Reader { db: &live.db, snapshot: Some(live.db.snapshot()) };
        read(&reader)
    }

    /// Reads the newest of every row: for the one applier, which is alone in writing. It stays with the database that
    /// was live at the call: ask again after an [`State::install`].
    #[must_use]
    pub fn latest(&self) -> Latest {
        Latest { live: self.live() }
    }

    /// Writes rows and markers in one batch: after a crash both are there or neither, and nothing later without them.
    /// Not synced (see the module). Only one caller at a time, and none during [`State::install`].
    ///
    /// # Errors
    /// When the database fails; the node must stop, since it cannot apply any further.
    pub fn write(&self, writes: &Writes, markers: &[(&str, Vec<u8>)]) -> Result<(), StoreError> {
        let live = self.live();
        let mut batch = WriteBatch::default();
        for write in &writes.rows {
            match write {
                Write::Put(of, key, value) => batch.put_cf(family(&live.db, *of), key, value),
                Write::Delete(of, key) => batch.delete_cf(family(&live.db, *of), key),
            }
        }
        let sys = family(&live.db, Family::Sys);
        for (key, value) in markers {
            batch.put_cf(sys, marker_key(key), value);
        }
        live.db.write(batch).map_err(engine::failed(NAME, "writing"))
    }

    /// Reads a marker.
    ///
    /// # Errors
    /// When the database fails.
    pub fn marker(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        let live = self.live();
        let value = live.db.get_cf(family(&live.db, Family::Sys), marker_key(key));
        Ok(value.map_err(engine::failed(NAME, "reading a marker"))?.map(Bytes::from))
    }

    /// Hashes all rows as they are at one moment, however many are written meanwhile: those of the state machine, and of
    /// the markers those that are named here, since the others are this node's own. Nodes that applied the same log to
    /// the same index have the same hash, as long as they run the same version. Reads the whole state, and holds back
    /// its compaction meanwhile; `None` once `go_on` says no.
    ///
    /// # Errors
    /// When the database fails.
    pub fn hash(&self, markers: &[&str], go_on: impl Fn() -> bool) -> Result<Option<StateHash>, StoreError> {
        let live = self.live();
        let counted = Counted { prefix: MARKER_PREFIX.as_bytes(), markers };
        hash::hash(&live.db, &live.db.snapshot(), &counted, go_on)
    }

    /// Makes everything that was written durable. For a clean stop; nothing else needs it.
    ///
    /// # Errors
    /// When the database fails.
    pub fn flush(&self) -> Result<(), StoreError> {
        self.live().db.flush_wal(true).map_err(engine::failed(NAME, "flushing"))
    }

    /// Makes a checkpoint of the state as it is now; durable on return, and everything in it is durable in the live
    /// database too. The one before is let go. Takes as long as hashing all files.
    ///
    /// # Errors
    /// When the database or the disk fails; the one before stays then.
    pub fn checkpoint(&self) -> Result<Arc<Checkpoint>, StoreError> {
        let _alone = lock(&self.replacing);
        let live = self.live();
        let made = Checkpoint::create(
            &live.db,
            live.folder.name(),
            &self.root.join("checkpoints"),
            &self.layout,
            read_markers,
        )?;
        if let Some(before) = lock(&self.checkpoint).replace(Arc::clone(&made)) {
            before.supersede();
        }
        Ok(made)
    }

    /// The newest checkpoint, also one from before a restart.
    #[must_use]
    pub fn current_checkpoint(&self) -> Option<Arc<Checkpoint>> {
        lock(&self.checkpoint).clone()
    }

    /// Begins to receive a peer's checkpoint.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn incoming(&self) -> Result<Incoming, StoreError> {
        Incoming::create(&self.root.join("incoming"))
    }

    /// Replaces the whole state by a received checkpoint. A crash leaves the old or the new. Readers that began before
    /// see the old to their end. The own checkpoint is let go, since it is older than this. `verify` is shown the
    /// markers of what was received, and says what is wrong with it.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when what was received does not open or is not what was announced; the state is as
    /// before then. Any other error is one of the disk, and the node must stop: which state the next start finds is
    /// open.
    pub fn install(
        &self,
        incoming: Incoming,
        verify: impl FnOnce(&BTreeMap<String, Vec<u8>>) -> Result<(), String>,
    ) -> Result<(), StoreError> {
        let _alone = lock(&self.replacing);
        let name = format!("{FOLDER_PREFIX}{}", Ulid::new());
        let path = self.root.join(&name);
        incoming.move_to(&path)?;
        let opened = self.open_received(&path).and_then(|fresh| {
            let corrupt = |reason| StoreError::Corrupt { what: "a received snapshot".to_owned(), reason };
            verify(&read_markers(&fresh.db)?).map_err(corrupt)?;
            Ok(fresh)
        });
        let fresh = match opened {
            Ok(fresh) => fresh,
            Err(error) => {
                files::remove_dir(&path)?;
                return Err(error);
            }
        };
        // From here on a failure leaves open which folder the next start takes; both are whole, so both stay.
        files::replace(&self.root.join(POINTER), name.as_bytes())?;
        let mut live = self.live.write().unwrap_or_else(PoisonError::into_inner);
        let old = std::mem::replace(&mut *live, fresh);
        drop(live);
        old.folder.retired.store(true, Ordering::Release);
        if let Some(before) = lock(&self.checkpoint).take() {
            before.supersede();
        }
        Ok(())
    }

    /// Refreshes the database's own metrics (`portolan_rocksdb_*`); call it before metrics are rendered.
    pub fn record_gauges(&self) {
        gauges::record(&self.live().db, &self.layout);
    }

    /// A folder without a database is damage here, and no new state.
    fn open_received(&self, path: &Path) -> Result<Arc<Live>, StoreError> {
        let db = engine::open_existing(path, &self.layout)?;
        Ok(Arc::new(Live { db, folder: Folder { path: path.to_owned(), retired: AtomicBool::new(false) } }))
    }

    fn live(&self) -> Arc<Live> {
        Arc::clone(&self.live.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The newest of every row of one database. See [`State::latest`].
pub struct Latest {
    live: Arc<Live>,
}

impl Latest {
    fn reader(&self) -> Reader<'_> {
        Reader { db: &self.live.db, snapshot: None }
    }
}

impl View for Latest {
    fn get(&self, family: Family, key: &[u8]) -> Result<Option<Bytes>, ViewError> {
        self.reader().get(family, key)
    }

    fn multi_get(&self, family: Family, keys: &[Vec<u8>]) -> Result<Vec<Option<Bytes>>, ViewError> {
        self.reader().multi_get(family, keys)
    }

    fn scan(&self, family: Family, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, ViewError> {
        self.reader().scan(family, prefix, after, limit)
    }
}

fn marker_key(key: &str) -> Vec<u8> {
    format!("{MARKER_PREFIX}{key}").into_bytes()
}

fn read_markers(db: &DB) -> Result<BTreeMap<String, Vec<u8>>, StoreError> {
    let mut markers = BTreeMap::new();
    let from = IteratorMode::From(MARKER_PREFIX.as_bytes(), rocksdb::Direction::Forward);
    for row in db.iterator_cf(family(db, Family::Sys), from) {
        let (key, value) = row.map_err(engine::failed(NAME, "reading markers"))?;
        let Some(name) = key.strip_prefix(MARKER_PREFIX.as_bytes()) else { break };
        markers.insert(String::from_utf8_lossy(name).into_owned(), value.into_vec());
    }
    Ok(markers)
}

fn open_live(path: PathBuf, layout: &Layout) -> Result<Arc<Live>, StoreError> {
    let db = engine::open(&path, layout)?;
    Ok(Arc::new(Live { db, folder: Folder { path, retired: AtomicBool::new(false) } }))
}

/// The name of the live folder; chosen and written down when there is no state yet.
fn live_folder(root: &Path) -> Result<String, StoreError> {
    let pointer = root.join(POINTER);
    let corrupt = |reason| StoreError::Corrupt { what: pointer.display().to_string(), reason };
    if let Some(name) = files::read_optional(&pointer)? {
        return match String::from_utf8(name) {
            Ok(name) if name.starts_with(FOLDER_PREFIX) && files::checked_name(&name).is_ok() => Ok(name),
            Ok(name) => Err(corrupt(format!("it names {name:?}"))),
            Err(error) => Err(corrupt(error.to_string())),
        };
    }
    if files::names_in(root)?.iter().any(|name| name.starts_with(FOLDER_PREFIX)) {
        return Err(corrupt("it is missing, but there is a state".to_owned()));
    }
    let name = format!("{FOLDER_PREFIX}{}", Ulid::new());
    files::replace(&pointer, name.as_bytes())?;
    Ok(name)
}

fn layout(config: &Config) -> Layout {
    let families = Family::ALL.map(|family| FamilySpec {
        name: family.name(),
        write_buffer_bytes: config.state_write_buffer_bytes,
        compress: true,
        bloom: true,
    });
    Layout {
        name: NAME,
        options: engine::options(config),
        cache_bytes: config.state_cache_bytes,
        write_buffers_bytes: Some(config.state_write_buffer_bytes),
        families: families.into(),
    }
}

/// A lock whose holders cannot leave it half changed, so that a panic elsewhere does not matter.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
