//! Nodes in one process, for the tests of this floor and of those above: everything real but the network between
//! nodes, which is memory and can be cut, and time's patience.

use crate::config::{Config, Deletes, Reads};
use crate::error::RegistryError;
use crate::registry::{Floors, Registry};
use crate::session::{UploadId, UploadProgress};
use portolan_consensus::{Consensus, LocalNode, StaticMember};
use portolan_meta::id::NodeId;
use portolan_meta::row::Role;
use portolan_oci::RepoName;
use portolan_peer::{
    Answer, Handlers, HelloCall, HelloHandler, HelloReply, IdentityTable, LocalIdentity, MemoryNetwork, PeerIdentity,
    PeerServer, Peers,
};
use portolan_replication::{Me, Replication};
use portolan_store::{Blobs, RaftLog, State};
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_millis(PATIENCE_MS);

const PATIENCE_MS: u64 = 30_000;

/// The use cases as they ship, but for the waits that end with another answer or with a warning: a busy machine that
/// stands still for a second must not look like a leader or a node that is away. A test that takes one away says itself
/// how long that is waited for.
#[must_use]
pub fn config() -> Config {
    Config {
        reads: Reads { linearizable_timeout_ms: PATIENCE_MS, ..Reads::default() },
        deletes: Deletes { fence_timeout_ms: PATIENCE_MS, ..Deletes::default() },
        ..Config::default()
    }
}

/// How the nodes of a test are set up.
#[derive(Clone, Debug)]
pub struct Setup {
    /// How many nodes, all voters.
    pub nodes: u64,
    /// Whether they share a region; else each has its own.
    pub one_region: bool,
    /// The use cases; by default as [`config`] has them.
    pub registry: Config,
    /// The disk.
    pub store: portolan_store::Config,
    /// Consensus.
    pub consensus: portolan_consensus::Config,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            nodes: 1,
            one_region: false,
            registry: config(),
            store: portolan_store::Config { reserve_bytes: 1 << 20, ..portolan_store::Config::default() },
            consensus: portolan_consensus::Config { ping_interval_ms: 100, ..portolan_consensus::Config::default() },
        }
    }
}

/// A cluster in this process. [`Cluster::stop`] ends it; its folders vanish with it.
pub struct Cluster {
    setup: Setup,
    network: Arc<MemoryNetwork>,
    folders: Vec<TempDir>,
    starts: Vec<u64>,
    nodes: Vec<Option<Node>>,
}

struct Node {
    registry: Arc<Registry>,
    log: Arc<RaftLog>,
    state: Arc<State>,
    server: JoinHandle<()>,
    stop: CancellationToken,
}

struct NoHello;

impl HelloHandler for NoHello {
    fn hello(&self, _: HelloCall) -> Answer<'_, HelloReply> {
        Box::pin(async { Ok(HelloReply::default()) })
    }
}

fn address(node: u64) -> String {
    format!("n{node}:7000")
}

fn index(node: u64) -> usize {
    usize::try_from(node - 1).expect("tests have few nodes")
}

impl Cluster {
    /// Starts the nodes 1..=n and waits until each is known to the cluster.
    ///
    /// # Panics
    /// When a step fails: a test cannot go on without its cluster.
    pub async fn start(setup: Setup) -> Self {
        let count = setup.nodes;
        let mut cluster = Self {
            network: MemoryNetwork::new(),
            folders: (0..count).map(|_| tempfile::tempdir().expect("there is room for a folder")).collect(),
            starts: (0..count).map(|_| 0).collect(),
            nodes: (0..count).map(|_| None).collect(),
            setup,
        };
        for node in 1..=count {
            cluster.open(node).await;
        }
        let first = cluster.floors(1);
        first.consensus.initialize_if_first().await.expect("a fresh group can be initialised");
        for node in 1..=count {
            cluster.boot(node).await;
        }
        cluster
    }

    /// The use cases of a node.
    ///
    /// # Panics
    /// When it does not run.
    #[must_use]
    pub fn registry(&self, node: u64) -> Arc<Registry> {
        Arc::clone(&self.nodes[index(node)].as_ref().expect("the node runs").registry)
    }

    /// The floors of a node.
    #[must_use]
    pub fn floors(&self, node: u64) -> Floors {
        self.registry(node).floors.clone()
    }

    /// The data folder of a node.
    #[must_use]
    pub fn folder(&self, node: u64) -> &Path {
        self.folders[index(node)].path()
    }

    /// Cuts a node off from all others.
    pub fn cut(&self, node: u64) {
        for other in (1..=self.setup.nodes).filter(|other| *other != node) {
            self.network.cut(&address(node), &address(other));
        }
    }

    /// Joins it again.
    pub fn heal(&self, node: u64) {
        for other in (1..=self.setup.nodes).filter(|other| *other != node) {
            self.network.heal(&address(node), &address(other));
        }
    }

    /// Asks another node twice for the same upload session, as after an answer that was lost.
    ///
    /// # Panics
    /// When a node does not run.
    pub async fn begin_twice(
        &self,
        from: u64,
        owner: u64,
        repo: &RepoName,
    ) -> [Result<UploadProgress, RegistryError>; 2] {
        let (from, id) = (self.registry(from), UploadId { node: NodeId(owner), session: Ulid::new() });
        [from.begin_at_node(repo, id).await, from.begin_at_node(repo, id).await]
    }

    /// Stops a node and starts it again on its folder, without announcing the new start.
    ///
    /// # Panics
    /// As [`Cluster::start`].
    pub async fn reopen(&mut self, node: u64) {
        self.end(node).await;
        self.open(node).await;
    }

    /// Announces a node's start, as every start does in the end.
    ///
    /// # Panics
    /// When that is not committed in time.
    pub async fn announce(&self, node: u64) {
        self.boot(node).await;
    }

    /// Stops a node and starts it again on its folder.
    ///
    /// # Panics
    /// As [`Cluster::start`].
    pub async fn restart(&mut self, node: u64) {
        self.reopen(node).await;
        self.boot(node).await;
    }

    /// Stops all nodes.
    pub async fn stop(mut self) {
        for node in 1..=self.setup.nodes {
            self.end(node).await;
        }
    }

    async fn boot(&self, node: u64) {
        let deadline = Instant::now() + PATIENCE;
        self.floors(node).consensus.boot(deadline).await.expect("a node can announce itself");
    }

    async fn end(&mut self, node: u64) {
        let Some(node) = self.nodes[index(node)].take() else { return };
        let Node { registry, log, state, server, stop } = node;
        registry.shutdown().await;
        registry.floors.replication.shutdown().await;
        registry.floors.consensus.shutdown().await;
        stop.cancel();
        server.await.expect("the peer server does not panic");
        registry.floors.peers.set_members(Vec::new());
        drop(registry);
        let deadline = Instant::now() + PATIENCE;
        while Arc::strong_count(&log) > 1 || Arc::strong_count(&state) > 1 {
            assert!(Instant::now() < deadline, "somebody still holds the stores");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        log.close();
    }

    async fn open(&mut self, node: u64) {
        self.starts[index(node)] += 1;
        let local = LocalNode {
            cluster_id: "test".to_owned(),
            epoch: 0,
            id: NodeId(node),
            storage_uuid: format!("folder-{node}"),
            incarnation: self.starts[index(node)],
            version: "0.0.0".to_owned(),
        };
        let folder = self.folder(node);
        let log = RaftLog::open(folder, &self.setup.store).expect("the log opens");
        let state = State::open(folder, &self.setup.store).expect("the state opens");
        let blobs = Blobs::open(folder, &self.setup.store).expect("the blobs open");
        let (peers, server, handlers) = self.network_of(&local);
        let stop = CancellationToken::new();
        let (incoming, stopped) = (self.network.listen(&address(node)), stop.clone());
        let server = tokio::spawn(async move {
            server.serve(incoming, stopped.cancelled()).await.expect("the peer server runs");
        });
        let (own_log, own_state) = (Arc::clone(&log), Arc::clone(&state));
        let settings = self.setup.consensus.clone();
        let started = Consensus::start(settings, local, self.members(), own_log, own_state, Arc::clone(&peers));
        let consensus = started.await.expect("consensus starts");
        let me = Me { node: NodeId(node), region: self.region(node), zone: String::new() };
        let floors = (Arc::clone(&blobs), Arc::clone(&consensus), Arc::clone(&peers));
        let replication = Replication::start(portolan_replication::Config::default(), me, floors.0, floors.1, floors.2);
        let floors = Floors { consensus, replication, blobs, peers };
        let registry = Registry::start(self.setup.registry.clone(), floors.clone());
        let answering = Handlers {
            raft: floors.consensus.raft_handler(),
            cluster: floors.consensus.cluster_handler(),
            blobs: floors.replication.blob_handler(),
            uploads: registry.upload_handler(),
        };
        assert!(handlers.set(answering).is_ok(), "handlers are set once per start");
        self.nodes[index(node)] = Some(Node { registry, log, state, server, stop });
    }

    fn region(&self, node: u64) -> String {
        format!("r{}", if self.setup.one_region { 1 } else { node })
    }

    fn network_of(&self, local: &LocalNode) -> (Arc<Peers>, PeerServer, Arc<OnceLock<Handlers>>) {
        let identity = LocalIdentity::known(PeerIdentity {
            cluster_id: local.cluster_id.clone(),
            epoch: local.epoch,
            node: local.id,
            storage_uuid: local.storage_uuid.clone(),
            incarnation: local.incarnation,
            boot: String::new(),
        });
        let guard = IdentityTable::new(Arc::clone(&identity));
        let config = portolan_peer::Config { shutdown_grace_ms: 100, ..portolan_peer::Config::default() };
        let connector = self.network.connector(&address(local.id.0));
        let peers = Peers::new(Arc::clone(&identity), guard.clone(), connector, config.clone());
        let handlers = Arc::new(OnceLock::new());
        let server = PeerServer::new(config, identity, guard, Arc::clone(&handlers), Arc::new(NoHello));
        (peers, server, handlers)
    }

    fn members(&self) -> Vec<StaticMember> {
        (1..=self.setup.nodes)
            .map(|node| StaticMember {
                id: NodeId(node),
                name: format!("n{node}"),
                region: self.region(node),
                zone: String::new(),
                role: Role::Full,
                peer: address(node),
                voter: true,
            })
            .collect()
    }
}
