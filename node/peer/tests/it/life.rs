//! Peers that come, go and fall silent.

use crate::support::{PATIENCE, SOON, Served, address, append, client, eventually, identity, pair};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use portolan_meta::id::NodeId;
use portolan_oci::Digest;
use portolan_peer::{
    Config, Connector, IdentityTable, Io, Lane, LocalIdentity, MemoryNetwork, PeerError, ProposeCall, ReadBlob,
};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

const TWO: NodeId = NodeId(2);

fn start(network: &Arc<MemoryNetwork>, incarnation: u64) -> Served {
    let mut own = identity(2);
    own.incarnation = incarnation;
    let table = IdentityTable::new(LocalIdentity::known(own.clone()));
    Served::start(Config::default(), own, table, network.listen(&address(2)))
}

#[tokio::test]
async fn a_peer_that_restarts_is_called_again_soon() {
    let network = MemoryNetwork::new();
    let served = start(&network, 5);
    let (peers, _) = client(Config::default(), 1, network.connector(&address(1)));
    peers.ping(TWO, PATIENCE).await.unwrap();
    let (_sender, mut answers) = append(&peers).await;

    served.crash();
    network.kill(&address(2));
    let end = answers.next().await;
    assert!(matches!(end, Some(Err(PeerError::Unreachable(_)))), "{end:?}");
    // Down for a while, so that the pause between attempts has grown to its most.
    let down = Instant::now();
    while down.elapsed() < Duration::from_millis(1_200) {
        let result = peers.ping(TWO, PATIENCE).await;
        assert!(matches!(result, Err(PeerError::Unreachable(_))), "{result:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let served = start(&network, 6);
    let back = Instant::now();
    eventually("the reconnection", async || peers.ping(TWO, PATIENCE).await.is_ok()).await;
    assert!(back.elapsed() < SOON, "{:?}", back.elapsed());
    let (sender, mut answers) = append(&peers).await;
    sender.send("a".into()).await.unwrap();
    assert_eq!(answers.next().await, Some(Ok("a".into())));
    served.stop().await;
}

#[tokio::test]
async fn a_stopping_server_ends_append_streams_at_once_and_lets_calls_finish() {
    // Far longer than a busy machine may take, so that whoever waits for it is told from one that is slow.
    let config = Config { shutdown_grace_ms: 60_000, ..Config::default() };
    let (_network, peers, served) = pair(&config);
    let (_sender, mut answers) = append(&peers).await;
    let bytes = Bytes::from(vec![7; 1 << 20]);
    let digest = Digest::sha256_of(&bytes);
    served.echo.blobs.lock().unwrap().insert(digest, bytes.clone());
    let read = ReadBlob { digest, offset: 0, limit: None, relay: false };
    let blob = peers.read_blob(TWO, read).await.unwrap();
    let start = Instant::now();
    let stopping = tokio::spawn(served.stop());
    assert!(matches!(answers.next().await, Some(Err(PeerError::Unreachable(_)))));
    let pieces: Vec<_> = blob.stream.map(Result::unwrap).collect().await;
    assert_eq!(pieces.concat(), bytes);
    stopping.await.unwrap();
    assert!(start.elapsed() < SOON, "nothing was left to wait for");
}

#[tokio::test]
async fn a_call_that_does_not_finish_is_cut_after_the_grace_period() {
    let config = Config { shutdown_grace_ms: 100, ..Config::default() };
    let (_network, peers, served) = pair(&config);
    peers.ping(TWO, PATIENCE).await.unwrap();
    let dropped = Arc::clone(&served.echo.dropped);
    let call = ProposeCall { proposal: "stall".into() };
    let calling = tokio::spawn(async move { peers.propose(TWO, call, PATIENCE * 3).await });
    eventually("the call's arrival", async || Arc::strong_count(&dropped) > 2).await;
    served.stop().await;
    let result = calling.await.unwrap();
    assert!(matches!(result, Err(PeerError::Unreachable(_))), "{result:?}");
    eventually("the handler's end", async || dropped.load(Ordering::SeqCst) == 1).await;
}

/// A connector whose connections can fall silent without breaking, as when a host loses power; it counts them.
struct Freezer {
    inner: Arc<dyn Connector>,
    frozen: Arc<AtomicBool>,
    connections: AtomicUsize,
}

struct Freezing {
    inner: Box<dyn Io>,
    frozen: Arc<AtomicBool>,
}

impl Connector for Freezer {
    fn connect(&self, address: String) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        self.connections.fetch_add(1, Ordering::SeqCst);
        let connecting = self.inner.connect(address);
        let frozen = Arc::clone(&self.frozen);
        Box::pin(async move {
            let inner = connecting.await?;
            Ok(Box::new(Freezing { inner, frozen }) as Box<dyn Io>)
        })
    }
}

impl AsyncRead for Freezing {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl AsyncWrite for Freezing {
    /// What is written to a silent connection is lost.
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.frozen.load(Ordering::SeqCst) {
            return Poll::Ready(Ok(buf.len()));
        }
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

fn freezer(network: &Arc<MemoryNetwork>) -> Arc<Freezer> {
    Arc::new(Freezer {
        inner: network.connector(&address(1)),
        frozen: Arc::default(),
        connections: AtomicUsize::new(0),
    })
}

#[tokio::test]
async fn a_peer_that_falls_silent_is_noticed_on_an_idle_stream() {
    let network = MemoryNetwork::new();
    let served = start(&network, 5);
    let config = Config { keepalive_interval_ms: 100, keepalive_timeout_ms: 100, ..Config::default() };
    let freezer = freezer(&network);
    let (peers, _) = client(config, 1, freezer.clone());
    let (_sender, mut answers) = append(&peers).await;
    freezer.frozen.store(true, Ordering::SeqCst);
    let silent = Instant::now();
    let end = answers.next().await;
    assert!(matches!(end, Some(Err(PeerError::Unreachable(_)))), "{end:?}");
    // Soon after 200 ms, and by neither of the usual limits.
    assert!(silent.elapsed() < Duration::from_secs(2), "{:?}", silent.elapsed());
    freezer.frozen.store(false, Ordering::SeqCst);
    eventually("the reconnection", async || peers.ping(TWO, PATIENCE).await.is_ok()).await;
    served.crash();
}

#[tokio::test]
async fn lanes_have_connections_of_their_own_and_bulk_has_several() {
    let network = MemoryNetwork::new();
    let served = start(&network, 5);
    let freezer = freezer(&network);
    let (peers, _) = client(Config::default(), 1, freezer.clone());
    let connections = || freezer.connections.load(Ordering::SeqCst);
    let digest = Digest::sha256_of(b"x");
    served.echo.blobs.lock().unwrap().insert(digest, "x".into());
    for _ in 0..2 {
        peers.vote(TWO, "v".into(), PATIENCE).await.unwrap();
    }
    assert_eq!(connections(), 1);
    let read = ReadBlob { digest, offset: 0, limit: None, relay: false };
    for (lane, expected) in [(Lane::Pinned(6), 2), (Lane::Bulk, 5), (Lane::Paced, 9)] {
        for _ in 0..8 {
            peers.read_blob_over(TWO, lane, read.clone()).await.unwrap();
        }
        assert_eq!(connections(), expected, "{lane:?}");
    }
    for _ in 0..2 {
        peers.ping(TWO, PATIENCE).await.unwrap();
    }
    assert_eq!(connections(), 10, "those for blobs stand already");
    served.stop().await;
}
