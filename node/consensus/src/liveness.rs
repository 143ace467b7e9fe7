//! Who answers: every node pings every other; the leader has silence and return committed.

use crate::config::Config;
use portolan_meta::id::NodeId;
use portolan_meta::row::NodeState;
use portolan_peer::{NodeLoad, PingReply};
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
    boots: Mutex<BTreeMap<NodeId, Boot>>,
    condition: Mutex<Condition>,
    load: Mutex<Option<NodeLoad>>,
}

/// A start of a node as its row tells it, and when this node first heard of it.
#[derive(Clone, Copy, Debug)]
struct Boot {
    incarnation: u64,
    at: Instant,
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
        Self {
            started: Instant::now(),
            seen: Mutex::default(),
            boots: Mutex::default(),
            condition: Mutex::new(condition),
            load: Mutex::default(),
        }
    }

    pub(crate) fn saw(&self, node: NodeId, reply: PingReply) {
        let seen = Seen { at: Instant::now(), reply };
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(node, seen);
    }

    pub(crate) fn seen(&self, node: NodeId) -> Option<Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).get(&node).cloned()
    }

    /// A node's row names a start of it. A new one is a sign of life, although no ping has been answered yet; the first
    /// that this node reads of may be long ago.
    pub(crate) fn noticed_boot(&self, node: NodeId, incarnation: u64) {
        let mut boots = self.boots.lock().unwrap_or_else(PoisonError::into_inner);
        let known = boots.entry(node).or_insert(Boot { incarnation, at: self.started });
        if known.incarnation != incarnation {
            *known = Boot { incarnation, at: Instant::now() };
        }
    }

    /// For how long a node has been silent; at most for as long as this node listens.
    pub(crate) fn silence(&self, node: NodeId) -> Duration {
        let booted = self.boots.lock().unwrap_or_else(PoisonError::into_inner).get(&node).map(|boot| boot.at);
        let answered = self.seen(node).map(|seen| seen.at);
        answered.max(booted).unwrap_or(self.started).elapsed()
    }

    pub(crate) fn condition(&self) -> Condition {
        *self.condition.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_condition(&self, condition: Condition) {
        *self.condition.lock().unwrap_or_else(PoisonError::into_inner) = condition;
    }

    pub(crate) fn load(&self) -> Option<NodeLoad> {
        *self.load.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set_load(&self, load: NodeLoad) {
        *self.load.lock().unwrap_or_else(PoisonError::into_inner) = Some(load);
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
    use super::{Config, Duration, Liveness, NodeId, NodeState, judge};

    #[test]
    fn a_new_start_of_a_node_ends_its_silence_and_a_known_one_does_not() {
        let (liveness, node) = (Liveness::new(), NodeId(2));
        let noticed = |incarnation| {
            liveness.noticed_boot(node, incarnation);
            liveness.boots.lock().expect("no holder panics")[&node].at
        };
        assert_eq!(noticed(4), liveness.started, "that start may be long ago");
        std::thread::sleep(Duration::from_millis(1));
        let silence = liveness.silence(node);
        let second = noticed(5);
        assert!(second > liveness.started);
        assert_eq!(noticed(5), second);
        assert!(liveness.silence(node) < silence + second.elapsed(), "counted from the second start");
    }

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
