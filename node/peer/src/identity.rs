//! Who a node is, as it says with every message.

use portolan_meta::id::NodeId;
use std::sync::{Arc, PoisonError, RwLock};

/// The version of the protocol that this software speaks. Another one is refused.
pub const PROTOCOL_VERSION: u32 = 1;

/// What travels with every call and every answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerIdentity {
    /// The cluster.
    pub cluster_id: String,
    /// Counts recoveries after a lost majority.
    pub epoch: u64,
    /// The node's number.
    pub node: NodeId,
    /// The identity of its data folder.
    pub storage_uuid: String,
    /// Counts its starts.
    pub incarnation: u64,
    /// Drawn anew at each start, written nowhere: tells two processes apart that run on copies of one data folder and
    /// so count alike.
    pub boot: String,
}

/// What one side knows of the other before it speaks to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The data folder committed under the node's number.
    pub storage_uuid: String,
    /// The newest start known.
    pub incarnation: u64,
}

/// This node's identity: unknown until bootstrap has found or made it, then fixed. Shared by client and server.
#[derive(Debug, Default)]
pub struct LocalIdentity {
    identity: RwLock<Option<Arc<PeerIdentity>>>,
}

impl LocalIdentity {
    /// An identity that is not known yet: until [`Self::set`], only `hello` can be called or answered.
    #[must_use]
    pub fn unknown() -> Arc<Self> {
        Arc::new(Self::default())
    }

    /// A known identity.
    #[must_use]
    pub fn known(identity: PeerIdentity) -> Arc<Self> {
        let local = Self::unknown();
        local.set(identity);
        local
    }

    /// Makes the identity known.
    pub fn set(&self, identity: PeerIdentity) {
        *self.identity.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(identity));
    }

    /// The identity, if it is known by now.
    #[must_use]
    pub fn get(&self) -> Option<Arc<PeerIdentity>> {
        self.identity.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
