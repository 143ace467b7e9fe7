//! The handle that the API floor holds, and the owner of every task below.

use crate::config::{Config, ms};
use crate::fresh::FreshClock;
use crate::sessions::Sessions;
use portolan_consensus::Consensus;
use portolan_meta::id::NodeId;
use portolan_peer::Peers;
use portolan_replication::Replication;
use portolan_store::Blobs;
use std::sync::{Arc, Mutex, PoisonError};
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
    pub(crate) sessions: Sessions,
    pub(crate) fresh: FreshClock,
    /// Writers of uploads: they outlive a request whose client went away, to keep the bytes that arrived.
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    sweeper: Mutex<Option<JoinHandle<()>>>,
}

impl Registry {
    /// Takes up the upload sessions that an earlier start of this node left on disk, and starts the sweep of expired
    /// ones. [`Registry::shutdown`] ends it. Must be called inside a tokio runtime.
    #[must_use]
    pub fn start(config: Config, floors: Floors) -> Arc<Self> {
        let node = floors.consensus.node();
        let registry = Arc::new(Self {
            node,
            floors,
            sessions: Sessions::new(config.uploads.sessions),
            fresh: FreshClock::new(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            sweeper: Mutex::new(None),
            config,
        });
        registry.resume_sessions();
        let worker = Arc::clone(&registry);
        let sweeper = tokio::spawn(async move { worker.sweep_until_stopped().await });
        *registry.sweeper.lock().unwrap_or_else(PoisonError::into_inner) = Some(sweeper);
        registry
    }

    /// The settings it was started with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// This node's id.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Ends the sweep and cuts uploads that still run (their bytes stay for resumption); awaits every task.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        let sweeper = self.sweeper.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(sweeper) = sweeper
            && let Err(error) = sweeper.await
        {
            tracing::error!(%error, "the sweep of upload sessions ended badly");
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn sweep_until_stopped(&self) {
        let mut ticks = tokio::time::interval(ms(self.config.uploads.sweep_interval_ms.max(1)));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                _ = ticks.tick() => self.sweep_sessions().await,
            }
        }
    }
}
