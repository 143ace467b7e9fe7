//! Refusals in the log: each with its reason, but not once per message.

use crate::config::Config;
use crate::rejection::{Rejection, Side};
use crate::telemetry;
use portolan_meta::id::NodeId;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How many different refusals are remembered; beyond it the memory starts afresh, which costs repeated lines only.
const REMEMBERED: usize = 1_024;

/// Lets each key through once per interval.
#[derive(Debug)]
pub(crate) struct Throttle<K> {
    interval: Duration,
    last: Mutex<HashMap<K, Instant>>,
}

impl<K: Eq + Hash> Throttle<K> {
    pub(crate) fn new(interval: Duration) -> Self {
        Self { interval, last: Mutex::default() }
    }

    pub(crate) fn allow(&self, key: K) -> bool {
        self.allow_at(key, Instant::now())
    }

    fn allow_at(&self, key: K, now: Instant) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.get(&key).is_some_and(|then| now.duration_since(*then) < self.interval) {
            return false;
        }
        if last.len() >= REMEMBERED {
            last.clear();
        }
        last.insert(key, now);
        true
    }
}

/// Counts refusals and logs them, throttled by node, ground and side.
#[derive(Debug)]
pub(crate) struct Refusals {
    throttle: Throttle<(Option<NodeId>, crate::rejection::RejectionKind, bool)>,
}

impl Refusals {
    pub(crate) fn new(config: &Config) -> Self {
        Self { throttle: Throttle::new(Duration::from_millis(config.refusal_log_interval_ms)) }
    }

    /// Notes a refusal; `remote` says where the peer is, as far as known.
    pub(crate) fn note(&self, by: Side, peer: Option<NodeId>, remote: &str, rejection: &Rejection) {
        telemetry::refused(by, rejection.kind).increment(1);
        if !self.throttle.allow((peer, rejection.kind, by == Side::Us)) {
            return;
        }
        let peer = peer.map(|node| node.0);
        let kind = rejection.kind.as_str();
        match by {
            Side::Us => tracing::warn!(peer, remote, kind, reason = %rejection, "refused a peer"),
            // Somebody must look: this node runs with the wrong folder, or its peers do.
            Side::Peer => tracing::error!(peer, remote, kind, reason = %rejection, "a peer refused this node"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{REMEMBERED, Throttle};
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn a_key_passes_once_per_interval() {
        let throttle = Throttle::new(Duration::from_secs(1));
        let start = Instant::now();
        assert!(throttle.allow_at(1, start));
        assert!(!throttle.allow_at(1, start + Duration::from_millis(999)));
        assert!(throttle.allow_at(2, start));
        assert!(throttle.allow_at(1, start + Duration::from_secs(1)));
    }

    #[test]
    fn the_memory_is_bounded() {
        let throttle = Throttle::new(Duration::from_secs(1));
        for key in 0..3 * REMEMBERED {
            assert!(throttle.allow(key));
            assert!(throttle.last.lock().is_ok_and(|last| last.len() <= REMEMBERED));
        }
    }
}
