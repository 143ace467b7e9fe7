#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod kill;

use super::{BLOCK, FULL, HEADER, LAST, REHEARSAL, gaps, logs_in, record, sync_mark};
use crate::config::Config;
use crate::engine::{self, FamilySpec, Layout};
use crate::error::StoreError;
use rocksdb::{ColumnFamilyDescriptor, DB, IteratorMode, Options, WriteBatch};
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Makes records of a kilobyte, so that each block begins with one: a block that is skipped is a hole then.
const VALUE_BYTES: usize = 1024 - 32;

fn layout() -> Layout {
    layout_of(["rows", "others"].map(|name| family(name, 8 << 20)).into())
}

fn layout_of(families: Vec<FamilySpec>) -> Layout {
    let options = engine::options(&Config::default());
    Layout { name: "raft", options, cache_bytes: 1 << 20, write_buffers_bytes: None, families }
}

fn family(name: &'static str, write_buffer_bytes: u64) -> FamilySpec {
    FamilySpec { name, write_buffer_bytes, compress: false, bloom: false }
}

fn open(folder: &Path) -> Result<DB, StoreError> {
    engine::open(folder, &layout())
}

fn write(db: &DB, family: &str, rows: Range<u64>) {
    for row in rows {
        db.put_cf(db.cf_handle(family).unwrap(), row.to_be_bytes(), [b'x'; VALUE_BYTES]).unwrap();
    }
}

fn mark(db: &DB) {
    db.flush_wal(true).unwrap();
    db.write(sync_mark(db.latest_sequence_number())).unwrap();
}

/// How many rows there are, which must be the first ones.
fn rows(db: &DB) -> u64 {
    let keys = db.iterator_cf(db.cf_handle("rows").unwrap(), IteratorMode::Start).map(|row| row.unwrap().0);
    let keys: Vec<_> = keys.map(|key| u64::from_be_bytes(key.as_ref().try_into().unwrap())).collect();
    assert_eq!(keys, (0..keys.len() as u64).collect::<Vec<_>>(), "a hole");
    keys.len() as u64
}

fn logs(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut logs: Vec<_> = paths.filter(|path| path.extension().is_some_and(|ending| ending == "log")).collect();
    logs.sort();
    logs
}

/// Where the records of a log lie.
fn records(log: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (number, block) in log.chunks(BLOCK).enumerate() {
        let mut at = 0;
        while let Some((_, payload)) = record(block, at) {
            let end = at + HEADER + payload.len();
            found.push(number * BLOCK + at..number * BLOCK + end);
            at = end;
        }
    }
    found
}

/// A database with `before` rows, a mark, and `behind` rows that nothing says to be synced.
fn made(before: u64, behind: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path()).unwrap();
    write(&db, "rows", 0..before);
    if before > 0 {
        mark(&db);
    }
    write(&db, "rows", before..before + behind);
    folder
}

/// What a disk makes of the bytes of one record.
type Harm = fn(&mut [u8]);
const HARMS: [(&str, Harm); 6] = [
    ("a bit of the payload", |bytes| bytes[HEADER + 20] ^= 1),
    ("a bit of the checksum", |bytes| bytes[1] ^= 0x10),
    ("a length beyond the block", |bytes| bytes[5] ^= 0x80),
    ("the kind of a recycled log", |bytes| bytes[6] ^= 4),
    ("a zeroed header", |bytes| bytes[..HEADER].fill(0)),
    ("a zeroed record", |bytes| bytes.fill(0)),
];

fn harmed(log: &Path, at: &Range<usize>, harm: Harm) {
    let mut bytes = fs::read(log).unwrap();
    harm(&mut bytes[at.clone()]);
    fs::write(log, bytes).unwrap();
}

fn is_refused(folder: &Path) -> bool {
    // As often as one tries: a start that refuses takes nothing away.
    (0..2).all(|_| match open(folder) {
        Err(StoreError::Corrupt { what, .. }) => what == "the raft database",
        Err(other) => panic!("{other}"),
        Ok(_) => false,
    })
}

#[test]
fn damage_where_a_log_was_synced_is_refused() {
    let folder = made(100, 0);
    let log = logs(folder.path()).remove(0);
    let whole = fs::read(&log).unwrap();
    let records = records(&whole);
    assert_eq!(records.len(), 101, "one per row, and the mark");
    for (what, harm) in HARMS {
        for row in [0, 1, 31, 32, 50, 98, 99] {
            fs::write(&log, &whole).unwrap();
            harmed(&log, &records[row], harm);
            assert!(is_refused(folder.path()), "{what} of row {row}");
        }
    }
    fs::write(&log, &whole).unwrap();
    assert_eq!(rows(&open(folder.path()).unwrap()), 100);
}

#[test]
fn a_record_that_a_crash_cut_short_is_the_end() {
    let template = made(70, 0);
    let whole = fs::read(logs(template.path()).remove(0)).unwrap();
    for cut in (0..whole.len()).step_by(2_503).chain([BLOCK - 1, BLOCK, BLOCK + 1, BLOCK + HEADER]) {
        let folder = made(70, 0);
        fs::write(logs(folder.path()).remove(0), &whole[..cut]).unwrap();
        let left = rows(&open(folder.path()).unwrap());
        assert_eq!(left, cut as u64 / 1024, "cut at {cut}");
    }
}

/// The pages of what was never synced reach a disk in any order.
#[test]
fn what_was_not_synced_may_be_torn_anywhere_and_leaves_no_hole() {
    for (what, harm) in HARMS {
        for torn in [41, 42, 63, 64, 65, 70, 99, 101] {
            let folder = made(40, 60);
            let log = logs(folder.path()).remove(0);
            let bytes = fs::read(&log).unwrap();
            let records = records(&bytes);
            harmed(&log, &records[torn], harm);
            let before = records[..torn].iter().filter(|at| matches!(bytes[at.start + 6], FULL | LAST)).count() as u64;
            let db = open(folder.path()).unwrap_or_else(|error| panic!("{what} of record {torn}: {error}"));
            // The mark lies between the rows.
            assert_eq!(rows(&db), before - 1, "{what} of record {torn}");
        }
    }
}

#[test]
fn a_log_without_marks_ends_at_its_first_damage() {
    for (what, harm) in HARMS {
        for row in [0, 31, 32, 33, 99] {
            let folder = made(0, 100);
            let log = logs(folder.path()).remove(0);
            harmed(&log, &records(&fs::read(&log).unwrap())[row], harm);
            assert_eq!(rows(&open(folder.path()).unwrap()), row as u64, "{what} of row {row}");
        }
    }
}

/// A log that another followed is damaged at its end: there nothing is torn.
#[test]
fn an_older_log_that_is_damaged_at_its_end_is_refused() {
    for (what, harm) in HARMS {
        let folder = tempfile::tempdir().unwrap();
        let db = open(folder.path()).unwrap();
        write(&db, "others", 0..1);
        write(&db, "rows", 0..40);
        db.flush_wal(true).unwrap();
        // Begins another log, and leaves the first one to the rows.
        db.flush_cf(db.cf_handle("others").unwrap()).unwrap();
        write(&db, "rows", 40..50);
        mark(&db);
        drop(db);
        let logs = logs(folder.path());
        assert_eq!(logs.len(), 2);
        let last = records(&fs::read(&logs[0]).unwrap()).pop().unwrap();
        harmed(&logs[0], &last, harm);
        assert!(is_refused(folder.path()), "{what}");
    }
}

#[test]
fn a_mark_in_a_later_log_is_heard_too() {
    for (synced, refused) in [(40, true), (39, false)] {
        let folder = made(0, 40);
        let log = logs(folder.path()).remove(0);
        let last = records(&fs::read(&log).unwrap()).pop().unwrap();
        harmed(&log, &last, |bytes| bytes[HEADER + 20] ^= 1);
        fs::write(folder.path().join("000900.log"), of_one_batch(&sync_mark(synced), 41)).unwrap();
        let were = contents(folder.path());
        assert_eq!(is_refused(folder.path()), refused, "{synced} are said to be synced");
        assert!(!refused || contents(folder.path()) == were, "what is refused stays as it is");
    }
}

/// A log with one record.
fn of_one_batch(batch: &WriteBatch, sequence: u64) -> Vec<u8> {
    let payload = [&sequence.to_le_bytes(), &batch.data()[8..]].concat();
    let sum = crc32c::crc32c(&[&[FULL], payload.as_slice()].concat());
    let masked = sum.rotate_right(15).wrapping_add(0xa282_ead8);
    let length = u16::try_from(payload.len()).unwrap();
    [&masked.to_le_bytes()[..], &length.to_le_bytes(), &[FULL], &payload].concat()
}

/// A start checks the lengths of tables. Their blocks it does not read; whoever does is told.
#[test]
fn a_damaged_block_of_a_table_is_an_error_for_whoever_reads_it() {
    let folder = made(100, 0);
    // A start writes what was in the log into tables.
    drop(open(folder.path()).unwrap());
    let names = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path());
    let table = names.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "sst")).unwrap();
    let whole = fs::read(&table).unwrap();
    let mut bytes = whole.clone();
    bytes[whole.len() / 2] ^= 1;
    fs::write(&table, &bytes).unwrap();
    let db = open(folder.path()).unwrap();
    let family = db.cf_handle("rows").unwrap();
    let failed = engine::failed("raft", "reading");
    let corrupt = |error| matches!(failed(error), StoreError::Corrupt { .. });
    assert!((0..100_u64).any(|row| db.get_cf(family, row.to_be_bytes()).is_err_and(corrupt)));
    assert!(db.iterator_cf(family, IteratorMode::Start).any(|row| row.is_err_and(corrupt)));
    drop(db);
    fs::write(&table, &whole[..whole.len() - 1]).unwrap();
    assert!(is_refused(folder.path()), "a table that is shorter than the manifest says");
}

/// A database whose rows lie in two logs, since nothing was flushed when the second one began, and how many rows the
/// first one has.
fn made_of_two_logs() -> (tempfile::TempDir, u64) {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()).unwrap());
    let mut row = 0;
    let db = with_lazy_flushes(folder.path());
    while logs(folder.path()).len() < 2 {
        write(&db, "rows", row..row + 1);
        row += 1;
        if row == 31 {
            // The last one of the first block leaves less than a header there.
            let value = [b'x'; VALUE_BYTES - 3];
            db.put_cf(db.cf_handle("rows").unwrap(), row.to_be_bytes(), value).unwrap();
            row += 1;
        }
    }
    write(&db, "rows", row..row + 10);
    // The row that found the write buffer full is the first one of the second log.
    (folder, row - 1)
}

/// Keeps two full write buffers in memory, and with them their logs.
fn with_lazy_flushes(folder: &Path) -> DB {
    let mut options = Options::default();
    options.set_write_buffer_size(64 << 10);
    options.set_max_write_buffer_number(4);
    options.set_min_write_buffer_number_to_merge(3);
    let families = ["default", "rows", "others"].map(|name| ColumnFamilyDescriptor::new(name, options.clone()));
    DB::open_cf_descriptors(&layout().options, folder, families).unwrap()
}

fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    logs(folder).into_iter().map(|log| (log.clone(), fs::read(log).unwrap())).collect()
}

/// Takes the last records of a log away, as a power loss does with what was not synced.
fn shorten(log: &Path, lost: usize) {
    let whole = fs::read(log).unwrap();
    let records = records(&whole);
    fs::write(log, &whole[..records[records.len() - lost - 1].end]).unwrap();
}

#[test]
fn what_lies_behind_a_hole_between_two_logs_is_left_out() {
    for left in [1, 31, 32, 33, 45] {
        let (folder, before) = made_of_two_logs();
        let log = logs(folder.path()).remove(0);
        shorten(&log, usize::try_from(before - left).unwrap());
        let ends_its_block = fs::metadata(&log).unwrap().len() % BLOCK as u64 == BLOCK as u64 - 3;
        assert_eq!(ends_its_block, left == 32);
        assert_eq!(rows(&open(folder.path()).unwrap()), left);
        // And it stays so, with what comes afterwards.
        write(&open(folder.path()).unwrap(), "rows", left..before);
        assert_eq!(rows(&open(folder.path()).unwrap()), before);
    }
}

#[test]
fn a_hole_between_logs_whose_names_differ_in_length_is_found() {
    let (folder, before) = made_of_two_logs();
    let logs = logs(folder.path());
    fs::rename(&logs[0], folder.path().join("999999.log")).unwrap();
    fs::rename(&logs[1], folder.path().join("1000000.log")).unwrap();
    shorten(&folder.path().join("999999.log"), 3);
    assert_eq!(rows(&open(folder.path()).unwrap()), before - 3);
}

#[test]
fn a_hole_between_two_logs_that_were_synced_is_refused_and_the_logs_stay_as_they_are() {
    for (lost, refused) in [(4, false), (5, true)] {
        let (folder, before) = made_of_two_logs();
        let logs = logs(folder.path());
        // A mark for all but the last four rows of the first log.
        let behind = of_one_batch(&sync_mark(before - 4), before + 12);
        fs::write(&logs[1], [fs::read(&logs[1]).unwrap(), behind].concat()).unwrap();
        shorten(&logs[0], lost);
        let were = contents(folder.path());
        assert_eq!(is_refused(folder.path()), refused, "{lost} rows are lost");
        if refused {
            assert_eq!(contents(folder.path()), were);
            assert!(!folder.path().join(REHEARSAL).exists());
        }
    }
}

/// A log whose rows are in tables may outlive later ones: their names are taken away in any order.
#[test]
fn a_gap_behind_a_log_that_is_no_longer_needed_is_no_hole() {
    let folder = made(0, 40);
    let kept = contents(folder.path());
    let db = open(folder.path()).unwrap();
    write(&db, "rows", 40..60);
    for family in ["rows", "others"] {
        db.flush_cf(db.cf_handle(family).unwrap()).unwrap();
    }
    write(&db, "rows", 60..70);
    mark(&db);
    drop(db);
    assert_eq!(logs(folder.path()).len(), 1);
    let [(path, bytes)] = kept.as_slice() else { panic!("{} logs", kept.len()) };
    fs::write(path, bytes).unwrap();
    let found = logs_in(folder.path()).unwrap();
    assert_eq!(gaps(&found), [(0, 61)]);
    let were = contents(folder.path());
    super::settle(folder.path(), "raft", |logs| engine::replay(folder.path(), logs, "raft")).unwrap();
    assert_eq!(contents(folder.path()), were);
    assert_eq!(rows(&open(folder.path()).unwrap()), 70);
}

/// A damaged length passes for the end with RocksDB.
#[test]
fn a_manifest_that_goes_on_behind_damage_is_refused_and_one_that_ends_there_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let db = open(folder.path()).unwrap();
    for row in 0..4 {
        write(&db, "rows", row..row + 1);
        db.flush_cf(db.cf_handle("rows").unwrap()).unwrap();
    }
    mark(&db);
    drop(db);
    let name = fs::read_to_string(folder.path().join("CURRENT")).unwrap();
    let manifest = folder.path().join(name.trim());
    let whole = fs::read(&manifest).unwrap();
    let records = records(&whole);
    assert!(records.len() > 4, "{}", records.len());
    for (what, harm) in HARMS {
        for at in records[..records.len() - 1].iter().filter(|at| at.len() > HEADER + 20) {
            fs::write(&manifest, &whole).unwrap();
            harmed(&manifest, at, harm);
            assert!(is_refused(folder.path()), "{what} of the record at {}", at.start);
        }
    }
    // What a crash leaves of the last one.
    let last = records.last().unwrap();
    fs::write(&manifest, &whole[..last.end - 1]).unwrap();
    let path = folder.path();
    assert!(super::check_manifest(path).unwrap().is_none());
    fs::write(&manifest, &whole).unwrap();
    assert_eq!(rows(&open(path).unwrap()), 4);
}
