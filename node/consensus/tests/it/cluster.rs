//! Nodes that can be started, killed, cut off and joined again.

use crate::hard_of_hearing::HardOfHearing;
use bytes::Bytes;
use futures::future::join_all;
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use portolan_consensus::{Config, Consensus, Freshness, LocalNode, StaticMember};
use portolan_meta::command::Command;
use portolan_meta::id::{FileId, NodeId, StoreId};
use portolan_meta::outcome::Outcome;
use portolan_meta::query;
use portolan_meta::row::Role;
use portolan_oci::{Digest, RepoName};
use portolan_peer::{
    Answer, BlobHandler, ClusterHandler, Handlers, HelloCall, HelloHandler, HelloReply, IdentityTable, LocalIdentity,
    MemoryNetwork, PeerError, PeerIdentity, PeerServer, Peers, PingReply, ProposeCall, ProposeReply, RaftHandler,
    ReadBlob, RemoteBlob, TransferState, UploadCall, UploadHandler, UploadReply, WaitingBody,
};
use portolan_store::{RaftLog, State};
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A deadline that a healthy group never reaches.
pub(crate) fn soon() -> Instant {
    Instant::now() + PATIENCE
}

/// Waits until a condition holds.
pub(crate) async fn eventually<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let waited = timeout(PATIENCE, async {
        while !holds().await {
            sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain: {what}");
}

/// Settings that make tests quick.
pub(crate) fn quick() -> Config {
    Config { ping_interval_ms: 100, housekeeping_interval_ms: 50, ..Config::default() }
}

/// A running node.
pub(crate) struct Node {
    pub(crate) consensus: Arc<Consensus>,
    pub(crate) peers: Arc<Peers>,
    /// How often others asked it for a read index.
    pub(crate) reads_asked: Arc<AtomicU64>,
    /// How it hears that it is to hand over.
    pub(crate) hearing: Arc<HardOfHearing>,
    state: Arc<State>,
    log: Arc<RaftLog>,
    server: JoinHandle<()>,
    stop: CancellationToken,
}

/// All nodes, running or not.
pub(crate) struct Cluster {
    pub(crate) config: Config,
    network: Arc<MemoryNetwork>,
    members: Vec<StaticMember>,
    folders: Vec<TempDir>,
    incarnations: Vec<u64>,
    nodes: Vec<Option<Node>>,
}

fn address(id: u64) -> String {
    format!("n{id}:7000")
}

impl Cluster {
    /// Starts `voters` voters and `learners` others, and boots them.
    pub(crate) async fn start(voters: u64, learners: u64, config: Config) -> Self {
        let count = voters + learners;
        let members = (1..=count).map(|id| StaticMember {
            id: NodeId(id),
            name: format!("n{id}"),
            region: format!("r{id}"),
            zone: String::new(),
            role: Role::Full,
            peer: address(id),
            voter: id <= voters,
        });
        let mut cluster = Self {
            config,
            network: MemoryNetwork::new(),
            members: members.collect(),
            folders: (0..count).map(|_| tempfile::tempdir().expect("a folder")).collect(),
            incarnations: vec![0; usize::try_from(count).expect("few")],
            nodes: (0..count).map(|_| None).collect(),
        };
        for id in 1..=count {
            cluster.run(id).await;
        }
        cluster.node(1).consensus.initialize_if_first().await.expect("initialises");
        join_all((1..=count).map(|id| cluster.boot(id))).await;
        cluster
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = u64> + use<> {
        1..=self.members.len() as u64
    }

    pub(crate) fn node(&self, id: u64) -> &Node {
        self.nodes[index(id)].as_ref().expect("it runs")
    }

    /// Starts a node on its folder, as a new start of the same node.
    pub(crate) async fn run(&mut self, id: u64) {
        self.incarnations[index(id)] += 1;
        let local = LocalNode {
            cluster_id: "test".to_owned(),
            epoch: 0,
            id: NodeId(id),
            storage_uuid: format!("folder-{id}"),
            incarnation: self.incarnations[index(id)],
            version: "0.0.0".to_owned(),
        };
        self.nodes[index(id)] = Some(self.open(local).await);
    }

    async fn open(&self, local: LocalNode) -> Node {
        let id = local.id.0;
        let folder = self.folders[index(id)].path();
        let log = RaftLog::open(folder, &portolan_store::Config::default()).expect("the log opens");
        let state = State::open(folder, &portolan_store::Config::default()).expect("the state opens");
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
        let connector = self.network.connector(&address(id));
        let peers = Peers::new(Arc::clone(&identity), guard.clone(), connector, config.clone());
        let handlers = Arc::new(OnceLock::new());
        let server = PeerServer::new(config, identity, guard, Arc::clone(&handlers), Arc::new(NoHello));
        let stop = CancellationToken::new();
        let incoming = self.network.listen(&address(id));
        let stopped = stop.clone();
        let server = tokio::spawn(async move {
            server.serve(incoming, stopped.cancelled()).await.expect("the server runs");
        });
        let members = self.members.clone();
        let (own_log, own_state) = (Arc::clone(&log), Arc::clone(&state));
        let started = Consensus::start(self.config.clone(), local, members, own_log, own_state, Arc::clone(&peers));
        let consensus = started.await.expect("consensus starts");
        let reads_asked = Arc::new(AtomicU64::new(0));
        let counting = Counting { inner: consensus.cluster_handler(), reads: Arc::clone(&reads_asked) };
        let hearing = HardOfHearing::new(consensus.raft_handler());
        let ours = Handlers {
            raft: Arc::clone(&hearing) as Arc<dyn RaftHandler>,
            cluster: Arc::new(counting),
            blobs: Arc::new(NoBlobs),
            uploads: Arc::new(NoUploads),
        };
        assert!(handlers.set(ours).is_ok(), "set once");
        Node { consensus, peers, reads_asked, hearing, state, log, server, stop }
    }

    pub(crate) async fn boot(&self, id: u64) {
        let outcome = self.node(id).consensus.boot(soon()).await.expect("boots");
        assert_eq!(outcome, Outcome::Done, "node {id}");
    }

    /// Ends a node: its connections break at once, then its parts are closed so that its folder may be opened again.
    pub(crate) async fn kill(&mut self, id: u64) {
        let node = self.nodes[index(id)].take().expect("it runs");
        self.network.kill(&address(id));
        node.stop.cancel();
        node.consensus.shutdown().await;
        node.server.await.expect("the server ends");
        let Node { consensus, peers, hearing, state, log, .. } = node;
        drop((consensus, peers, hearing));
        eventually("nobody holds the stores", || {
            let free = Arc::strong_count(&state) == 1 && Arc::strong_count(&log) == 1;
            async move { free }
        })
        .await;
    }

    /// Ends all nodes.
    pub(crate) async fn stop(mut self) {
        for id in self.ids() {
            if self.nodes[index(id)].is_some() {
                self.kill(id).await;
            }
        }
    }

    /// Cuts one node off from all others.
    pub(crate) fn isolate(&self, id: u64) {
        for other in self.ids().filter(|other| *other != id) {
            self.network.cut(&address(id), &address(other));
        }
    }

    /// Joins it again.
    pub(crate) fn join(&self, id: u64) {
        for other in self.ids().filter(|other| *other != id) {
            self.network.heal(&address(id), &address(other));
        }
    }

    /// Waits until these nodes agree on a leader among them.
    pub(crate) async fn leader_among(&self, ids: &[u64]) -> u64 {
        let agreed = || {
            let leaders: Vec<_> = ids.iter().map(|id| self.node(*id).consensus.status().leader).collect();
            let first = leaders[0].map(|leader| leader.0).filter(|leader| ids.contains(leader));
            first.filter(|first| leaders.iter().all(|leader| *leader == Some(NodeId(*first))))
        };
        eventually("a leader", || async move { agreed().is_some() }).await;
        agreed().expect("agreed a moment ago")
    }

    pub(crate) async fn leader(&self) -> u64 {
        let running: Vec<u64> = self.ids().filter(|id| self.nodes[index(*id)].is_some()).collect();
        self.leader_among(&running).await
    }

    /// Commits the blob of that number at a node.
    pub(crate) async fn put(&self, id: u64, number: u64) {
        let outcome = self.node(id).consensus.propose(commit(id, number), soon()).await.expect("committed");
        assert!(matches!(outcome, Outcome::BlobCommitted { .. }), "{outcome:?}");
    }

    /// Whether a node's own state shows the blob of that number.
    pub(crate) fn has(&self, id: u64, number: u64) -> bool {
        shows(&self.node(id).consensus.local(), number)
    }

    /// The same, linearizably.
    pub(crate) async fn has_now(&self, id: u64, number: u64) -> bool {
        let fresh = Freshness::Linearizable { deadline: soon() };
        shows(&self.node(id).consensus.view(fresh).await.expect("a fresh view"), number)
    }
}

fn shows(view: &portolan_consensus::StateView, number: u64) -> bool {
    view.read(|view| query::visible_blob(view, &repo(), &digest(number))).expect("reads").is_some()
}

fn index(id: u64) -> usize {
    usize::try_from(id).expect("few") - 1
}

pub(crate) fn repo() -> RepoName {
    "team/app".parse().expect("a name")
}

pub(crate) fn digest(number: u64) -> Digest {
    Digest::sha256_of(&number.to_be_bytes())
}

/// The command that commits the blob of that number, uploaded at a node.
pub(crate) fn commit(id: u64, number: u64) -> Command {
    Command::CommitBlob {
        repo: repo(),
        digest: digest(number),
        size: 8,
        store: StoreId(id),
        file: FileId(u128::from(number) + 1),
        pin_ms: 3_600_000,
        sums: None,
    }
}

struct NoHello;

impl HelloHandler for NoHello {
    fn hello(&self, _call: HelloCall) -> Answer<'_, HelloReply> {
        async { Ok(HelloReply::default()) }.boxed()
    }
}

struct NoBlobs;

impl BlobHandler for NoBlobs {
    fn read_blob(&self, _from: PeerIdentity, _read: ReadBlob) -> Answer<'_, RemoteBlob> {
        async { Err(PeerError::NotFound) }.boxed()
    }

    fn accuse(&self, _from: PeerIdentity, _digest: Digest) -> Answer<'_, ()> {
        async { Ok(()) }.boxed()
    }

    fn sums(&self, _from: PeerIdentity, _digest: Digest) -> Answer<'_, Vec<u32>> {
        async { Err(PeerError::NotFound) }.boxed()
    }

    fn read_many(
        &self,
        _from: PeerIdentity,
        digests: Vec<Digest>,
    ) -> Answer<'_, BoxStream<'static, Result<Option<Bytes>, PeerError>>> {
        let nothing = digests.into_iter().map(|_| Ok(None));
        async { Ok(futures::stream::iter(nothing).boxed()) }.boxed()
    }

    fn transfers(&self, _from: PeerIdentity, _digests: Vec<Digest>) -> Answer<'_, Vec<TransferState>> {
        async { Ok(Vec::new()) }.boxed()
    }
}

struct NoUploads;

impl UploadHandler for NoUploads {
    fn forwarded(&self, _: PeerIdentity, _: UploadCall, _: WaitingBody) -> Answer<'_, UploadReply> {
        async { Err(PeerError::NotFound) }.boxed()
    }
}

/// Counts the read-index calls that reach a node.
struct Counting {
    inner: Arc<dyn ClusterHandler>,
    reads: Arc<AtomicU64>,
}

impl ClusterHandler for Counting {
    fn ping(&self, from: PeerIdentity) -> Answer<'_, PingReply> {
        self.inner.ping(from)
    }

    fn propose(&self, from: PeerIdentity, call: ProposeCall) -> Answer<'_, ProposeReply> {
        self.inner.propose(from, call)
    }

    fn read_index(&self, from: PeerIdentity) -> Answer<'_, u64> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        self.inner.read_index(from)
    }
}

/// A proposal's bytes, as a node forwards them.
pub(crate) fn call(proposal: &portolan_meta::command::Proposal) -> ProposeCall {
    ProposeCall { proposal: Bytes::from(portolan_meta::codec::encode_proposal(proposal)) }
}
