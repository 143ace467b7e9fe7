//! Who answers: every node pings every other; the leader has silence and return committed.

use crate::config::Config;
use portolan_meta::id::NodeId;
use portolan_meta::row::NodeState;
use portolan_peer::PingReply;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What the floors above say about this node, for the others' pings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Whether it could serve pulls, as far as the disk is concerned; lag is judged here.
    pub ready: bool,
    /// Whether it could take uploads.
    pub writable: bool,
}

/// What this node saw of the others since it started.
pub(crate) struct Liveness {
    started: Instant,
    seen: Mutex<BTreeMap<NodeId, Seen>>,
    condition: Mutex<Condition>,
}

/// The last answer of a node.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) at: Instant,
    pub(crate) reply: PingReply,
}

impl Liveness {
    pub(crate) fn new() -> Self {
        let condition = Condition { ready: true, writable: true };
        Self { started: Instant::now(), seen: Mutex::default(), condition: Mutex::new(condition) }
    }

    pub(crate) fn saw(&self, node: NodeId, reply: PingReply) {
        let seen = Seen { at: Instant::now(), reply };
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(node, seen);
    }

    pub(crate) fn seen(&self, node: NodeId) -> Option<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    /// For how long a node has been silent; at most for as long as this node listens.
    pub(crate) fn silence(&self, node: NodeId) -> Duration {
        self.seen(node).map_or(self.started, |seen| seen.at).elapsed()
    }

    pub(crate) fn condition(&self) -> Condition {
        *self.condition.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_condition(&self, condition: Condition) {
        *self.condition.lock().unwrap_or_else(PoisonError::into_inner) = condition;
    }
}

/// What the leader has to commit about a node; `None` when the row is right. `answered` says whether it ever answered
/// this leader: without an answer a node is never called back, only given up.
pub(crate) fn judge(config: &Config, state: NodeState, silence: Duration, answered: bool) -> Option<NodeState> {
    let down = Duration::from_millis(config.down_after_ms);
    let out = Duration::from_millis(config.out_after_ms);
    match state {
        NodeState::Up if silence >= down => Some(NodeState::Down),
        NodeState::Down if silence >= out => Some(NodeState::Out),
        NodeState::Down | NodeState::Out if answered && silence < down => Some(NodeState::Up),
        // Draining is an operator's word.
        NodeState::Up | NodeState::Down | NodeState::Out | NodeState::Draining => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{Config, Duration, NodeState, judge};

    #[test]
    fn silence_and_return_are_committed_once_each() {
        let seconds = Duration::from_secs;
        let cases = [
            ("an answering node stays up", NodeState::Up, seconds(1), true, None),
            ("ten seconds of silence", NodeState::Up, seconds(10), true, Some(NodeState::Down)),
            ("silence since the leader began", NodeState::Up, seconds(11), false, Some(NodeState::Down)),
            ("still down", NodeState::Down, seconds(60), true, None),
            ("a quarter of an hour", NodeState::Down, seconds(900), true, Some(NodeState::Out)),
            ("still out", NodeState::Out, seconds(2_000), true, None),
            ("back from down", NodeState::Down, seconds(0), true, Some(NodeState::Up)),
            ("back from out", NodeState::Out, seconds(1), true, Some(NodeState::Up)),
            ("a new leader has not heard of it yet", NodeState::Down, seconds(1), false, None),
            ("draining is an operator's word", NodeState::Draining, seconds(900), true, None),
        ];
        for (name, state, silence, answered, expected) in cases {
            assert_eq!(judge(&Config::default(), state, silence, answered), expected, "{name}");
        }
    }
}
