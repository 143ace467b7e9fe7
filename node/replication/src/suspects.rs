//! Nodes that failed lately: they are tried last for a while, never excluded, because a wrong suspicion must not
//! make a blob unreachable.

use portolan_meta::id::NodeId;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Who failed lately, and until when that counts. One entry per node at most.
#[derive(Debug, Default)]
pub(crate) struct Suspects {
    until: Mutex<HashMap<NodeId, Instant>>,
}

impl Suspects {
    /// Counts a node as suspect for a while. A longer suspicion is never shortened.
    pub(crate) fn accuse(&self, node: NodeId, span: Duration, now: Instant) {
        let until = now + span;
        let mut suspects = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = suspects.entry(node).or_insert(until);
        *entry = until.max(*entry);
    }

    /// Whether a node failed lately.
    pub(crate) fn has(&self, node: NodeId, now: Instant) -> bool {
        let mut suspects = self.until.lock().unwrap_or_else(PoisonError::into_inner);
        match suspects.get(&node) {
            Some(until) if *until > now => true,
            Some(_) => {
                suspects.remove(&node);
                false
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Instant, NodeId, Suspects};

    #[test]
    fn a_suspicion_ends_and_is_never_shortened() {
        let (suspects, start) = (Suspects::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        suspects.accuse(NodeId(1), Duration::from_secs(60), start);
        suspects.accuse(NodeId(1), Duration::from_secs(1), start);
        assert!(suspects.has(NodeId(1), after(30)));
        assert!(!suspects.has(NodeId(2), after(30)));
        assert!(!suspects.has(NodeId(1), after(61)));
    }
}
