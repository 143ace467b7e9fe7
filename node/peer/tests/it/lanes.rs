//! Which connections calls go over, and when these are made.

use crate::support::{PATIENCE, Served, address, client, eventually, identity, pair};
use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use portolan_meta::id::NodeId;
use portolan_oci::Digest;
use portolan_peer::{Config, Connector, IdentityTable, Io, Lane, LocalIdentity, MemoryNetwork, ReadBlob};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::timeout;

const TWO: NodeId = NodeId(2);

#[tokio::test]
async fn readers_that_pause_hold_up_neither_each_other_nor_the_transfers() {
    let config = Config {
        stream_window_bytes: 1 << 20,
        connection_window_bytes: 2 << 20,
        bulk_connections: 1,
        ..Config::default()
    };
    let (_network, peers, served) = pair(&config);
    let bytes = Bytes::from(vec![7; 8 << 20]);
    let digest = Digest::sha256_of(&bytes);
    served.echo.blobs.lock().unwrap().insert(digest, bytes.clone());
    let read = ReadBlob { digest, offset: 0, limit: None, relay: false };
    let mut pausing = Vec::new();
    for _ in 0..8 {
        let mut remote = peers.read_blob_over(TWO, Lane::Paced, read.clone()).await.unwrap();
        remote.stream.next().await.unwrap().unwrap();
        pausing.push(remote);
    }
    let counter = Arc::clone(&served.echo.read);
    // Until each has what its window holds: together more than that of a connection.
    eventually("full windows", async || counter.load(Ordering::SeqCst) > 8 << 20).await;
    for lane in [Lane::Paced, Lane::Bulk, Lane::Pinned(7)] {
        let remote = peers.read_blob_over(TWO, lane, read.clone()).await.unwrap();
        let pieces: Vec<_> = timeout(PATIENCE, remote.stream.map(Result::unwrap).collect()).await.unwrap();
        assert_eq!(pieces.concat().len(), bytes.len(), "{lane:?}");
    }
    drop(pausing);
    served.stop().await;
}

#[tokio::test]
async fn a_ping_has_the_connections_for_blobs_made_and_made_again() {
    let config = Config { bulk_connections: 3, reconnect_min_ms: 1, reconnect_max_ms: 1, ..Config::default() };
    let network = MemoryNetwork::new();
    let dialed = Arc::new(AtomicU64::new(0));
    let start = || {
        let table = IdentityTable::new(LocalIdentity::known(identity(2)));
        Served::start(config.clone(), identity(2), table, network.listen(&address(2)))
    };
    let served = start();
    let connector = Counting { inner: network.connector(&address(1)), dialed: Arc::clone(&dialed) };
    let (peers, _) = client(config.clone(), 1, Arc::new(connector));
    assert_eq!(dialed.load(Ordering::SeqCst), 0);
    let ping = async || peers.ping(TWO, Duration::from_secs(5)).await.is_ok();
    assert!(ping().await);
    // The one that pings, and three for blobs; those that stand are not made again.
    eventually("all connections", async || dialed.load(Ordering::SeqCst) == 4).await;
    for _ in 0..10 {
        assert!(ping().await);
    }
    assert_eq!(dialed.load(Ordering::SeqCst), 4);
    served.crash();
    let served = start();
    eventually("all connections again", async || {
        ping().await;
        dialed.load(Ordering::SeqCst) >= 8
    })
    .await;
    served.stop().await;
}

/// Counts how often it connects.
struct Counting {
    inner: Arc<dyn Connector>,
    dialed: Arc<AtomicU64>,
}

impl Connector for Counting {
    fn connect(&self, address: String) -> BoxFuture<'static, io::Result<Box<dyn Io>>> {
        self.dialed.fetch_add(1, Ordering::SeqCst);
        self.inner.connect(address)
    }
}
