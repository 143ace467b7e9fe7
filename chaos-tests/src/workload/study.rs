//! Sizes and popularity as in production. The figures are those of the study of IBM's registries over 75 days (Anwar et
//! al., "Improving Docker Registry Design based on Production Workload Analysis", FAST 2018): nine requests of ten and more
//! are reads, half of the layers are below 4 MiB with a tail to a GiB, and few things get most of the pulls.

use crate::truth::scatter;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rand_distr::{Distribution, LogNormal, Zipf};

/// Half of the layers are smaller.
pub const MEDIAN_LAYER: u64 = 4 << 20;

/// No layer is larger.
pub const LARGEST_LAYER: u64 = 1 << 30;

/// The standard deviation of the logarithm of a layer's size: so wide that a few in a thousand reach the largest.
const SPREAD: f64 = 2.0;

/// How skewed popularity is: the exponent of Zipf's law.
const SKEW: f64 = 1.0;

/// Sizes of configurations, which are not scaled: they are small anyway.
const CONFIG: std::ops::Range<u64> = 500..8_000;

/// Draws the sizes of what is pushed.
#[derive(Clone, Copy, Debug)]
pub struct Sizes {
    layers: LogNormal<f64>,
    scale: f64,
}

impl Sizes {
    /// Sizes like those of the study, times `scale`.
    ///
    /// # Errors
    /// When the scale is not a positive number.
    pub fn new(scale: f64) -> crate::Result<Self> {
        if !(scale.is_finite() && scale > 0.0) {
            return Err(format!("a scale of {scale}").into());
        }
        Ok(Self { layers: LogNormal::new((MEDIAN_LAYER as f64).ln(), SPREAD)?, scale })
    }

    /// The size of a layer in bytes: at least one.
    pub fn layer(&self, dice: &mut impl Rng) -> u64 {
        let size = self.layers.sample(dice).min(LARGEST_LAYER as f64);
        ((size * self.scale) as u64).max(1)
    }

    /// The size of a layer that all clients know by its number.
    #[must_use]
    pub fn numbered(&self, seed: u64) -> u64 {
        self.layer(&mut StdRng::seed_from_u64(scatter(seed)))
    }

    /// The size of a configuration in bytes.
    pub fn config(dice: &mut impl Rng) -> u64 {
        dice.random_range(CONFIG)
    }
}

/// Draws among so many things, of which the first is the most popular.
#[derive(Clone, Copy, Debug)]
pub struct Popularity(Zipf<f64>);

impl Popularity {
    /// Among `count` things.
    ///
    /// # Errors
    /// When there are none.
    pub fn among(count: usize) -> crate::Result<Self> {
        Ok(Self(Zipf::new(count as f64, SKEW)?))
    }

    /// The place of one, from 0.
    pub fn draw(&self, dice: &mut impl Rng) -> usize {
        // Draws are whole numbers from 1.
        self.0.sample(dice) as usize - 1
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test says by a panic that it failed")]
mod tests {
    use super::{LARGEST_LAYER, MEDIAN_LAYER, Popularity, Sizes};
    use crate::kills;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    const DRAWS: usize = 50_000;
    const MIB: u64 = 1 << 20;

    fn share(sizes: &[u64], test: impl Fn(u64) -> bool) -> f64 {
        sizes.iter().filter(|size| test(**size)).count() as f64 / sizes.len() as f64
    }

    #[test]
    fn half_of_the_layers_are_below_four_mebibytes_and_the_tail_reaches_a_gibibyte() {
        let mut dice = StdRng::seed_from_u64(kills::seed());
        let sizes = Sizes::new(1.0).unwrap();
        let drawn: Vec<u64> = (0..DRAWS).map(|_| sizes.layer(&mut dice)).collect();
        let below = |size| share(&drawn, |drawn| drawn < size);
        eprintln!("below 1 MiB {:.3}, 4 MiB {:.3}, 64 MiB {:.3}", below(MIB), below(4 * MIB), below(64 * MIB));
        assert!((0.48..0.52).contains(&below(MEDIAN_LAYER)), "{}", below(MEDIAN_LAYER));
        assert!((0.20..0.30).contains(&below(MIB)), "{}", below(MIB));
        assert!((0.88..0.94).contains(&below(64 * MIB)), "{}", below(64 * MIB));
        let largest = share(&drawn, |size| size == LARGEST_LAYER);
        assert!((0.001..0.006).contains(&largest), "{largest}");
    }

    #[test]
    fn a_scale_makes_everything_smaller_alike() {
        let seed = kills::seed();
        let (real, small) = (Sizes::new(1.0).unwrap(), Sizes::new(1.0 / 256.0).unwrap());
        for number in 0..100 {
            let (real, small) = (real.numbered(seed ^ number), small.numbered(seed ^ number));
            assert!(small == (real / 256).max(1), "{real} became {small}");
        }
        assert!(Sizes::new(0.0).is_err() && Sizes::new(f64::NAN).is_err());
    }

    #[test]
    fn few_things_get_most_of_the_pulls_and_none_gets_none() {
        let mut dice = StdRng::seed_from_u64(kills::seed());
        let popularity = Popularity::among(1000).unwrap();
        let mut pulls = vec![0_usize; 1000];
        (0..DRAWS * 4).for_each(|_| pulls[popularity.draw(&mut dice)] += 1);
        let of_first = |count: usize| pulls[..count].iter().sum::<usize>() as f64 / (DRAWS * 4) as f64;
        eprintln!("the first 1 % got {:.3}, the first 10 % {:.3}", of_first(10), of_first(100));
        // Harmonic numbers: H(10) / H(1000) = 0.391, H(100) / H(1000) = 0.693.
        assert!((0.38..0.40).contains(&of_first(10)), "{}", of_first(10));
        assert!((0.68..0.71).contains(&of_first(100)), "{}", of_first(100));
        assert!(pulls.iter().all(|pulls| *pulls > 0));
        assert!(Popularity::among(0).is_err());
    }
}
