//! A node: built from the floors below in order, taken down in reverse.
//!
//! ```text
//!  lock the folder, bind every port
//!    peer server (hello only) ── identity: from the folder, or by asking the peers
//!      log, state, blobs
//!        consensus ── replication ── peer server answers everything
//!          boot: this start becomes a row of the state
//!            registry ── public API, ops
//! ```

use crate::config::Config;
use crate::error::Failure;
use crate::front::{start_ops, start_public};
use crate::listeners::{Listeners, Materials};
use crate::members::static_members;
use crate::net::Net;
use crate::part::Part;
use crate::sabotage::version;
use crate::telemetry::Telemetry;
use crate::{admin, boot, bootstrap, condition, recorder};
use metrics_exporter_prometheus::PrometheusHandle;
use portolan_auth::{AdminToken, Policy};
use portolan_consensus::{Consensus, LocalNode, Timing};
use portolan_meta::id::NodeId;
use portolan_meta::query;
use portolan_peer::{IdentityTable, Peers};
use portolan_registry::{Floors, Registry};
use portolan_replication::{Me, Replication};
use portolan_store::{Blobs, DataDir, Identity, RaftLog, State};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How many heartbeats beyond an election's time a leader that stops waits for another to take over: one in which the
/// voters say how they are, and those that an heir may take.
const HANDOVER_HEARTBEATS: u32 = 3;

/// How long pushes that outlive their connection may take to be committed once nothing else is in flight.
const UNHEARD_PUSHES: Duration = Duration::from_secs(2);

/// A step of a stop that takes longer is worth a line.
const SLOW_STAGE: Duration = Duration::from_secs(1);

/// A running node.
pub(crate) struct Node {
    disk: Disk,
    peers: Arc<Peers>,
    consensus: Arc<Consensus>,
    replication: Arc<Replication>,
    registry: Arc<Registry>,
    /// The public API; it stops first.
    public: Part,
    /// Health and metrics; they tell of the stop while it goes on.
    ops: Part,
    /// The boot proposal, the table of identities, the gauges.
    helpers: Part,
    /// The peer server; it stops last.
    back: Part,
    handover: Duration,
    shutdown: Duration,
    /// Held until the process ends: no other process may work on the folder.
    _folder: DataDir,
}

/// What is on the disk, opened.
struct Disk {
    log: Arc<RaftLog>,
    state: Arc<State>,
    blobs: Arc<Blobs>,
}

impl Disk {
    async fn open(folder: &DataDir, config: &portolan_store::Config) -> Result<Self, Failure> {
        let (path, config) = (folder.path().to_owned(), config.clone());
        folder.check_whole().map_err(Failure::start("checking the data folder"))?;
        let opened = tokio::task::spawn_blocking(move || {
            Ok(Self {
                log: RaftLog::open(&path, &config).map_err(Failure::start("opening the log"))?,
                state: State::open(&path, &config).map_err(Failure::start("opening the state"))?,
                blobs: Blobs::open(&path, &config).map_err(Failure::start("opening the blobs"))?,
            })
        });
        opened.await.map_err(Failure::start("opening the data folder"))?
    }
}

impl Node {
    /// Builds a node. Returns once it serves; it may still be without a leader.
    ///
    /// # Errors
    /// When a step fails. A start that fails half way leaves nothing running but what the runtime ends.
    pub(crate) async fn start(
        config: Config,
        config_path: &Path,
        metrics: PrometheusHandle,
        stop: &CancellationToken,
    ) -> Result<Self, Failure> {
        let materials = Materials::load(&config)?;
        std::fs::create_dir_all(&config.node.data_dir)
            .map_err(|source| Failure::DataDir { path: config.node.data_dir.clone(), source })?;
        let folder = DataDir::lock(&config.node.data_dir).map_err(Failure::start("locking the data folder"))?;
        let known = bootstrap::known_identity(&config, &folder)?;
        let admin = AdminToken::new(&admin::token(folder.path())?);
        let listeners = Listeners::bind(&config).await?;
        announce(&config);
        recorder::introduce_certificates(&config);

        let serving = Arc::new(OnceLock::new());
        let mut ops = start_ops(Arc::clone(&serving), listeners.ops, metrics.clone());
        let (net, mut back) = Net::open(&config, &materials, listeners.peer, known.is_some());
        let joined = match known {
            Some(identity) => Ok((identity, None)),
            None => bootstrap::join(&config, config_path, &folder, &net.peers, stop)
                .await
                .map(|(identity, epoch)| (identity, Some(epoch))),
        };
        let (identity, epoch) = match joined {
            Ok(found) => found,
            Err(error) => {
                back.finish().await;
                ops.finish().await;
                return Err(error);
            }
        };
        net.belong();
        let disk = Disk::open(&folder, &config.storage).await?;
        let local = local_node(&identity, epoch, &disk.state)?;
        net.identify(&local, &disk.state)?;

        let (floors, registry) = start_floors(&config, &net, &disk, &local).await?;
        let Floors { consensus, replication, .. } = floors;
        let mut helpers = start_helpers(&config, &local, &consensus, &net.table, &disk, metrics);
        tell_condition(&mut helpers, &registry, &consensus, &disk.blobs);
        let policy = Policy::new(&config.auth, admin);
        let public = start_public(&config, &registry, policy, materials.public, listeners.public);
        // Set once per process.
        let _ = serving.set(Arc::clone(&registry));
        tracing::info!(id = local.id.0, cluster = local.cluster_id, incarnation = local.incarnation, "serving");
        Ok(Self {
            disk,
            peers: net.peers,
            consensus,
            replication,
            registry,
            public,
            ops,
            helpers,
            back,
            handover: handover_budget(config.consensus.profile.timing()),
            shutdown: config.shutdown,
            _folder: folder,
        })
    }

    /// Runs until `stop` is cancelled or a part ends by itself.
    ///
    /// # Errors
    /// When a part ended by itself.
    pub(crate) async fn run_until(&mut self, stop: &CancellationToken) -> Result<(), Failure> {
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            // Its state stands still from now on: what it answered would only grow older.
            error = self.consensus.failed() => Err(Failure::Consensus(error)),
            ended = self.public.next_end() => ended,
            ended = self.ops.next_end() => ended,
            ended = self.helpers.next_end() => ended,
            ended = self.back.next_end() => ended,
        }
    }

    /// Takes the node down in reverse under the configured deadline.
    ///
    /// # Errors
    /// When it takes longer.
    pub(crate) async fn stop(self) -> Result<(), Failure> {
        let (began, limit) = (Instant::now(), self.shutdown);
        match tokio::time::timeout(limit, self.take_down()).await {
            Ok(()) => {
                tracing::info!(took_ms = began.elapsed().as_millis() as u64, "stopped");
                Ok(())
            }
            Err(_) => Err(Failure::ShutdownTimeout(limit)),
        }
    }

    async fn take_down(mut self) {
        self.registry.leave();
        // Another leader first: writes of other nodes then wait for no election.
        self.hand_over().await;
        stage("the public API", self.public.finish()).await;
        // A push of which the client has gone may wait for a quorum that stops as well: consensus ends that wait.
        let mut registry = std::pin::pin!(self.registry.shutdown());
        let patient = tokio::time::timeout(UNHEARD_PUSHES, &mut registry).await;
        stage("replication", self.replication.shutdown()).await;
        stage("the helpers", self.helpers.finish()).await;
        stage("consensus", self.consensus.shutdown()).await;
        if patient.is_err() {
            stage("the registry", registry).await;
        }
        stage("the peer server", self.back.finish()).await;
        stage("the ops port", self.ops.finish()).await;
        self.peers.set_members(Vec::new());
        let disk = self.disk;
        let flushed = tokio::task::spawn_blocking(move || {
            let result = disk.state.flush().map_err(Failure::start("flushing the state"));
            disk.log.close();
            result
        });
        match flushed.await {
            Ok(Ok(())) => {}
            // Nothing is lost: the log has it all.
            Ok(Err(error)) => tracing::warn!(%error, "the state was not flushed"),
            Err(error) => tracing::error!(%error, "the flush panicked"),
        }
    }

    /// Hands the leadership to the voter that is least behind, if this node leads and there is one.
    async fn hand_over(&self) {
        if !self.consensus.status().is_leader() {
            return;
        }
        let until = Instant::now() + self.handover;
        match tokio::time::timeout_at(until, self.consensus.hand_over(None, until)).await {
            Ok(Ok(done)) => tracing::info!(leader = done.leader.0, "the leadership was handed over"),
            // The last one to go has no heir.
            Ok(Err(error)) => tracing::info!(%error, "the leadership was not handed over"),
            Err(_) => tracing::info!("nobody has taken the leadership over yet"),
        }
    }
}

/// How long a leader that stops waits for another to take over. It takes a few round trips, unless the heir loses its
/// election.
fn handover_budget(timing: Timing) -> Duration {
    timing.election_max + timing.heartbeat * HANDOVER_HEARTBEATS
}

/// One step of the way down; a slow one says so.
async fn stage(part: &'static str, stopping: impl Future<Output = ()>) {
    let began = Instant::now();
    stopping.await;
    let took = began.elapsed();
    if took > SLOW_STAGE {
        tracing::info!(part, took_ms = took.as_millis() as u64, "took its time to stop");
    }
}

/// Starts what agrees on the metadata, what moves the blobs and what clients ask for, and lets the peer server answer
/// for all three.
async fn start_floors(
    config: &Config,
    net: &Net,
    disk: &Disk,
    local: &LocalNode,
) -> Result<(Floors, Arc<Registry>), Failure> {
    let consensus = Consensus::start(
        config.consensus.clone(),
        local.clone(),
        static_members(config),
        Arc::clone(&disk.log),
        Arc::clone(&disk.state),
        Arc::clone(&net.peers),
    )
    .await
    .map_err(Failure::start("consensus"))?;
    let replication = Replication::start(
        config.replication.clone(),
        Me { node: local.id, region: config.node.region.clone(), zone: config.node.zone.clone() },
        Arc::clone(&disk.blobs),
        Arc::clone(&consensus),
        Arc::clone(&net.peers),
    );
    let floors = Floors { consensus, replication, blobs: Arc::clone(&disk.blobs), peers: Arc::clone(&net.peers) };
    let registry = Registry::start(config.registry.clone(), floors.clone());
    net.answer(&floors, &registry);
    if local.id == NodeId(1) {
        floors.consensus.initialize_if_first().await.map_err(Failure::start("beginning the cluster"))?;
    }
    Ok((floors, registry))
}

/// Who this start is. The epoch is what the state says, or on an empty folder what the peers said.
fn local_node(identity: &Identity, epoch: Option<u64>, state: &State) -> Result<LocalNode, Failure> {
    let row = state.read(query::cluster).map_err(Failure::start("reading the cluster's id"))?;
    Ok(LocalNode {
        cluster_id: identity.cluster_id.clone(),
        epoch: row.map(|row| row.epoch).or(epoch).unwrap_or_default(),
        id: identity.node_id,
        storage_uuid: identity.storage_uuid.clone(),
        incarnation: identity.incarnation,
        version: version().to_owned(),
    })
}

fn announce(config: &Config) {
    let (name, region) = (config.node.name.as_str(), config.node.region.as_str());
    tracing::info!(
        name,
        region,
        public = %config.public.listen,
        peer = %config.peer.listen,
        ops = %config.ops_listen,
        "starting"
    );
    if config.auth.is_explicit() {
        tracing::warn!("auth.mode is \"open\": everybody who reaches this node may push, pull and delete");
    }
}

/// Keeps what this node says in its pings true.
fn tell_condition(helpers: &mut Part, registry: &Arc<Registry>, consensus: &Arc<Consensus>, blobs: &Arc<Blobs>) {
    let (registry, consensus, blobs) = (Arc::clone(registry), Arc::clone(consensus), Arc::clone(blobs));
    let stop = helpers.stop.clone();
    helpers.tasks.spawn(async move {
        condition::tell(&registry, &consensus, &blobs, &stop).await;
        ("the node's condition", Ok(()))
    });
}

fn start_helpers(
    config: &Config,
    local: &LocalNode,
    consensus: &Arc<Consensus>,
    table: &Arc<IdentityTable>,
    disk: &Disk,
    metrics: PrometheusHandle,
) -> Part {
    recorder::introduce(config, local);
    let mut part = Part::new();
    let stop = part.stop.clone();
    let announcement = boot::Announcement::new(config, local);
    let (booting, token) = (Arc::clone(consensus), stop.clone());
    part.tasks.spawn(async move { (boot::NAME, boot::announce(&booting, &announcement, &token).await) });
    let (watching, table, token) = (Arc::clone(consensus), Arc::clone(table), stop.clone());
    part.tasks.spawn(async move {
        boot::watch_identities(&watching, &table, &token).await;
        ("the table of identities", Ok(()))
    });
    let (log, state, blobs) = (Arc::clone(&disk.log), Arc::clone(&disk.state), Arc::clone(&disk.blobs));
    part.tasks.spawn(async move {
        let gauges = || {
            log.record_gauges();
            state.record_gauges();
            blobs.record_gauges();
        };
        Telemetry::upkeep(metrics, gauges, stop).await;
        ("the metrics", Ok(()))
    });
    part
}
