//! How long ago the state was known to be fresh.

use rustix::time::{ClockId, clock_gettime};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Marks an answer that no leader confirmed: it was right at least `age` ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale {
    /// How old the state may be.
    pub age: Duration,
}

/// A moment on the clock that counts from the machine's start and goes on while it sleeps: a state that was fresh before
/// a suspension is not fresh after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct BootInstant(Duration);

impl BootInstant {
    pub(crate) fn now() -> Self {
        let now = clock_gettime(ClockId::Boottime);
        // Neither is negative: the clock counts from the machine's start.
        let (seconds, nanos) = (u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0));
        Self(Duration::new(seconds, nanos))
    }

    pub(crate) fn elapsed(self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }
}

/// Remembers when this node's state was last confirmed.
pub(crate) struct FreshClock(Mutex<Option<BootInstant>>);

impl FreshClock {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// The state was fresh as of `sent`, when its confirmation was asked for.
    pub(crate) fn confirmed(&self, sent: BootInstant) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|known| known < sent) {
            *last = Some(sent);
        }
    }

    pub(crate) fn last(&self) -> Option<BootInstant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
