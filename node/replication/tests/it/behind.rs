//! Nodes that apply at different times: what is committed is servable at once, whoever knows of it already (design, P3).

use crate::cluster::{Cluster, Node, Plan, random, read_all, until};
use crate::tamper::Behaviour;
use futures::TryStreamExt;
use portolan_oci::{Algorithm, Digest};
use portolan_peer::{PeerError, ReadBlob};
use portolan_replication::{OpenError, ReadError, Source};
use portolan_store::PartKind;

const SIZE: usize = 3 << 20;

/// How many read the one transfer of a node.
fn readers(node: &Node) -> usize {
    node.replication.status().in_flight.iter().map(|fetch| fetch.readers).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_that_joined_a_transfer_which_came_too_early_gets_one_of_its_own() {
    let cluster = Cluster::start(Plan::without_workers()).await;
    let bytes = random(1, SIZE);
    let digest = cluster.nodes[0].push(&bytes).await;
    let (holder, node) = (&cluster.nodes[0], &cluster.nodes[1]);
    node.wait_known(&digest).await;
    // The holder lacks the blob when the first transfer asks, and has it right after.
    holder.tamper.set(Behaviour::Withholds);
    let early = node.replication.open(&digest, None);
    let late = async {
        until("the holder was asked", || holder.tamper.reads().len() == 1).await;
        let joined = async {
            until("a second reader has joined", || readers(node) == 2).await;
            holder.tamper.set(Behaviour::Honest);
        };
        let (body, ()) = tokio::join!(node.replication.open(&digest, None), joined);
        body
    };
    let (early, late) = tokio::join!(early, late);
    assert!(matches!(early, Err(OpenError::Unreachable { asked: 2 })), "{early:?}");
    assert!(read_all(late.unwrap()).await.unwrap() == bytes);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_second_transfer_that_fails_is_an_answer() {
    let cluster = Cluster::start(Plan::without_workers()).await;
    let digest = cluster.nodes[0].push(&random(2, SIZE)).await;
    let (holder, node) = (&cluster.nodes[0], &cluster.nodes[1]);
    node.wait_known(&digest).await;
    holder.tamper.set(Behaviour::Withholds);
    let early = node.replication.open(&digest, None);
    let late = async {
        until("the holder was asked", || holder.tamper.reads().len() == 1).await;
        let cut = async {
            until("a second reader has joined", || readers(node) == 2).await;
            cluster.cut(0, 1);
        };
        tokio::join!(node.replication.open(&digest, None), cut).0
    };
    let (early, late) = tokio::join!(early, late);
    for failed in [early, late] {
        assert!(matches!(failed, Err(OpenError::Unreachable { asked: 2 })), "{failed:?}");
    }
    assert_eq!(holder.tamper.reads().len(), 1);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_without_a_byte_goes_on_when_the_transfer_it_joined_is_lost() {
    let cluster = Cluster::start(Plan::without_workers()).await;
    let bytes = random(3, SIZE);
    // Without committed sums a range follows the whole.
    let digest = cluster.nodes[0].push_without_sums(&bytes).await;
    let (holder, node) = (&cluster.nodes[0], &cluster.nodes[1]);
    // Whole chunks: of one that is not complete nobody else can read.
    let held = 1 << 20;
    holder.tamper.set(Behaviour::HoldsAt(held));
    let first = node.open(&digest).await;
    // Its bytes are beyond those that came.
    let range = SIZE as u64 - 1_000..SIZE as u64;
    let joined = node.replication.open(&digest, Some(range)).await.unwrap();
    assert_eq!(joined.source, Source::Following);
    let first = tokio::spawn(read_all(first));
    let joined = tokio::spawn(read_all(joined));
    let received = || node.replication.status().in_flight.iter().map(|fetch| fetch.received).sum::<u64>();
    until("all that is not held came", || received() == held).await;
    // The holder breaks off and lacks the blob when it is asked once more, but not after.
    holder.tamper.set(Behaviour::Withholds);
    until("the holder was asked once more", || holder.tamper.reads().len() == 2).await;
    holder.tamper.set(Behaviour::Honest);
    let error = first.await.unwrap().unwrap_err();
    assert!(matches!(error, ReadError::SourcesLost { .. }), "{error}");
    assert!(joined.await.unwrap().unwrap() == bytes[SIZE - 1_000..]);
    assert_eq!(holder.tamper.reads().last().map(|read| read.offset), Some(held), "bytes travelled twice");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_holder_that_has_yet_to_apply_its_own_announcement_serves_the_file() {
    let cluster = Cluster::start(Plan::without_workers()).await;
    let (holder, other) = (&cluster.nodes[0], &cluster.nodes[1]);
    // One blob of which the holder's state knows nothing, and one of which it knows another's copy alone.
    let (unknown, elsewhere) = (random(4, SIZE), random(5, SIZE));
    other.push(&elsewhere).await;
    for bytes in [&unknown, &elsewhere] {
        let digest = Digest::sha256_of(bytes);
        seal(holder, bytes);
        if bytes == &elsewhere {
            holder.wait_known(&digest).await;
        }
        let read = ReadBlob { digest, offset: 1_000_000, limit: Some(500_000), relay: false };
        assert!(ask(&cluster, read.clone()).await.unwrap() == bytes[1_000_000..1_500_000]);
        let beyond = ReadBlob { offset: SIZE as u64 + 1, ..read };
        assert!(matches!(ask(&cluster, beyond).await, Err(PeerError::Malformed(_))));
    }
    let nowhere = ReadBlob { digest: Digest::sha256_of(b"nowhere"), offset: 0, limit: None, relay: false };
    assert_eq!(ask(&cluster, nowhere).await, Err(PeerError::NotFound));
    cluster.shutdown().await;
}

/// Makes a blob file that nobody announces, as an upload does before it is committed.
fn seal(node: &Node, bytes: &[u8]) {
    let digest = Digest::sha256_of(bytes);
    let mut part = node.blobs.parts(PartKind::Upload).create(&digest.hex(), Algorithm::Sha256, b"").unwrap();
    part.append(bytes).unwrap();
    part.seal(&digest).unwrap();
}

/// Asks the first node as the second would.
async fn ask(cluster: &Cluster, read: ReadBlob) -> Result<Vec<u8>, PeerError> {
    let handler = cluster.nodes[0].replication.blob_handler();
    let remote = handler.read_blob(cluster.identity(1), read).await?;
    assert_eq!(remote.size, SIZE as u64);
    let pieces: Vec<bytes::Bytes> = remote.stream.try_collect().await?;
    Ok(pieces.concat())
}
