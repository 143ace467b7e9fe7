#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::{Checkpoint, CheckpointFile, FOLDER_PREFIX, POINTER, State, StateHash};
use crate::config::Config;
use crate::error::StoreError;
use bytes::Bytes;
use portolan_meta::family::Family;
use portolan_meta::view::{View, Write, Writes};
use rocksdb::statistics::Ticker;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

fn open(dir: &Path) -> Arc<State> {
    State::open(dir, &Config::default()).unwrap()
}

fn put(state: &State, family: Family, rows: &[(&str, &str)], applied: u64) {
    let rows = rows.iter().map(|(key, value)| Write::Put(family, key.as_bytes().to_vec(), value.as_bytes().to_vec()));
    let writes = Writes { rows: rows.collect(), ..Writes::default() };
    state.write(&writes, &[("applied", applied.to_be_bytes().to_vec())]).unwrap();
}

fn get(state: &State, family: Family, key: &str) -> Option<Bytes> {
    state.read(|view| view.get(family, key.as_bytes()).unwrap())
}

fn applied(state: &State) -> Option<u64> {
    state.marker("applied").unwrap().map(|bytes| u64::from_be_bytes(bytes.as_ref().try_into().unwrap()))
}

fn folders(dir: &Path, below: &str) -> Vec<String> {
    let names = std::fs::read_dir(dir.join("state").join(below)).unwrap();
    let mut names: Vec<_> = names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn rows_and_markers_of_a_batch_read_back_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path());
    assert_eq!(applied(&state), None);
    put(&state, Family::Tags, &[("a", "1"), ("b", "2")], 7);
    let delete = Writes { rows: vec![Write::Delete(Family::Tags, b"a".to_vec())], ..Writes::default() };
    state.write(&delete, &[]).unwrap();
    drop(state);
    let state = open(dir.path());
    assert_eq!(get(&state, Family::Tags, "a"), None);
    assert_eq!(get(&state, Family::Tags, "b").unwrap(), "2");
    assert_eq!(get(&state, Family::Blobs, "b"), None, "families are apart");
    assert_eq!(applied(&state), Some(7));
}

#[test]
fn a_scan_keeps_to_its_prefix_and_goes_on_after_a_key() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path());
    let sys = |keys: &[&[u8]]| Writes {
        rows: keys.iter().map(|key| Write::Put(Family::Tags, key.to_vec(), b"v".to_vec())).collect(),
        ..Writes::default()
    };
    state.write(&sys(&[b"a", b"b\x00", b"b\x01", b"b\xff", b"b\xff\xff", b"c", b"\xff", b"\xff\xff"]), &[]).unwrap();
    type Case<'a> = (&'a [u8], Option<&'a [u8]>, usize, &'a [&'a [u8]]);
    let cases: &[Case<'_>] = &[
        (b"b", None, 10, &[b"b\x00", b"b\x01", b"b\xff", b"b\xff\xff"]),
        (b"b", None, 2, &[b"b\x00", b"b\x01"]),
        (b"b", Some(b"b\x01"), 10, &[b"b\xff", b"b\xff\xff"]),
        (b"b", Some(b"b\x00\x00"), 1, &[b"b\x01"]),
        (b"b", Some(b"a"), 1, &[b"b\x00"]),
        (b"b", Some(b"c"), 10, &[]),
        (b"b\xff", None, 10, &[b"b\xff", b"b\xff\xff"]),
        (b"\xff", None, 10, &[b"\xff", b"\xff\xff"]),
        (b"", None, 3, &[b"a", b"b\x00", b"b\x01"]),
        (b"", Some(b"\xff"), 10, &[b"\xff\xff"]),
        (b"d", None, 10, &[]),
        (b"b", None, 0, &[]),
    ];
    for (prefix, after, limit, expected) in cases {
        let check = |view: &dyn View| {
            let rows = view.scan(Family::Tags, prefix, *after, *limit).unwrap();
            let keys: Vec<_> = rows.iter().map(|(key, _)| key.as_ref()).collect();
            assert_eq!(keys, *expected, "prefix {prefix:?} after {after:?} limit {limit}");
        };
        state.read(check);
        check(&state.latest());
    }
}

#[test]
fn many_keys_at_once_come_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path());
    put(&state, Family::Edges, &[("a", "1"), ("b", "2"), ("c", "3")], 1);
    let keys: Vec<Vec<u8>> = [b"c", b"x", b"a"].map(|key| key.to_vec()).into();
    let expected = vec![Some(Bytes::from("3")), None, Some(Bytes::from("1"))];
    assert_eq!(state.latest().multi_get(Family::Edges, &keys).unwrap(), expected);
    assert_eq!(state.read(|view| view.multi_get(Family::Edges, &keys).unwrap()), expected);
}

#[test]
fn a_reader_sees_one_moment_and_the_applier_sees_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path());
    put(&state, Family::Tags, &[("t", "old")], 1);
    state.read(|view| {
        put(&state, Family::Tags, &[("t", "new"), ("u", "new")], 2);
        assert_eq!(view.get(Family::Tags, b"t").unwrap().unwrap(), "old");
        assert_eq!(view.scan(Family::Tags, b"", None, 10).unwrap().len(), 1);
        assert_eq!(view.multi_get(Family::Tags, &[b"u".to_vec()]).unwrap(), [None]);
        assert_eq!(state.latest().get(Family::Tags, b"t").unwrap().unwrap(), "new");
    });
}

#[test]
fn a_checkpoint_holds_the_state_of_its_moment_and_is_found_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path());
    put(&state, Family::Tags, &[("t", "one")], 1);
    let first = state.checkpoint().unwrap();
    put(&state, Family::Tags, &[("t", "two")], 2);
    assert_eq!(first.marker("applied").unwrap(), 1_u64.to_be_bytes());
    assert_eq!(first.marker("other"), None);
    assert_eq!(first.total_bytes(), first.files().iter().map(|file| file.size).sum::<u64>());
    assert!(matches!(first.open_file("../CURRENT-STATE"), Err(StoreError::NotFound { .. })));
    let id = first.id().to_owned();
    drop((first, state));
    let state = open(dir.path());
    let found = state.current_checkpoint().unwrap();
    assert_eq!((found.id(), found.marker("applied").unwrap()), (id.as_str(), &1_u64.to_be_bytes()[..]));
    assert_eq!(applied(&state), Some(2));
}

/// The manifest of a state that was reopened and flushed names logs; a look into its copy once crashed on that.
#[test]
fn a_state_that_has_been_through_restarts_and_flushes_can_be_checkpointed() {
    let dir = tempfile::tempdir().unwrap();
    let small = Config { state_write_buffer_bytes: 64 << 10, max_wal_bytes: 128 << 10, ..Config::default() };
    let value = "v".repeat(1000);
    let mut index = 0;
    for _ in 0..4 {
        let state = State::open(dir.path(), &small).unwrap();
        for _ in 0..300 {
            index += 1;
            put(&state, Family::Tags, &[(&index.to_string(), &value)], index);
            if index.is_multiple_of(100) {
                state.flush().unwrap();
                let checkpoint = state.checkpoint().unwrap();
                assert_eq!(checkpoint.marker("applied").unwrap(), index.to_be_bytes());
            }
        }
    }
}

#[test]
fn an_old_checkpoint_stays_until_its_last_holder_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path());
    put(&state, Family::Tags, &[("t", "one")], 1);
    let first = state.checkpoint().unwrap();
    put(&state, Family::Tags, &[("t", "two")], 2);
    let second = state.checkpoint().unwrap();
    assert_eq!(folders(dir.path(), "checkpoints"), [first.id(), second.id()]);
    first.files().iter().for_each(|file| drop(first.open_file(&file.name).unwrap()));
    drop(first);
    assert_eq!(folders(dir.path(), "checkpoints"), [second.id()]);
    assert_eq!(state.current_checkpoint().unwrap().id(), second.id());
}

#[test]
fn an_unfinished_checkpoint_is_no_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path());
    put(&state, Family::Tags, &[("t", "one")], 1);
    let whole = state.checkpoint().unwrap().id().to_owned();
    drop(state);
    let unfinished = dir.path().join("state/checkpoints/7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
    std::fs::create_dir(&unfinished).unwrap();
    std::fs::write(unfinished.join("CURRENT"), "x").unwrap();
    assert_eq!(open(dir.path()).current_checkpoint().unwrap().id(), whole);
    assert_eq!(folders(dir.path(), "checkpoints"), [whole]);
}

/// Sends a checkpoint to another state, in pieces, as a peer would.
fn send(from: &Checkpoint, to: &State) -> Result<super::Incoming, StoreError> {
    let incoming = to.incoming()?;
    for announced in from.files() {
        let mut file = from.open_file(&announced.name)?;
        let mut landing = incoming.file(announced)?;
        let mut buffer = [0; 1000];
        loop {
            let read = file.read(&mut buffer).unwrap();
            if read == 0 {
                break;
            }
            landing.write(&buffer[..read])?;
        }
        landing.finish()?;
    }
    Ok(incoming)
}

#[test]
fn an_installed_snapshot_replaces_everything_and_survives_a_restart() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (sender, receiver) = (open(here.path()), open(there.path()));
    put(&sender, Family::Tags, &[("t", "sent"), ("u", "sent")], 9);
    put(&receiver, Family::Tags, &[("t", "own"), ("v", "own")], 3);
    receiver.checkpoint().unwrap();
    let checkpoint = sender.checkpoint().unwrap();
    receiver.read(|before| {
        receiver.install(send(&checkpoint, &receiver).unwrap(), |_| Ok(())).unwrap();
        assert_eq!(before.get(Family::Tags, b"v").unwrap().unwrap(), "own", "an open reader sees the old");
        assert_eq!(get(&receiver, Family::Tags, "v"), None);
    });
    let check = |state: &State| {
        assert_eq!(get(state, Family::Tags, "t").unwrap(), "sent");
        assert_eq!(get(state, Family::Tags, "v"), None);
        assert_eq!(applied(state), Some(9));
        assert!(state.current_checkpoint().is_none(), "the own one is older than the state");
    };
    check(&receiver);
    put(&receiver, Family::Blobs, &[("b", "after")], 10);
    drop(receiver);
    let receiver = open(there.path());
    assert_eq!(get(&receiver, Family::Blobs, "b").unwrap(), "after");
    assert_eq!(applied(&receiver), Some(10));
    let states = folders(there.path(), "").into_iter().filter(|name| name.starts_with(FOLDER_PREFIX)).count();
    assert_eq!(states, 1, "the replaced one is removed");
    assert!(folders(there.path(), "checkpoints").is_empty() && folders(there.path(), "incoming").is_empty());
}

#[test]
fn what_the_database_counts_goes_on_over_an_install() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (sender, receiver) = (open(here.path()), open(there.path()));
    let count = |ticker| receiver.layout.options.get_ticker_count(ticker);
    put(&sender, Family::Tags, &[("t", "sent")], 9);
    put(&receiver, Family::Tags, &[("t", "own")], 3);
    let written = count(Ticker::BytesWritten);
    assert!(written > 0);
    receiver.install(send(&sender.checkpoint().unwrap(), &receiver).unwrap(), |_| Ok(())).unwrap();
    assert!(count(Ticker::BytesWritten) >= written, "a counter must not go back");
    assert_eq!(get(&receiver, Family::Tags, "t").unwrap(), "sent");
    assert!(count(Ticker::BlockCacheMiss) > 0, "it was read from a file");
    put(&receiver, Family::Tags, &[("t", "new")], 10);
    assert!(count(Ticker::BytesWritten) > written);
}

#[test]
fn a_snapshot_file_that_is_not_as_announced_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path());
    let announced =
        |name: &str| CheckpointFile { name: name.to_owned(), size: 3, digest: portolan_oci::Digest::sha256_of(b"abc") };
    let incoming = state.incoming().unwrap();
    for (name, bytes) in [("short", &b"ab"[..]), ("long", b"abcd"), ("wrong", b"abd")] {
        let mut landing = incoming.file(&announced(name)).unwrap();
        let outcome = landing.write(bytes).and_then(|()| landing.finish());
        assert!(matches!(outcome, Err(StoreError::Corrupt { .. })), "{name}: {outcome:?}");
    }
    for name in ["../x", "a/b", "", ".", "..", ".hidden"] {
        assert!(matches!(incoming.file(&announced(name)), Err(StoreError::BadName { .. })), "{name:?}");
    }
    drop(incoming);
    assert!(folders(dir.path(), "incoming").is_empty(), "an abandoned one is removed");
}

#[test]
fn a_snapshot_that_does_not_open_leaves_the_state_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path());
    put(&state, Family::Tags, &[("t", "own")], 3);
    let incoming = state.incoming().unwrap();
    let text = b"MANIFEST-000005\n";
    let announced = CheckpointFile {
        name: "CURRENT".into(),
        size: text.len() as u64,
        digest: portolan_oci::Digest::sha256_of(text),
    };
    let mut landing = incoming.file(&announced).unwrap();
    landing.write(text).unwrap();
    landing.finish().unwrap();
    assert!(state.install(incoming, |_| Ok(())).is_err());
    assert_eq!(get(&state, Family::Tags, "t").unwrap(), "own");
    drop(state);
    assert_eq!(applied(&open(dir.path())), Some(3));
}

/// What a crash leaves at each step of an install, and which state the next start finds.
#[test]
fn a_crash_in_an_install_leaves_the_old_or_the_new() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path());
    put(&state, Family::Tags, &[("t", "own")], 3);
    drop(state);
    let root = dir.path().join("state");
    // Received but not installed; moved into place but not pointed at.
    std::fs::create_dir(root.join("incoming/half")).unwrap();
    std::fs::create_dir(root.join(format!("{FOLDER_PREFIX}new"))).unwrap();
    std::fs::write(root.join(format!("{POINTER}.tmp")), "db-ne").unwrap();
    assert_eq!(applied(&open(dir.path())), Some(3));
    assert!(!root.join(format!("{FOLDER_PREFIX}new")).exists() && !root.join("incoming/half").exists());
}

/// The last step of an install is to let go of the own checkpoint: it ends before the log of the next start begins.
#[test]
fn a_checkpoint_of_a_replaced_state_is_none_of_the_new_one() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (sender, receiver) = (open(here.path()), open(there.path()));
    put(&sender, Family::Tags, &[("t", "sent")], 9);
    put(&receiver, Family::Tags, &[("t", "own")], 3);
    let own = receiver.checkpoint().unwrap();
    receiver.install(send(&sender.checkpoint().unwrap(), &receiver).unwrap(), |_| Ok(())).unwrap();
    // The crash: the files of the old one are still there.
    std::mem::forget(own);
    drop(receiver);
    assert_eq!(folders(there.path(), "checkpoints").len(), 1);
    let receiver = open(there.path());
    assert_eq!(applied(&receiver), Some(9));
    assert!(receiver.current_checkpoint().is_none(), "it holds 3");
    assert!(folders(there.path(), "checkpoints").is_empty());
    let fresh = receiver.checkpoint().unwrap().id().to_owned();
    drop(receiver);
    assert_eq!(open(there.path()).current_checkpoint().unwrap().id(), fresh);
}

#[test]
fn a_lost_or_damaged_pointer_is_corrupt_and_never_an_empty_state() {
    let dir = tempfile::tempdir().unwrap();
    put(&open(dir.path()), Family::Tags, &[("t", "own")], 3);
    let pointer = dir.path().join("state").join(POINTER);
    for damage in [Some("../elsewhere"), Some("db-../x"), Some(""), None] {
        match damage {
            Some(text) => std::fs::write(&pointer, text).unwrap(),
            None => std::fs::remove_file(&pointer).unwrap(),
        }
        let opened = State::open(dir.path(), &Config::default());
        assert!(matches!(opened, Err(StoreError::Corrupt { .. })), "{damage:?}");
    }
}

#[test]
fn a_received_state_that_is_not_the_announced_one_leaves_the_old_in_place() {
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (sender, receiver) = (open(from.path()), open(to.path()));
    put(&sender, Family::Tags, &[("t", "theirs")], 9);
    put(&receiver, Family::Tags, &[("t", "ours")], 3);
    let incoming = send(&sender.checkpoint().unwrap(), &receiver).unwrap();
    let verify = |markers: &std::collections::BTreeMap<String, Vec<u8>>| {
        assert_eq!(markers["applied"], 9_u64.to_be_bytes());
        Err("announced as 8".to_owned())
    };
    assert!(matches!(receiver.install(incoming, verify), Err(StoreError::Corrupt { .. })));
    assert_eq!(applied(&receiver), Some(3));
    drop(receiver);
    let receiver = open(to.path());
    assert_eq!(get(&receiver, Family::Tags, "t").unwrap(), "ours");
    assert_eq!(folders(to.path(), "").iter().filter(|name| name.starts_with(FOLDER_PREFIX)).count(), 1);
}

#[test]
fn an_empty_folder_is_no_received_state() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path());
    put(&state, Family::Tags, &[("t", "ours")], 3);
    assert!(state.install(state.incoming().unwrap(), |_| Ok(())).is_err());
    assert_eq!(applied(&state), Some(3));
}

#[test]
fn the_newest_checkpoint_is_told_while_another_is_being_made() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path());
    put(&state, Family::Tags, &[("t", "one")], 1);
    let made = state.checkpoint().unwrap();
    let _making = super::lock(&state.replacing);
    assert_eq!(state.current_checkpoint().unwrap().id(), made.id());
}

fn hash(state: &State) -> StateHash {
    state.hash(&["applied"], || true).unwrap().expect("it may go on")
}

#[test]
fn two_states_have_the_same_hash_when_they_have_the_same_rows() {
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (one, other) = (open(here.path()), open(there.path()));
    put(&one, Family::Tags, &[("t", "1"), ("u", "2")], 1);
    put(&one, Family::Blobs, &[("b", "3")], 2);
    // The same in another order, by a detour, and partly in files.
    put(&other, Family::Blobs, &[("b", "3"), ("c", "4")], 1);
    put(&other, Family::Tags, &[("u", "2")], 1);
    other.checkpoint().unwrap();
    put(&other, Family::Tags, &[("t", "1")], 1);
    let delete = Writes { rows: vec![Write::Delete(Family::Blobs, b"c".to_vec())], ..Writes::default() };
    other.write(&delete, &[("applied", 2_u64.to_be_bytes().to_vec())]).unwrap();
    let known = hash(&one);
    assert_eq!(hash(&other), known);
    assert_eq!(known.markers["applied"], 2_u64.to_be_bytes());
    drop(other);
    assert_eq!(hash(&open(there.path())), known, "nor does a restart change it");
    let third = tempfile::tempdir().unwrap();
    let receiver = open(third.path());
    receiver.install(send(&one.checkpoint().unwrap(), &receiver).unwrap(), |_| Ok(())).unwrap();
    assert_eq!(hash(&receiver), known, "nor being received");
}

#[test]
fn another_row_anywhere_makes_another_hash() {
    let mut seen = std::collections::BTreeMap::new();
    let mut check = |what: String, rows: &[(Family, &str, &str)], applied: u64| {
        let dir = tempfile::tempdir().unwrap();
        let state = open(dir.path());
        put(&state, Family::Tags, &[], applied);
        for (family, key, value) in rows {
            put(&state, *family, &[(key, value)], applied);
        }
        if let Some(same) = seen.insert(hash(&state).digest, what.clone()) {
            panic!("{what} has the hash of {same}");
        }
    };
    check("nothing".into(), &[], 1);
    check("another index".into(), &[], 2);
    for family in Family::ALL {
        check(format!("a row in {}", family.name()), &[(family, "meta.k", "v")], 1);
    }
    let tags = Family::Tags;
    let history = Family::TagHistory;
    check("another value".into(), &[(tags, "meta.k", "w")], 1);
    check("another key".into(), &[(tags, "meta.l", "v")], 1);
    check("a byte of the value in the key".into(), &[(tags, "meta.kv", "")], 1);
    check("two rows".into(), &[(tags, "a", "bc"), (tags, "d", "e")], 1);
    check("two rows that are cut elsewhere".into(), &[(tags, "a", "b"), (tags, "cd", "e")], 1);
    check("two rows in two families".into(), &[(tags, "a", "bc"), (history, "d", "e")], 1);
    check("a marker's name elsewhere".into(), &[(tags, "marker.applied", "x")], 1);
}

#[test]
fn what_only_this_node_keeps_does_not_count() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path());
    put(&state, Family::Tags, &[("t", "1")], 1);
    let known = hash(&state);
    state.write(&Writes::default(), &[("own", b"x".to_vec()), ("applied-here", b"y".to_vec())]).unwrap();
    assert_eq!(hash(&state), known);
    let every = state.hash(&["applied", "own"], || true).unwrap().unwrap();
    assert!(every.digest != known.digest && every.markers["own"] == b"x", "{every:?}");
}

/// Rows of two families and the marker are written together; a hash that mixed two moments would be in no list.
#[test]
fn a_hash_and_its_index_are_of_one_moment_while_writes_go_on() {
    const MOMENTS: u64 = 200;
    let (dir, again) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let write = |state: &State, moment: u64| {
        let value = moment.to_be_bytes().to_vec();
        let rows = [Family::Nodes, Family::Dedupe].map(|family| Write::Put(family, b"k".to_vec(), value.clone()));
        let writes = Writes { rows: rows.into(), ..Writes::default() };
        state.write(&writes, &[("applied", value)]).unwrap();
    };
    let state = open(dir.path());
    write(&state, 0);
    let seen = std::thread::scope(|scope| {
        let writer = scope.spawn(|| (1..MOMENTS).for_each(|moment| write(&state, moment)));
        let mut seen = Vec::new();
        while !writer.is_finished() {
            seen.push(hash(&state));
        }
        seen
    });
    let replica = open(again.path());
    let all: Vec<StateHash> = (0..MOMENTS)
        .map(|moment| {
            write(&replica, moment);
            hash(&replica)
        })
        .collect();
    assert!(!seen.is_empty());
    for found in seen {
        let at = u64::from_be_bytes(found.markers["applied"].as_slice().try_into().unwrap());
        assert_eq!(found, all[usize::try_from(at).unwrap()], "at {at}");
    }
}

#[test]
fn a_hash_that_nobody_waits_for_ends_early() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path());
    let value = "v".repeat(700 << 10);
    put(&state, Family::Manifests, &[("a", &value), ("b", &value), ("c", &value), ("d", &value), ("e", &value)], 1);
    let asked = std::cell::Cell::new(0);
    let ended = state.hash(&[], || {
        asked.set(asked.get() + 1);
        asked.get() < 2
    });
    assert_eq!((ended.unwrap(), asked.get()), (None, 2));
}

/// The file of the live database with these bytes in it and this ending; a bit of them is changed.
fn damage(dir: &Path, ending: &str, bytes: &[u8]) {
    let state = dir.join("state");
    let live = state.join(std::fs::read_to_string(state.join(POINTER)).unwrap());
    let paths = std::fs::read_dir(live).unwrap().map(|entry| entry.unwrap().path());
    let found = paths.filter(|path| path.extension().is_some_and(|own| own == ending)).find_map(|path| {
        let contents = std::fs::read(&path).unwrap();
        let at = contents.windows(bytes.len()).position(|window| window == bytes)?;
        Some((path, contents, at))
    });
    let (path, mut contents, at) = found.unwrap();
    contents[at] ^= 1;
    std::fs::write(path, contents).unwrap();
}

/// The Raft log has the rest.
#[test]
fn a_damaged_write_ahead_log_leaves_the_state_of_an_earlier_moment() {
    let dir = tempfile::tempdir().unwrap();
    let state = open(dir.path());
    let value = |moment: u64| format!("{moment:-^700}");
    for moment in 1..=200 {
        put(&state, Family::Tags, &[(&moment.to_string(), &value(moment)), ("newest", &moment.to_string())], moment);
    }
    drop(state);
    damage(dir.path(), "log", value(120).as_bytes());
    let state = open(dir.path());
    assert_eq!(applied(&state), Some(119));
    assert_eq!(get(&state, Family::Tags, "newest").unwrap(), "119");
    for moment in 1..=200 {
        assert_eq!(get(&state, Family::Tags, &moment.to_string()).is_some(), moment < 120, "{moment}");
    }
}

#[test]
fn a_changed_bit_in_a_table_is_an_error_for_whoever_reads_the_row() {
    let dir = tempfile::tempdir().unwrap();
    // More than a block, of which a start reads the first when it opens the table.
    let long = "x".repeat(20_000);
    put(&open(dir.path()), Family::Tags, &[("a", &long), ("b", "some value"), ("c", "another")], 1);
    // A start writes what was in the write-ahead log into tables.
    drop(open(dir.path()));
    damage(dir.path(), "sst", b"some value");
    let state = open(dir.path());
    state.read(|view| {
        assert!(view.get(Family::Tags, b"a").is_ok(), "it lies in another block");
        assert!(view.get(Family::Tags, b"b").is_err());
        assert!(view.multi_get(Family::Tags, &[b"b".to_vec(), b"c".to_vec()]).is_err());
        assert!(view.scan(Family::Tags, b"", None, 10).is_err());
    });
    assert!(state.latest().get(Family::Tags, b"c").is_err(), "it lies in the same block");
    assert!(state.hash(&["applied"], || true).is_err());
}
