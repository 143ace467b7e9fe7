//! A registry as a study of production registries found it ("Improving Docker Registry Design based on Production
//! Workload Analysis", FAST 2018): about 95 % of the requests are reads, half of the layers are below 4 MiB, the tail
//! reaches gigabytes, and a few images get most of the pulls. Pure and seeded: every target meets the same requests.

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Layers of an image.
pub const LAYERS: usize = 5;

/// Half of the layers are smaller.
const MEDIAN: f64 = 4.0 * 1_048_576.0;

/// The deviation of the logarithm of a size: one layer in 250 is larger than 1 GiB.
const SPREAD: f64 = 2.1;

/// By how much the logarithm of what exceeds the median is shortened: 1 GiB becomes 64 MiB, and larger stays larger.
const SCALE: f64 = 0.5;

const LEAST: f64 = 512.0;
const MOST: f64 = 128.0 * 1_048_576.0;

/// The exponent of popularity: the image of rank r is asked for 1/r as often as the first.
const SKEW: f64 = 1.0;

/// The share of requests that write.
const WRITES: f64 = 0.05;

/// One request of the replay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// GET of an image's manifest by its tag.
    Manifest {
        /// The image.
        image: usize,
    },
    /// HEAD of an image's manifest by its tag, as clients do that look for news.
    Look {
        /// The image.
        image: usize,
    },
    /// GET of a layer.
    Layer {
        /// The image.
        image: usize,
        /// Its layer.
        layer: usize,
        /// Whether the client hashes the bytes.
        verify: bool,
    },
    /// Push of the next layer that nobody has pushed yet.
    PushLayer,
    /// PUT of an image's manifest under a new tag.
    Tag {
        /// The image.
        image: usize,
    },
}

impl Ask {
    /// Whether it changes something.
    #[must_use]
    pub fn writes(self) -> bool {
        matches!(self, Self::PushLayer | Self::Tag { .. })
    }
}

/// Sizes of layers, in bytes: log-normal around the median, with the tail shortened.
#[must_use]
pub fn layer_sizes(seed: u64, count: usize) -> Vec<u64> {
    let mut random = StdRng::seed_from_u64(seed);
    (0..count).map(|_| layer_size(normal(&mut random))).collect()
}

fn layer_size(normal: f64) -> u64 {
    let distance = SPREAD * normal;
    let shortened = if distance > 0.0 { distance * SCALE } else { distance };
    (MEDIAN * shortened.exp()).clamp(LEAST, MOST) as u64
}

/// A standard normal number (Box and Muller).
fn normal(random: &mut StdRng) -> f64 {
    let (radius, angle): (f64, f64) = (random.random(), random.random());
    // 1 - x lies in (0, 1], of which the logarithm is finite.
    (-2.0 * (1.0 - radius).ln()).sqrt() * (std::f64::consts::TAU * angle).cos()
}

/// Draws ranks from 0 so that rank r comes with a weight of 1/(r+1).
pub struct Popularity {
    cumulative: Vec<f64>,
}

impl Popularity {
    /// Of so many images; at least one.
    #[must_use]
    pub fn of(images: usize) -> Self {
        let weights = (1..=images.max(1)).map(|rank| (rank as f64).powf(-SKEW));
        let cumulative = weights.scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Self { cumulative: cumulative.collect() }
    }

    fn draw(&self, random: &mut StdRng) -> usize {
        let all = self.cumulative.last().copied().unwrap_or_default();
        let at = random.random::<f64>() * all;
        self.cumulative.partition_point(|sum| *sum <= at).min(self.cumulative.len() - 1)
    }
}

/// The requests of one client, the same for the same seed.
#[must_use]
pub fn replay(seed: u64, images: usize, count: usize) -> Vec<Ask> {
    let (mut random, popularity) = (StdRng::seed_from_u64(seed), Popularity::of(images));
    let ask = |_| {
        let image = popularity.draw(&mut random);
        let kind: f64 = random.random();
        if kind < WRITES / 2.0 {
            Ask::PushLayer
        } else if kind < WRITES {
            Ask::Tag { image }
        } else if kind < 0.40 {
            Ask::Manifest { image }
        } else if kind < 0.45 {
            Ask::Look { image }
        } else {
            Ask::Layer { image, layer: random.random_range(0..LAYERS), verify: random.random_range(0..8) == 0 }
        }
    };
    (0..count).map(ask).collect()
}

#[cfg(test)]
mod tests {
    use super::{Ask, LAYERS, layer_size, layer_sizes, replay};

    #[test]
    fn half_of_the_layers_are_below_4_mib_and_the_tail_is_long_and_bounded() {
        let sizes = layer_sizes(1, 20_000);
        let share = |limit: u64| sizes.iter().filter(|size| **size < limit).count() as f64 / sizes.len() as f64;
        assert!((share(4 << 20) - 0.5).abs() < 0.02, "{}", share(4 << 20));
        assert!(share(64 << 10) > 0.01 && share(64 << 10) < 0.04, "small ones: {}", share(64 << 10));
        assert!(share(32 << 20) > 0.95 && share(32 << 20) < 0.99, "large ones: {}", share(32 << 20));
        assert!(sizes.iter().all(|size| (512..=128 << 20).contains(size)));
    }

    #[test]
    fn a_gigabyte_becomes_64_mib() {
        let normal = 256_f64.ln() / super::SPREAD;
        assert!(layer_size(normal).abs_diff(64 << 20) < 1_000);
        assert!(layer_size(normal + 0.1) > layer_size(normal), "larger stays larger");
    }

    #[test]
    fn the_replay_reads_95_times_in_100_and_mostly_the_same_images() {
        let asks = replay(7, 100, 50_000);
        let writes = asks.iter().filter(|ask| ask.writes()).count() as f64 / asks.len() as f64;
        assert!((writes - 0.05).abs() < 0.005, "{writes}");
        let of = |ask: &Ask| match *ask {
            Ask::Manifest { image } | Ask::Look { image } | Ask::Layer { image, .. } | Ask::Tag { image } => {
                Some(image)
            }
            Ask::PushLayer => None,
        };
        let images: Vec<usize> = asks.iter().filter_map(of).collect();
        let top = images.iter().filter(|image| **image < 10).count() as f64 / images.len() as f64;
        // The harmonic numbers of 10 and of 100: 2.93 / 5.19.
        assert!((top - 0.565).abs() < 0.02, "{top} of the requests go to a tenth of the images");
        assert!(images.iter().any(|image| *image > 90), "and the others are not forgotten");
    }

    #[test]
    fn the_same_seed_asks_the_same_and_another_does_not() {
        assert_eq!(replay(3, 10, 200), replay(3, 10, 200));
        assert_ne!(replay(3, 10, 200), replay(4, 10, 200));
        assert_eq!(layer_sizes(3, LAYERS), layer_sizes(3, LAYERS));
    }
}
