//! Chance.

use rand::{Rng, rngs::StdRng};

/// One of some things.
pub(super) fn pick<'l, T: ?Sized>(random: &mut StdRng, list: &[&'l T]) -> &'l T {
    list[random.random_range(0..list.len())]
}
