//! What a RocksDB database tells about itself, as metrics.

use crate::engine::Layout;
use metrics::{Unit, counter, describe_counter, describe_gauge, gauge};
use rocksdb::statistics::Ticker;
use rocksdb::{DB, properties};

/// What RocksDB counts: its name here, its name there, what it means.
const COUNTERS: [(&str, Ticker, Unit, &str); 9] = [
    (
        "portolan_rocksdb_block_cache_hits_total",
        Ticker::BlockCacheHit,
        Unit::Count,
        "Blocks that were found in the block cache.",
    ),
    (
        "portolan_rocksdb_block_cache_misses_total",
        Ticker::BlockCacheMiss,
        Unit::Count,
        "Blocks that had to be read from a file.",
    ),
    ("portolan_rocksdb_written_bytes_total", Ticker::BytesWritten, Unit::Bytes, "Keys and values that were written."),
    (
        "portolan_rocksdb_wal_bytes_total",
        Ticker::WalFileBytes,
        Unit::Bytes,
        "Bytes that went into the write-ahead log.",
    ),
    ("portolan_rocksdb_wal_syncs_total", Ticker::WalFileSynced, Unit::Count, "Syncs of the write-ahead log."),
    (
        "portolan_rocksdb_flush_written_bytes_total",
        Ticker::FlushWriteBytes,
        Unit::Bytes,
        "Bytes that flushes of write buffers wrote.",
    ),
    (
        "portolan_rocksdb_compaction_read_bytes_total",
        Ticker::CompactReadBytes,
        Unit::Bytes,
        "Bytes that compactions read.",
    ),
    (
        "portolan_rocksdb_compaction_written_bytes_total",
        Ticker::CompactWriteBytes,
        Unit::Bytes,
        "Bytes that compactions wrote.",
    ),
    (
        "portolan_rocksdb_stall_microseconds_total",
        Ticker::StallMicros,
        Unit::Microseconds,
        "How long writers were held back because compaction could not keep up.",
    ),
];

/// Says what each metric means. Repeating it is harmless.
pub(crate) fn describe() {
    for (name, _, unit, help) in COUNTERS {
        describe_counter!(name, unit, help);
    }
    let bytes = |name: &'static str, help: &'static str| describe_gauge!(name, Unit::Bytes, help);
    bytes("portolan_rocksdb_memtable_bytes", "Write buffers in memory.");
    bytes("portolan_rocksdb_table_reader_bytes", "Indexes and filters in memory outside of the block cache.");
    bytes("portolan_rocksdb_block_cache_bytes", "The block cache.");
    bytes("portolan_rocksdb_file_bytes", "Files on the disk, without the write-ahead log.");
    bytes("portolan_rocksdb_pending_compaction_bytes", "What compaction still has to rewrite.");
    let count = |name: &'static str, help: &'static str| describe_gauge!(name, Unit::Count, help);
    count(
        "portolan_rocksdb_level0_files",
        "Unsorted files of the column family that has most: 20 slow writers down, 36 stop them.",
    );
    count("portolan_rocksdb_running_compactions", "Compactions under way.");
    count("portolan_rocksdb_running_flushes", "Flushes of write buffers under way.");
    count("portolan_rocksdb_compaction_pending", "1 when a compaction waits for a thread.");
    count("portolan_rocksdb_write_stopped", "1 while writers are stopped until compaction catches up.");
    count("portolan_rocksdb_snapshots", "Readers that hold on to an older state.");
    count("portolan_rocksdb_background_errors", "Flushes and compactions that failed since the start.");
    describe_gauge!(
        "portolan_rocksdb_delayed_write_bytes_per_second",
        "What writers are slowed down to; 0 when they are not."
    );
}

/// What the column families of a database have in sum, or at most.
#[derive(Default)]
struct Families {
    memtables: u64,
    readers: u64,
    files: u64,
    behind: u64,
    level0: u64,
    pending: u64,
    stopped: u64,
}

/// Refreshes the metrics of a database.
pub(crate) fn record(db: &DB, layout: &Layout) {
    let database = layout.name;
    let mut sum = Families::default();
    // What belongs to the database as a whole is told by any of its families.
    let (mut cache, mut delayed) = (0, 0);
    for family in &layout.families {
        let Some(handle) = db.cf_handle(family.name) else { continue };
        let read = |name| db.property_int_value_cf(handle, name).ok().flatten().unwrap_or(0);
        sum.memtables += read(properties::CUR_SIZE_ALL_MEM_TABLES);
        sum.readers += read(properties::ESTIMATE_TABLE_READERS_MEM);
        sum.files += read(properties::LIVE_SST_FILES_SIZE);
        sum.behind += read(properties::ESTIMATE_PENDING_COMPACTION_BYTES);
        sum.pending |= read(properties::COMPACTION_PENDING);
        sum.stopped |= read(properties::IS_WRITE_STOPPED);
        cache = read(properties::BLOCK_CACHE_USAGE);
        delayed = read(properties::ACTUAL_DELAYED_WRITE_RATE);
        // The only one of these that RocksDB tells as text.
        let level0 = db.property_value_cf(handle, properties::num_files_at_level(0)).ok().flatten();
        sum.level0 = sum.level0.max(level0.and_then(|files| files.parse().ok()).unwrap_or(0));
    }
    let whole = |name| db.property_int_value(name).ok().flatten().unwrap_or(0);
    let set = |name: &'static str, value| gauge!(name, "database" => database).set(approximate(value));
    set("portolan_rocksdb_memtable_bytes", sum.memtables);
    set("portolan_rocksdb_table_reader_bytes", sum.readers);
    set("portolan_rocksdb_block_cache_bytes", cache);
    set("portolan_rocksdb_file_bytes", sum.files);
    set("portolan_rocksdb_pending_compaction_bytes", sum.behind);
    set("portolan_rocksdb_level0_files", sum.level0);
    set("portolan_rocksdb_compaction_pending", sum.pending);
    set("portolan_rocksdb_write_stopped", sum.stopped);
    set("portolan_rocksdb_delayed_write_bytes_per_second", delayed);
    set("portolan_rocksdb_running_compactions", whole(properties::NUM_RUNNING_COMPACTIONS));
    set("portolan_rocksdb_running_flushes", whole(properties::NUM_RUNNING_FLUSHES));
    set("portolan_rocksdb_snapshots", whole(properties::NUM_SNAPSHOTS));
    set("portolan_rocksdb_background_errors", whole(properties::BACKGROUND_ERRORS));
    for (name, ticker, _, _) in COUNTERS {
        counter!(name, "database" => database).absolute(layout.options.get_ticker_count(ticker));
    }
}

/// Gauges are floats; beyond 2^53 bytes their last digits do not matter.
#[expect(clippy::cast_precision_loss, reason = "a gauge of bytes need not be exact")]
pub(crate) fn approximate(bytes: u64) -> f64 {
    bytes as f64
}
