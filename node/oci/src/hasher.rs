//! A digest in the making.

use crate::digest::{Algorithm, Digest};
use digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest as _, Sha256, Sha512};
use std::fmt;

/// The most blocks that a saved state may claim to have taken: 16 PiB of SHA-256. The hash counts bits, and its count must
/// not overflow however much follows; a state that says more was never saved.
const MOST_BLOCKS: u128 = 1 << 48;

/// Hashes bytes as they come. Its state can be saved and restored, so that an interrupted upload goes on without
/// reading its prefix again.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(Sha256),
    Sha512(Sha512),
}

impl Hasher {
    /// Starts with no bytes.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
        })
    }

    /// What it computes.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match &self.0 {
            State::Sha256(_) => Algorithm::Sha256,
            State::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            State::Sha256(hash) => hash.update(bytes),
            State::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The digest of everything taken.
    #[must_use]
    pub fn finish(self) -> Digest {
        match self.0 {
            State::Sha256(hash) => Digest::pad(Algorithm::Sha256, &hash.finalize()),
            State::Sha512(hash) => Digest::pad(Algorithm::Sha512, &hash.finalize()),
        }
    }

    /// The state as bytes: 104 for SHA-256, 208 for SHA-512. Readable by the same minor version of the hash's crate;
    /// when [`Hasher::restore`] refuses it, hash the prefix again.
    #[must_use]
    pub fn save(&self) -> Vec<u8> {
        match &self.0 {
            State::Sha256(hash) => hash.serialize().to_vec(),
            State::Sha512(hash) => hash.serialize().to_vec(),
        }
    }

    /// Goes on from a saved state; `None` when it is not one of that algorithm. The bytes are trusted: keep them where
    /// only this process writes, and check them if the disk is not trusted. Others give another digest, and nothing worse.
    #[must_use]
    pub fn restore(algorithm: Algorithm, saved: &[u8]) -> Option<Self> {
        blocks(algorithm, saved).filter(|blocks| *blocks <= MOST_BLOCKS)?;
        Some(Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(deserialize(saved)?),
            Algorithm::Sha512 => State::Sha512(deserialize(saved)?),
        }))
    }
}

/// How many blocks a saved state has taken: a little-endian number behind the words of the hash.
fn blocks(algorithm: Algorithm, saved: &[u8]) -> Option<u128> {
    let count = match algorithm {
        Algorithm::Sha256 => saved.get(32..40)?,
        Algorithm::Sha512 => saved.get(64..80)?,
    };
    Some(count.iter().rev().fold(0, |sum, byte| sum << 8 | u128::from(*byte)))
}

fn deserialize<T: SerializableState>(saved: &[u8]) -> Option<T> {
    let saved: &SerializedState<T> = saved.try_into().ok()?;
    T::deserialize(saved).ok()
}

impl fmt::Debug for Hasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hasher({})", self.algorithm())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::Hasher;
    use crate::digest::{Algorithm, Digest};
    use proptest::collection::vec;
    use proptest::{prelude::any, prop_assert_eq, proptest};

    #[test]
    fn a_state_of_another_algorithm_or_length_is_refused() {
        let sha256 = Hasher::new(Algorithm::Sha256).save();
        let sha512 = Hasher::new(Algorithm::Sha512).save();
        assert_eq!((sha256.len(), sha512.len()), (104, 208));
        assert!(Hasher::restore(Algorithm::Sha512, &sha256).is_none());
        assert!(Hasher::restore(Algorithm::Sha256, &sha512).is_none());
        assert!(Hasher::restore(Algorithm::Sha256, &sha256[1..]).is_none());
        assert!(Hasher::restore(Algorithm::Sha256, &[]).is_none());
        assert!(Hasher::restore(Algorithm::Sha256, &[0xff; 104]).is_none(), "an impossible buffer position");
    }

    #[test]
    fn a_state_that_counts_more_than_anybody_has_sent_is_refused() {
        for algorithm in Algorithm::ALL {
            let mut hasher = Hasher::new(algorithm);
            hasher.update(&[7; 3 * 128]);
            let saved = hasher.save();
            let (words, block) = if algorithm == Algorithm::Sha256 { (32, 64) } else { (64, 128) };
            assert_eq!(saved[words..words + 8], (3 * 128 / block as u64).to_le_bytes(), "where the count is");
            for (bit, kept) in [(48, true), (49, false), (63, false)] {
                let mut saved = saved.clone();
                saved[words..words + 8].copy_from_slice(&(1u64 << bit).to_le_bytes());
                let restored = Hasher::restore(algorithm, &saved);
                assert_eq!(restored.is_some(), kept, "{algorithm} after 2^{bit} blocks");
                if let Some(mut hasher) = restored {
                    hasher.update(&[0; 300]);
                    assert_eq!(hasher.finish().algorithm(), algorithm);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn pieces_and_a_pause_in_between_make_the_digest_of_the_whole(
            pieces in vec(vec(any::<u8>(), 0..200), 0..8),
            pause in 0usize..8,
        ) {
            for algorithm in Algorithm::ALL {
                let mut hasher = Hasher::new(algorithm);
                for (index, piece) in pieces.iter().enumerate() {
                    if index == pause {
                        hasher = Hasher::restore(algorithm, &hasher.save()).unwrap();
                    }
                    hasher.update(piece);
                }
                prop_assert_eq!(hasher.algorithm(), algorithm);
                prop_assert_eq!(hasher.finish(), Digest::of(algorithm, &pieces.concat()));
            }
        }
    }
}
