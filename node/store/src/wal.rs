//! Tells a write-ahead log that a crash cut short from one that is damaged, before RocksDB opens it.
//!
//! RocksDB cannot: its modes do not know how far a log was synced. Point-in-time recovery (its default, and ours) ends
//! the replay at the first bad record, so that damage in the middle takes synced writes with it without a word.
//! `TolerateCorruptedTailRecords` refuses every wrong checksum, also at the end. But the pages of a write that was never
//! synced reach a disk in any order, so that a power loss leaves just that; and a record whose length was damaged still
//! passes for the end, if it lies in the last block. In both modes a zeroed header skips the rest of its block without
//! a word, and a record of a kind that only recycled logs have is read over and over, for ever.
//!
//! So the log itself says how far it was synced: whoever syncs writes a [`sync_mark`] afterwards, which the next sync
//! makes durable with the rest. Damage in front of a mark that covers it is refused. Other damage is what a crash
//! leaves, or cannot be told from it: the last sync, if a power loss took its mark. The file is cut there, so that
//! RocksDB replays exactly what is in front, and never what lies behind a hole.
//!
//! A hole may also lie between two files, since RocksDB syncs a log only once it has begun the next: a power loss can
//! take the tail of the one, at the end of a record, and leave rows in the other. RocksDB compares no sequence numbers
//! there; so the earlier file gets an end that looks torn. Most gaps in the numbers are none, since what came between is
//! in tables and its log is gone: a hole is only what a replay proves to be one.
//!
//! The manifest, which lists the tables, is a log of the same format, and a length that was damaged passes for its end
//! there too, with all tables that are listed behind it. It is synced with each record, so that whole records behind
//! damage show that it is no end.
//!
//! The format: blocks of 32 KiB; in them records of checksum (4 bytes), length (2), kind (1) and payload, none across
//! blocks; a batch that does not fit is a first, middle and last record. A batch begins with its sequence number (8) and
//! how many it takes (4).

use crate::error::StoreError;
use crate::files;
use rocksdb::WriteBatch;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

#[cfg(test)]
mod tests;

const BLOCK: usize = 32 << 10;
const HEADER: usize = 7;
const BATCH_HEADER: usize = 12;
const FULL: u8 = 1;
const FIRST: u8 = 2;
const LAST: u8 = 4;
/// What the payload of a mark has between the batch's header and the number: the tag of data that only the log gets,
/// its length, and a name.
const MARK: &[u8] = b"\x03\x17portolan.synced";
/// A folder in that of the database, for copies of its logs.
const REHEARSAL: &str = "rehearsal";

/// A batch that says: everything up to this sequence number was synced before this was written. It changes no row.
pub(crate) fn sync_mark(sequence: u64) -> WriteBatch {
    let mut batch = WriteBatch::default();
    batch.put_log_data([&MARK[2..], &sequence.to_le_bytes()].concat());
    batch
}

/// Refuses logs that are damaged where they were synced, and cuts the others at the first damage. `replay` opens the
/// database with the logs of another folder, keeps nothing of it, and tells the last sequence number. A start that is
/// refused leaves the logs as they are.
///
/// # Errors
/// [`StoreError::Corrupt`] for damage, and whatever `replay` fails with.
pub(crate) fn settle(
    folder: &Path,
    database: &'static str,
    replay: impl Fn(&Path) -> Result<u64, StoreError>,
) -> Result<(), StoreError> {
    // A kill may have left it.
    files::remove_dir(&folder.join(REHEARSAL))?;
    let corrupt = |reason| StoreError::Corrupt { what: format!("the {database} database"), reason };
    if let Some(reason) = check_manifest(folder)? {
        return Err(corrupt(reason));
    }
    let mut logs = logs_in(folder)?;
    for log in &logs {
        if let Some(damage) = &log.reading.damage
            && damage.synced
        {
            let (name, at) = (&log.name, damage.at);
            return Err(corrupt(format!("{name} is damaged at byte {at}, and what follows says that it was synced")));
        }
    }
    end_before_holes(folder, &mut logs, &replay)?;
    // A mark may lie in another file than what it covers. What comes before each cut is replayed, so that the question
    // is open only where a mark speaks of more.
    let synced = logs.iter().map(|log| log.reading.synced).max().unwrap_or(0);
    let in_doubt = |log: &Log| log.reading.damage.is_some() && log.reading.next.is_none_or(|next| next <= synced);
    if synced > 0 && logs.iter().any(in_doubt) {
        let reached = rehearse(folder, &logs, &replay)?;
        if reached < synced {
            return Err(corrupt(format!("its logs end at write {reached}, and one says that {synced} was synced")));
        }
    }
    for Log { name, reading, .. } in &logs {
        if let Some(damage) = &reading.damage {
            tracing::warn!(database, file = name, at = damage.at, "the write-ahead log ends before its file does");
            let path = folder.join(name);
            let file = end_at(&path, damage.at)?;
            // What is written from here on must not meet the old bytes again after a power loss.
            files::sync_file(&file, &path)?;
        }
    }
    Ok(())
}

/// Refuses a manifest that goes on behind damage. RocksDB itself refuses wrong checksums, and takes a wrong length for the
/// end.
fn check_manifest(folder: &Path) -> Result<Option<String>, StoreError> {
    let current = folder.join("CURRENT");
    let name = match fs::read_to_string(&current) {
        Ok(name) => name,
        // A database that is to be made.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(files::io("reading", &current, error)),
    };
    let (name, path) = (name.trim(), folder.join(name.trim()));
    // One that is missing RocksDB tells better.
    if !path.is_file() {
        return Ok(None);
    }
    let reading = read(&path)?;
    let damage = reading.damage.filter(|_| reading.goes_on);
    Ok(damage.map(|damage| format!("{name} is damaged at byte {}, and goes on behind it", damage.at)))
}

/// Lets the logs that end before a hole look torn there. It is a hole if RocksDB, stopped there, reaches no write that
/// comes directly before the next log. Where it needs the log no longer it does not stop; and where tables have rows
/// from behind, it counts from those.
fn end_before_holes(
    folder: &Path,
    logs: &mut [Log],
    replay: impl Fn(&Path) -> Result<u64, StoreError>,
) -> Result<(), StoreError> {
    for (index, first) in gaps(logs) {
        let reading = &mut logs[index].reading;
        reading.damaged(reading.length);
        let is_hole = match rehearse(folder, logs, &replay) {
            Ok(reached) => reached + 1 < first,
            // So RocksDB calls it when tables have rows from behind the end of what it can replay.
            Err(StoreError::Corrupt { .. }) => false,
            Err(error) => return Err(error),
        };
        if !is_hole {
            logs[index].reading.damage = None;
        }
    }
    Ok(())
}

/// A log file, by its number.
struct Log {
    number: u64,
    name: String,
    reading: Reading,
}

/// The logs of a folder in the order in which they were begun.
fn logs_in(folder: &Path) -> Result<Vec<Log>, StoreError> {
    let mut logs = Vec::new();
    for name in files::names_in(folder)? {
        if let Some(Ok(number)) = name.strip_suffix(".log").map(str::parse) {
            logs.push(Log { number, reading: read(&folder.join(&name))?, name });
        }
    }
    // Names have six digits, and more from the millionth file on.
    logs.sort_by_key(|log| log.number);
    Ok(logs)
}

/// The logs that end whole although the next one begins with a later write than the one that should follow, and that
/// write's number. Behind damage RocksDB does not go on over a gap.
fn gaps(logs: &[Log]) -> Vec<(usize, u64)> {
    let mut found = Vec::new();
    let mut expected = None;
    for (index, Log { reading, .. }) in logs.iter().enumerate() {
        if let (Some(expected), Some(first)) = (expected, reading.first)
            && first > expected
        {
            found.push((index - 1, first));
        }
        expected = if reading.damage.is_some() { None } else { reading.next.or(expected) };
    }
    found
}

/// Replays the logs as they are to be, in copies.
fn rehearse(folder: &Path, logs: &[Log], replay: impl Fn(&Path) -> Result<u64, StoreError>) -> Result<u64, StoreError> {
    let copies = folder.join(REHEARSAL);
    files::create_dir(&copies)?;
    let copy = |log: &Log| {
        let path = copies.join(&log.name);
        fs::copy(folder.join(&log.name), &path).map_err(|source| files::io("copying a log to", &path, source))?;
        log.reading.damage.as_ref().map_or(Ok(()), |damage| end_at(&path, damage.at).map(drop))
    };
    let outcome = logs.iter().try_for_each(copy).and_then(|()| replay(&copies));
    files::remove_dir(&copies)?;
    outcome
}

/// What a file says.
#[derive(Debug, Default)]
struct Reading {
    /// Of the file, in bytes.
    length: u64,
    /// The sequence number of the first batch that is whole and has nothing damaged before it.
    first: Option<u64>,
    /// The first sequence number behind the last batch that is whole and has nothing damaged before it.
    next: Option<u64>,
    /// The highest number of a mark, also behind damage.
    synced: u64,
    damage: Option<Damage>,
    /// Whether whole records follow the damage.
    goes_on: bool,
}

/// The first place at which no record begins where one should.
#[derive(Debug)]
struct Damage {
    at: u64,
    /// The lowest sequence number that may have lain there, as far as it is known.
    from: Option<u64>,
    /// Whether a mark behind it in the same file covers it. In another it would prove nothing: the tail of a file whose
    /// rows are in tables since is never synced.
    synced: bool,
}

impl Reading {
    fn damaged(&mut self, at: u64) {
        let from = self.next;
        self.damage.get_or_insert(Damage { at, from, synced: false });
    }

    /// Takes a whole record. `open` are the numbers of the batch that the records before began.
    fn take(&mut self, kind: u8, payload: &[u8], open: &mut Option<Range<u64>>) {
        self.goes_on |= self.damage.is_some();
        if matches!(kind, FULL | FIRST)
            && let Some(sequence) = number(payload, 0)
            && let Some(count) = payload.get(8..BATCH_HEADER)
        {
            let count = count.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte));
            *open = Some(sequence..sequence.saturating_add(count));
            if let Some(damage) = &mut self.damage {
                // At least what comes directly before this batch, when the damage is at the file's beginning.
                damage.from.get_or_insert(sequence.saturating_sub(1));
            }
        }
        if matches!(kind, FULL | LAST)
            && let Some(batch) = open.take()
            && self.damage.is_none()
        {
            self.first.get_or_insert(batch.start);
            self.next = Some(batch.end);
        }
        if kind == FULL && payload.len() == BATCH_HEADER + MARK.len() + 8 && payload[BATCH_HEADER..].starts_with(MARK) {
            let synced = number(payload, BATCH_HEADER + MARK.len()).unwrap_or(0);
            self.synced = self.synced.max(synced);
            if let Some(damage) = &mut self.damage {
                damage.synced |= damage.from.is_some_and(|from| synced >= from);
            }
        }
    }
}

fn read(path: &Path) -> Result<Reading, StoreError> {
    let failed = |source| files::io("reading", path, source);
    let file = File::open(path).map_err(failed)?;
    let length = file.metadata().map_err(failed)?.len();
    let (mut open, mut block) = (None, vec![0; BLOCK]);
    let mut reading = Reading { length, ..Reading::default() };
    for begin in (0..length).step_by(BLOCK) {
        let size = usize::try_from(length - begin).unwrap_or(BLOCK).min(BLOCK);
        file.read_exact_at(&mut block[..size], begin).map_err(failed)?;
        read_block(&block[..size], begin, &mut reading, &mut open);
    }
    Ok(reading)
}

fn read_block(block: &[u8], begin: u64, reading: &mut Reading, open: &mut Option<Range<u64>>) {
    let mut at = 0;
    while at < block.len() {
        if let Some((kind, payload)) = record(block, at) {
            reading.take(kind, payload, open);
            at += HEADER + payload.len();
        } else if block.len() == BLOCK && BLOCK - at < HEADER {
            // No header fits here.
            return;
        } else {
            reading.damaged(begin + at as u64);
            *open = None;
            // The length cannot be trusted: the next place where a checksum is right goes on.
            // Of most places the kind alone tells that no record begins there, without a checksum of all that follows.
            let is_kind = |at: usize| block.get(at + HEADER - 1).is_some_and(|kind| (FULL..=LAST).contains(kind));
            let whole = |next: &usize| is_kind(*next) && record(block, *next).is_some();
            at = (at + 1..block.len()).find(whole).unwrap_or(block.len());
        }
    }
}

/// The kind and the payload of the record that begins here, if one does and is whole.
fn record(block: &[u8], at: usize) -> Option<(u8, &[u8])> {
    let header = block.get(at..at + HEADER)?;
    let kind = header[6];
    // No record, and those of recycled logs, which we do not have.
    if matches!(kind, 0 | 5..=8) {
        return None;
    }
    let payload = at + HEADER..at + HEADER + usize::from(u16::from_le_bytes([header[4], header[5]]));
    let payload = block.get(payload)?;
    let sum = crc32c::crc32c(&block[at + 6..at + HEADER + payload.len()]);
    let masked = sum.rotate_right(15).wrapping_add(0xa282_ead8);
    (masked.to_le_bytes() == header[..4]).then_some((kind, payload))
}

fn number(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

/// Ends a file's records here. A few bytes stay, or are added, less than a header: by them RocksDB knows that the log
/// did not end there, and does not go on with the next file as if nothing was missing. The file is not synced.
fn end_at(path: &Path, at: u64) -> Result<File, StoreError> {
    let failed = |source| files::io("cutting", path, source);
    let room = BLOCK as u64 - at % BLOCK as u64;
    // At the end of a block less than a header is what every log has there.
    let at = if room < HEADER as u64 { at + room } else { at };
    let file = File::options().write(true).open(path).map_err(failed)?;
    file.set_len(at + HEADER as u64 - 1).map_err(failed)?;
    Ok(file)
}
