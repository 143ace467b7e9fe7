//! The stamp that a leader puts into every command.
//!
//! It runs on this machine's monotonic clock, from where the state's clock stood when the leadership began, moved
//! towards wall time by at most an hour. So a machine whose wall clock is off by years moves the cluster's time by an
//! hour per election at most, and a wall clock that jumps while a leader leads moves it not at all.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How far one election may move the state's clock towards wall time.
const STEP: Duration = Duration::from_secs(3_600);

/// Stamps commands while this node leads.
#[derive(Default)]
pub(crate) struct Clock {
    anchor: Mutex<Option<Anchor>>,
}

#[derive(Clone, Copy)]
struct Anchor {
    term: u64,
    base_ms: u64,
    at: Instant,
}

impl Clock {
    /// The stamp of now, in milliseconds since the Unix epoch. `state_ms` is asked once per term.
    pub(crate) fn stamp(&self, term: u64, state_ms: impl FnOnce() -> u64) -> u64 {
        let mut anchor = self.anchor.lock().unwrap_or_else(PoisonError::into_inner);
        let anchor = match *anchor {
            Some(known) if known.term == term => known,
            _ => *anchor.insert(Anchor { term, base_ms: base(state_ms(), wall_ms()), at: Instant::now() }),
        };
        anchor.base_ms.saturating_add(millis(anchor.at.elapsed()))
    }
}

/// Where a leadership's time begins. A state without a clock takes wall time as it is: it has nothing to protect yet.
fn base(state_ms: u64, wall_ms: u64) -> u64 {
    if state_ms == 0 {
        return wall_ms;
    }
    state_ms.saturating_add(wall_ms.saturating_sub(state_ms).min(millis(STEP)))
}

fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, millis)
}

/// Whole milliseconds; a span that does not fit is as good as for ever.
pub(crate) fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{Clock, base};

    #[test]
    fn an_election_moves_the_clock_towards_wall_time_by_an_hour_at_most() {
        let hour = 3_600_000;
        let cases = [
            ("a fresh state takes wall time", 0, 1_700_000_000_000, 1_700_000_000_000),
            ("a little behind catches up", 1_000_000, 1_000_500, 1_000_500),
            ("far behind moves an hour", 1_000_000, 900_000_000_000, 1_000_000 + hour),
            ("a wall clock in the past moves nothing", 5_000_000, 1_000, 5_000_000),
        ];
        for (name, state_ms, wall_ms, expected) in cases {
            assert_eq!(base(state_ms, wall_ms), expected, "{name}");
        }
    }

    #[test]
    fn the_state_is_asked_once_per_term_and_stamps_never_go_back() {
        let clock = Clock::default();
        let far_ahead = 9_000_000_000_000;
        let first = clock.stamp(1, || far_ahead);
        assert!(first >= far_ahead, "the state's clock is the floor");
        let second = clock.stamp(1, || unreachable!("the anchor of term 1 is known"));
        assert!(second >= first);
        assert!(clock.stamp(2, || second) >= second);
    }
}
