//! Nodes for the tests: identities, handlers that echo, and a log that can be read.

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{BoxStream, iter, pending};
use portolan_meta::id::NodeId;
use portolan_oci::Digest;
use portolan_peer::{
    Answer, Append, BlobHandler, ClusterHandler, Config, Connector, Guard, Handlers, HelloCall, HelloHandler,
    HelloReply, IdentityTable, Lane, LocalIdentity, Member, MemoryNetwork, PeerError, PeerIdentity, PeerIo, PeerServer,
    Peers, PingReply, ProposeCall, ProposeReply, RaftHandler, ReadBlob, RemoteBlob, SnapshotFrame, TransferState,
};
use std::collections::HashMap;
use std::io;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::fmt::MakeWriter;

/// Longer than anything here may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// Shorter than what must not have been waited for, and longer than a busy machine may stand still.
pub(crate) const SOON: Duration = Duration::from_secs(5);

pub(crate) fn identity(node: u64) -> PeerIdentity {
    PeerIdentity {
        cluster_id: "cluster-a".to_owned(),
        epoch: 1,
        node: NodeId(node),
        storage_uuid: format!("folder-{node}"),
        incarnation: 5,
        boot: "first".to_owned(),
    }
}

pub(crate) fn address(node: u64) -> String {
    format!("node-{node}:7000")
}

pub(crate) fn member(node: u64, address: &str) -> Member {
    Member {
        node: NodeId(node),
        name: format!("node-{node}"),
        region: "here".to_owned(),
        zone: String::new(),
        address: address.to_owned(),
    }
}

/// Handlers that answer with what they got, and some that misbehave on request.
#[derive(Default)]
pub(crate) struct Echo {
    pub(crate) blobs: Mutex<HashMap<Digest, Bytes>>,
    /// How many bytes of blobs the transport has asked for.
    pub(crate) read: Arc<AtomicU64>,
    /// How many calls were dropped before they had an answer.
    pub(crate) dropped: Arc<AtomicU64>,
    pub(crate) accused: Mutex<Vec<Digest>>,
    /// The last error that a snapshot's receiver saw.
    pub(crate) snapshot_error: Mutex<Option<PeerError>>,
}

/// Counts when it is dropped.
struct OnDrop(Arc<AtomicU64>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl RaftHandler for Echo {
    /// Echoes; after a request of "mute" it stays silent, after "fail" it fails.
    fn append_stream(
        &self,
        _from: PeerIdentity,
        requests: BoxStream<'static, Result<Append, PeerError>>,
    ) -> Answer<'_, BoxStream<'static, Result<Bytes, PeerError>>> {
        let answers = requests.flat_map(|request| match request.map(|request| request.payload) {
            Ok(request) if request == "mute" => pending().boxed(),
            Ok(request) if request == "fail" => iter([Err(PeerError::Busy)]).boxed(),
            other => iter([other]).boxed(),
        });
        Box::pin(async move { Ok(answers.boxed()) })
    }

    fn vote(&self, from: PeerIdentity, request: Bytes) -> Answer<'_, Bytes> {
        let reply = format!("vote of {} {}", from.node, String::from_utf8_lossy(&request));
        Box::pin(async move { Ok(reply.into()) })
    }

    fn pre_vote(&self, _from: PeerIdentity, request: Bytes) -> Answer<'_, Bytes> {
        let reply = format!("pre-vote {}", String::from_utf8_lossy(&request));
        Box::pin(async move { Ok(reply.into()) })
    }

    fn transfer_leader(&self, _from: PeerIdentity, request: Bytes) -> Answer<'_, Bytes> {
        let reply = format!("transfer {}", String::from_utf8_lossy(&request));
        Box::pin(async move { Ok(reply.into()) })
    }

    fn hand_over(&self, _from: PeerIdentity, request: Bytes) -> Answer<'_, Bytes> {
        let reply = format!("hand over {}", String::from_utf8_lossy(&request));
        Box::pin(async move { Ok(reply.into()) })
    }

    /// Answers with all bytes in a row.
    fn snapshot(
        &self,
        _from: PeerIdentity,
        mut frames: BoxStream<'static, Result<SnapshotFrame, PeerError>>,
    ) -> Answer<'_, Bytes> {
        Box::pin(async move {
            let mut all = Vec::new();
            while let Some(frame) = frames.next().await {
                match frame {
                    Ok(SnapshotFrame::Header(header)) => all.extend_from_slice(&header.meta),
                    Ok(SnapshotFrame::Data(data)) => all.extend_from_slice(&data.bytes),
                    Err(error) => {
                        *self.snapshot_error.lock().unwrap() = Some(error.clone());
                        return Err(error);
                    }
                }
            }
            Ok(all.into())
        })
    }
}

impl ClusterHandler for Echo {
    fn ping(&self, from: PeerIdentity) -> Answer<'_, PingReply> {
        let reply = PingReply { applied: from.incarnation, leader: Some(from.node), ..PingReply::default() };
        Box::pin(async move { Ok(reply) })
    }

    /// Echoes; "stall" never answers, the others fail in their way.
    fn propose(&self, _from: PeerIdentity, call: ProposeCall) -> Answer<'_, ProposeReply> {
        let dropped = Arc::clone(&self.dropped);
        Box::pin(async move {
            match &call.proposal[..] {
                b"stall" => {
                    let _on_drop = OnDrop(dropped);
                    std::future::pending().await
                }
                b"not-leader" => Err(PeerError::NotLeader { leader: Some(NodeId(9)) }),
                b"busy" => Err(PeerError::Busy),
                b"remote" => Err(PeerError::Remote("disk".to_owned())),
                _ => Ok(ProposeReply { index: 12, outcome: call.proposal }),
            }
        })
    }

    fn read_index(&self, _from: PeerIdentity) -> Answer<'_, u64> {
        Box::pin(async move { Ok(77) })
    }
}

impl BlobHandler for Echo {
    fn read_blob(&self, _from: PeerIdentity, read: ReadBlob) -> Answer<'_, RemoteBlob> {
        let found = self.blobs.lock().unwrap().get(&read.digest).cloned();
        let counter = Arc::clone(&self.read);
        Box::pin(async move {
            let bytes = found.ok_or(PeerError::NotFound)?;
            let size = bytes.len() as u64;
            let end = read.limit.map_or(size, |limit| size.min(read.offset + limit));
            let range = usize::try_from(read.offset).unwrap()..usize::try_from(end).unwrap();
            let wanted = bytes.slice(range);
            let pieces: Vec<Bytes> = wanted.chunks(100_000).map(|piece| wanted.slice_ref(piece)).collect();
            let stream = iter(pieces).map(move |piece| {
                counter.fetch_add(piece.len() as u64, Ordering::SeqCst);
                Ok(piece)
            });
            Ok(RemoteBlob { size, stream: stream.boxed() })
        })
    }

    fn accuse(&self, _from: PeerIdentity, digest: Digest) -> Answer<'_, ()> {
        self.accused.lock().unwrap().push(digest);
        Box::pin(async move { Ok(()) })
    }

    /// As many sums as the blob has bytes.
    fn sums(&self, _from: PeerIdentity, digest: Digest) -> Answer<'_, Vec<u32>> {
        let found = self.blobs.lock().unwrap().get(&digest).cloned();
        let sums = found.ok_or(PeerError::NotFound).map(|bytes| bytes.iter().map(|byte| u32::from(*byte)).collect());
        Box::pin(async move { sums })
    }

    fn read_many(
        &self,
        _from: PeerIdentity,
        digests: Vec<Digest>,
    ) -> Answer<'_, BoxStream<'static, Result<Option<Bytes>, PeerError>>> {
        let blobs = self.blobs.lock().unwrap();
        let found: Vec<_> = digests.iter().map(|digest| Ok(blobs.get(digest).cloned())).collect();
        let counter = Arc::clone(&self.read);
        let stream = iter(found).inspect(move |item: &Result<Option<Bytes>, PeerError>| {
            let bytes = item.as_ref().ok().and_then(Option::as_ref).map_or(0, Bytes::len);
            counter.fetch_add(bytes as u64, Ordering::SeqCst);
        });
        Box::pin(async move { Ok(stream.boxed()) })
    }

    /// Every blob is on its way here, from whoever asks.
    fn transfers(&self, from: PeerIdentity, digests: Vec<Digest>) -> Answer<'_, Vec<TransferState>> {
        let state = |digest| TransferState { digest, received: 7, from: Some(from.node), bytes_per_second: 9 };
        let states = digests.into_iter().map(state).collect();
        Box::pin(async move { Ok(states) })
    }
}

/// Says hello.
pub(crate) struct Greeter;

impl HelloHandler for Greeter {
    fn hello(&self, call: HelloCall) -> Answer<'_, HelloReply> {
        let reply = HelloReply {
            name: "greeter".to_owned(),
            cluster_id: Some("cluster-a".to_owned()),
            known_storage_uuid: (call.name == "node-2").then(|| "folder-2".to_owned()),
            ..HelloReply::default()
        };
        Box::pin(async move { Ok(reply) })
    }
}

/// A guard without doubts.
pub(crate) struct Anyone;

impl Guard for Anyone {
    fn check(&self, _peer: &PeerIdentity) -> Result<(), portolan_peer::Rejection> {
        Ok(())
    }

    fn expected(&self, _node: NodeId) -> Option<portolan_peer::Expected> {
        None
    }
}

/// A server under test.
pub(crate) struct Served {
    pub(crate) echo: Arc<Echo>,
    pub(crate) handlers: Arc<OnceLock<Handlers>>,
    stop: CancellationToken,
    task: JoinHandle<io::Result<()>>,
}

impl Served {
    pub(crate) fn start(
        config: Config,
        identity: PeerIdentity,
        guard: Arc<dyn Guard>,
        incoming: BoxStream<'static, io::Result<PeerIo>>,
    ) -> Self {
        let served = Self::without_handlers(config, LocalIdentity::known(identity), guard, incoming);
        served.set_handlers();
        served
    }

    pub(crate) fn without_handlers(
        config: Config,
        local: Arc<LocalIdentity>,
        guard: Arc<dyn Guard>,
        incoming: BoxStream<'static, io::Result<PeerIo>>,
    ) -> Self {
        let handlers = Arc::new(OnceLock::new());
        let server = PeerServer::new(config, local, guard, Arc::clone(&handlers), Arc::new(Greeter));
        let stop = CancellationToken::new();
        let task = tokio::spawn(server.serve(incoming, stop.clone().cancelled_owned()));
        Self { echo: Arc::default(), handlers, stop, task }
    }

    pub(crate) fn set_handlers(&self) {
        let echo = &self.echo;
        let handlers = Handlers {
            raft: echo.clone(),
            cluster: echo.clone(),
            blobs: echo.clone(),
            uploads: Arc::new(crate::owner::Owner),
        };
        assert!(self.handlers.set(handlers).is_ok(), "handlers are set once");
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        timeout(PATIENCE, self.task).await.unwrap().unwrap().unwrap();
    }

    /// Ends it as a crash does.
    pub(crate) fn crash(self) {
        self.task.abort();
    }
}

/// A client of node `node` that knows node 2.
pub(crate) fn client(config: Config, node: u64, connector: Arc<dyn Connector>) -> (Arc<Peers>, Arc<IdentityTable>) {
    let local = LocalIdentity::known(identity(node));
    let table = IdentityTable::new(Arc::clone(&local));
    let peers = Peers::new(local, table.clone(), connector, config);
    peers.set_members(vec![member(2, &address(2))]);
    (peers, table)
}

/// Node 1 calls node 2 over the in-memory network.
pub(crate) fn pair(config: &Config) -> (Arc<MemoryNetwork>, Arc<Peers>, Served) {
    let network = MemoryNetwork::new();
    let table = IdentityTable::new(LocalIdentity::known(identity(2)));
    let served = Served::start(config.clone(), identity(2), table, network.listen(&address(2)));
    let (peers, _) = client(config.clone(), 1, network.connector(&address(1)));
    (network, peers, served)
}

/// Opens an append stream whose requests come from a sender.
pub(crate) async fn append(
    peers: &Peers,
) -> (tokio::sync::mpsc::Sender<Bytes>, BoxStream<'static, Result<Bytes, PeerError>>) {
    let (sender, receiver) = tokio::sync::mpsc::channel(1_024);
    let requests = tokio_stream::wrappers::ReceiverStream::new(receiver).map(Append::from);
    let answers = peers.append_stream(NodeId(2), Lane::Raft, requests).await.unwrap();
    (sender, answers)
}

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < PATIENCE, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// The log of this thread, as text.
#[derive(Clone, Default)]
pub(crate) struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Catches what this thread logs until the guard is dropped.
    pub(crate) fn catch() -> (Self, tracing::subscriber::DefaultGuard) {
        let log = Self::default();
        let subscriber = tracing_subscriber::fmt().with_writer(log.clone()).with_ansi(false).finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    pub(crate) fn lines(&self, containing: &str) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().filter(|line| line.contains(containing)).map(ToOwned::to_owned).collect()
    }
}

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Log {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}
