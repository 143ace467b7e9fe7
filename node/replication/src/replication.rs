//! The handle that everyone above holds, and the owner of every task below.

use crate::config::Config;
use crate::error::{OpenError, SettleError};
use crate::open::BlobBody;
use crate::status::ReplicationStatus;
use portolan_consensus::Consensus;
use portolan_meta::id::NodeId;
use portolan_meta::row::AckPolicy;
use portolan_oci::Digest;
use portolan_peer::{BlobHandler, Peers};
use portolan_store::Blobs;
use std::ops::Range;
use std::sync::Arc;
use tokio::time::Instant;

/// Which node this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Me {
    /// Its id; its disk's store has the same number.
    pub node: NodeId,
    /// Its region.
    pub region: String,
    /// Its zone inside the region; empty when there is none.
    pub zone: String,
}

/// Blobs between nodes.
pub struct Replication {}

impl Replication {
    /// Starts the worker and whatever else runs in the background. [`Replication::shutdown`] ends it.
    #[must_use]
    pub fn start(
        config: Config,
        me: Me,
        blobs: Arc<Blobs>,
        consensus: Arc<Consensus>,
        peers: Arc<Peers>,
    ) -> Arc<Self> {
        let _ = (config, me, blobs, consensus, peers);
        todo!()
    }

    /// Opens a blob, or the bytes `range` of it (half open, within the blob), wherever it is (design, section 5,
    /// "Open"): this node's file, else a transfer from the nearest holder, which is stored on the way.
    pub async fn open(&self, digest: &Digest, range: Option<Range<u64>>) -> Result<BlobBody, OpenError> {
        let _ = (digest, range);
        todo!()
    }

    /// Waits until each blob is as durable as `ack` demands (`None`: the default policy of the topology), as far as
    /// this node's state tells.
    pub async fn settle(
        &self,
        digests: &[Digest],
        ack: Option<AckPolicy>,
        deadline: Instant,
    ) -> Result<(), SettleError> {
        let _ = (digests, ack, deadline);
        todo!()
    }

    /// What answers the blob reads of peers.
    #[must_use]
    pub fn blob_handler(&self) -> Arc<dyn BlobHandler> {
        todo!()
    }

    /// A snapshot of what is under way and what is missing.
    #[must_use]
    pub fn status(&self) -> ReplicationStatus {
        todo!()
    }

    /// Stops every transfer (parts stay for resumption) and awaits every task. Later calls return at once.
    pub async fn shutdown(&self) {
        todo!()
    }
}
