//! Weighted rendezvous hashing, in whole numbers only: a logarithm in floating point may differ between machines,
//! and two nodes that disagree about a target would each wait for the other.
//!
//! Each store draws a number u in (0, 1] from the hash of digest and store; the store with the smallest -log2(u) /
//! weight wins, so that a store is chosen in proportion to its weight, and one store more or less moves only what it
//! gains or loses.

use crate::id::StoreId;
use portolan_oci::Digest;
use sha2::{Digest as _, Sha256};
use std::cmp::Ordering;

/// Bits after the point of a logarithm.
const FRACTION_BITS: u32 = 32;

/// The best `count` stores for a digest, best first. A store of weight zero is never chosen.
pub(super) fn best(digest: &Digest, stores: &[(StoreId, u32)], count: usize) -> Vec<StoreId> {
    let mut scored: Vec<(u64, u32, StoreId)> = stores
        .iter()
        .filter(|(_, weight)| *weight > 0)
        .map(|&(store, weight)| (minus_log2(draw(digest, store)), weight, store))
        .collect();
    scored.sort_unstable_by(by_cost);
    scored.into_iter().take(count).map(|(_, _, store)| store).collect()
}

/// Compares cost / weight by multiplying crosswise; the store's id breaks a tie.
fn by_cost(a: &(u64, u32, StoreId), b: &(u64, u32, StoreId)) -> Ordering {
    let left = u128::from(a.0) * u128::from(b.1);
    let right = u128::from(b.0) * u128::from(a.1);
    left.cmp(&right).then(a.2.cmp(&b.2))
}

fn draw(digest: &Digest, store: StoreId) -> u64 {
    let hash = Sha256::new().chain_update(digest.raw()).chain_update(store.0.to_be_bytes()).finalize();
    hash.iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// -log2((draw + 1) / 2^64) with [`FRACTION_BITS`] bits after the point, by repeated squaring.
fn minus_log2(draw: u64) -> u64 {
    let number = u128::from(draw) + 1;
    let whole = number.ilog2();
    // The mantissa in [1, 2), with 63 bits after the point.
    let mut mantissa: u128 = if whole >= 63 { number >> (whole - 63) } else { number << (63 - whole) };
    let mut log = u64::from(whole);
    for _ in 0..FRACTION_BITS {
        mantissa = (mantissa * mantissa) >> 63;
        log <<= 1;
        if mantissa >= 1 << 64 {
            mantissa >>= 1;
            log |= 1;
        }
    }
    (64_u64 << FRACTION_BITS) - log
}

#[cfg(test)]
mod tests {
    use super::{FRACTION_BITS, minus_log2};

    #[test]
    fn the_logarithm_is_that_of_the_textbook() {
        for draw in [0, 1, 2, 3, 1 << 20, 12_345_678_901_234_567, u64::MAX / 3, u64::MAX - 1, u64::MAX] {
            let exact = 64.0 - (draw as f64 + 1.0).log2();
            let ours = minus_log2(draw) as f64 / f64::from(FRACTION_BITS).exp2();
            assert!((exact - ours).abs() < 1e-8, "{draw}: {exact} against {ours}");
        }
    }
}
