//! Followers that the leader could not reach, so that their first sign of life ends its wait.
//!
//! openraft tries a follower that is away at most once a second. For one that has just been started again that is long:
//! until the appends come back it applies nothing, its reads wait, and it is missing in the quorum. But it calls on its
//! own as soon as it runs.

use portolan_meta::id::NodeId;
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// See the module. Bounded by the members.
#[derive(Clone, Debug, Default)]
pub(crate) struct Unreached(Arc<Mutex<BTreeSet<NodeId>>>);

impl Unreached {
    /// An append did not get through to a node.
    pub(crate) fn note(&self, node: NodeId) {
        self.lock().insert(node);
    }

    /// A node called: whether one should try to reach it at once. True once per failure.
    pub(crate) fn heard(&self, node: NodeId) -> bool {
        self.lock().remove(&node)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<NodeId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{NodeId, Unreached};

    #[test]
    fn a_sign_of_life_counts_once_per_failure() {
        let unreached = Unreached::default();
        assert!(!unreached.heard(NodeId(2)), "nothing had failed");
        unreached.note(NodeId(2));
        assert!(!unreached.heard(NodeId(3)), "another node");
        assert!(unreached.heard(NodeId(2)));
        assert!(!unreached.heard(NodeId(2)), "it is being tried already");
    }
}
