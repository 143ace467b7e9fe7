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

use crate::bootstrap::{self, Greeter};
use crate::config::Config;
use crate::error::Failure;
use crate::{boot, listeners, telemetry::Telemetry};
use listeners::{Listeners, Materials, tls_incoming};
use metrics_exporter_prometheus::PrometheusHandle;
use portolan_api::{OpsApi, PublicApi, ServeLimits, ops_router, public_router, serve, tcp_incoming};
use portolan_auth::{AdminToken, Policy};
use portolan_consensus::{Consensus, LocalNode, StaticMember};
use portolan_meta::id::NodeId;
use portolan_meta::placement;
use portolan_meta::query;
use portolan_meta::row::Role;
use portolan_peer::{Handlers, IdentityTable, LocalIdentity, Member, PeerIdentity, PeerServer, Peers};
use portolan_registry::{Floors, Registry};
use portolan_replication::{Me, Replication};
use portolan_store::{Blobs, DataDir, Identity, RaftLog, State};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What the ops port takes: a few scrapers and probes.
const OPS_LIMITS: ServeLimits =
    ServeLimits { connections: 64, header_timeout: Duration::from_secs(10), drain: Duration::from_millis(500) };
/// How many heartbeats a leader that stops waits for another to take over: a transfer takes a few round trips.
const HANDOVER_HEARTBEATS: u32 = 2;

/// A step of a stop that takes longer is worth a line.
const SLOW_STAGE: Duration = Duration::from_secs(1);

/// What a part of a running node is called, and how it ended.
type PartEnd = (&'static str, Result<(), Failure>);

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

/// Tasks that stop together.
struct Part {
    tasks: JoinSet<PartEnd>,
    stop: CancellationToken,
}

impl Part {
    fn new() -> Self {
        Self { tasks: JoinSet::new(), stop: CancellationToken::new() }
    }

    /// Tells the tasks to stop and awaits them.
    async fn finish(&mut self) {
        self.stop.cancel();
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok((_, Ok(()))) => {}
                Ok((part, Err(error))) => tracing::error!(part, %error, "did not stop cleanly"),
                Err(error) => tracing::error!(%error, "a part of the node panicked"),
            }
        }
    }

    /// Waits for a task that ends although nobody told it to.
    async fn next_end(&mut self) -> Result<(), Failure> {
        loop {
            match self.tasks.join_next().await {
                None => return std::future::pending().await,
                // The boot proposal ends when it is done.
                Some(Ok((boot::NAME, Ok(())))) => {}
                Some(Ok((part, Ok(())))) => return Err(Failure::PartEnded(part)),
                Some(Ok((_, Err(error)))) => return Err(error),
                Some(Err(error)) => {
                    tracing::error!(%error, "a part of the node panicked");
                    return Err(Failure::PartEnded("a task"));
                }
            }
        }
    }
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
        let opened = tokio::task::spawn_blocking(move || {
            Ok(Self {
                log: RaftLog::open(&path, &config).map_err(Failure::start("opening the log"))?,
                state: State::open(&path, &config).map_err(Failure::start("opening the state"))?,
                blobs: Blobs::open(&path, &config).map_err(Failure::start("opening the blobs"))?,
            })
        });
        let opened = opened.await.map_err(Failure::start("opening the data folder"))?;
        opened.inspect_err(|_| {
            tracing::error!(
                "If the folder cannot be mended, empty it, append a member with a new name at the end of \
                 cluster.members of every node, and start this one as it: it fetches everything from its peers."
            );
        })
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
        let folder = DataDir::lock(&config.node.data_dir).map_err(Failure::start("locking the data folder"))?;
        let known = bootstrap::known_identity(&config, &folder)?;
        let admin = AdminToken::new(&crate::admin::token(folder.path())?);
        let listeners = Listeners::bind(&config).await?;
        announce(&config);

        let serving = Arc::new(OnceLock::new());
        let mut ops = start_ops(Arc::clone(&serving), listeners.ops, metrics.clone());
        let (net, mut back) = Net::open(&config, &materials, listeners.peer);
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
        let disk = Disk::open(&folder, &config.storage).await?;
        let local = local_node(&identity, epoch, &disk.state)?;
        net.greeter.open(Arc::clone(&disk.state));
        net.identify(&local, &disk.state)?;

        let log_and_state = (Arc::clone(&disk.log), Arc::clone(&disk.state));
        let members = static_members(&config);
        let (consensus_config, peers) = (config.consensus.clone(), Arc::clone(&net.peers));
        let consensus =
            Consensus::start(consensus_config, local.clone(), members, log_and_state.0, log_and_state.1, peers)
                .await
                .map_err(Failure::start("consensus"))?;
        let me = Me { node: local.id, region: config.node.region.clone(), zone: config.node.zone.clone() };
        let replication = Replication::start(
            config.replication.clone(),
            me,
            Arc::clone(&disk.blobs),
            Arc::clone(&consensus),
            Arc::clone(&net.peers),
        );
        net.answer(&consensus, &replication);
        if local.id == NodeId(1) {
            consensus.initialize_if_first().await.map_err(Failure::start("beginning the cluster"))?;
        }
        let helpers = start_helpers(&config, &local, &consensus, &net.table, &disk, metrics);
        let registry = Registry::start(
            config.registry.clone(),
            Floors {
                consensus: Arc::clone(&consensus),
                replication: Arc::clone(&replication),
                blobs: Arc::clone(&disk.blobs),
                peers: Arc::clone(&net.peers),
            },
        );
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
            handover: config.consensus.profile.timing().heartbeat * HANDOVER_HEARTBEATS,
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
        // Another leader first: writes of other nodes then wait for no election.
        self.hand_over().await;
        stage("the public API", self.public.finish()).await;
        stage("the registry", self.registry.shutdown()).await;
        stage("replication", self.replication.shutdown()).await;
        stage("the helpers", self.helpers.finish()).await;
        stage("consensus", self.consensus.shutdown()).await;
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
        let status = self.consensus.status();
        if !status.is_leader() {
            return;
        }
        let successor = status
            .voters
            .iter()
            .filter(|voter| **voter != status.node)
            .filter_map(|voter| {
                let progress = status.nodes.get(voter)?;
                (progress.last_seen_ms? < 3_000).then_some((progress.lag?, *voter))
            })
            .min();
        let Some((_, successor)) = successor else { return };
        if let Err(error) = self.consensus.transfer_leader(successor).await {
            tracing::warn!(%error, "the leadership was not handed over");
            return;
        }
        let until = Instant::now() + self.handover;
        while self.consensus.status().is_leader() && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// One step of the way down; a slow one says so.
async fn stage(part: &'static str, stopping: impl Future<Output = ()>) {
    let began = Instant::now();
    stopping.await;
    let took = began.elapsed();
    if took > SLOW_STAGE {
        tracing::warn!(part, took_ms = took.as_millis() as u64, "was slow to stop");
    }
}

/// The traffic between nodes: open from the first moment for `hello`, for everything once [`Net::answer`] is called.
struct Net {
    local: Arc<LocalIdentity>,
    table: Arc<IdentityTable>,
    peers: Arc<Peers>,
    greeter: Arc<Greeter>,
    handlers: Arc<OnceLock<Handlers>>,
}

impl Net {
    fn open(config: &Config, materials: &Materials, listener: TcpListener) -> (Self, Part) {
        let local = LocalIdentity::unknown();
        let table = IdentityTable::new(Arc::clone(&local));
        let limits = config.peer.limits.clone();
        let peers = Peers::new(Arc::clone(&local), table.clone(), Arc::clone(&materials.connector), limits.clone());
        let greeter = Greeter::new(config, Arc::clone(&local));
        let handlers = Arc::new(OnceLock::new());
        let server =
            PeerServer::new(limits.clone(), Arc::clone(&local), table.clone(), Arc::clone(&handlers), greeter.clone());
        let incoming = portolan_peer::tls::accept_stream(listener, materials.acceptor.clone(), &limits);
        peers.set_members(peer_members(config));
        let mut back = Part::new();
        let stop = back.stop.clone();
        back.tasks.spawn(async move {
            let served = server.serve(incoming, stop.cancelled_owned()).await;
            ("the peer server", served.map_err(Failure::start("the peer server")))
        });
        (Self { local, table, peers, greeter, handlers }, back)
    }

    /// Makes the identity known, and what the state knows of the others' identities.
    fn identify(&self, local: &LocalNode, state: &State) -> Result<(), Failure> {
        for row in state.read(query::nodes).map_err(Failure::start("reading the nodes"))? {
            self.table.commit(row.id, &row.storage_uuid, row.incarnation);
        }
        self.local.set(PeerIdentity {
            cluster_id: local.cluster_id.clone(),
            epoch: local.epoch,
            node: local.id,
            storage_uuid: local.storage_uuid.clone(),
            incarnation: local.incarnation,
        });
        Ok(())
    }

    /// Lets the peer server answer everything.
    fn answer(&self, consensus: &Arc<Consensus>, replication: &Arc<Replication>) {
        let handlers = Handlers {
            raft: consensus.raft_handler(),
            cluster: consensus.cluster_handler(),
            blobs: replication.blob_handler(),
        };
        // Set once per process.
        let _ = self.handlers.set(handlers);
    }
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
        version: env!("CARGO_PKG_VERSION").to_owned(),
    })
}

/// The names of those members (name, region) that vote in a cluster that begins with this list.
pub(crate) fn voters(members: &[(String, String)]) -> Vec<&str> {
    let pairs: Vec<(&str, &str)> = members.iter().map(|(name, region)| (name.as_str(), region.as_str())).collect();
    let votes = placement::voters(&pairs);
    pairs.iter().zip(votes).filter(|(_, votes)| *votes).map(|((name, _), _)| *name).collect()
}

fn static_members(config: &Config) -> Vec<StaticMember> {
    let pairs: Vec<(String, String)> =
        config.members.iter().map(|member| (member.name.clone(), member.region.clone())).collect();
    let voters = voters(&pairs);
    (1..)
        .zip(&config.members)
        .map(|(id, member)| {
            let own = member.name == config.node.name;
            StaticMember {
                id: NodeId(id),
                name: member.name.clone(),
                region: member.region.clone(),
                // Others tell their own zone and role when they boot.
                zone: if own { config.node.zone.clone() } else { String::new() },
                role: if own { config.node.role } else { Role::Full },
                peer: if own { config.peer.advertise.clone() } else { member.peer.clone() },
                voter: voters.contains(&member.name.as_str()),
            }
        })
        .collect()
}

fn peer_members(config: &Config) -> Vec<Member> {
    static_members(config)
        .into_iter()
        .filter(|member| member.name != config.node.name)
        .map(|member| Member {
            node: member.id,
            name: member.name,
            region: member.region,
            zone: member.zone,
            address: member.peer,
        })
        .collect()
}

fn announce(config: &Config) {
    let (node, region) = (config.node.name.as_str(), config.node.region.as_str());
    tracing::info!(
        node,
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

fn start_helpers(
    config: &Config,
    local: &LocalNode,
    consensus: &Arc<Consensus>,
    table: &Arc<IdentityTable>,
    disk: &Disk,
    metrics: PrometheusHandle,
) -> Part {
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
    let (log, state) = (Arc::clone(&disk.log), Arc::clone(&disk.state));
    part.tasks.spawn(async move {
        let gauges = || {
            log.record_gauges();
            state.record_gauges();
        };
        Telemetry::upkeep(metrics, gauges, stop).await;
        ("the metrics", Ok(()))
    });
    part
}

/// Serves the public API from here on.
fn start_public(
    config: &Config,
    registry: &Arc<Registry>,
    policy: Policy,
    tls: Option<tokio_rustls::TlsAcceptor>,
    listener: TcpListener,
) -> Part {
    let mut part = Part::new();
    let router = public_router(PublicApi { registry: Arc::clone(registry), policy: Arc::new(policy) });
    let limits = &config.registry.limits;
    let limits = ServeLimits {
        connections: limits.connections,
        header_timeout: Duration::from_millis(limits.header_timeout_ms),
        // The rest of the stop has its share of the deadline.
        drain: config.shutdown.mul_f32(0.7),
    };
    let stop = part.stop.clone().cancelled_owned();
    part.tasks.spawn(async move {
        let incoming = tcp_incoming(listener);
        let cut = match tls {
            None => serve(incoming, router, limits, stop).await,
            Some(acceptor) => serve(tls_incoming(incoming, acceptor), router, limits, stop).await,
        };
        if cut > 0 {
            tracing::warn!(connections = cut, "cut at the deadline");
        }
        ("the public API", Ok(()))
    });
    part
}

/// Serves health and metrics from here on; what needs the registry answers "starting" until it is set.
fn start_ops(registry: Arc<OnceLock<Arc<Registry>>>, listener: TcpListener, metrics: PrometheusHandle) -> Part {
    let mut part = Part::new();
    let router = ops_router(OpsApi { registry, metrics: Arc::new(move || metrics.render()) });
    let stop = part.stop.clone().cancelled_owned();
    part.tasks.spawn(async move {
        serve(tcp_incoming(listener), router, OPS_LIMITS, stop).await;
        ("the ops port", Ok(()))
    });
    part
}
