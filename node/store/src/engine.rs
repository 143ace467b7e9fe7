//! What the two RocksDB databases have in common: options, errors.

use crate::config::Config;
use crate::error::StoreError;
use crate::wal;
use rocksdb::Options;
use rocksdb::statistics::StatsLevel;
use rocksdb::{
    BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, Error, ErrorKind, LogLevel, ReadOptions,
};
use std::path::Path;

/// One column family to open.
pub(crate) struct FamilySpec {
    /// Its name on disk.
    pub(crate) name: &'static str,
    /// How much it collects in memory before it writes a file.
    pub(crate) write_buffer_bytes: u64,
    /// Whether its blocks are compressed. The log's are not: its entries are short-lived.
    pub(crate) compress: bool,
    /// Whether point reads are common enough for a bloom filter.
    pub(crate) bloom: bool,
}

/// How one database is opened.
pub(crate) struct Layout {
    /// What it is called in errors and metrics.
    pub(crate) name: &'static str,
    /// Its options, and with them its counters: whoever opens it again with the same layout counts on.
    pub(crate) options: Options,
    /// Its block cache.
    pub(crate) cache_bytes: u64,
    /// The write buffers of all families together, where the families have no limit of their own that matters.
    pub(crate) write_buffers_bytes: Option<u64>,
    /// Its column families.
    pub(crate) families: Vec<FamilySpec>,
}

/// Wraps an error of RocksDB. Corruption is told apart: a node that has it must be rejoined.
pub(crate) fn failed(database: &'static str, action: &'static str) -> impl Fn(Error) -> StoreError {
    move |source| match source.kind() {
        ErrorKind::Corruption => {
            StoreError::Corrupt { what: format!("the {database} database"), reason: source.into_string() }
        }
        _ => StoreError::Rocks { action, database, source },
    }
}

/// Opens a database, creating what is missing.
///
/// What a crash left of the write-ahead log ends the replay there: what was not synced may be lost, in order, and
/// nothing else. A log that is damaged where its marks say that it was synced is refused ([`wal`]), and so are whole
/// logs that are missing or shorter than they were at their sync, and tables of another length than the manifest says,
/// or whose index cannot be read. A damaged block of rows is noticed when it is read, by its checksum.
pub(crate) fn open(path: &Path, layout: &Layout) -> Result<DB, StoreError> {
    // A copy shares the counters.
    open_with(layout.options.clone(), path, layout)
}

/// Like [`open`], but a folder without a database is refused.
pub(crate) fn open_existing(path: &Path, layout: &Layout) -> Result<DB, StoreError> {
    let mut options = layout.options.clone();
    options.create_if_missing(false);
    open_with(options, path, layout)
}

fn open_with(mut options: Options, path: &Path, layout: &Layout) -> Result<DB, StoreError> {
    wal::settle(path, layout.name, |logs| replay(path, logs, layout.name))?;
    let cache = Cache::new_lru_cache(size(layout.cache_bytes));
    if let Some(bytes) = layout.write_buffers_bytes {
        options.set_db_write_buffer_size(size(bytes));
    }
    let descriptors =
        layout.families.iter().map(|family| ColumnFamilyDescriptor::new(family.name, family_options(family, &cache)));
    // RocksDB always has this one; nothing is kept in it.
    let default = ColumnFamilyDescriptor::new("default", Options::default());
    let descriptors = descriptors.chain([default]);
    let db = DB::open_cf_descriptors(&options, path, descriptors).map_err(failed(layout.name, "opening"))?;
    open_tables(&db, layout.name)?;
    Ok(db)
}

/// Opens every table. RocksDB opens a few when it starts, and the others when somebody asks for what is in them; a node
/// that cannot read what it has must not begin to serve. This costs some reads for each, and they hold 32 MiB of rows.
#[expect(deprecated, reason = "nothing else reaches a table below a range that was deleted")]
fn open_tables(db: &DB, database: &'static str) -> Result<(), StoreError> {
    let failed = failed(database, "opening the tables of");
    for table in db.live_files().map_err(&failed)? {
        let (Some(first), Some(mut last)) = (table.start_key, table.end_key) else { continue };
        let Some(family) = db.cf_handle(&table.column_family_name) else { continue };
        last.push(0);
        let mut options = ReadOptions::default();
        options.fill_cache(false);
        options.set_iterate_upper_bound(last);
        // Else tables of which every row is deleted are passed over.
        options.set_ignore_range_deletions(true);
        let mut rows = db.raw_iterator_cf_opt(family, options);
        rows.seek(first);
        rows.status().map_err(&failed)?;
    }
    Ok(())
}

/// Replays logs of another folder, keeps nothing of it, and tells the last sequence number.
pub(crate) fn replay(path: &Path, logs: &Path, database: &'static str) -> Result<u64, StoreError> {
    let failed = failed(database, "replaying copies of its logs");
    let mut options = read_only_options();
    options.set_wal_dir(logs);
    // Those that it has: an older version may have had fewer.
    let families = DB::list_cf(&options, path).map_err(&failed)?;
    let db = DB::open_cf_for_read_only(&options, path, families, false).map_err(&failed)?;
    Ok(db.latest_sequence_number())
}

/// Opens a database that nobody writes to, for a look inside.
pub(crate) fn open_read_only(path: &Path, layout: &Layout) -> Result<DB, StoreError> {
    let names = layout.families.iter().map(|family| family.name).chain(["default"]);
    DB::open_cf_for_read_only(&read_only_options(), path, names, false)
        .map_err(failed(layout.name, "opening read-only"))
}

fn read_only_options() -> Options {
    let mut options = Options::default();
    // As in the database it is a copy of: without it RocksDB wants to drop the tracked logs from the manifest, and
    // crashes because it was opened read-only.
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_open_files(16);
    options.set_log_level(LogLevel::Warn);
    options
}

/// The options of a database, whatever its families.
pub(crate) fn options(config: &Config) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    options.set_track_and_verify_wals_in_manifest(true);
    // A column family that is rarely written would otherwise keep every log since its last flush.
    options.set_max_total_wal_size(config.max_wal_bytes);
    options.set_max_background_jobs(2);
    options.set_max_open_files(i32::try_from(config.max_open_files).unwrap_or(i32::MAX));
    options.set_bytes_per_sync(1 << 20);
    options.set_log_level(LogLevel::Warn);
    options.set_keep_log_file_num(4);
    options.set_max_log_file_size(4 << 20);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    // Counters only, which are kept per processor: a tenth of a microsecond per read. What takes the time costs more.
    options.enable_statistics();
    options.set_statistics_level(StatsLevel::ExceptHistogramOrTimers);
    options
}

fn family_options(family: &FamilySpec, cache: &Cache) -> Options {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    // Indexes count against the cache's limit instead of growing with the data.
    table.set_cache_index_and_filter_blocks(true);
    table.set_pin_l0_filter_and_index_blocks_in_cache(true);
    table.set_block_size(16 << 10);
    if family.bloom {
        table.set_bloom_filter(10.0, false);
    }
    let mut options = Options::default();
    options.set_block_based_table_factory(&table);
    options.set_write_buffer_size(size(family.write_buffer_bytes));
    options.set_max_write_buffer_number(2);
    // Small arena blocks: sixteen families that hold a few rows each must not take a megabyte each.
    options.set_arena_block_size(64 << 10);
    options.set_compression_type(if family.compress { DBCompressionType::Lz4 } else { DBCompressionType::None });
    options.set_target_file_size_base(32 << 20);
    options
}

/// A configured size as RocksDB wants it.
fn size(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::{FamilySpec, Layout, StoreError, open, options};
    use crate::config::Config;
    use std::fs;

    /// More than RocksDB opens by itself.
    const FAMILIES: [&str; 20] =
        ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r", "s", "t"];

    fn layout() -> Layout {
        let family = |name| FamilySpec { name, write_buffer_bytes: 1 << 20, compress: false, bloom: false };
        let options = options(&Config::default());
        let families = FAMILIES.map(family).into();
        Layout { name: "state", options, cache_bytes: 1 << 20, write_buffers_bytes: None, families }
    }

    #[test]
    fn a_table_whose_index_cannot_be_read_is_refused_however_many_are_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        {
            let db = open(folder.path(), &layout()).unwrap();
            for family in FAMILIES.map(|name| db.cf_handle(name).unwrap()) {
                db.put_cf(family, b"a", b"x").unwrap();
                db.put_cf(family, b"b", b"x").unwrap();
                db.flush_cf(family).unwrap();
                // Below others, and every row of it is deleted.
                db.compact_range_cf(family, None::<&[u8]>, None::<&[u8]>);
                db.delete_range_cf(family, b"a", b"c").unwrap();
            }
        }
        drop(open(folder.path(), &layout()).unwrap());
        let files = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
        let tables: Vec<_> = files.filter(|path| path.extension().is_some_and(|ending| ending == "sst")).collect();
        assert!(tables.len() >= FAMILIES.len(), "{tables:?}");
        for table in tables {
            let sound = fs::read(&table).unwrap();
            let mut damaged = sound.clone();
            let end = damaged.len() - 16;
            damaged[end - 16..end].iter_mut().for_each(|byte| *byte = !*byte);
            fs::write(&table, damaged).unwrap();
            let refused = open(folder.path(), &layout());
            assert!(matches!(refused, Err(StoreError::Corrupt { .. })), "{table:?}: {:?}", refused.err());
            fs::write(&table, sound).unwrap();
        }
        open(folder.path(), &layout()).unwrap();
    }
}
