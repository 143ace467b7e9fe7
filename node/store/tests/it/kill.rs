//! A child process writes log entries, state and blobs and prints what it was told is durable; it is killed with
//! SIGKILL over and over, and everything it printed must be there. (A kill keeps the page cache, so this shows wrong
//! orders between processes and files, not skipped syncs; those are the flusher's own tests.)

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use portolan_meta::family::Family;
use portolan_meta::view::{Write, Writes};
use portolan_oci::{Algorithm, Digest};
use portolan_store::{Blobs, Config, DataDir, Identity, PartKind, RaftLog, State, StoreError};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

const FOLDER: &str = "PORTOLAN_STORE_KILL_FOLDER";
const ROUNDS: u64 = 12;

fn config() -> Config {
    // Small buffers, so that kills also fall into flushes, syncs and dropped files.
    Config {
        reserve_bytes: 0,
        raft_write_buffer_bytes: 64 << 10,
        state_write_buffer_bytes: 64 << 10,
        max_wal_bytes: 256 << 10,
        sync_every_bytes: 64 << 10,
        ..Config::default()
    }
}

/// A row's value: what the state must hold for an applied index.
fn value(index: u64) -> Vec<u8> {
    index.to_string().repeat(20).into_bytes()
}

fn blob(index: u64) -> Vec<u8> {
    index.to_le_bytes().repeat(20_000)
}

/// Not a test by itself: what the child process of the test below does, for ever.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let dir = DataDir::lock(folder.as_ref()).unwrap();
    let log = RaftLog::open(dir.path(), &config()).unwrap();
    let state = State::open(dir.path(), &config()).unwrap();
    let blobs = Blobs::open(dir.path(), &config()).unwrap();
    let last = log.last().unwrap().map_or(0, |(index, _)| index);
    let applied = applied(&state);
    (applied + 1..=last).for_each(|index| apply(&state, index));
    for index in last + 1.. {
        let told = Box::new(move |outcome: Result<(), StoreError>| {
            outcome.unwrap();
            say(&format!("log {index}"));
        });
        log.append(vec![(index, value(index))], told).unwrap();
        apply(&state, index);
        if index % 20 == 0 {
            let id = format!("part-{index}");
            let mut part = blobs.parts(PartKind::Upload).create(&id, Algorithm::Sha256, b"").unwrap();
            part.append(&blob(index)).unwrap();
            part.sync().unwrap();
            say(&format!("part {index}"));
            let digest = Digest::sha256_of(&blob(index));
            let stored = part.seal(&digest).unwrap();
            say(&format!("blob {index} {}", stored.file.0));
        }
        if index % 150 == 0 {
            let checkpoint = state.checkpoint().unwrap();
            let covered = u64::from_be_bytes(checkpoint.marker("applied").unwrap().try_into().unwrap());
            log.purge_to(covered - 20, &covered.to_be_bytes()).unwrap();
        }
    }
}

/// One line, in one piece: the killed process must not print half a line that looks whole.
fn say(line: &str) {
    static OUT: Mutex<()> = Mutex::new(());
    let _one = OUT.lock().unwrap();
    std::io::stdout().write_all(format!("\n@{line}\n").as_bytes()).unwrap();
    std::io::stdout().flush().unwrap();
}

fn apply(state: &State, index: u64) {
    // Two families, and a row that every index replaces: a torn batch would show.
    let rows = vec![
        Write::Put(Family::Tags, index.to_be_bytes().to_vec(), value(index)),
        Write::Put(Family::Blobs, b"newest".to_vec(), value(index)),
    ];
    let writes = Writes { rows, ..Writes::default() };
    state.write(&writes, &[("applied", index.to_be_bytes().to_vec())]).unwrap();
}

fn applied(state: &State) -> u64 {
    state.marker("applied").unwrap().map_or(0, |bytes| u64::from_be_bytes(bytes.as_ref().try_into().unwrap()))
}

/// What the child was told is durable.
#[derive(Default)]
struct Acked {
    log: u64,
    parts: BTreeSet<u64>,
    blobs: BTreeSet<(u64, u128)>,
}

fn run_and_kill(folder: &Path, after: Duration, acked: &mut Acked) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::child", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let reading = std::thread::spawn(move || {
        lines.map_while(Result::ok).filter(|line| line.starts_with('@')).collect::<Vec<_>>()
    });
    std::thread::sleep(after);
    child.kill().unwrap();
    assert!(child.wait().unwrap().code().is_none(), "the child ended by itself");
    for line in reading.join().unwrap() {
        let words: Vec<&str> = line[1..].split(' ').collect();
        let index = words[1].parse().unwrap();
        match words[0] {
            "log" => {
                assert!(index > acked.log, "{index} after {}", acked.log);
                acked.log = index;
            }
            "part" => assert!(acked.parts.insert(index)),
            _ => assert!(acked.blobs.insert((index, words[2].parse().unwrap()))),
        }
    }
}

fn check(folder: &Path, acked: &Acked) {
    let log = RaftLog::open(folder, &config()).unwrap();
    let last = log.last().unwrap().map_or(0, |(index, _)| index);
    assert!(last >= acked.log, "entry {} was acknowledged, the log ends at {last}", acked.log);
    let purged =
        log.purge_marker().unwrap().map_or(0, |bytes| u64::from_be_bytes(bytes.as_ref().try_into().unwrap()) - 20);
    let entries = log.entries(0, u64::MAX, u64::MAX).unwrap();
    assert_eq!(entries.iter().map(|(index, _)| *index).collect::<Vec<_>>(), (purged + 1..=last).collect::<Vec<_>>());
    assert!(entries.iter().all(|(index, bytes)| *bytes == value(*index)));

    let state = State::open(folder, &config()).unwrap();
    let applied = applied(&state);
    assert!((purged..=last).contains(&applied), "applied {applied} of {purged}..={last}");
    state.read(|view| {
        let newest = view.get(Family::Blobs, b"newest").unwrap();
        assert_eq!(newest, (applied > 0).then(|| value(applied).into()), "the batch of {applied} is torn");
        let rows = view.scan(Family::Tags, b"", None, usize::MAX).unwrap();
        let expected: Vec<_> = (1..=applied).map(|index| index.to_be_bytes().to_vec()).collect();
        assert_eq!(rows.into_iter().map(|(key, _)| key.to_vec()).collect::<Vec<_>>(), expected, "not a prefix");
    });

    let blobs = Blobs::open(folder, &config()).unwrap();
    for (index, file) in &acked.blobs {
        let digest = Digest::sha256_of(&blob(*index));
        let files = blobs.files_of(&digest).unwrap();
        assert!(files.iter().any(|found| found.0 == *file), "blob {index} was sealed and is gone");
        files.into_iter().for_each(|file| blobs.verify_whole(&digest, file).unwrap());
    }
    for info in blobs.parts(PartKind::Upload).list().unwrap() {
        let index: u64 = info.id.strip_prefix("part-").unwrap().parse().unwrap();
        let part = blobs.parts(PartKind::Upload).open(&info.id).unwrap();
        let whole = blob(index);
        assert!(!acked.parts.contains(&index) || part.len() == whole.len() as u64, "part {index} was synced");
        let there = part.reader().read_at(0, whole.len()).unwrap();
        assert_eq!(there, whole[..usize::try_from(part.len()).unwrap()]);
        part.discard().unwrap();
    }
}

#[test]
fn what_was_acknowledged_survives_any_kill() {
    let folder = tempfile::tempdir().unwrap();
    let mut acked = Acked::default();
    for round in 0..ROUNDS {
        // From before the databases are open to well into their flushes.
        run_and_kill(folder.path(), Duration::from_millis(20 + round * 53 % 400), &mut acked);
        check(folder.path(), &acked);
    }
    eprintln!("{} entries, {} parts, {} blobs over {ROUNDS} kills", acked.log, acked.parts.len(), acked.blobs.len());
    assert!(acked.log > 100, "the child hardly ran");
}

#[test]
fn a_data_folder_has_one_user() {
    let folder = tempfile::tempdir().unwrap();
    let first = DataDir::lock(folder.path()).unwrap();
    assert!(!first.holds_metadata());
    assert!(matches!(DataDir::lock(folder.path()), Err(StoreError::Locked { .. })));
    drop(RaftLog::open(first.path(), &config()).unwrap());
    assert!(first.holds_metadata());
    drop(first);
    assert!(DataDir::lock(folder.path()).is_ok());
    assert_eq!(Identity::load(folder.path()).unwrap(), None);
}
