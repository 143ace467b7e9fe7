//! What kills leave in the logs is none of our business: nothing is lost with them, so nothing may be cut or refused.

use super::{contents, family, layout_of, logs, mark};
use crate::engine::{self, Layout};
use crate::wal::{self, gaps, logs_in};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rocksdb::{DB, IteratorMode};
use std::io::{BufRead, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

const FOLDER: &str = "PORTOLAN_STORE_WAL_FOLDER";
const FAMILIES: [&str; 3] = ["rows", "others", "rare"];
const ROUNDS: u64 = 16;

/// Small enough for a log to end every few hundred rows, be it by a full buffer or by what all logs may take.
fn small() -> Layout {
    let mut layout = layout_of(FAMILIES.map(|name| family(name, 48 << 10)).into());
    layout.options.set_max_total_wal_size(192 << 10);
    layout
}

fn family_of(row: u64) -> &'static str {
    FAMILIES[if row.is_multiple_of(97) { 2 } else { usize::from(row.is_multiple_of(5)) }]
}

/// How many rows there are: each in its family, and none without those before it.
fn rows(db: &DB) -> u64 {
    let keys_of = |name| {
        let keys = db.iterator_cf(db.cf_handle(name).unwrap(), IteratorMode::Start).map(|row| row.unwrap().0);
        keys.map(|key| u64::from_be_bytes(key.as_ref().try_into().unwrap())).collect::<Vec<_>>()
    };
    let found = FAMILIES.map(keys_of);
    let count = found.iter().map(Vec::len).sum::<usize>() as u64;
    for (name, keys) in FAMILIES.iter().zip(&found) {
        let expected: Vec<_> = (0..count).filter(|row| family_of(*row) == *name).collect();
        assert_eq!(*keys, expected, "the rows of {name} among {count}");
    }
    count
}

/// Not a test by itself: what the child process of the test below does, for ever.
#[test]
fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    say("opening");
    let db = engine::open(folder.as_ref(), &small()).unwrap();
    let first = rows(&db);
    let mut rng = StdRng::seed_from_u64(first);
    for row in first.. {
        super::write(&db, family_of(row), row..row + 1);
        say(&row.to_string());
        if rng.random_ratio(1, 20) {
            mark(&db);
        }
        if rng.random_ratio(1, 150) {
            db.flush_cf(db.cf_handle(FAMILIES[rng.random_range(0..3)]).unwrap()).unwrap();
        }
    }
}

fn say(what: &str) {
    std::io::stdout().write_all(format!("\n@{what}\n").as_bytes()).unwrap();
    std::io::stdout().flush().unwrap();
}

/// Runs a child, and kills it `after` it has written so many rows. Gives how many it told of.
fn run_and_kill(folder: &Path, written: u64, after: Duration) -> Option<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "wal::tests::kill::child", "--nocapture"])
        .env(FOLDER, folder)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut told = lines.filter_map(|line| line.strip_prefix('@').map(str::to_owned));
    assert_eq!(told.next().as_deref(), Some("opening"));
    let mut last = None;
    for _ in 0..written {
        last = told.next();
    }
    // When it dies is drawn; nothing is waited for.
    std::thread::sleep(after);
    child.kill().unwrap();
    assert!(child.wait().unwrap().code().is_none(), "the child ended by itself");
    told.last().or(last).map(|row| row.parse::<u64>().unwrap() + 1)
}

#[test]
fn logs_that_a_kill_left_stay_as_they_are_and_are_replayed_whole() {
    let seed = rand::rng().random();
    eprintln!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let (mut before, mut several, mut with_gaps) = (0, 0, 0);
    for round in 0..ROUNDS {
        // Some die while they replay what the one before left.
        let written = if round % 4 == 3 { 0 } else { rng.random_range(1..800) };
        let told = run_and_kill(folder.path(), written, Duration::from_micros(rng.random_range(0..20_000)));
        let were = contents(folder.path());
        several += u64::from(were.len() > 1);
        with_gaps += u64::from(!gaps(&logs_in(folder.path()).unwrap()).is_empty());
        // A kill may only have cut the last record short.
        wal::settle(folder.path(), "raft", |logs| engine::replay(folder.path(), logs, "raft")).unwrap();
        let last = were.len().saturating_sub(1);
        assert_eq!(logs(folder.path()).len(), were.len());
        assert_eq!(contents(folder.path()).into_iter().take(last).collect::<Vec<_>>(), were[..last]);
        if round % 3 == 0 {
            before = before.max(told.unwrap_or(0));
            continue;
        }
        let found = rows(&engine::open(folder.path(), &small()).unwrap());
        before = before.max(told.unwrap_or(0));
        assert!(found >= before, "{found} of {before} rows in round {round}");
    }
    eprintln!("{before} rows; several logs after {several} kills of {ROUNDS}, gaps after {with_gaps}");
    assert!(several > 0, "no kill fell between two logs");
}
