//! Names for this process's proposals, and which of them may still be repeated.

use portolan_meta::command::ProposalKey;
use portolan_meta::id::NodeId;
use portolan_meta::limits::DEDUPE_WINDOW;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// Hands out keys: sequences count from 1, and every key says below which sequence all is settled.
pub(crate) struct Sequencer {
    node: NodeId,
    incarnation: u64,
    open: Mutex<Open>,
}

struct Open {
    next: u64,
    unsettled: BTreeSet<u64>,
}

impl Sequencer {
    pub(crate) fn new(node: NodeId, incarnation: u64) -> Arc<Self> {
        Arc::new(Self { node, incarnation, open: Mutex::new(Open { next: 1, unsettled: BTreeSet::new() }) })
    }

    /// The next key; `None` when the oldest unsettled proposal is a whole window of the state behind. As long as the
    /// ticket lives its outcome is kept by the state; once it is dropped nobody may propose under its key any more.
    pub(crate) fn ticket(self: &Arc<Self>) -> Option<Ticket> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = open.next;
        if open.unsettled.first().is_some_and(|oldest| sequence - oldest >= DEDUPE_WINDOW) {
            return None;
        }
        open.next += 1;
        open.unsettled.insert(sequence);
        let settled_below = open.unsettled.first().copied().unwrap_or(sequence);
        drop(open);
        let key = ProposalKey { node: self.node, incarnation: self.incarnation, sequence, settled_below };
        Some(Ticket { key, sequencer: Arc::clone(self) })
    }
}

/// See [`Sequencer::ticket`].
pub(crate) struct Ticket {
    pub(crate) key: ProposalKey,
    sequencer: Arc<Sequencer>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut open = self.sequencer.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.unsettled.remove(&self.key.sequence);
    }
}

#[cfg(test)]
mod tests {
    use super::{DEDUPE_WINDOW, NodeId, Sequencer};

    #[test]
    fn a_key_is_settled_only_once_every_older_ticket_is_gone() {
        let sequencer = Sequencer::new(NodeId(3), 7);
        let first = sequencer.ticket().expect("the window is open");
        let second = sequencer.ticket().expect("the window is open");
        assert_eq!((first.key.sequence, second.key.sequence), (1, 2));
        assert_eq!((second.key.node, second.key.incarnation), (NodeId(3), 7));
        drop(second);
        assert_eq!(
            sequencer.ticket().expect("the window is open").key.settled_below,
            1,
            "the first may still be repeated"
        );
        drop(first);
        assert_eq!(sequencer.ticket().expect("the window is open").key.settled_below, 4);
    }

    #[test]
    fn nobody_runs_ahead_of_the_state_s_window() {
        let sequencer = Sequencer::new(NodeId(1), 1);
        let oldest = sequencer.ticket();
        let handed_out = (1..DEDUPE_WINDOW).filter_map(|_| sequencer.ticket()).count() as u64;
        assert_eq!(handed_out, DEDUPE_WINDOW - 1);
        assert!(sequencer.ticket().is_none());
        drop(oldest);
        assert!(sequencer.ticket().is_some());
    }
}
