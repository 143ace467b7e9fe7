//! The handle that the API floor holds, and the owner of every task below.

use crate::clock::FreshClock;
use crate::config::Config;
use crate::readings::{Readings, Shared};
use crate::rpo_report::RpoReport;
use crate::sessions::Sessions;
use crate::traffic::Traffic;
use portolan_consensus::{Consensus, HashError, StateHash};
use portolan_meta::id::NodeId;
use portolan_peer::Peers;
use portolan_replication::Replication;
use portolan_store::Blobs;
use std::sync::{Arc, Mutex};
use std::time::Instant;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// What the use cases stand on.
#[derive(Clone)]
pub struct Floors {
    /// Reads and changes the metadata.
    pub consensus: Arc<Consensus>,
    /// Opens blobs wherever they are, waits until they are durable.
    pub replication: Arc<Replication>,
    /// This node's disk, for uploads.
    pub blobs: Arc<Blobs>,
    /// The other nodes, for the fence of deletes.
    pub peers: Arc<Peers>,
}

/// The registry of one node.
pub struct Registry {
    pub(crate) config: Config,
    pub(crate) node: NodeId,
    pub(crate) floors: Floors,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) fresh: FreshClock,
    pub(crate) traffic: Arc<Traffic>,
    pub(crate) started: Instant,
    /// Readings of the state that take long.
    pub(crate) readings: Readings,
    /// What would be lost with each region, for those who ask at the same time.
    pub(crate) rpo: Shared<Arc<RpoReport>>,
    /// Writers of uploads: they outlive a request whose client went away, to keep the bytes that arrived.
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    /// Cancelled before the ports close, so that whoever watches the readiness goes elsewhere in time, and who waits for
    /// something for long is told to ask another node.
    pub(crate) left: CancellationToken,
    /// Why the disk cannot be read, when it could not at the last look.
    pub(crate) unreadable: Mutex<Option<String>>,
    /// The sweep of uploads, and the count of the load.
    pub(crate) workers: Mutex<Vec<JoinHandle<()>>>,
}

impl Registry {
    /// The settings it was started with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where the API floor counts what it served.
    #[must_use]
    pub fn traffic(&self) -> &Arc<Traffic> {
        &self.traffic
    }

    /// What this node has applied, in short, and up to which index: the same on every node of one version.
    ///
    /// # Errors
    /// See [`HashError`].
    pub async fn state_hash(&self) -> Result<StateHash, HashError> {
        self.floors.consensus.state_hash().await
    }

    /// This node's id.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }
}
