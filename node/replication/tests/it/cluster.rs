//! The cluster that the tests run on.

use crate::tamper::{Gate, Tamper};
use futures::StreamExt;
use portolan_consensus::{Consensus, LocalNode, StaticMember};
use portolan_meta::command::Command;
use portolan_meta::id::{FileId, NodeId, StoreId};
use portolan_meta::outcome::Outcome;
use portolan_meta::placement::{Topology, targets};
use portolan_meta::policy::{Policy, PolicyRow, Prefix};
use portolan_meta::query;
use portolan_meta::row::{AckPolicy, NodeState, Role};
use portolan_oci::{Algorithm, Digest, RepoName};
use portolan_peer::{
    Answer, Handlers, HelloCall, HelloHandler, HelloReply, IdentityTable, LocalIdentity, MemoryNetwork, PeerError,
    PeerIdentity, PeerServer, Peers, UploadCall, UploadHandler, UploadReply, WaitingBody,
};
use portolan_replication::{BlobBody, Config, Me, PeerHealth, Replication};
use portolan_store::{Blobs, PartKind, RaftLog, State, StoredFile};
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// What every wait in these tests may take at most.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// From which phi on a silent node is suspect: never, or a machine that stands still for a second would make every node
/// suspect to every other.
const SUSPECT_PHI: f64 = f64::INFINITY;

/// What may differ between clusters.
#[derive(Clone)]
pub(crate) struct Plan {
    /// The region of each node, in order.
    pub(crate) regions: Vec<&'static str>,
    /// Whether the workers fetch; without, only pulls do.
    pub(crate) workers: bool,
    /// The node (from 0) whose disk has no room for blobs.
    pub(crate) full: Option<usize>,
    pub(crate) config: Config,
    pub(crate) sync_every_bytes: u64,
}

impl Default for Plan {
    fn default() -> Self {
        let config = Config { backoff_ms: 50, stall_timeout_ms: 5_000, ..Config::default() };
        Self { regions: vec!["a", "b", "c"], workers: true, full: None, config, sync_every_bytes: 1 << 20 }
    }
}

impl Plan {
    /// Pulls alone move blobs.
    pub(crate) fn without_workers() -> Self {
        Self { workers: false, ..Self::default() }
    }

    /// Transfers wait for bytes that are held back for as long as the test holds them.
    pub(crate) fn patient(self) -> Self {
        Self { config: Config { stall_timeout_ms: 60_000, ..self.config }, ..self }
    }
}

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) blobs: Arc<Blobs>,
    pub(crate) consensus: Arc<Consensus>,
    pub(crate) replication: Arc<Replication>,
    pub(crate) tamper: Arc<Tamper>,
    stop: CancellationToken,
    server: JoinHandle<()>,
}

pub(crate) struct Cluster {
    plan: Plan,
    network: Arc<MemoryNetwork>,
    pub(crate) nodes: Vec<Node>,
    incarnations: Vec<u64>,
    // Removed last.
    _root: tempfile::TempDir,
    root: PathBuf,
}

struct NoHello;

impl HelloHandler for NoHello {
    fn hello(&self, _call: HelloCall) -> Answer<'_, HelloReply> {
        Box::pin(std::future::ready(Ok(HelloReply::default())))
    }
}

struct NoUploads;

impl UploadHandler for NoUploads {
    fn forwarded(&self, _: PeerIdentity, _: UploadCall, _: WaitingBody) -> Answer<'_, UploadReply> {
        Box::pin(std::future::ready(Err(PeerError::NotFound)))
    }
}

impl Cluster {
    pub(crate) async fn start(plan: Plan) -> Self {
        let root = tempfile::tempdir().unwrap();
        let count = plan.regions.len();
        let path = root.path().to_owned();
        let mut cluster = Self {
            plan,
            network: MemoryNetwork::new(),
            nodes: Vec::new(),
            incarnations: vec![0; count],
            _root: root,
            root: path,
        };
        for index in 0..count {
            let node = cluster.launch(index).await;
            cluster.nodes.push(node);
        }
        cluster.nodes[0].consensus.initialize_if_first().await.unwrap();
        for node in &cluster.nodes {
            node.boot().await;
        }
        // Everybody must see everybody, so that all plan alike, and be well in the eyes of all: who has not been heard yet
        // crosses for nobody.
        for node in &cluster.nodes {
            until("all nodes are known", || node.knows() == count).await;
            let others = || cluster.nodes.iter().filter(|other| other.id != node.id);
            until("all are well", || others().all(|other| node.replication.health(other.id) == PeerHealth::Well)).await;
        }
        cluster
    }

    fn members(&self) -> Vec<StaticMember> {
        let member = |(index, region): (usize, &&'static str)| StaticMember {
            id: NodeId(index as u64 + 1),
            name: format!("n{}", index + 1),
            region: (*region).to_owned(),
            zone: String::new(),
            role: Role::Full,
            peer: address(index),
            voter: true,
        };
        self.plan.regions.iter().enumerate().map(member).collect()
    }

    async fn launch(&mut self, index: usize) -> Node {
        self.incarnations[index] += 1;
        let id = NodeId(index as u64 + 1);
        let dir = self.root.join(format!("n{}", id.0));
        let store = portolan_store::Config {
            reserve_bytes: if self.plan.full == Some(index) { u64::MAX / 2 } else { 0 },
            sync_every_bytes: self.plan.sync_every_bytes,
            ..portolan_store::Config::default()
        };
        let identity = self.identity(index);
        let local = LocalIdentity::known(identity.clone());
        let guard = IdentityTable::new(Arc::clone(&local));
        let mut peer_config = portolan_peer::Config::default();
        // A test that lets bytes wait for longer means both clocks.
        peer_config.progress_timeout_ms = peer_config.progress_timeout_ms.max(self.plan.config.stall_timeout_ms);
        let connector = self.network.connector(&address(index));
        let peers = Peers::new(Arc::clone(&local), guard.clone(), connector, peer_config.clone());
        let local_node = LocalNode {
            cluster_id: identity.cluster_id,
            epoch: 0,
            id,
            storage_uuid: identity.storage_uuid,
            incarnation: identity.incarnation,
            version: "test".to_owned(),
        };
        let consensus = Consensus::start(
            portolan_consensus::Config { suspect_phi: SUSPECT_PHI, ..Default::default() },
            local_node,
            self.members(),
            RaftLog::open(&dir, &store).unwrap(),
            State::open(&dir, &store).unwrap(),
            Arc::clone(&peers),
        )
        .await
        .unwrap();
        let blobs = Blobs::open(&dir, &store).unwrap();
        let mut config = self.plan.config.clone();
        if !self.plan.workers {
            config.max_unconfirmed = 0;
        }
        let me = Me { node: id, region: self.plan.regions[index].to_owned(), zone: String::new() };
        let replication = Replication::start(config, me, Arc::clone(&blobs), Arc::clone(&consensus), peers);
        let tamper = Tamper::new();
        tamper.wrap(replication.blob_handler());
        let handlers = Arc::new(OnceLock::new());
        let set = handlers.set(Handlers {
            raft: consensus.raft_handler(),
            cluster: consensus.cluster_handler(),
            blobs: Arc::new(Gate(Arc::clone(&tamper))),
            uploads: Arc::new(NoUploads),
        });
        assert!(set.is_ok());
        let stop = CancellationToken::new();
        let server = PeerServer::new(peer_config, local, guard, handlers, Arc::new(NoHello));
        let (incoming, stopped) = (self.network.listen(&address(index)), stop.clone().cancelled_owned());
        let server = tokio::spawn(async move { server.serve(incoming, stopped).await.unwrap() });
        Node { id, blobs, consensus, replication, tamper, stop, server }
    }

    /// Stops a node properly, and starts it on the same disk after `meanwhile`.
    pub(crate) async fn restart(&mut self, index: usize, meanwhile: impl FnOnce(&Self)) {
        self.restart_unknown(index, meanwhile).await;
        self.nodes[index].boot().await;
    }

    /// The same, but the cluster does not know the new start until it boots.
    pub(crate) async fn restart_unknown(&mut self, index: usize, meanwhile: impl FnOnce(&Self)) {
        let node = self.nodes.remove(index);
        node.shutdown().await;
        meanwhile(self);
        let node = self.launch(index).await;
        self.nodes.insert(index, node);
    }

    /// Waits until every node knows a blob: whoever asks one that does not know it yet passes it over.
    pub(crate) async fn wait_known(&self, digest: &Digest) {
        for node in &self.nodes {
            node.wait_known(digest).await;
        }
    }

    /// Breaks the connections between two nodes (from 0).
    pub(crate) fn cut(&self, a: usize, b: usize) {
        self.network.cut(&address(a), &address(b));
    }

    pub(crate) fn heal(&self, a: usize, b: usize) {
        self.network.heal(&address(a), &address(b));
    }

    /// What a node says of itself to its peers.
    pub(crate) fn identity(&self, index: usize) -> PeerIdentity {
        let node = NodeId(index as u64 + 1);
        PeerIdentity {
            cluster_id: "test".to_owned(),
            epoch: 0,
            node,
            storage_uuid: format!("storage-{node}"),
            incarnation: self.incarnations[index],
            boot: String::new(),
        }
    }

    /// What lies in a digest's folder that is named after it, sidecars too.
    pub(crate) fn names_beside(&self, index: usize, digest: &Digest) -> Vec<String> {
        let hex = digest.hex();
        let folder = self.root.join(format!("n{}/blobs/sha256/{}", index + 1, &hex[..2]));
        let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(&hex)).collect()
    }

    /// Turns a bit in a blob file, behind the node's back.
    pub(crate) fn damage(&self, index: usize, digest: &Digest, file: FileId) {
        let path = self.path_of(index, digest, file);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[1000] ^= 1;
        std::fs::write(&path, bytes).unwrap();
    }

    /// Cuts a blob file short, behind the node's back.
    pub(crate) fn truncate(&self, index: usize, digest: &Digest, file: FileId, len: u64) {
        let path = self.path_of(index, digest, file);
        std::fs::File::options().write(true).open(path).unwrap().set_len(len).unwrap();
    }

    fn path_of(&self, index: usize, digest: &Digest, file: FileId) -> PathBuf {
        let hex = digest.hex();
        let folder = self.root.join(format!("n{}/blobs/sha256/{}", index + 1, &hex[..2]));
        folder.join(format!("{hex}.{}", ulid::Ulid(file.0)))
    }

    /// Pushes a blob, at one of its targets, that some node is no target of; tells which.
    pub(crate) async fn push_with_outsider(&self) -> (Digest, usize) {
        let stores: Vec<StoreId> = self.nodes.iter().map(|node| StoreId::from(node.id)).collect();
        let state = self.nodes[0].consensus.local();
        for seed in 0.. {
            let bytes = random(seed, 3 << 20);
            let digest = Digest::sha256_of(&bytes);
            let targets = state
                .read(|view| Topology::read(view).map(|topology| targets(&digest, &topology, &Policy::default())))
                .unwrap();
            let outsider = stores.iter().position(|store| !targets.contains(store));
            let holder = stores.iter().position(|store| targets.contains(store));
            if let (Some(outsider), Some(holder)) = (outsider, holder) {
                self.nodes[holder].push(&bytes).await;
                return (digest, outsider);
            }
        }
        unreachable!("some seed fits");
    }

    pub(crate) async fn shutdown(self) {
        for node in self.nodes {
            node.shutdown().await;
        }
    }
}

impl Node {
    /// Makes this start known to the cluster.
    pub(crate) async fn boot(&self) {
        let outcome = self.consensus.boot(Instant::now() + PATIENCE).await.unwrap();
        assert_eq!(outcome, Outcome::Done);
    }

    fn knows(&self) -> usize {
        self.consensus.local().read(|view| query::nodes(view)).unwrap().len()
    }

    /// Makes a blob here, as an upload does.
    pub(crate) async fn push(&self, bytes: &[u8]) -> Digest {
        self.commit(bytes, true).await
    }

    /// Makes a blob here as older versions did, which committed to no chunk sums.
    pub(crate) async fn push_without_sums(&self, bytes: &[u8]) -> Digest {
        self.commit(bytes, false).await
    }

    async fn commit(&self, bytes: &[u8], summed: bool) -> Digest {
        let stored = self.lay(bytes);
        let digest = stored.digest;
        let command = Command::CommitBlob {
            repo: repo(),
            digest,
            size: stored.size,
            store: StoreId::from(self.id),
            file: stored.file,
            pin_ms: 3_600_000,
            sums: summed.then_some(stored.sums),
        };
        let outcome = self.consensus.propose(command, Instant::now() + PATIENCE).await.unwrap();
        assert!(matches!(outcome, Outcome::BlobCommitted { .. }), "{outcome:?}");
        digest
    }

    /// Makes a file of a blob here that nobody is told of, as an upload does that ends before its commit.
    pub(crate) fn lay(&self, bytes: &[u8]) -> StoredFile {
        let digest = Digest::sha256_of(bytes);
        let name = format!("{}-{}", self.id, digest.hex());
        let mut part = self.blobs.parts(PartKind::Upload).create(&name, Algorithm::Sha256, b"").unwrap();
        part.append(bytes).unwrap();
        part.seal(&digest).unwrap()
    }

    /// Makes pushes wait for so many regions.
    pub(crate) async fn set_ack(&self, regions: u32) {
        let ack = Some(AckPolicy { regions, copies: 1 });
        self.set_policy(PolicyRow { ack, ..PolicyRow::default() }).await;
    }

    /// Sets the policy of every repository.
    pub(crate) async fn set_policy(&self, policy: PolicyRow) {
        let command = Command::SetPolicy { prefix: Prefix::default(), policy };
        assert_eq!(self.propose(command).await, Outcome::Done);
    }

    /// The files of the blob that lie on this node's disk, announced or not.
    pub(crate) fn on_disk(&self, digest: &Digest) -> usize {
        self.blobs.files_of(digest).unwrap().len()
    }

    /// Has the cluster see a node (from 0) in a state.
    pub(crate) async fn judge(&self, index: usize, state: NodeState) {
        let command = Command::SetNodeState { node: NodeId(index as u64 + 1), incarnation: 1, state };
        assert_eq!(self.propose(command).await, Outcome::Done);
    }

    pub(crate) async fn propose(&self, command: Command) -> Outcome {
        self.consensus.propose(command, Instant::now() + PATIENCE).await.unwrap()
    }

    /// Opens a blob as soon as this node's state knows it.
    pub(crate) async fn open(&self, digest: &Digest) -> BlobBody {
        self.wait_known(digest).await;
        self.replication.open(digest, None).await.unwrap()
    }

    pub(crate) async fn wait_known(&self, digest: &Digest) {
        until("the blob is known", || self.holders(digest) > 0).await;
    }

    /// The files that this node is recorded to hold, in its own state.
    pub(crate) fn recorded(&self, digest: &Digest) -> Vec<FileId> {
        let own = StoreId::from(self.id);
        let all = self.consensus.local().read(|view| query::locations(view, digest)).unwrap();
        all.iter().filter(|location| location.store == own).map(|location| location.file).collect()
    }

    /// How many copies this node knows of.
    pub(crate) fn holders(&self, digest: &Digest) -> usize {
        self.consensus.local().read(|view| query::locations(view, digest)).unwrap().len()
    }

    /// Waits until this node holds the blob and everybody may know.
    pub(crate) async fn wait_recorded(&self, digest: &Digest) -> FileId {
        until("the copy is recorded", || !self.recorded(digest).is_empty()).await;
        let file = self.recorded(digest)[0];
        self.blobs.verify_whole(digest, file).unwrap();
        file
    }

    async fn shutdown(self) {
        self.replication.shutdown().await;
        self.stop.cancel();
        self.server.await.unwrap();
        self.consensus.shutdown().await;
    }
}

/// Reads a body to its end.
pub(crate) async fn read_all(body: BlobBody) -> Result<Vec<u8>, portolan_replication::ReadError> {
    let mut stream = body.stream;
    let mut all = Vec::new();
    while let Some(bytes) = tokio::time::timeout(PATIENCE, stream.next()).await.expect("bytes in time") {
        all.extend_from_slice(&bytes?);
    }
    Ok(all)
}

/// Reads a body until so many bytes have come.
pub(crate) async fn read_first(body: &mut BlobBody, count: u64) {
    let mut came = 0;
    while came < count {
        let next = tokio::time::timeout(PATIENCE, body.stream.next()).await.expect("bytes in time");
        came += next.expect("it goes on").unwrap().len() as u64;
    }
}

/// Where every test pushes.
pub(crate) fn repo() -> RepoName {
    "test/repo".parse().unwrap()
}

/// Bytes that no compressor and no dedup could fake; the seed is the test's own.
pub(crate) fn random(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    StdRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// Waits for a condition.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(10)).await;
    }
}

fn address(index: usize) -> String {
    format!("n{}:7000", index + 1)
}
