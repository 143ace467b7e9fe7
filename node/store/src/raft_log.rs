//! The Raft log and vote: a RocksDB database of its own (`raft/`), so that its fsyncs wait for nobody else's writes.
//!
//! Column families: `log` (big-endian index → entry), `meta` (vote and the like, and the marker of the last purge).
//! A write is readable when its call returns and durable when its callback is told so; callbacks come in the order of
//! their writes, from one thread ([`flusher`]) that syncs once for all that wait.

mod flusher;
#[cfg(test)]
mod tests;

pub use flusher::{Done, FsyncFailure};

use crate::config::Config;
use crate::engine::{self, FamilySpec, Layout};
use crate::error::StoreError;
use crate::files;
use crate::gauges;
use crate::telemetry;
use crate::wal;
use bytes::Bytes;
use flusher::Flusher;
use portolan_sabotage::Sabotage;
use rocksdb::{ColumnFamily, DB, ReadOptions, WriteBatch, WriteOptions, properties};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const NAME: &str = "raft";
const LOG: &str = "log";
const META: &str = "meta";
/// Where the marker of the last purge lies in `meta`; no caller's key begins with a zero byte.
const PURGED: &[u8] = b"\0purged";

/// The Raft log.
pub struct RaftLog {
    db: Arc<DB>,
    layout: Layout,
    flusher: Flusher,
    on_failure: Arc<FsyncFailure>,
    appended_bytes: AtomicU64,
}

impl std::fmt::Debug for RaftLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RaftLog").field("bytes", &self.bytes()).finish_non_exhaustive()
    }
}

impl RaftLog {
    /// Opens the log of a data folder, creating it if it is missing. A failed fsync aborts the process: nothing that
    /// was written may be acknowledged any more, and what is on the disk is known only after a restart.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when the database is damaged; the node has to rejoin with an empty folder.
    pub fn open(data_dir: &Path, config: &Config) -> Result<Arc<Self>, StoreError> {
        Self::open_with(data_dir, config, Box::new(|_| std::process::abort()))
    }

    /// Like [`RaftLog::open`], with another reaction to a failed fsync.
    ///
    /// # Errors
    /// As [`RaftLog::open`].
    pub fn open_with(data_dir: &Path, config: &Config, on_failure: FsyncFailure) -> Result<Arc<Self>, StoreError> {
        telemetry::describe();
        let path = data_dir.join("raft");
        files::create_dir(&path)?;
        let layout = layout(config);
        let db = Arc::new(engine::open(&path, &layout)?);
        let synced = Arc::clone(&db);
        let sync = move || make_durable(&synced, "syncing the log");
        let on_failure = Arc::new(on_failure);
        let flusher = Flusher::start(config.raft_queue, sync, Arc::clone(&on_failure))?;
        let log = Self { db, layout, flusher, on_failure, appended_bytes: AtomicU64::new(0) };
        log.appended_bytes.store(log.bytes(), Ordering::Relaxed);
        Ok(Arc::new(log))
    }

    /// Writes entries: readable on return, durable when `done` is told. An existing entry is replaced; whoever wants
    /// what follows it gone calls [`RaftLog::truncate_from`] first.
    ///
    /// # Errors
    /// When the write failed or the log is closed; `done` is dropped then. Blocks while [`Config::raft_queue`] writes
    /// wait.
    pub fn append(&self, entries: impl IntoIterator<Item = (u64, Vec<u8>)>, done: Done) -> Result<(), StoreError> {
        let log = self.family(LOG);
        let mut batch = WriteBatch::default();
        let mut bytes = 0;
        for (index, entry) in entries {
            bytes += entry.len() as u64 + 8;
            batch.put_cf(log, index.to_be_bytes(), entry);
        }
        self.db.write(batch).map_err(engine::failed(NAME, "appending"))?;
        self.appended_bytes.fetch_add(bytes, Ordering::Relaxed);
        if portolan_sabotage::is(Sabotage::SkipFsync) {
            // Sabotaged: entries become durable when something else next syncs.
            done(Ok(()));
            return Ok(());
        }
        self.flusher.enqueue(done)
    }

    /// The entries from `from` up to, not including, `to`, in order and without holes: as many as fit into
    /// `max_bytes`, but at least one if there is one. What is purged is skipped.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] when an entry is missing between two others.
    pub fn entries(&self, from: u64, to: u64, max_bytes: u64) -> Result<Vec<(u64, Bytes)>, StoreError> {
        let mut found: Vec<(u64, Bytes)> = Vec::new();
        let mut bytes = 0;
        let mut options = ReadOptions::default();
        options.set_iterate_upper_bound(to.to_be_bytes());
        let mut iterator = self.db.raw_iterator_cf_opt(self.family(LOG), options);
        iterator.seek(from.to_be_bytes());
        while let Some((key, entry)) = iterator.item() {
            let index = index_of(key)?;
            bytes += entry.len() as u64;
            if let Some((last, _)) = found.last() {
                if bytes > max_bytes {
                    break;
                }
                if last + 1 != index {
                    return Err(corrupt(format!("entry {index} follows entry {last}")));
                }
            }
            found.push((index, Bytes::copy_from_slice(entry)));
            iterator.next();
        }
        iterator.status().map_err(engine::failed(NAME, "reading entries"))?;
        Ok(found)
    }

    /// The last entry; `None` when there is none, be it that all are purged.
    ///
    /// # Errors
    /// When the database fails.
    pub fn last(&self) -> Result<Option<(u64, Bytes)>, StoreError> {
        let mut iterator = self.db.raw_iterator_cf(self.family(LOG));
        iterator.seek_to_last();
        let last = match iterator.item() {
            Some((key, entry)) => Some((index_of(key)?, Bytes::copy_from_slice(entry))),
            None => None,
        };
        iterator.status().map_err(engine::failed(NAME, "reading the last entry"))?;
        Ok(last)
    }

    /// Removes the entry at `index` and all after it; durable on return.
    ///
    /// # Errors
    /// When the database fails.
    pub fn truncate_from(&self, index: u64) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(self.family(LOG), index.to_be_bytes(), u64::MAX.to_be_bytes());
        self.db.write(batch).map_err(engine::failed(NAME, "truncating"))?;
        self.sync("syncing a truncation")
    }

    /// Removes the entries up to and including `index` and remembers `marker` with it, both or neither after a crash;
    /// durable on return. Call it only for what a durable snapshot covers.
    ///
    /// # Errors
    /// When the database fails.
    pub fn purge_to(&self, index: u64, marker: &[u8]) -> Result<(), StoreError> {
        let log = self.family(LOG);
        let (first, end) = (0_u64.to_be_bytes(), index.saturating_add(1).to_be_bytes());
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(log, first, end);
        batch.put_cf(self.family(META), PURGED, marker);
        self.db.write(batch).map_err(engine::failed(NAME, "purging"))?;
        // The files go at once and for good: the marker that says so must not be lost after them. On an idle node no
        // other sync comes for hours.
        self.sync("syncing a purge")?;
        // Drops whole files at once instead of waiting for a compaction to read them. Its end is inclusive, hence
        // `index` and not `end`: a file that also holds the next entry must stay.
        self.db
            .delete_file_in_range_cf(log, first, index.to_be_bytes())
            .map_err(engine::failed(NAME, "dropping purged files"))
    }

    /// The marker of the last [`RaftLog::purge_to`].
    ///
    /// # Errors
    /// When the database fails.
    pub fn purge_marker(&self) -> Result<Option<Bytes>, StoreError> {
        self.read_meta(PURGED)
    }

    /// Writes a small value (the vote): readable on return, durable when `done` is told, in order with the appends.
    ///
    /// # Errors
    /// As [`RaftLog::append`].
    pub fn put_meta(&self, key: &str, value: &[u8], done: Done) -> Result<(), StoreError> {
        self.db.put_cf(self.family(META), key, value).map_err(engine::failed(NAME, "writing a value"))?;
        self.flusher.enqueue(done)
    }

    /// Reads what [`RaftLog::put_meta`] wrote.
    ///
    /// # Errors
    /// When the database fails.
    pub fn get_meta(&self, key: &str) -> Result<Option<Bytes>, StoreError> {
        self.read_meta(key.as_bytes())
    }

    /// How many bytes were appended in all, counted on from what was stored at the start. What triggers a snapshot.
    #[must_use]
    pub fn appended_bytes(&self) -> u64 {
        self.appended_bytes.load(Ordering::Relaxed)
    }

    /// How many bytes of entries are stored: an estimate from files and write buffers.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let read = |name| self.db.property_int_value_cf(self.family(LOG), name).ok().flatten().unwrap_or(0);
        read(properties::ESTIMATE_LIVE_DATA_SIZE) + read(properties::CUR_SIZE_ALL_MEM_TABLES)
    }

    /// Refreshes the database's own metrics (`portolan_rocksdb_*`); call it before metrics are rendered.
    pub fn record_gauges(&self) {
        gauges::record(&self.db, &self.layout);
    }

    /// Tells every waiting callback, syncs, and ends the background work. Further writes get [`StoreError::Closed`].
    pub fn close(&self) {
        self.flusher.close();
        if let Err(error) = self.sync("syncing at the close") {
            tracing::error!(%error, "the Raft log was closed without a sync");
        }
        self.db.cancel_all_background_work(true);
    }

    fn read_meta(&self, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let value = self.db.get_cf(self.family(META), key).map_err(engine::failed(NAME, "reading a value"))?;
        Ok(value.map(Bytes::from))
    }

    fn family(&self, name: &'static str) -> &ColumnFamily {
        self.db.cf_handle(name).expect("open() opened both families")
    }

    /// Syncs outside of the flusher, with the same consequence: after a failed fsync nothing may go on.
    fn sync(&self, action: &'static str) -> Result<(), StoreError> {
        let synced = make_durable(&self.db, action);
        if let Err(failure) = &synced {
            tracing::error!(error = %failure, "the Raft log could not be made durable");
            (self.on_failure)(failure);
        }
        synced
    }
}

impl Drop for RaftLog {
    fn drop(&mut self) {
        self.close();
    }
}

/// Syncs what was written before the call, and marks in the log how far that went, so that a start knows damage from
/// what a crash left.
fn make_durable(db: &DB, action: &'static str) -> Result<(), StoreError> {
    let written = db.latest_sequence_number();
    db.flush_wal(true).map_err(engine::failed(NAME, action))?;
    // Whoever waits for the sync must not wait for a stalled database. Without a mark less is noticed, no more; and
    // where this write failed the next one will.
    let mut at_once = WriteOptions::default();
    at_once.set_no_slowdown(true);
    if let Err(error) = db.write_opt(wal::sync_mark(written), &at_once) {
        tracing::debug!(%error, "the Raft log has no mark of a sync");
    }
    Ok(())
}

fn layout(config: &Config) -> Layout {
    let family = |name, write_buffer_bytes| FamilySpec { name, write_buffer_bytes, compress: false, bloom: false };
    let families = vec![family(LOG, config.raft_write_buffer_bytes), family(META, 64 << 10)];
    let options = engine::options(config);
    Layout { name: NAME, options, cache_bytes: config.raft_cache_bytes, write_buffers_bytes: None, families }
}

fn index_of(key: &[u8]) -> Result<u64, StoreError> {
    let key = key.try_into().map_err(|_| corrupt(format!("a key of {} bytes", key.len())))?;
    Ok(u64::from_be_bytes(key))
}

fn corrupt(reason: String) -> StoreError {
    StoreError::Corrupt { what: "the Raft log".to_owned(), reason }
}
