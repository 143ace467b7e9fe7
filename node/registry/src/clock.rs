//! How long ago the state was known to be fresh.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Marks an answer that no leader confirmed: it was right at least `age` ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale {
    /// How old the state may be.
    pub age: Duration,
}

/// Remembers when this node's state was last confirmed.
pub(crate) struct FreshClock(Mutex<Option<Instant>>);

impl FreshClock {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// The state was fresh as of `sent`, when its confirmation was asked for.
    pub(crate) fn confirmed(&self, sent: Instant) {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if last.is_none_or(|known| known < sent) {
            *last = Some(sent);
        }
    }

    pub(crate) fn last(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
