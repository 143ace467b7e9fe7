//! How fast something comes, over the last few seconds.

use std::time::Duration;
use tokio::time::Instant;

/// Over how many seconds, the one that has just begun included.
const SECONDS: usize = 5;

/// Counts bytes second by second.
#[derive(Debug)]
pub(crate) struct Rate {
    began: Instant,
    /// The bytes of the seconds whose number has this remainder.
    counts: [u64; SECONDS],
    /// The last second that was counted, from `began`.
    second: u64,
}

impl Rate {
    pub(crate) fn new(now: Instant) -> Self {
        Self { began: now, counts: [0; SECONDS], second: 0 }
    }

    /// Bytes came.
    pub(crate) fn note(&mut self, bytes: u64, now: Instant) {
        self.turn_to(now);
        self.counts[place(self.second)] += bytes;
    }

    /// Bytes per second.
    pub(crate) fn per_second(&mut self, now: Instant) -> u64 {
        self.turn_to(now);
        let since = now.saturating_duration_since(self.began);
        let earlier = Duration::from_secs(self.second.min(SECONDS as u64 - 1));
        // The seconds that ended, and what has passed of this one; never less than one, so that a beginning is no burst.
        let span = (earlier + since.saturating_sub(Duration::from_secs(self.second))).max(Duration::from_secs(1));
        let per_second = u128::from(self.counts.iter().sum::<u64>()) * 1_000_000 / span.as_micros();
        u64::try_from(per_second).unwrap_or(u64::MAX)
    }

    /// Forgets what is too long ago.
    fn turn_to(&mut self, now: Instant) {
        let second = now.saturating_duration_since(self.began).as_secs();
        for passed in (self.second + 1..=second).take(SECONDS) {
            self.counts[place(passed)] = 0;
        }
        self.second = second.max(self.second);
    }
}

fn place(second: u64) -> usize {
    usize::try_from(second % SECONDS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Duration, Instant, Rate};

    #[test]
    fn the_rate_is_that_of_the_last_seconds() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut rate = Rate::new(start);
        assert_eq!(rate.per_second(start), 0);
        rate.note(500, at(100));
        assert_eq!(rate.per_second(at(200)), 500, "a beginning is no burst");
        for ms in (1_000..10_000).step_by(100) {
            rate.note(100, at(ms));
        }
        assert_eq!(rate.per_second(at(9_999)), 1_000);
        assert_eq!(rate.per_second(at(12_000)), 500, "it stands still since two seconds");
        assert_eq!(rate.per_second(at(60_000)), 0);
        rate.note(4_500, at(60_500));
        assert_eq!(rate.per_second(at(60_500)), 1_000);
    }
}
