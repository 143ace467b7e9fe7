//! Round trips as the router's own echoes measure them.

use std::collections::VecDeque;
use std::time::Duration;

/// How long a measurement counts.
const WINDOW_NS: u64 = 3_000_000_000;

/// Measurements of every pair of ports.
pub struct RoundTrips {
    ports: usize,
    pairs: Vec<Pair>,
}

#[derive(Clone, Default)]
struct Pair {
    /// When it was measured, and the round trip.
    samples: VecDeque<(u64, u64)>,
    /// Echoes sent before this time measure links as they were.
    since: u64,
}

impl RoundTrips {
    /// Nothing measured yet.
    #[must_use]
    pub fn new(ports: usize) -> Self {
        Self { ports, pairs: vec![Pair::default(); ports * ports] }
    }

    fn pair(&mut self, a: usize, b: usize) -> &mut Pair {
        &mut self.pairs[a.min(b) * self.ports + a.max(b)]
    }

    /// An echo that was sent at `stamp` has come back.
    pub fn answered(&mut self, a: usize, b: usize, stamp: u64, now: u64) {
        let pair = self.pair(a, b);
        if stamp >= pair.since && stamp <= now {
            pair.samples.push_back((now, now - stamp));
        }
    }

    /// A link between the two has changed.
    pub fn forget(&mut self, a: usize, b: usize, now: u64) {
        let pair = self.pair(a, b);
        pair.samples.clear();
        pair.since = now;
    }

    /// The median of each ordered pair, where there is one.
    pub fn medians(&mut self, now: u64) -> Vec<Option<Duration>> {
        for pair in &mut self.pairs {
            while pair.samples.front().is_some_and(|(at, _)| at + WINDOW_NS < now) {
                pair.samples.pop_front();
            }
        }
        let pairs = (0..self.ports).flat_map(|a| (0..self.ports).map(move |b| (a, b)));
        pairs.map(|(a, b)| median(&self.pairs[a.min(b) * self.ports + a.max(b)].samples)).collect()
    }
}

fn median(samples: &VecDeque<(u64, u64)>) -> Option<Duration> {
    let mut sorted: Vec<_> = samples.iter().map(|(_, round_trip)| *round_trip).collect();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).map(|nanoseconds| Duration::from_nanos(*nanoseconds))
}

#[cfg(test)]
mod tests {
    use super::RoundTrips;
    use std::time::Duration;

    #[test]
    fn the_median_is_of_the_last_seconds_and_of_the_link_as_it_is() {
        let mut trips = RoundTrips::new(3);
        for round_trip in [10, 90, 20] {
            trips.answered(2, 1, 1000, 1000 + round_trip);
        }
        assert_eq!(trips.medians(2000)[3 + 2], Some(Duration::from_nanos(20)));
        assert_eq!(trips.medians(2000)[3 * 2 + 1], Some(Duration::from_nanos(20)), "both directions show it");
        assert_eq!(trips.medians(4_000_000_000)[3 + 2], None, "old ones do not count");
        trips.forget(1, 2, 5000);
        trips.answered(1, 2, 4999, 5100);
        assert_eq!(trips.medians(5200)[3 + 2], None, "an echo from before the change does not count");
    }
}
