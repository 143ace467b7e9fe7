//! Views: how those above read the state.

use portolan_meta::view::View;
use portolan_store::State;
use std::sync::Arc;
use tokio::time::Instant;

/// How fresh a view must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Whatever this node has applied. Right for everything that is addressed by digest, as long as the answer is
    /// not "unknown".
    Local,
    /// Everything that was committed when the view was asked for.
    Linearizable {
        /// Until when the leader must have confirmed it and this node caught up.
        deadline: Instant,
    },
}

/// The state, at least as fresh as was asked for when it was handed out.
#[derive(Clone)]
pub struct StateView {
    state: Arc<State>,
}

impl StateView {
    pub(crate) fn new(state: Arc<State>) -> Self {
        Self { state }
    }

    /// Reads one consistent snapshot of the state. Two calls may see two snapshots, the later one never older.
    /// `read` must not block for long: the snapshot holds back compaction.
    pub fn read<R>(&self, read: impl FnOnce(&dyn View) -> R) -> R {
        self.state.read(read)
    }
}
