//! Which chunks of a blob are here, in whatever order they came: what resumes a chunked part after a crash.
//!
//! On disk, little-endian: `PCHK1`, algorithm (u8), size (u64), hashed chunks (u64), length of the hash state (u16),
//! hash state, one bit per chunk (filled up to whole bytes), one u32 per chunk that is here, and a u32 over all before.
//! It is only ever written for chunks that are durable.

use super::sums::{CHUNK_BYTES, Sums};
use portolan_oci::{Algorithm, Hasher};
use std::ops::Range;

const MAGIC: &[u8; 5] = b"PCHK1";

/// The chunks that are here, with their sums, and the hash of the front.
#[derive(Clone, Debug)]
pub(super) struct Chunks {
    size: u64,
    /// One bit per chunk.
    here: Vec<u8>,
    /// One per chunk; meaningless where the chunk is not here.
    sums: Vec<u32>,
    /// How many bytes are here.
    bytes: u64,
    /// How many chunks from the first on the hasher has taken: all of them are here.
    pub(super) hashed: u64,
    pub(super) hasher: Hasher,
}

impl Chunks {
    pub(super) fn new(algorithm: Algorithm, size: u64) -> Self {
        let count = as_index(size.div_ceil(CHUNK_BYTES));
        Self {
            size,
            here: vec![0; count.div_ceil(8)],
            sums: vec![0; count],
            bytes: 0,
            hashed: 0,
            hasher: Hasher::new(algorithm),
        }
    }

    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// How many chunks the blob has.
    pub(super) fn count(&self) -> u64 {
        self.size.div_ceil(CHUNK_BYTES)
    }

    /// How many bytes are here, in whatever order.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn is_complete(&self) -> bool {
        self.bytes == self.size
    }

    /// The length of a chunk: the last one may be short.
    pub(super) fn length_of(&self, index: u64) -> u64 {
        (self.size - index * CHUNK_BYTES).min(CHUNK_BYTES)
    }

    pub(super) fn has(&self, index: u64) -> bool {
        let index = as_index(index);
        self.here.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
    }

    /// Whether all bytes of a range are here.
    pub(super) fn has_range(&self, range: &Range<u64>) -> bool {
        range.is_empty() || (range.start / CHUNK_BYTES..range.end.div_ceil(CHUNK_BYTES)).all(|index| self.has(index))
    }

    /// Where the run of chunks that are here, from `index` on, ends.
    pub(super) fn run_end(&self, index: u64) -> u64 {
        (index..self.count()).find(|index| !self.has(*index)).unwrap_or(self.count()).max(index)
    }

    /// The bytes that are missing, as ranges in order, each of whole chunks.
    pub(super) fn missing(&self) -> Vec<Range<u64>> {
        let mut found = Vec::new();
        let mut index = 0;
        while index < self.count() {
            index = self.run_end(index);
            let begin = index;
            while index < self.count() && !self.has(index) {
                index += 1;
            }
            if begin < index {
                found.push(begin * CHUNK_BYTES..(index * CHUNK_BYTES).min(self.size));
            }
        }
        found
    }

    /// How many bytes from the first on the hasher has taken.
    pub(super) fn front(&self) -> u64 {
        (self.hashed * CHUNK_BYTES).min(self.size)
    }

    /// Where the last chunk that is here ends.
    pub(super) fn end(&self) -> u64 {
        let last = (0..self.count()).rev().find(|index| self.has(*index));
        last.map_or(0, |last| last * CHUNK_BYTES + self.length_of(last))
    }

    /// Notes that a chunk is here.
    pub(super) fn mark(&mut self, index: u64, sum: u32) {
        if !self.has(index) {
            self.bytes += self.length_of(index);
            self.here[as_index(index) / 8] |= 1 << (index % 8);
        }
        self.sums[as_index(index)] = sum;
    }

    /// Forgets the chunks that have another sum than `table` says; tells how many those were. Hashing begins anew when one
    /// of them had been hashed.
    pub(super) fn retain(&mut self, table: &[u32]) -> u64 {
        let mut dropped = 0;
        for index in 0..self.count() {
            if self.has(index) && table.get(as_index(index)) != Some(&self.sums[as_index(index)]) {
                dropped += 1;
                self.bytes -= self.length_of(index);
                self.here[as_index(index) / 8] &= !(1 << (index % 8));
                if index < self.hashed {
                    (self.hashed, self.hasher) = (0, Hasher::new(self.hasher.algorithm()));
                }
            }
        }
        dropped
    }

    /// The sums of the whole, once every chunk is here.
    pub(super) fn finish(&self) -> Sums {
        Sums { size: self.size, chunks: self.sums.clone() }
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let hash = self.hasher.save();
        let mut out = MAGIC.to_vec();
        out.push(match self.hasher.algorithm() {
            Algorithm::Sha256 => 0,
            Algorithm::Sha512 => 1,
        });
        out.extend_from_slice(&self.size.to_le_bytes());
        out.extend_from_slice(&self.hashed.to_le_bytes());
        out.extend_from_slice(&u16::try_from(hash.len()).expect("a hash state has some hundred bytes").to_le_bytes());
        out.extend_from_slice(&hash);
        out.extend_from_slice(&self.here);
        let sums = (0..self.count()).zip(&self.sums).filter(|(index, _)| self.has(*index));
        out.extend(sums.flat_map(|(_, sum)| sum.to_le_bytes()));
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    /// Reads a state file; `None` when it is damaged, or not of a chunked part.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, own) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*own) {
            return None;
        }
        let (algorithm, rest) = body.strip_prefix(MAGIC)?.split_first()?;
        let algorithm = match algorithm {
            0 => Algorithm::Sha256,
            1 => Algorithm::Sha512,
            _ => return None,
        };
        let (size, rest) = rest.split_first_chunk::<8>()?;
        let (hashed, rest) = rest.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (hash, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        let (size, hashed) = (u64::from_le_bytes(*size), u64::from_le_bytes(*hashed));
        // Looked at before so much is allocated.
        let (here, sums) = rest.split_at_checked(as_index(size.div_ceil(CHUNK_BYTES).div_ceil(8)))?;
        let mut chunks = Self::new(algorithm, size);
        let mut sums = sums.as_chunks::<4>().0.iter();
        for index in 0..chunks.count() {
            if here[as_index(index) / 8] >> (index % 8) & 1 == 1 {
                chunks.mark(index, u32::from_le_bytes(*sums.next()?));
            }
        }
        if chunks.here != here || sums.next().is_some() || hashed > chunks.run_end(0) {
            return None;
        }
        // Another version of the hash wrote its state: the front is hashed again.
        if let Some(hasher) = Hasher::restore(algorithm, hash) {
            (chunks.hashed, chunks.hasher) = (hashed, hasher);
        }
        Some(chunks)
    }
}

fn as_index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::{CHUNK_BYTES, Chunks};
    use portolan_oci::Algorithm;

    fn some() -> Chunks {
        let mut chunks = Chunks::new(Algorithm::Sha256, 20 * CHUNK_BYTES + 7);
        for index in [0, 1, 5, 6, 7, 8, 20] {
            chunks.mark(index, 1000 + u32::try_from(index).unwrap());
        }
        chunks
    }

    #[test]
    fn what_is_here_and_what_is_missing_add_up() {
        let chunks = some();
        let missing = [2..5, 9..20].map(|run| run.start * CHUNK_BYTES..run.end * CHUNK_BYTES);
        assert_eq!(chunks.missing(), missing);
        assert_eq!(chunks.bytes(), 6 * CHUNK_BYTES + 7);
        assert_eq!(chunks.end(), chunks.size());
        assert_eq!((chunks.run_end(0), chunks.run_end(2), chunks.run_end(5), chunks.run_end(20)), (2, 2, 9, 21));
        assert!(chunks.has_range(&(CHUNK_BYTES - 1..2 * CHUNK_BYTES)));
        assert!(!chunks.has_range(&(CHUNK_BYTES - 1..2 * CHUNK_BYTES + 1)));
        assert!(chunks.has_range(&(chunks.size() - 7..chunks.size())));
        assert_eq!(Chunks::new(Algorithm::Sha256, 0).missing(), []);
    }

    #[test]
    fn a_saved_state_says_the_same_again() {
        let mut chunks = some();
        chunks.hasher.update(&[7; 256 << 10]);
        chunks.hashed = 1;
        let again = Chunks::decode(&chunks.encode()).unwrap();
        assert_eq!((again.missing(), again.bytes(), again.hashed), (chunks.missing(), chunks.bytes(), 1));
        assert_eq!(again.hasher.clone().finish(), chunks.hasher.clone().finish());
        assert_eq!(again.encode(), chunks.encode());
        chunks.hashed = 3;
        assert!(Chunks::decode(&chunks.encode()).is_none(), "more was hashed than is here");
    }

    #[test]
    fn a_damaged_state_is_noticed() {
        let encoded = some().encode();
        for bit in 0..encoded.len() * 8 {
            let mut damaged = encoded.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Chunks::decode(&damaged).is_none(), "bit {bit}");
        }
        (0..encoded.len()).for_each(|length| assert!(Chunks::decode(&encoded[..length]).is_none(), "cut to {length}"));
    }

    #[test]
    fn chunks_that_a_table_disowns_are_forgotten() {
        let mut chunks = some();
        chunks.hashed = 2;
        let mut table: Vec<u32> = (1000..1021).collect();
        assert_eq!((chunks.retain(&table), chunks.hashed), (0, 2));
        table[6] = 0;
        assert_eq!((chunks.retain(&table), chunks.hashed, chunks.has(6)), (1, 2, false));
        table[1] = 0;
        assert_eq!((chunks.retain(&table), chunks.hashed, chunks.has(1)), (1, 0, false));
        assert_eq!(chunks.bytes(), 4 * CHUNK_BYTES + 7);
    }
}
