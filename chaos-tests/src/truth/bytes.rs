//! Blobs whose bytes are made again from a seed, block by block, so that nobody holds them.

use bytes::Bytes;
use portolan_oci::{Algorithm, Digest, Hasher};
use std::ops::Range;

/// How much is made at a time: small, so that a small blob costs little, and a multiple of eight.
const BLOCK: usize = 32 << 10;

/// A blob; its bytes follow from its seed and its size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blob {
    /// The digest of its bytes.
    pub digest: Digest,
    /// What its bytes come from.
    pub seed: u64,
    /// Its length in bytes.
    pub size: u64,
}

impl Blob {
    /// The blob of this seed and size; hashes all its bytes.
    #[must_use]
    pub fn new(seed: u64, size: u64) -> Self {
        let mut hasher = Hasher::new(Algorithm::Sha256);
        pieces(seed, 0..size).for_each(|piece| hasher.update(&piece));
        Self { digest: hasher.finish(), seed, size }
    }

    /// Some of its bytes, in pieces. What lies behind its end is left out.
    pub fn pieces(self, range: Range<u64>) -> impl Iterator<Item = Bytes> + Send + Sync + 'static {
        pieces(self.seed, range.start..range.end.min(self.size))
    }

    /// Compares bytes that come from `from` on.
    #[must_use]
    pub fn compare(self, from: u64) -> Comparison {
        Comparison { blob: self, at: from, block: None, differs: None }
    }
}

/// Bytes of a blob as they come in, compared with what they must be.
#[derive(Clone, Debug)]
pub struct Comparison {
    blob: Blob,
    at: u64,
    /// The block that was made last, and its number.
    block: Option<(u64, Box<[u8]>)>,
    differs: Option<u64>,
}

impl Comparison {
    /// The next bytes.
    pub fn piece(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.differs.is_none() {
            let (number, skipped) = (self.at / BLOCK as u64, self.at as usize % BLOCK);
            let left = self.blob.size.saturating_sub(self.at);
            let length = bytes.len().min(BLOCK - skipped).min(usize::try_from(left).unwrap_or(usize::MAX));
            if length == 0 {
                // More bytes than the blob has.
                self.differs = Some(self.at);
                return;
            }
            if self.block.as_ref().is_none_or(|(made, _)| *made != number) {
                self.block = Some((number, block(self.blob.seed, number)));
            }
            let Some((_, made)) = &self.block else { return };
            let wanted = &made[skipped..skipped + length];
            if let Some(offset) = wanted.iter().zip(bytes).position(|(wanted, came)| wanted != came) {
                self.differs = Some(self.at + offset as u64);
            }
            self.at += length as u64;
            bytes = &bytes[length..];
        }
    }

    /// Where the first wrong byte was, from the blob's beginning.
    #[must_use]
    pub fn differs(&self) -> Option<u64> {
        self.differs
    }
}

fn pieces(seed: u64, range: Range<u64>) -> impl Iterator<Item = Bytes> + Send + Sync + 'static {
    let size = BLOCK as u64;
    let numbers = range.start / size..range.end.max(range.start).div_ceil(size);
    numbers.map(move |number| {
        let within = |offset: u64| (offset.saturating_sub(number * size)).min(size) as usize;
        Bytes::from(block(seed, number)).slice(within(range.start)..within(range.end))
    })
}

/// One block: cheap to make, and different from every other.
fn block(seed: u64, number: u64) -> Box<[u8]> {
    let mut bytes = vec![0; BLOCK];
    let mut state = scatter(seed ^ scatter(number)) | 1;
    for word in bytes.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    bytes.into_boxed_slice()
}

/// Spreads numbers that lie close together over all 64 bits (the finalizer of SplitMix64).
#[must_use]
pub fn scatter(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::{BLOCK, Blob};

    fn all(blob: Blob) -> Vec<u8> {
        blob.pieces(0..blob.size).flatten().collect()
    }

    #[test]
    fn any_part_is_the_same_as_that_part_of_the_whole() {
        let blob = Blob::new(7, 3 * BLOCK as u64 + 5);
        let whole = all(blob);
        assert_eq!(whole.len() as u64, blob.size);
        assert_eq!(portolan_oci::Digest::sha256_of(&whole), blob.digest);
        for range in [0..0, 0..1, 5..BLOCK as u64 + 1, BLOCK as u64..2 * BLOCK as u64, 90_000..blob.size + 9] {
            let part: Vec<u8> = blob.pieces(range.clone()).flatten().collect();
            let end = range.end.min(blob.size);
            assert_eq!(part, whole[range.start as usize..end as usize], "{range:?}");
        }
    }

    #[test]
    fn seeds_and_sizes_and_blocks_make_different_bytes() {
        let (a, b, c) = (Blob::new(1, 70_000), Blob::new(2, 70_000), Blob::new(1, 70_001));
        assert!(a.digest != b.digest && a.digest != c.digest);
        let bytes = all(a);
        assert_ne!(bytes[..BLOCK], bytes[BLOCK..2 * BLOCK]);
    }

    #[test]
    fn one_wrong_byte_is_found_where_it_is_however_the_pieces_are_cut() {
        let blob = Blob::new(3, 2 * BLOCK as u64 + 100);
        for (from, wrong) in [(0, None), (0, Some(0)), (100, Some(BLOCK)), (BLOCK, Some(2 * BLOCK + 99))] {
            for step in [1, 1000, BLOCK + 1, usize::MAX] {
                let mut bytes = all(blob);
                if let Some(at) = wrong {
                    bytes[at] ^= 1;
                }
                let mut comparison = blob.compare(from as u64);
                bytes[from..].chunks(step).for_each(|piece| comparison.piece(piece));
                assert_eq!(comparison.differs(), wrong.map(|at| at as u64), "from {from} by {step}");
            }
        }
    }

    #[test]
    fn a_byte_behind_the_end_is_wrong() {
        let blob = Blob::new(3, 10);
        let mut comparison = blob.compare(0);
        comparison.piece(&all(blob));
        assert_eq!(comparison.differs(), None);
        comparison.piece(&[0]);
        assert_eq!(comparison.differs(), Some(10));
    }
}
