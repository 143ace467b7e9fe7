//! The handle that everyone above holds, and the owner of every task below.

use crate::batch::Batches;
use crate::budget::Budget;
use crate::config::Config;
use crate::confirm::Confirm;
use crate::desk::Desk;
use crate::error::{OpenError, SettleError};
use crate::fetch::Fetches;
use crate::holders::Holders;
use crate::landing::Landing;
use crate::local::Local;
use crate::me::Me;
use crate::open::{BlobBody, Opener};
use crate::ranged::Ranges;
use crate::reclaim::Reclaim;
use crate::serve::Serve;
use crate::settle;
use crate::source::Sources;
use crate::status::{Exposure, FetchStatus, Losses, PeerHealth, ReplicationStatus};
use crate::sweep::Sweep;
use crate::table::Tables;
use crate::telemetry;
use crate::through::Through;
use crate::worker::Worker;
use portolan_consensus::Consensus;
use portolan_meta::id::{NodeId, StoreId};
use portolan_meta::placement::Topology;
use portolan_oci::{Digest, RepoName};
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
    holders: Arc<Holders>,
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
        let (node, store, own) = (me.node, StoreId::from(me.node), me.clone());
        let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
        let owner = || (tasks.clone(), stop.clone());
        let desk = Desk::new(&config, &me);
        let budget = Budget::new(&config, me.region.clone(), Arc::clone(&consensus));
        let holders = Arc::new(Holders::new(&config, me, Arc::clone(&consensus), Arc::clone(&peers)));
        let tables =
            Tables::new(Arc::clone(&consensus), Arc::clone(&holders), Arc::clone(&peers), config.open_timeout());
        let tables = Arc::new(tables);
        let sources = Arc::new(Sources::new(&config, Arc::clone(&holders), peers, budget));
        let local = Local::new(&config, store, Arc::clone(&blobs), Arc::clone(&consensus), owner());
        let confirm = Confirm::new(&config, store, Arc::clone(&blobs), Arc::clone(&consensus));
        let fetches = Fetches::new(
            &config,
            Arc::clone(&holders),
            Arc::clone(&sources),
            Arc::clone(&tables),
            Landing::new(&blobs),
            Arc::clone(&confirm),
            owner(),
        );
        let ranges = Ranges::new(&config, Arc::clone(&sources), tables, Arc::clone(&fetches), owner());
        let through = Arc::new(Through::new(&config, Arc::clone(&sources), stop.clone()));
        let opener = Opener::new(Arc::clone(&holders), Arc::clone(&local), Arc::clone(&fetches), through, ranges);
        let serve =
            Serve::new(Arc::clone(&opener), Arc::clone(&holders), local, Arc::clone(&fetches), config.max_served);
        let reclaim = Reclaim::new(
            &config,
            store,
            (Arc::clone(&desk), Arc::clone(&confirm)),
            Arc::clone(&blobs),
            Arc::clone(&consensus),
        );
        let batches = Batches::new(
            store,
            Arc::clone(&blobs),
            Arc::clone(&consensus),
            Arc::clone(&holders),
            sources,
            Arc::clone(&fetches),
            Arc::clone(&confirm),
        );
        let confirmations = config.confirmations;
        let sweep = Sweep::new(&config, own, (&blobs, &consensus), (&fetches, &confirm));
        let worker = Worker {
            config,
            desk: Arc::clone(&desk),
            blobs,
            consensus: Arc::clone(&consensus),
            holders: Arc::clone(&holders),
            fetches: Arc::clone(&fetches),
            batches,
            confirm: Arc::clone(&confirm),
            stop: stop.clone(),
        };
        for _ in 0..confirmations.max(1) {
            tasks.spawn(Arc::clone(&confirm).run(stop.clone()));
        }
        tasks.spawn(reclaim.run(stop.clone()));
        tasks.spawn(sweep.run(stop.clone()));
        tasks.spawn(Arc::clone(&holders).tell(stop.clone()));
        tasks.spawn(Arc::new(worker).run());
        Arc::new(Self { node, consensus, holders, opener, serve, fetches, confirm, desk, tasks, stop })
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

    /// Waits until each blob is as durable as the repository's ack policy demands of a push through this node, as far as
    /// this node's state tells.
    ///
    /// # Errors
    /// See [`SettleError`].
    pub async fn settle(&self, repo: &RepoName, digests: &[Digest], deadline: Instant) -> Result<(), SettleError> {
        tokio::select! {
            settled = settle::settle(&self.consensus, self.node, repo, digests, deadline) => settled,
            () = self.stop.cancelled() => Err(SettleError::Stopped),
        }
    }

    /// What answers the blob reads of peers.
    #[must_use]
    pub fn blob_handler(&self) -> Arc<dyn BlobHandler> {
        Arc::clone(&self.serve) as Arc<dyn BlobHandler>
    }

    fn topology(&self) -> Topology {
        self.consensus.local().read(|view| Topology::read(view)).unwrap_or_else(|error| {
            error!(%error, "the topology cannot be read");
            Topology::default()
        })
    }

    /// What would be lost if a region died now, and what nobody can read, as far as this node knows. Reads the state.
    #[must_use]
    pub fn exposure(&self) -> Exposure {
        self.desk.exposure(&self.topology())
    }

    /// What nobody can read now, as far as this node knows. Cheaper than [`Self::exposure`], for those who ask all the
    /// time.
    #[must_use]
    pub fn losses(&self) -> Losses {
        self.desk.exposed().losses()
    }

    /// Some of the blobs that would go with a region, oldest first.
    #[must_use]
    pub fn only_in(&self, region: &str, limit: usize) -> Vec<Digest> {
        self.desk.exposed().only_in(region, limit)
    }

    /// Some of the blobs that a region has and nobody that answers, oldest first.
    #[must_use]
    pub fn unreachable_in(&self, region: &str, limit: usize) -> Vec<Digest> {
        self.desk.exposed().unreachable_in(region, limit)
    }

    /// Some of the blobs of which no copy is left.
    #[must_use]
    pub fn damaged(&self, limit: usize) -> Vec<Digest> {
        self.desk.exposed().damaged(limit)
    }

    /// Which of these blobs this node is fetching, and how far it is.
    #[must_use]
    pub fn transfers(&self, digests: &[Digest]) -> Vec<FetchStatus> {
        let mut running = self.fetches.status();
        running.retain(|fetch| digests.contains(&fetch.digest));
        running
    }

    /// The order in which a reader in a region would ask all nodes, as far as this node knows: how far they are from
    /// there is what the nodes of that region told, how well they are what this node sees.
    #[must_use]
    pub fn order(&self, region: &str) -> Vec<NodeId> {
        self.holders.order(region).unwrap_or_else(|error| {
            error!(%error, "the nodes cannot be read");
            Vec::new()
        })
    }

    /// How well another node would serve a read, as this node sees it.
    #[must_use]
    pub fn health(&self, node: NodeId) -> PeerHealth {
        self.holders.health(node)
    }

    /// A snapshot of what is under way and what is missing.
    #[must_use]
    pub fn status(&self) -> ReplicationStatus {
        let topology = self.topology();
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
