//! A checksum (CRC32C) per chunk of a file, made while the file lands, so that any range can be checked later without
//! reading the whole.
//!
//! Sidecar, little-endian: `PSUM1`, size (u64), one u32 per chunk, and a u32 over all before.

use crate::error::StoreError;
use portolan_oci::Digest;
use std::path::Path;

/// The length of the pieces that have a checksum of their own, in bytes.
pub const CHUNK_BYTES: u64 = 256 << 10;

const MAGIC: &[u8; 5] = b"PSUM1";
/// What surrounds the sums: magic, size, own checksum.
const FRAME_BYTES: usize = 5 + 8 + 4;

/// Sums in the making.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Summer {
    /// Of whole chunks.
    pub(super) whole: Vec<u32>,
    /// Of the chunk that grows.
    pub(super) partial: u32,
    /// How much of it is there.
    pub(super) partial_bytes: u64,
}

impl Summer {
    /// Takes the next bytes.
    pub(super) fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = CHUNK_BYTES - self.partial_bytes;
            let take = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
            let (now, later) = bytes.split_at(take);
            self.partial = crc32c::crc32c_append(self.partial, now);
            self.partial_bytes += take as u64;
            if self.partial_bytes == CHUNK_BYTES {
                self.whole.push(self.partial);
                (self.partial, self.partial_bytes) = (0, 0);
            }
            bytes = later;
        }
    }

    /// How many bytes were taken.
    pub(super) fn bytes(&self) -> u64 {
        self.whole.len() as u64 * CHUNK_BYTES + self.partial_bytes
    }

    /// The sums of all that was taken.
    pub(super) fn finish(&self) -> Sums {
        let mut chunks = self.whole.clone();
        if self.partial_bytes > 0 {
            chunks.push(self.partial);
        }
        Sums { size: self.bytes(), chunks }
    }
}

/// The SHA-256 of a table of chunk sums, each as a little-endian u32, as [`portolan_meta::row::BlobRow::sums`] has it.
#[must_use]
pub fn table_digest(chunks: &[u32]) -> Digest {
    let bytes: Vec<u8> = chunks.iter().flat_map(|sum| sum.to_le_bytes()).collect();
    Digest::sha256_of(&bytes)
}

/// The sums of a whole file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sums {
    pub(super) size: u64,
    pub(super) chunks: Vec<u32>,
}

impl Sums {
    /// One per chunk.
    pub(super) fn into_chunks(self) -> Vec<u32> {
        self.chunks
    }

    /// Whether the file has one chunk at most, so that hashing it whole costs as little as reading these.
    pub(super) fn is_one_chunk(&self) -> bool {
        self.size <= CHUNK_BYTES
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(FRAME_BYTES + 4 * self.chunks.len());
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.size.to_le_bytes());
        out.extend(self.chunks.iter().flat_map(|sum| sum.to_le_bytes()));
        out.extend_from_slice(&crc32c::crc32c(&out).to_le_bytes());
        out
    }

    /// The SHA-256 of the table of sums: two files of the same bytes have the same.
    pub(super) fn digest(&self) -> Digest {
        table_digest(&self.chunks)
    }

    /// Reads a sidecar; `None` when it is damaged.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (body, own) = bytes.split_last_chunk::<4>()?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*own) {
            return None;
        }
        let (size, sums) = body.strip_prefix(MAGIC)?.split_first_chunk::<8>()?;
        let size = u64::from_le_bytes(*size);
        let chunks: Vec<u32> = sums.as_chunks::<4>().0.iter().map(|sum| u32::from_le_bytes(*sum)).collect();
        let fits = sums.len() % 4 == 0 && chunks.len() as u64 == size.div_ceil(CHUNK_BYTES);
        fits.then_some(Self { size, chunks })
    }

    /// Checks bytes that begin at `offset`, which begins a chunk, and end at the end of a chunk or of the file.
    pub(super) fn check(&self, path: &Path, offset: u64, bytes: &[u8]) -> Result<(), StoreError> {
        let first = usize::try_from(offset / CHUNK_BYTES).unwrap_or(usize::MAX);
        let chunk_bytes = usize::try_from(CHUNK_BYTES).unwrap_or(usize::MAX);
        for (number, chunk) in (first..).zip(bytes.chunks(chunk_bytes)) {
            if self.chunks.get(number) != Some(&crc32c::crc32c(chunk)) {
                let reason = format!("the checksum of chunk {number} of {CHUNK_BYTES} bytes each differs");
                return Err(StoreError::Corrupt { what: path.display().to_string(), reason });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::{CHUNK_BYTES, Summer, Sums};
    use crate::error::StoreError;
    use std::path::Path;

    fn sums_of(bytes: &[u8], piece: usize) -> Sums {
        let mut summer = Summer::default();
        bytes.chunks(piece).for_each(|piece| summer.update(piece));
        summer.finish()
    }

    #[test]
    fn pieces_of_any_size_make_the_same_sums() {
        let chunk = usize::try_from(CHUNK_BYTES).unwrap();
        for length in [0, 1, chunk - 1, chunk, chunk + 1, 3 * chunk] {
            let bytes: Vec<u8> = (0..length).map(|index| (index % 251) as u8).collect();
            let sums = sums_of(&bytes, usize::MAX >> 1);
            assert_eq!(sums.chunks.len(), length.div_ceil(chunk));
            for piece in [1000, chunk - 1, chunk, chunk + 7] {
                assert_eq!(sums_of(&bytes, piece), sums, "length {length}, piece {piece}");
            }
            assert_eq!(Sums::decode(&sums.encode()), Some(sums.clone()));
            sums.check(Path::new("x"), 0, &bytes).unwrap();
        }
    }

    #[test]
    fn any_flipped_bit_of_a_sidecar_is_noticed() {
        let encoded = sums_of(&[7; 300_000], 1 << 20).encode();
        for bit in 0..encoded.len() * 8 {
            let mut damaged = encoded.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Sums::decode(&damaged), None, "bit {bit}");
        }
        for length in 0..encoded.len() {
            assert_eq!(Sums::decode(&encoded[..length]), None, "cut to {length}");
        }
    }

    #[test]
    fn a_flipped_bit_of_the_file_fails_its_chunk_only() {
        let mut bytes = vec![3; 600_000];
        let sums = sums_of(&bytes, 1 << 20);
        bytes[300_000] ^= 1;
        let chunk = usize::try_from(CHUNK_BYTES).unwrap();
        sums.check(Path::new("x"), 0, &bytes[..chunk]).unwrap();
        sums.check(Path::new("x"), 2 * CHUNK_BYTES, &bytes[2 * chunk..]).unwrap();
        let failed = sums.check(Path::new("x"), CHUNK_BYTES, &bytes[chunk..2 * chunk]);
        assert!(matches!(failed, Err(StoreError::Corrupt { .. })), "{failed:?}");
        assert!(sums.check(Path::new("x"), 3 * CHUNK_BYTES, &[1]).is_err(), "behind the end");
    }
}
