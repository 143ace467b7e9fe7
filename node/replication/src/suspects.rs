//! Nodes whose blob reads failed: they are asked last for a while, never not at all, because a wrong suspicion must not
//! make a blob unreachable. (What pings tell of a node is [`portolan_peer::Standing`]'s.)
//!
//! So many failures in a row eject a node. After a pause one read may try it: if it fails too, the pause doubles.

use portolan_meta::id::NodeId;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// When a node is ejected, and for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Failures in a row that eject it.
    pub(crate) failures: u32,
    /// The first pause.
    pub(crate) first: Duration,
    /// The longest pause.
    pub(crate) most: Duration,
}

/// Who failed lately, and until when that counts. One entry per node at most.
#[derive(Debug)]
pub(crate) struct Suspects {
    limits: Limits,
    nodes: Mutex<HashMap<NodeId, Record>>,
}

/// What is held against a node.
#[derive(Debug, Default)]
struct Record {
    /// Failures in a row.
    failures: u32,
    /// Ejections since a read of it went well.
    ejections: u32,
    /// Until when it is ejected; once that has passed, until a read tried it.
    ejected: Option<Instant>,
    /// Whether that read is under way.
    tried: bool,
    /// Until when it is asked last because its bytes had another digest.
    accused: Option<Instant>,
}

impl Suspects {
    pub(crate) fn new(limits: Limits) -> Self {
        Self { limits, nodes: Mutex::default() }
    }

    /// Counts a node as suspect for a while. A longer suspicion is never shortened.
    pub(crate) fn accuse(&self, node: NodeId, span: Duration, now: Instant) {
        let mut nodes = self.lock();
        let accused = &mut nodes.entry(node).or_default().accused;
        *accused = (*accused).max(Some(now + span));
    }

    /// A read of a node begins; says whether it is the one that tries an ejected node.
    pub(crate) fn begins(&self, node: NodeId, now: Instant) -> bool {
        let mut nodes = self.lock();
        let Some(record) = nodes.get_mut(&node) else { return false };
        let tries = record.ejected.is_some_and(|until| until <= now) && !record.tried;
        record.tried |= tries;
        tries
    }

    /// A read of a node failed; `at_once` when one failure is enough, as it is for the one that tries an ejected node.
    /// Returns for how long it is ejected, if that is new.
    pub(crate) fn failed(&self, node: NodeId, at_once: bool, now: Instant) -> Option<Duration> {
        let mut nodes = self.lock();
        let record = nodes.entry(node).or_default();
        record.failures = record.failures.saturating_add(1);
        if record.ejected.is_some_and(|until| until > now) {
            // Reads that began before fail one after the other: that is one failure of the node.
            return None;
        }
        if !at_once && record.failures < self.limits.failures {
            return None;
        }
        let pause = self.limits.first.saturating_mul(1 << record.ejections.min(20)).min(self.limits.most);
        record.ejections += 1;
        record.ejected = Some(now + pause);
        record.tried = false;
        Some(pause)
    }

    /// A node gave the first byte of a read: it is no longer ejected, but one more failure ejects it again.
    pub(crate) fn answered(&self, node: NodeId) {
        if let Some(record) = self.lock().get_mut(&node)
            && record.ejected.take().is_some()
        {
            record.failures = self.limits.failures.saturating_sub(1);
            record.tried = false;
        }
    }

    /// A read of a node went well to its end: nothing is held against it but wrong bytes.
    pub(crate) fn served(&self, node: NodeId) {
        let mut nodes = self.lock();
        if let Some(record) = nodes.get_mut(&node) {
            match record.accused {
                Some(_) => *record = Record { accused: record.accused, ..Record::default() },
                None => drop(nodes.remove(&node)),
            }
        }
    }

    /// The read that tried a node ended without telling anything: another may.
    pub(crate) fn untried(&self, node: NodeId) {
        if let Some(record) = self.lock().get_mut(&node) {
            record.tried = false;
        }
    }

    /// For how long a node is still to be asked last; `None` when nothing is held against it, or a read may try it.
    pub(crate) fn held(&self, node: NodeId, now: Instant) -> Option<Duration> {
        let nodes = self.lock();
        let record = nodes.get(&node)?;
        let accused = record.accused.filter(|until| *until > now);
        let ejected = record.ejected.filter(|until| *until > now || record.tried);
        accused.max(ejected).map(|until| until.saturating_duration_since(now))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NodeId, Record>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Duration, Instant, Limits, NodeId, Suspects};

    const NODE: NodeId = NodeId(1);

    fn suspects() -> (Suspects, Instant) {
        let limits = Limits { failures: 3, first: Duration::from_secs(1), most: Duration::from_secs(5) };
        (Suspects::new(limits), Instant::now())
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_accusation_ends_and_is_never_shortened() {
        let (suspects, start) = suspects();
        suspects.accuse(NODE, seconds(60), start);
        suspects.accuse(NODE, seconds(1), start);
        suspects.served(NODE);
        assert_eq!(suspects.held(NODE, start + seconds(30)), Some(seconds(30)), "good bytes do not undo wrong ones");
        assert_eq!(suspects.held(NodeId(2), start + seconds(30)), None);
        assert_eq!(suspects.held(NODE, start + seconds(61)), None);
    }

    #[test]
    fn failures_in_a_row_eject_and_a_read_that_went_well_ends_the_row() {
        let (suspects, now) = suspects();
        let fail = |expected| assert_eq!(suspects.failed(NODE, false, now), expected);
        fail(None);
        fail(None);
        suspects.served(NODE);
        fail(None);
        fail(None);
        assert_eq!(suspects.held(NODE, now), None);
        fail(Some(seconds(1)));
        assert_eq!(suspects.held(NODE, now), Some(seconds(1)));
        // What was under way fails too, and changes nothing.
        fail(None);
        assert_eq!(suspects.held(NODE, now), Some(seconds(1)));
    }

    #[test]
    fn after_the_pause_one_read_may_try_and_the_pause_doubles_up_to_its_limit() {
        let (suspects, mut now) = suspects();
        for pause in [1, 2, 4, 5, 5] {
            assert_eq!(suspects.failed(NODE, true, now), Some(seconds(pause)));
            assert!(!suspects.begins(NODE, now), "it is ejected");
            now += seconds(pause);
            assert_eq!(suspects.held(NODE, now), None, "one may try it");
            assert!(suspects.begins(NODE, now));
            assert!(!suspects.begins(NODE, now) && suspects.held(NODE, now).is_some(), "one, not two");
        }
        suspects.untried(NODE);
        assert!(suspects.begins(NODE, now), "the try came to nothing");
        suspects.answered(NODE);
        assert_eq!(suspects.held(NODE, now), None);
        assert_eq!(suspects.failed(NODE, false, now), Some(seconds(5)), "it fails again before it did anything well");
        now += seconds(5);
        assert!(suspects.begins(NODE, now));
        suspects.answered(NODE);
        suspects.served(NODE);
        assert_eq!(suspects.failed(NODE, false, now), None, "it begins anew");
        assert_eq!(suspects.failed(NODE, true, now), Some(seconds(1)));
    }
}
