//! What the two RocksDB databases have in common: options, errors.

use crate::config::Config;
use crate::error::StoreError;
use rocksdb::Options;
use rocksdb::statistics::StatsLevel;
use rocksdb::{BlockBasedOptions, Cache, ColumnFamilyDescriptor, DB, DBCompressionType, Error, ErrorKind, LogLevel};
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
/// A torn tail of the write-ahead log ends the replay there (RocksDB's point-in-time recovery, its default): what was
/// not synced may be lost, in order, and nothing else. Whole logs that are missing or shorter than they were at their
/// sync are refused.
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
    let cache = Cache::new_lru_cache(size(layout.cache_bytes));
    if let Some(bytes) = layout.write_buffers_bytes {
        options.set_db_write_buffer_size(size(bytes));
    }
    let descriptors =
        layout.families.iter().map(|family| ColumnFamilyDescriptor::new(family.name, family_options(family, &cache)));
    // RocksDB always has this one; nothing is kept in it.
    let default = ColumnFamilyDescriptor::new("default", Options::default());
    DB::open_cf_descriptors(&options, path, descriptors.chain([default])).map_err(failed(layout.name, "opening"))
}

/// Opens a database that nobody writes to, for a look inside.
pub(crate) fn open_read_only(path: &Path, layout: &Layout) -> Result<DB, StoreError> {
    let mut options = Options::default();
    // As in the database it is a copy of: without it RocksDB wants to drop the tracked logs from the manifest, and
    // crashes because it was opened read-only.
    options.set_track_and_verify_wals_in_manifest(true);
    options.set_max_open_files(16);
    options.set_log_level(LogLevel::Warn);
    let names = layout.families.iter().map(|family| family.name).chain(["default"]);
    DB::open_cf_for_read_only(&options, path, names, false).map_err(failed(layout.name, "opening read-only"))
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
