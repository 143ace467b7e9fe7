//! Whose messages are accepted.

use crate::identity::{Expected, LocalIdentity, PeerIdentity};
use crate::rejection::{Rejection, RejectionKind};
use portolan_meta::id::NodeId;
use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

/// Decides about identities, at both ends of every call. The protocol version and whether the right node was reached
/// are checked before it is asked.
pub trait Guard: Send + Sync + 'static {
    /// Whether messages of this identity are accepted.
    ///
    /// # Errors
    /// Why not; the reason appears in the logs of both sides.
    fn check(&self, peer: &PeerIdentity) -> Result<(), Rejection>;

    /// What is known of a node. It travels with every call to it, so that a node that is not (or no longer) what its
    /// peers know refuses the call itself, and its own log says why.
    fn expected(&self, node: NodeId) -> Option<Expected>;
}

/// The guard of a running node: compares with its own identity and with what was committed about the others, and
/// remembers the newest incarnation that it accepted, and which process spoke first as that.
///
/// A node that nothing was committed about yet is accepted when cluster and epoch are right: it is about to make its
/// first proposal, which is what commits its storage uuid.
#[derive(Debug)]
pub struct IdentityTable {
    local: Arc<LocalIdentity>,
    nodes: RwLock<HashMap<NodeId, Known>>,
}

#[derive(Debug)]
struct Known {
    expected: Expected,
    /// The process that was heard first as this incarnation. A second one runs on a copy of the folder: both would
    /// vote, and number their proposals alike.
    boot: Option<String>,
}

impl IdentityTable {
    /// A table that knows nothing about others yet.
    #[must_use]
    pub fn new(local: Arc<LocalIdentity>) -> Arc<Self> {
        Arc::new(Self { local, nodes: RwLock::default() })
    }

    /// Notes what the state says about a node. To be called for each node row at the start and after each change.
    pub fn commit(&self, node: NodeId, storage_uuid: &str, incarnation: u64) {
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        let is_news = nodes.get(&node).is_none_or(|Known { expected, .. }| {
            expected.storage_uuid != storage_uuid || expected.incarnation < incarnation
        });
        if is_news {
            let expected = Expected { storage_uuid: storage_uuid.to_owned(), incarnation };
            nodes.insert(node, Known { expected, boot: None });
        }
    }

    fn check_known(&self, peer: &PeerIdentity) -> Result<(), Rejection> {
        {
            let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
            let Some(Known { expected, boot }) = nodes.get(&peer.node) else { return Ok(()) };
            check_expected(expected, peer)?;
            if expected.incarnation == peer.incarnation
                && let Some(boot) = boot
            {
                return check_boot(boot, peer);
            }
        }
        self.commit(peer.node, &peer.storage_uuid, peer.incarnation);
        let mut nodes = self.nodes.write().unwrap_or_else(PoisonError::into_inner);
        let Some(Known { expected, boot }) = nodes.get_mut(&peer.node) else { return Ok(()) };
        // Others may have been heard since the first look.
        check_expected(expected, peer)?;
        check_boot(boot.get_or_insert_with(|| peer.boot.clone()), peer)
    }
}

impl Guard for IdentityTable {
    fn check(&self, peer: &PeerIdentity) -> Result<(), Rejection> {
        let Some(local) = self.local.get() else {
            return Err(Rejection::new(RejectionKind::Missing, "this node has no identity yet"));
        };
        if peer.cluster_id != local.cluster_id {
            let reason = format!("node {} is of cluster {}, not of {}", peer.node, peer.cluster_id, local.cluster_id);
            return Err(Rejection::new(RejectionKind::Cluster, reason));
        }
        if peer.epoch != local.epoch {
            let reason = format!("node {} is of epoch {}, not of {}", peer.node, peer.epoch, local.epoch);
            return Err(Rejection::new(RejectionKind::Epoch, reason));
        }
        self.check_known(peer)
    }

    fn expected(&self, node: NodeId) -> Option<Expected> {
        let nodes = self.nodes.read().unwrap_or_else(PoisonError::into_inner);
        nodes.get(&node).map(|known| known.expected.clone())
    }
}

/// Compares an identity with what is known of that node.
pub(crate) fn check_expected(known: &Expected, peer: &PeerIdentity) -> Result<(), Rejection> {
    if peer.storage_uuid != known.storage_uuid {
        let reason = format!(
            "node {} has data folder {}, but {} is committed under its id",
            peer.node, peer.storage_uuid, known.storage_uuid
        );
        return Err(Rejection::new(RejectionKind::Storage, reason));
    }
    if peer.incarnation < known.incarnation {
        let reason = format!(
            "node {} speaks as incarnation {}, but incarnation {} is known",
            peer.node, peer.incarnation, known.incarnation
        );
        return Err(Rejection::new(RejectionKind::Incarnation, reason));
    }
    Ok(())
}

/// Compares a process with the one that was heard first under its name and incarnation.
fn check_boot(first: &str, peer: &PeerIdentity) -> Result<(), Rejection> {
    if peer.boot == first {
        return Ok(());
    }
    let reason = format!(
        "node {} runs twice as incarnation {}, on two copies of its data folder: process {} was here first, not {}",
        peer.node, peer.incarnation, first, peer.boot
    );
    Err(Rejection::new(RejectionKind::Incarnation, reason))
}
