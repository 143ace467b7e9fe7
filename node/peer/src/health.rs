//! How peers answered of late.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What answered calls tell about a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// When it last answered anything.
    pub last_seen: Instant,
    /// The round trip of pings, an exponentially weighted average; `None` before the first.
    pub rtt: Option<Duration>,
}

/// Where answers leave their traces.
#[derive(Debug, Default)]
pub(crate) struct HealthCell(Mutex<Option<Health>>);

impl HealthCell {
    pub(crate) fn get(&self) -> Option<Health> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn seen(&self) {
        let mut health = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rtt = health.and_then(|health| health.rtt);
        *health = Some(Health { last_seen: Instant::now(), rtt });
    }

    /// A quarter of the new value each time: four pings after a change of route, two thirds of it show.
    pub(crate) fn round_trip(&self, took: Duration) {
        let mut health = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let rtt = match health.and_then(|health| health.rtt) {
            Some(before) => (before * 3 + took) / 4,
            None => took,
        };
        *health = Some(Health { last_seen: Instant::now(), rtt: Some(rtt) });
    }
}

#[cfg(test)]
mod tests {
    use super::HealthCell;
    use std::time::Duration;

    #[tokio::test]
    async fn the_round_trip_is_smoothed_and_survives_other_answers() {
        let cell = HealthCell::default();
        assert_eq!(cell.get(), None);
        cell.seen();
        assert_eq!(cell.get().and_then(|health| health.rtt), None);
        cell.round_trip(Duration::from_millis(100));
        cell.round_trip(Duration::from_millis(200));
        cell.seen();
        assert_eq!(cell.get().and_then(|health| health.rtt), Some(Duration::from_millis(125)));
    }
}
