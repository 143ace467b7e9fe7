//! What this node's clients ask of it, in totals since its start: for those who watch the whole cluster and cannot reach
//! every node's metrics.

use std::sync::atomic::{AtomicU64, Ordering};

/// Totals since the node started.
#[derive(Debug, Default)]
pub struct Traffic {
    requests: AtomicU64,
    faults: AtomicU64,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
}

impl Traffic {
    /// A request ended: whether by a fault of ours, and how many bytes of bodies came and went.
    pub fn count(&self, fault: bool, received: u64, sent: u64) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.faults.fetch_add(u64::from(fault), Ordering::Relaxed);
        self.received_bytes.fetch_add(received, Ordering::Relaxed);
        self.sent_bytes.fetch_add(sent, Ordering::Relaxed);
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    pub(crate) fn faults(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }

    pub(crate) fn received_bytes(&self) -> u64 {
        self.received_bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn sent_bytes(&self) -> u64 {
        self.sent_bytes.load(Ordering::Relaxed)
    }
}
