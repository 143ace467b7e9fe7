//! Which bytes of a blob nobody reads yet, handed out in segments from the front, so that whoever follows the front is
//! not starved by those behind it. Towards the end they get shorter, so that all readers end together. Pure.

use portolan_store::CHUNK_BYTES;
use std::collections::BTreeMap;
use std::ops::Range;

/// No segment is cut shorter than this, in bytes: it costs a round trip and a header.
const SHORTEST: u64 = 1 << 20;

/// What is left to be read of a blob, in whole chunks.
#[derive(Debug)]
pub(crate) struct Segments {
    /// Begin to end; no two touch.
    left: BTreeMap<u64, u64>,
    left_bytes: u64,
    longest: u64,
    readers: u64,
}

impl Segments {
    /// What is `missing` (in order, without overlaps), to be handed out in segments of at most `longest` bytes to so many
    /// readers.
    pub(crate) fn new(missing: impl IntoIterator<Item = Range<u64>>, longest: u64, readers: usize) -> Self {
        let longest = longest.max(1).checked_next_multiple_of(CHUNK_BYTES).unwrap_or(u64::MAX);
        let left: BTreeMap<u64, u64> = missing.into_iter().map(|range| (range.start, range.end)).collect();
        let left_bytes = left.iter().map(|(start, end)| end - start).sum();
        Self { left, left_bytes, longest, readers: (readers as u64).max(1) }
    }

    /// The next segment from the front.
    pub(crate) fn take(&mut self) -> Option<Range<u64>> {
        let longest = self.longest_now();
        let (start, end) = self.left.pop_first()?;
        let cut = end.min(start.saturating_add(longest));
        if cut < end {
            self.left.insert(cut, end);
        }
        self.left_bytes -= cut - start;
        Some(start..cut)
    }

    /// How long a segment may be: half of a reader's share in what is left, while that is less than usual.
    fn longest_now(&self) -> u64 {
        if self.readers == 1 {
            return self.longest;
        }
        let share = (self.left_bytes / (2 * self.readers)).max(SHORTEST).next_multiple_of(CHUNK_BYTES);
        share.min(self.longest)
    }

    /// Makes a segment that was taken as long as it may be: up to where somebody else's begins.
    pub(crate) fn extend(&mut self, taken: &mut Range<u64>) {
        if let Some(end) = self.left.remove(&taken.end) {
            self.left_bytes -= end - taken.end;
            taken.end = end;
        }
    }

    /// Makes a segment that was taken no longer than others, from `at` in it on: its chunk, and the rest after that.
    pub(crate) fn shorten(&mut self, taken: &mut Range<u64>, at: u64) {
        let chunk = at - at % CHUNK_BYTES;
        let cut = chunk.saturating_add(self.longest);
        if cut < taken.end {
            self.give_back(cut..taken.end);
            taken.end = cut;
        }
    }

    /// Takes back what was taken and not read: whole chunks.
    pub(crate) fn give_back(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        self.left_bytes += range.end - range.start;
        let (mut start, mut end) = (range.start, range.end);
        if let Some((before, touches)) = self.left.range(..start).next_back()
            && *touches == start
        {
            start = *before;
        }
        if let Some(after) = self.left.remove(&end) {
            end = after;
        }
        self.left.insert(start, end);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.left.is_empty()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::{CHUNK_BYTES, Range, Segments};
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};
    use std::iter::once;

    const SIZE: u64 = 100 * CHUNK_BYTES + 5;

    #[test]
    fn segments_come_from_the_front_and_no_byte_is_handed_out_twice() {
        for seed in 0..200 {
            eprintln!("seed {seed}");
            let mut rng = StdRng::seed_from_u64(seed);
            let readers = rng.random_range(1..6);
            let mut segments = Segments::new(once(0..SIZE), rng.random_range(1..20 * CHUNK_BYTES), readers);
            let mut taken: Vec<Range<u64>> = Vec::new();
            let mut read: Vec<Range<u64>> = Vec::new();
            loop {
                match rng.random_range(0..6) {
                    0..3 => {
                        let Some(range) = segments.take() else {
                            if taken.is_empty() {
                                break;
                            }
                            read.push(taken.pop().unwrap());
                            continue;
                        };
                        taken.push(range);
                    }
                    3 if !taken.is_empty() => {
                        // Read in part, the rest given back.
                        let range = taken.swap_remove(rng.random_range(0..taken.len()));
                        let chunks = (range.end - range.start).div_ceil(CHUNK_BYTES);
                        let cut = (range.start + rng.random_range(0..=chunks) * CHUNK_BYTES).min(range.end);
                        read.push(range.start..cut);
                        segments.give_back(cut..range.end);
                    }
                    4 if !taken.is_empty() => {
                        let at = rng.random_range(0..taken.len());
                        segments.extend(&mut taken[at]);
                        if rng.random_bool(0.5) {
                            let inside = rng.random_range(taken[at].clone());
                            segments.shorten(&mut taken[at], inside);
                            assert!(taken[at].contains(&inside));
                        }
                    }
                    _ => {}
                }
            }
            assert!(segments.is_empty() && segments.left_bytes == 0);
            read.retain(|range| !range.is_empty());
            read.sort_by_key(|range| range.start);
            assert_eq!((read[0].start, read.last().unwrap().end), (0, SIZE));
            assert!(read.windows(2).all(|pair| pair[0].end == pair[1].start), "{read:?}");
            assert!(read.iter().all(|range| range.start % CHUNK_BYTES == 0));
        }
    }

    #[test]
    fn what_is_given_back_is_the_next_to_be_read() {
        let mut segments = Segments::new(once(0..SIZE), 4 * CHUNK_BYTES, 1);
        let (first, second) = (segments.take().unwrap(), segments.take().unwrap());
        assert_eq!((first.clone(), second.start), (0..4 * CHUNK_BYTES, 4 * CHUNK_BYTES));
        segments.give_back(2 * CHUNK_BYTES..first.end);
        assert_eq!(segments.take().unwrap(), 2 * CHUNK_BYTES..first.end);
        segments.give_back(second.clone());
        assert_eq!(segments.take().unwrap(), second);
    }

    #[test]
    fn towards_the_end_segments_get_shorter_and_not_too_short() {
        let mib = |count: u64| count << 20;
        let mut segments = Segments::new(once(0..mib(128)), mib(8), 4);
        let mut lengths = Vec::new();
        while let Some(range) = segments.take() {
            lengths.push(range.end - range.start);
        }
        assert_eq!(lengths.iter().sum::<u64>(), mib(128));
        assert_eq!(lengths.iter().filter(|length| **length == mib(8)).count(), 9, "{lengths:?}");
        assert!(lengths.is_sorted_by(|one, next| one >= next), "{lengths:?}");
        let (last, before) = lengths.split_last().unwrap();
        assert!(*last <= mib(1) && before.iter().all(|length| *length >= mib(1)), "{lengths:?}");
        let mut alone = Segments::new(once(0..mib(20)), mib(8), 1);
        assert_eq!((alone.take(), alone.take()), (Some(0..mib(8)), Some(mib(8)..mib(16))), "nobody to end with");
    }
}
