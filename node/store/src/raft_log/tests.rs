#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::flusher::Flusher;
use super::{Done, RaftLog};
use crate::config::Config;
use crate::error::StoreError;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

fn open(dir: &Path) -> Arc<RaftLog> {
    RaftLog::open(dir, &Config::default()).unwrap()
}

fn entry(index: u64) -> Vec<u8> {
    format!("entry {index} {}", "x".repeat(usize::try_from(index % 50).unwrap())).into_bytes()
}

/// Appends and waits until the entries are durable.
fn append(log: &RaftLog, indexes: impl IntoIterator<Item = u64>) {
    let (done, acked) = callback();
    log.append(indexes.into_iter().map(|index| (index, entry(index))), done).unwrap();
    acked.recv_timeout(PATIENCE).unwrap().unwrap();
}

fn callback() -> (Done, Receiver<Result<(), StoreError>>) {
    let (sender, receiver) = channel();
    (Box::new(move |outcome| sender.send(outcome).unwrap()), receiver)
}

fn indexes(log: &RaftLog, from: u64, to: u64) -> Vec<u64> {
    let entries = log.entries(from, to, u64::MAX).unwrap();
    entries.iter().for_each(|(index, bytes)| assert_eq!(*bytes, entry(*index)));
    entries.into_iter().map(|(index, _)| index).collect()
}

#[test]
fn entries_read_back_in_order_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    assert_eq!(log.last().unwrap(), None);
    append(&log, 1..=300);
    for round in 0..2 {
        let log = if round == 0 { Arc::clone(&log) } else { open_again(dir.path(), &log) };
        assert_eq!(indexes(&log, 0, u64::MAX), (1..=300).collect::<Vec<_>>());
        assert_eq!(indexes(&log, 250, 260), (250..260).collect::<Vec<_>>());
        assert_eq!(log.last().unwrap().unwrap().0, 300);
    }
}

/// RocksDB allows one handle per folder, so the old one is closed by moving to a copy of it.
fn open_again(dir: &Path, log: &Arc<RaftLog>) -> Arc<RaftLog> {
    log.close();
    let copy = dir.join("copy");
    std::fs::create_dir_all(copy.join("raft")).unwrap();
    for file in std::fs::read_dir(dir.join("raft")).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), copy.join("raft").join(file.file_name())).unwrap();
    }
    open(&copy)
}

#[test]
fn a_read_stops_at_its_bytes_but_gives_at_least_one_entry() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    let (done, acked) = callback();
    log.append((1..=10).map(|index| (index, vec![0; 100])), done).unwrap();
    acked.recv_timeout(PATIENCE).unwrap().unwrap();
    for (max_bytes, expected) in [(0, 1), (99, 1), (100, 1), (199, 1), (200, 2), (1000, 10), (u64::MAX, 10)] {
        assert_eq!(log.entries(1, 11, max_bytes).unwrap().len(), expected, "{max_bytes} bytes");
    }
    assert!(log.entries(11, 20, 1000).unwrap().is_empty());
    assert!(log.entries(5, 5, 1000).unwrap().is_empty());
}

#[test]
fn a_hole_in_the_log_is_corrupt() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, [1, 2, 4]);
    assert!(matches!(log.entries(1, 5, u64::MAX), Err(StoreError::Corrupt { .. })));
}

#[test]
fn truncated_entries_are_gone_and_their_indexes_free() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, 1..=100);
    log.truncate_from(51).unwrap();
    assert_eq!(log.last().unwrap().unwrap().0, 50);
    append(&log, 51..=60);
    assert_eq!(indexes(&log, 0, 1000), (1..=60).collect::<Vec<_>>());
    assert_eq!(indexes(&open_again(dir.path(), &log), 0, 1000), (1..=60).collect::<Vec<_>>());
}

#[test]
fn a_purge_removes_entries_and_keeps_its_marker() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    assert_eq!(log.purge_marker().unwrap(), None);
    append(&log, 1..=100);
    let appended = log.appended_bytes();
    assert!(appended > 1000 && log.bytes() > 1000);
    log.purge_to(40, b"forty").unwrap();
    assert_eq!(log.appended_bytes(), appended, "a purge takes nothing back");
    assert_eq!(indexes(&log, 0, 1000), (41..=100).collect::<Vec<_>>());
    let log = open_again(dir.path(), &log);
    assert_eq!(indexes(&log, 0, 1000), (41..=100).collect::<Vec<_>>());
    assert_eq!(log.purge_marker().unwrap().unwrap(), "forty");
    log.purge_to(100, b"hundred").unwrap();
    assert_eq!((log.last().unwrap(), log.purge_marker().unwrap().unwrap()), (None, "hundred".into()));
}

/// Large enough for several files, so that whole ones are dropped: the entry after the purge must not go with them.
#[test]
fn a_purge_gives_the_disk_back_and_takes_nothing_it_should_not() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config { raft_write_buffer_bytes: 256 << 10, ..Config::default() };
    let log = RaftLog::open(dir.path(), &config).unwrap();
    // Entries of a kilobyte that nothing could compress.
    let noisy = |index: u64| {
        (0..128_u64)
            .flat_map(|word| (word ^ index).wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes())
            .collect::<Vec<u8>>()
    };
    for first in (1..=8000).step_by(100) {
        let (done, acked) = callback();
        log.append((first..first + 100).map(|index| (index, noisy(index))), done).unwrap();
        acked.recv_timeout(PATIENCE).unwrap().unwrap();
    }
    for purged in [1, 999, 4000, 7998] {
        log.purge_to(purged, b"x").unwrap();
        let left = log.entries(0, u64::MAX, u64::MAX).unwrap();
        assert_eq!(left.first().map(|(index, _)| *index), Some(purged + 1));
        assert_eq!(left.len() as u64, 8000 - purged);
        assert!(left.iter().all(|(index, bytes)| *bytes == noisy(*index)));
    }
}

#[test]
fn a_value_is_readable_at_once_and_durable_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    assert_eq!(log.get_meta("vote").unwrap(), None);
    let (done, acked) = callback();
    log.put_meta("vote", b"for me", done).unwrap();
    assert_eq!(log.get_meta("vote").unwrap().unwrap(), "for me");
    acked.recv_timeout(PATIENCE).unwrap().unwrap();
    assert_eq!(open_again(dir.path(), &log).get_meta("vote").unwrap().unwrap(), "for me");
}

#[test]
fn a_closed_log_takes_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, [1]);
    log.close();
    log.close();
    let (done, acked) = callback();
    assert!(log.append(vec![(2, entry(2))], done).is_err());
    assert!(acked.recv_timeout(PATIENCE).is_err(), "the callback is dropped");
}

#[test]
fn one_sync_answers_all_that_wait_in_order_and_only_after_it() {
    let (release, gate) = channel::<()>();
    let syncs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&syncs);
    let sync = move || {
        gate.recv_timeout(PATIENCE).unwrap();
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(())
    };
    let flusher = Flusher::start(100, sync, Arc::new(Box::new(|_: &_| panic!("no sync failed")))).unwrap();
    let answered = Arc::new(Mutex::new(Vec::new()));
    let enqueue = |number: usize| {
        let (answered, syncs) = (Arc::clone(&answered), Arc::clone(&syncs));
        let done = move |outcome: Result<(), StoreError>| {
            outcome.unwrap();
            answered.lock().unwrap().push((number, syncs.load(Ordering::SeqCst)));
        };
        flusher.enqueue(Box::new(done)).unwrap();
    };
    // The thread holds some of the first ones in its first sync while the others arrive; all of the rest share one.
    (0..50).for_each(enqueue);
    assert!(answered.lock().unwrap().is_empty(), "answered before a sync");
    for _ in 0..51 {
        release.send(()).unwrap();
    }
    flusher.close();
    let answered = answered.lock().unwrap();
    assert_eq!(answered.iter().map(|(number, _)| *number).collect::<Vec<_>>(), (0..50).collect::<Vec<_>>());
    assert!(answered.iter().all(|(_, syncs)| *syncs >= 1));
    assert!(syncs.load(Ordering::SeqCst) <= 50);
}

#[test]
fn after_a_failed_sync_nothing_is_acknowledged_and_nothing_tried_again() {
    let syncs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&syncs);
    let sync = move || {
        counted.fetch_add(1, Ordering::SeqCst);
        Err(StoreError::Closed { what: "the disk" })
    };
    let (failed, failures) = channel();
    let failed = Mutex::new(failed);
    let on_failure = move |_: &StoreError| failed.lock().unwrap().send(()).unwrap();
    let flusher = Flusher::start(100, sync, Arc::new(Box::new(on_failure))).unwrap();
    let (done, acked) = callback();
    flusher.enqueue(done).unwrap();
    failures.recv_timeout(PATIENCE).unwrap();
    assert!(acked.recv_timeout(PATIENCE).unwrap().is_err());
    flusher.close();
    let (done, _acked) = callback();
    assert!(flusher.enqueue(done).is_err());
    assert_eq!(syncs.load(Ordering::SeqCst), 1);
}

/// A closed log's files with one bit changed where these bytes lie, in files with this ending.
fn damaged(dir: &Path, ending: &str, bytes: &[u8]) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    std::fs::create_dir(copy.path().join("raft")).unwrap();
    let mut found = 0;
    for file in std::fs::read_dir(dir.join("raft")).unwrap() {
        let file = file.unwrap();
        let mut contents = std::fs::read(file.path()).unwrap();
        if file.path().extension().is_some_and(|own| own == ending)
            && let Some(at) = contents.windows(bytes.len()).position(|window| window == bytes)
        {
            contents[at + 2] ^= 4;
            found += 1;
        }
        std::fs::write(copy.path().join("raft").join(file.file_name()), contents).unwrap();
    }
    assert_eq!(found, 1, "the bytes lie in one file");
    copy
}

#[test]
fn a_changed_bit_in_anything_that_was_synced_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    (1..=20).for_each(|index| append(&log, [index]));
    let (done, acked) = callback();
    log.put_meta("vote", b"for node 7", done).unwrap();
    acked.recv_timeout(PATIENCE).unwrap().unwrap();
    (21..=50).for_each(|index| append(&log, [index]));
    log.close();
    for bytes in [&entry(1)[..], &entry(30), &entry(50), b"for node 7"] {
        let copy = damaged(dir.path(), "log", bytes);
        let refused = RaftLog::open(copy.path(), &Config::default()).unwrap_err();
        assert!(refused.to_string().starts_with("the raft database is corrupt: "), "{refused}");
    }
}

#[test]
fn a_changed_bit_in_a_table_is_never_read() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(dir.path());
    append(&log, 1..=500);
    // A start writes what was in the write-ahead log into tables.
    let log = open_again(dir.path(), &log);
    log.close();
    let copy = damaged(&dir.path().join("copy"), "sst", &entry(400));
    let log = open(copy.path());
    assert!(matches!(log.entries(1, 501, u64::MAX), Err(StoreError::Corrupt { .. })));
    assert!(matches!(log.entries(400, 401, u64::MAX), Err(StoreError::Corrupt { .. })));
}
