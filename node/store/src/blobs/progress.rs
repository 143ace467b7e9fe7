//! How far a part has come: what resumes it after a crash.
//!
//! On disk, little-endian: `PPRT1`, algorithm (u8), offset (u64), partial sum (u32), length of the hash state (u16),
//! hash state, one u32 per whole chunk, and a u32 over all before. It is only ever written for bytes that are durable.

use super::chunks::Chunks;
use super::sums::{CHUNK_BYTES, Summer};
use portolan_oci::{Algorithm, Hasher};

const MAGIC: &[u8; 5] = b"PPRT1";

/// The hash and the sums of a prefix.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    pub(super) hasher: Hasher,
    pub(super) sums: Summer,
}

/// Where a [`Progress`] was, to go back to. Holds no sums, of which a large file has many.
#[derive(Debug)]
pub(super) struct Mark {
    hasher: Hasher,
    whole: usize,
    partial: u32,
    partial_bytes: u64,
}

/// What a state file says.
pub(super) enum Saved {
    /// All of it.
    Whole(Box<Progress>),
    /// Only how long the durable prefix is: another version of the hash wrote the rest. Hash the prefix again.
    OffsetOnly(Algorithm, u64),
    /// It is a chunked part's.
    Chunks(Box<Chunks>),
}

impl Saved {
    /// How many bytes are durable.
    pub(super) fn offset(&self) -> u64 {
        match self {
            Self::Whole(progress) => progress.offset(),
            Self::OffsetOnly(_, offset) => *offset,
            Self::Chunks(chunks) => chunks.bytes(),
        }
    }
}

impl Progress {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        Self { hasher: Hasher::new(algorithm), sums: Summer::default() }
    }

    /// How many bytes it covers.
    pub(super) fn offset(&self) -> u64 {
        self.sums.bytes()
    }

    /// Takes the next bytes.
    pub(super) fn update(&mut self, bytes: &[u8]) {
        // Both pass over a piece while it is in the processor's cache.
        for piece in bytes.chunks(64 << 10) {
            self.hasher.update(piece);
            self.sums.update(piece);
        }
    }

    /// Remembers this point.
    pub(super) fn mark(&self) -> Mark {
        let Summer { whole, partial, partial_bytes } = &self.sums;
        Mark { hasher: self.hasher.clone(), whole: whole.len(), partial: *partial, partial_bytes: *partial_bytes }
    }

    /// Goes back to a point that was passed.
    pub(super) fn rewind(&mut self, mark: Mark) {
        self.hasher = mark.hasher;
        self.sums.whole.truncate(mark.whole);
        (self.sums.partial, self.sums.partial_bytes) = (mark.partial, mark.partial_bytes);
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let hash = self.hasher.save();
        let mut out = MAGIC.to_vec();
        out.push(match self.hasher.algorithm() {
            Algorithm::Sha256 => 0,
            Algorithm::Sha512 => 1,
        });
        out.extend_from_slice(&self.offset().to_le_bytes());
        out.extend_from_slice(&self.sums.partial.to_le_bytes());
        out.extend_from_slice(&u16::try_from(hash.len()).expect("a hash state has some hundred bytes").to_le_bytes());
        out.extend_from_slice(&hash);
        out.extend(self.sums.whole.iter().flat_map(|sum| sum.to_le_bytes()));
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    /// Reads a state file; `None` when it is damaged.
    pub(super) fn decode(bytes: &[u8]) -> Option<Saved> {
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
        let (offset, rest) = rest.split_first_chunk::<8>()?;
        let (partial, rest) = rest.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<2>()?;
        let (hash, sums) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        let offset = u64::from_le_bytes(*offset);
        let (whole, left) = sums.as_chunks::<4>();
        if !left.is_empty() || whole.len() as u64 != offset / CHUNK_BYTES {
            return None;
        }
        let Some(hasher) = Hasher::restore(algorithm, hash) else { return Some(Saved::OffsetOnly(algorithm, offset)) };
        let whole = whole.iter().map(|sum| u32::from_le_bytes(*sum)).collect();
        let sums = Summer { whole, partial: u32::from_le_bytes(*partial), partial_bytes: offset % CHUNK_BYTES };
        Some(Saved::Whole(Box::new(Self { hasher, sums })))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::{Progress, Saved};
    use portolan_oci::{Algorithm, Digest};

    #[test]
    fn a_saved_progress_goes_on_to_the_same_digest_and_sums() {
        let bytes: Vec<u8> = (0..700_001_u32).map(|index| (index % 253) as u8).collect();
        for algorithm in Algorithm::ALL {
            for cut in [0, 1, 262_143, 262_144, 262_145, 700_000] {
                let mut progress = Progress::new(algorithm);
                progress.update(&bytes[..cut]);
                let Some(Saved::Whole(mut resumed)) = Progress::decode(&progress.encode()) else { panic!("cut {cut}") };
                assert_eq!(resumed.offset(), cut as u64);
                resumed.update(&bytes[cut..]);
                progress.update(&bytes[cut..]);
                assert_eq!(resumed.sums, progress.sums);
                assert_eq!(resumed.hasher.finish(), Digest::of(algorithm, &bytes));
            }
        }
    }

    #[test]
    fn going_back_to_a_mark_forgets_what_came_after_it() {
        let bytes = vec![9; 900_000];
        for cut in [0, 1, 262_144, 300_000, 800_000] {
            let mut progress = Progress::new(Algorithm::Sha256);
            progress.update(&bytes[..cut]);
            let (mark, before) = (progress.mark(), progress.encode());
            progress.update(&bytes[cut..]);
            assert_ne!(progress.encode(), before);
            progress.rewind(mark);
            assert_eq!(progress.encode(), before, "cut {cut}");
        }
    }

    #[test]
    fn a_damaged_state_is_noticed() {
        let encoded = Progress::new(Algorithm::Sha256).encode();
        for bit in 0..encoded.len() * 8 {
            let mut damaged = encoded.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(Progress::decode(&damaged).is_none(), "bit {bit}");
        }
    }
}
