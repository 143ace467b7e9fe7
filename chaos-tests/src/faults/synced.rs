//! How far a write-ahead log is known to be synced. After each sync of its Raft log a node notes in the log itself up to
//! which write that went; damage in front of such a mark must be noticed at the next start, and other damage cannot be told
//! from what a crash leaves.
//!
//! A mark is a record of RocksDB: checksum (4 bytes), length (2), kind (1); the sequence number of the batch (8), how many it
//! takes (4), the tag of data that only the log gets, their length, a name, and the sequence number that was synced (8).

const HEADER: usize = 7;
const BATCH_HEADER: usize = 12;
/// The kind of a record that is a whole batch.
const WHOLE: u8 = 1;
const NAME: &[u8] = b"\x03\x17portolan.synced";

struct Mark {
    /// Where its record begins.
    at: usize,
    /// The number that the next write after it gets.
    own: u64,
    synced: u64,
}

/// Everything in front of this place is covered by a mark behind it; 0 where no mark covers anything.
pub(super) fn synced_until(log: &[u8]) -> usize {
    let named = log.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME);
    let marks: Vec<Mark> = named.filter_map(|(at, _)| mark(log, at)).collect();
    let is_covered = |at: &usize| marks[*at..].iter().any(|later| later.synced >= marks[*at].own);
    (0..marks.len()).rev().find(is_covered).map_or(0, |at| marks[at].at)
}

/// The mark whose name is at a place, if it is a whole one.
fn mark(log: &[u8], name: usize) -> Option<Mark> {
    let batch = name.checked_sub(BATCH_HEADER)?;
    let at = batch.checked_sub(HEADER)?;
    let length = BATCH_HEADER + NAME.len() + 8;
    let is_whole = log[at + 6] == WHOLE && usize::from(u16::from_le_bytes([log[at + 4], log[at + 5]])) == length;
    is_whole.then_some(())?;
    Some(Mark { at, own: number(log, batch)?, synced: number(log, name + NAME.len())? })
}

fn number(log: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(log.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::{NAME, WHOLE, synced_until};

    fn record(kind: u8, sequence: u64, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(12 + rest.len()).unwrap_or(u16::MAX).to_le_bytes();
        [&[7; 4], &length[..], &[kind], &sequence.to_le_bytes(), &[0; 4], rest].concat()
    }

    fn mark(own: u64, synced: u64) -> Vec<u8> {
        record(WHOLE, own, &[NAME, &synced.to_le_bytes()].concat())
    }

    #[test]
    fn what_lies_in_front_of_a_mark_is_synced_when_a_later_mark_says_so() {
        let row = |sequence| record(WHOLE, sequence, &[b'x'; 90]);
        let (first, log) = (row(1).len(), [row(1), mark(2, 1), row(2)].concat());
        assert_eq!(synced_until(&log), 0, "the write that came after it may have been there at its sync, and was not");
        assert_eq!(synced_until(&[&log[..], &mark(3, 1)].concat()), 0, "a sync that began before that write");
        let whole = [&log[..], &mark(3, 2), &row(3)].concat();
        assert_eq!(synced_until(&whole), first, "in front of the first mark");
        let more = [&whole[..], &mark(4, 3), &row(4)].concat();
        assert_eq!(synced_until(&more), log.len(), "in front of the second");
        assert_eq!(synced_until(&more[..more.len() - row(4).len() - 1]), first, "a mark that is cut short is none");
        let torn = [log.clone(), record(2, 3, &[NAME, &2_u64.to_le_bytes()].concat())].concat();
        assert_eq!(synced_until(&torn), 0, "nor is a part of a batch");
        assert_eq!(synced_until(NAME), 0);
    }
}
