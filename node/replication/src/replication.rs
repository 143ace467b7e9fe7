//! The handle that everyone above holds, and the owner of every task below.

use crate::config::Config;
use crate::confirm::Confirm;
use crate::error::{OpenError, SettleError};
use crate::fetch::Fetches;
use crate::holders::Holders;
use crate::landing::Landing;
use crate::local::Local;
use crate::me::Me;
use crate::open::{BlobBody, Opener};
use crate::serve::Serve;
use crate::settle;
use crate::source::Sources;
use crate::status::ReplicationStatus;
use crate::telemetry;
use crate::through::Through;
use crate::worker::{Desk, Worker};
use portolan_consensus::Consensus;
use portolan_meta::id::{NodeId, StoreId};
use portolan_meta::placement::Topology;
use portolan_meta::row::AckPolicy;
use portolan_oci::Digest;
use portolan_peer::{BlobHandler, Peers};
use portolan_store::Blobs;
use std::ops::Range;
use std::sync::Arc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::error;

/// Blobs between nodes.
pub struct Replication {
    node: NodeId,
    consensus: Arc<Consensus>,
    opener: Arc<Opener>,
    serve: Arc<Serve>,
    fetches: Arc<Fetches>,
    confirm: Arc<Confirm>,
    desk: Arc<Desk>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Replication {
    /// Starts the worker and whatever else runs in the background, on the current runtime.
    /// [`Replication::shutdown`] ends it.
    #[must_use]
    pub fn start(config: Config, me: Me, blobs: Arc<Blobs>, consensus: Arc<Consensus>, peers: Arc<Peers>) -> Arc<Self> {
        telemetry::describe(peers.members().iter().map(|member| member.node));
        let (node, store) = (me.node, StoreId::from(me.node));
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let owner = || (tasks.clone(), stop.clone());
        let holders = Arc::new(Holders::new(me, Arc::clone(&consensus), Arc::clone(&peers)));
        let sources = Arc::new(Sources::new(&config, Arc::clone(&holders), peers));
        let local = Local::new(&config, store, Arc::clone(&blobs), Arc::clone(&consensus), owner());
        let confirm = Confirm::new(&config, store, Arc::clone(&blobs), Arc::clone(&consensus));
        let fetches = Fetches::new(
            &config,
            Arc::clone(&holders),
            Arc::clone(&sources),
            Landing::new(&blobs),
            Arc::clone(&confirm),
            owner(),
        );
        let through = Arc::new(Through::new(&config, sources, stop.clone()));
        let opener = Opener::new(Arc::clone(&holders), Arc::clone(&local), Arc::clone(&fetches), through);
        let serve =
            Serve::new(Arc::clone(&opener), Arc::clone(&holders), local, Arc::clone(&fetches), config.max_served);
        let desk = Desk::new(&config, store);
        let worker = Worker {
            config,
            desk: Arc::clone(&desk),
            started: ulid::Ulid::new().timestamp_ms(),
            blobs,
            consensus: Arc::clone(&consensus),
            holders,
            fetches: Arc::clone(&fetches),
            confirm: Arc::clone(&confirm),
            stop: stop.clone(),
        };
        tasks.spawn(Arc::clone(&confirm).run(stop.clone()));
        tasks.spawn(Arc::new(worker).run());
        Arc::new(Self { node, consensus, opener, serve, fetches, confirm, desk, tasks, stop })
    }

    /// Opens a blob, or the bytes `range` of it (half open, within the blob), wherever it is (design, section 5,
    /// "Open"): this node's file, else a transfer from the nearest holder, which is stored on the way. Returns once
    /// the first bytes are on their way.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(&self, digest: &Digest, range: Option<Range<u64>>) -> Result<BlobBody, OpenError> {
        self.opener.open(digest, range, false).await
    }

    /// Waits until each blob is as durable as `ack` demands (`None`: the default policy of this node's region), as
    /// far as this node's state tells.
    ///
    /// # Errors
    /// See [`SettleError`].
    pub async fn settle(
        &self,
        digests: &[Digest],
        ack: Option<AckPolicy>,
        deadline: Instant,
    ) -> Result<(), SettleError> {
        tokio::select! {
            settled = settle::settle(&self.consensus, self.node, digests, ack, deadline) => settled,
            () = self.stop.cancelled() => Err(SettleError::Stopped),
        }
    }

    /// What answers the blob reads of peers.
    #[must_use]
    pub fn blob_handler(&self) -> Arc<dyn BlobHandler> {
        Arc::clone(&self.serve) as Arc<dyn BlobHandler>
    }

    /// A snapshot of what is under way and what is missing.
    #[must_use]
    pub fn status(&self) -> ReplicationStatus {
        let topology = self.consensus.local().read(|view| Topology::read(view)).unwrap_or_else(|error| {
            error!(%error, "the topology cannot be read");
            Topology::default()
        });
        let (queue, queue_bytes) = self.desk.plan().queued();
        ReplicationStatus {
            queue,
            queue_bytes,
            in_flight: self.fetches.status(),
            unconfirmed: self.confirm.len(),
            missing: self.desk.regions(&topology),
            lags: self.desk.lags(&topology),
            incomplete: self.desk.incomplete(),
        }
    }

    /// How many blobs this node lacks and does not fetch at the moment, and how many bytes those are. Cheaper than
    /// [`Self::status`], for those who ask all the time.
    #[must_use]
    pub fn queued(&self) -> (usize, u64) {
        self.desk.plan().queued()
    }

    /// How many transfers are under way.
    #[must_use]
    pub fn fetching(&self) -> usize {
        self.fetches.status().len()
    }

    /// Stops every transfer (parts stay for resumption) and awaits every task. Later calls return at once.
    pub async fn shutdown(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}
