//! Large blobs, of which several ranges come at a time, and pulls that want a range only.

use crate::cluster::{Cluster, Node, PATIENCE, Plan, random, read_all, until};
use crate::tamper::Behaviour;
use futures::StreamExt;
use portolan_meta::id::NodeId;
use portolan_oci::Digest;
use portolan_replication::{BlobBody, Config, OpenError, PeerHealth, ReadError, Source};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::time::Instant;

const MIB: u64 = 1 << 20;
const CHUNK: u64 = 256 << 10;

/// Blobs from 4 MiB on are read in segments of 1 MiB.
fn plan() -> Plan {
    let plan = Plan::without_workers();
    Plan { config: Config { large_bytes: 4 * MIB, range_bytes: MIB, ..plan.config }, ..plan }
}

fn blob(seed: u64, size: u64) -> Vec<u8> {
    random(seed, usize::try_from(size).unwrap())
}

fn part(bytes: &[u8], range: &Range<u64>) -> Vec<u8> {
    bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()].to_vec()
}

fn received(node: &Node) -> u64 {
    node.replication.status().in_flight.iter().map(|fetch| fetch.received).sum()
}

/// How many bytes all nodes gave to others.
fn given(cluster: &Cluster) -> u64 {
    cluster.nodes.iter().map(|node| node.tamper.bytes()).sum()
}

/// The same body, and how many bytes its reader has got of it.
fn counted(body: BlobBody) -> (BlobBody, Arc<AtomicU64>) {
    let got = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&got);
    let stream = body.stream.inspect(move |item| {
        let bytes = item.as_ref().map_or(0, |bytes| bytes.len() as u64);
        counter.fetch_add(bytes, Ordering::Relaxed);
    });
    (BlobBody { stream: stream.boxed(), ..body }, got)
}

/// Waits until a node reads a range of a transfer from its own disk: what came may still be on its way there. Tells how
/// many bytes were given meanwhile.
async fn wait_landed(cluster: &Cluster, node: &Node, digest: &Digest, range: &Range<u64>) -> u64 {
    let (began, deadline) = (given(cluster), Instant::now() + PATIENCE);
    loop {
        let before = given(cluster);
        let body = node.replication.open(digest, Some(range.clone())).await.unwrap();
        read_all(body).await.unwrap();
        if given(cluster) == before {
            return before - began;
        }
        assert!(Instant::now() < deadline, "not in time: {range:?} is on the disk");
    }
}

/// A blob on the first two nodes, which the third one knows of. Tells how many bytes were given for that.
async fn on_two_nodes(cluster: &Cluster, bytes: &[u8]) -> (Digest, u64) {
    let digest = cluster.nodes[0].push(bytes).await;
    read_all(cluster.nodes[1].open(&digest).await).await.unwrap();
    cluster.nodes[1].wait_recorded(&digest).await;
    until("both holders are known", || cluster.nodes[2].holders(&digest) == 2).await;
    (digest, given(cluster))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_large_blob_comes_over_several_streams_and_each_outlives_its_source() {
    let cluster = Cluster::start(plan()).await;
    let size = 12 * MIB + 5;
    let bytes = blob(1, size);
    let (digest, before) = on_two_nodes(&cluster, &bytes).await;
    let reads_before = cluster.nodes[0].tamper.reads().len();
    let reader = &cluster.nodes[2];
    // Every stream stands in the middle of a segment.
    let held = 2 * MIB + MIB / 2;
    for node in &cluster.nodes[..2] {
        node.tamper.set(Behaviour::HoldsAt(held));
    }
    let body = reader.open(&digest).await;
    let Source::Peer(NodeId(first)) = body.source else { panic!("{:?}", body.source) };
    let (first, other) = if first == 1 { (0, 1) } else { (1, 0) };
    let reading = tokio::spawn(read_all(body));
    until("the first bytes are there", || received(reader) == held).await;
    let reads = || cluster.nodes[0].tamper.reads().len() + cluster.nodes[1].tamper.reads().len() - reads_before;
    until("several streams read", || reads() >= 4).await;
    cluster.nodes[other].tamper.set(Behaviour::Honest);
    cluster.cut(first, 2);
    assert!(reading.await.unwrap().unwrap() == bytes, "the reader noticed");
    assert_eq!(given(&cluster) - before, size, "bytes travelled twice");
    // The one that was cut off may be the leader, who has to hear of the copy.
    cluster.heal(first, 2);
    cluster.nodes[2].wait_recorded(&digest).await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_large_blob_crosses_once_for_its_region_whose_other_nodes_follow() {
    let cluster = Cluster::start(Plan { regions: vec!["a", "b", "b"], ..plan() }).await;
    let size = 12 * MIB + 3;
    for seed in 20..24 {
        let bytes = blob(seed, size);
        let digest = cluster.nodes[0].push(&bytes).await;
        let before = cluster.nodes[0].tamper.bytes();
        for node in &cluster.nodes[1..] {
            node.wait_known(&digest).await;
            let others = || cluster.nodes.iter().filter(|other| other.id != node.id);
            until("all are well", || others().all(|other| node.replication.health(other.id) == PeerHealth::Well)).await;
        }
        let pull = async |index: usize| read_all(cluster.nodes[index].open(&digest).await).await;
        let (one, other) = tokio::join!(pull(1), pull(2));
        assert!(one.unwrap() == bytes && other.unwrap() == bytes);
        assert_eq!(cluster.nodes[0].tamper.bytes() - before, size, "seed {seed}");
        for node in &cluster.nodes[1..] {
            node.wait_recorded(&digest).await;
        }
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cold_range_crosses_as_a_range_at_every_node_of_a_region() {
    let cluster = Cluster::start(Plan { regions: vec!["a", "b", "b"], ..plan() }).await;
    let bytes = blob(30, 12 * MIB);
    let digest = cluster.nodes[0].push(&bytes).await;
    let range = 5 * MIB + 7..5 * MIB + 9_000;
    for node in &cluster.nodes[1..] {
        node.wait_known(&digest).await;
        let others = || cluster.nodes.iter().filter(|other| other.id != node.id);
        until("all are well", || others().all(|other| node.replication.health(other.id) == PeerHealth::Well)).await;
        let before = given(&cluster);
        let body = node.replication.open(&digest, Some(range.clone())).await.unwrap();
        assert_eq!(body.source, Source::Through(NodeId(1)));
        assert!(read_all(body).await.unwrap() == part(&bytes, &range));
        assert_eq!(given(&cluster) - before, CHUNK, "the chunk that the range lies in");
        assert!(
            cluster.nodes.iter().all(|node| node.replication.status().in_flight.is_empty()),
            "the whole is fetched"
        );
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restart_keeps_the_chunks_that_came_out_of_order() {
    let workers = Plan { workers: true, ..plan() };
    let mut cluster = Cluster::start(workers).await;
    let size = 10 * MIB + 7;
    let bytes = blob(2, size);
    // The third node stays out of it, so that every byte is counted at one place.
    cluster.cut(0, 2);
    cluster.cut(1, 2);
    let held = MIB + CHUNK..2 * MIB;
    cluster.nodes[0].tamper.set(Behaviour::HoldsWithin(held.start, held.end));
    let digest = cluster.nodes[0].push(&bytes).await;
    let most = size - (held.end - held.start);
    until("all the others are there", || received(&cluster.nodes[1]) == most).await;
    // The restart must not overtake what is on its way to the disk.
    let mut more = 0;
    for range in [0..held.start, held.end..size] {
        more += wait_landed(&cluster, &cluster.nodes[1], &digest, &range).await;
    }
    cluster.restart(1, |cluster| cluster.nodes[0].tamper.set(Behaviour::Honest)).await;
    let node = &cluster.nodes[1];
    node.wait_recorded(&digest).await;
    assert!(read_all(node.open(&digest).await).await.unwrap() == bytes);
    let last = cluster.nodes[0].tamper.reads().last().map(|read| (read.offset, read.limit));
    assert_eq!(last, Some((held.start, Some(held.end - held.start))));
    assert_eq!(given(&cluster) - more, size, "bytes travelled twice");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_wrong_chunk_of_one_source_costs_one_chunk_and_no_restart() {
    let cluster = Cluster::start(plan()).await;
    let size = 32 * MIB;
    let bytes = blob(3, size);
    let (digest, before) = on_two_nodes(&cluster, &bytes).await;
    let (liar, honest) = (&cluster.nodes[0].tamper, &cluster.nodes[1].tamper);
    // Whoever asks the honest one waits until the liar was heard.
    honest.set(Behaviour::HoldsAt(0));
    liar.set(Behaviour::Flips(3 * MIB + 5));
    let reading = tokio::spawn(read_all(cluster.nodes[2].open(&digest).await));
    until("the liar is told", || liar.accusations().contains(&digest)).await;
    honest.set(Behaviour::Honest);
    assert!(reading.await.unwrap().unwrap() == bytes, "the reader was cut, or got wrong bytes");
    let twice = given(&cluster) - before - size;
    assert!(twice <= 8 * MIB, "{twice} bytes travelled twice: more than the segments that were open");
    assert_eq!(honest.accusations(), []);
    cluster.nodes[2].wait_recorded(&digest).await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cold_range_is_served_without_the_whole_and_not_stored() {
    for full in [None, Some(1)] {
        let cluster = Cluster::start(Plan { full, ..plan() }).await;
        let size = 8 * MIB + 9;
        let bytes = blob(4, size);
        let digest = cluster.nodes[0].push(&bytes).await;
        let node = &cluster.nodes[1];
        node.wait_known(&digest).await;
        let ranges = [
            (0..1, CHUNK),
            (CHUNK - 1..CHUNK + 1, 2 * CHUNK),
            (1_000_000..4_000_000, 13 * CHUNK),
            (size - 1..size, 9),
            (5 * CHUNK..6 * CHUNK, CHUNK),
        ];
        for (range, cost) in ranges {
            let before = given(&cluster);
            let body = node.replication.open(&digest, Some(range.clone())).await.unwrap();
            assert_eq!((body.source, body.range.clone()), (Source::Through(NodeId(1)), range.clone()));
            assert!(read_all(body).await.unwrap() == part(&bytes, &range), "{range:?}");
            assert_eq!(given(&cluster) - before, cost, "{range:?}");
        }
        assert!(node.blobs.files_of(&digest).unwrap().is_empty() && node.replication.status().in_flight.is_empty());
        cluster.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_cold_range_outlives_its_source_and_goes_on_at_the_same_offset() {
    let cluster = Cluster::start(plan()).await;
    let bytes = blob(5, 8 * MIB);
    let (digest, _) = on_two_nodes(&cluster, &bytes).await;
    let held = 3 * MIB + 1000;
    for node in &cluster.nodes[..2] {
        node.tamper.set(Behaviour::HoldsAt(held));
    }
    let range = MIB..6 * MIB;
    let (body, got) = counted(cluster.nodes[2].replication.open(&digest, Some(range.clone())).await.unwrap());
    let Source::Through(NodeId(first)) = body.source else { panic!("{:?}", body.source) };
    let (first, other) = if first == 1 { (0, 1) } else { (1, 0) };
    let reading = tokio::spawn(read_all(body));
    // What was given but is still on its way is lost with its source. Of the chunk that is held in its middle the
    // reader has nothing yet.
    until("every whole chunk has come", || got.load(Ordering::Relaxed) == 3 * MIB - range.start).await;
    cluster.nodes[other].tamper.set(Behaviour::Honest);
    cluster.cut(first, 2);
    assert!(reading.await.unwrap().unwrap() == part(&bytes, &range), "the reader noticed");
    let last = cluster.nodes[other].tamper.reads().pop().unwrap();
    assert!((3 * MIB..=held).contains(&last.offset), "{last:?}");
    assert_eq!(last.limit, Some(range.end - last.offset));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_range_that_a_transfer_has_already_is_read_from_it() {
    let cluster = Cluster::start(plan().patient()).await;
    let size = 8 * MIB;
    let bytes = blob(6, size);
    let digest = cluster.nodes[0].push(&bytes).await;
    let (node, holder) = (&cluster.nodes[1], &cluster.nodes[0].tamper);
    let held = MIB..2 * MIB;
    holder.set(Behaviour::HoldsWithin(held.start, held.end));
    let whole = node.open(&digest).await;
    until("all but that is there", || received(node) == size - (held.end - held.start)).await;
    wait_landed(&cluster, node, &digest, &(held.end..size)).await;
    // Behind what the transfer waits for, and its very last chunk.
    for range in [3 * MIB + 5..7 * MIB, size - 1..size] {
        let before = given(&cluster);
        let body = node.replication.open(&digest, Some(range.clone())).await.unwrap();
        assert_eq!(body.source, Source::Following);
        assert!(read_all(body).await.unwrap() == part(&bytes, &range));
        assert_eq!(given(&cluster), before, "it was here");
    }
    holder.set(Behaviour::Honest);
    // What is missing in the middle comes from the peer, the rest is here.
    let range = MIB / 2..5 * MIB;
    let body = node.replication.open(&digest, Some(range.clone())).await.unwrap();
    assert!(read_all(body).await.unwrap() == part(&bytes, &range));
    assert!(read_all(whole).await.unwrap() == bytes);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_range_of_which_the_only_source_gives_wrong_bytes_is_never_completed() {
    let cluster = Cluster::start(plan()).await;
    let bytes = blob(7, 8 * MIB);
    let digest = cluster.nodes[0].push(&bytes).await;
    let (node, liar) = (&cluster.nodes[1], &cluster.nodes[0].tamper);
    node.wait_known(&digest).await;
    let range = 2 * MIB + 7..3 * MIB;
    liar.set(Behaviour::Flips(2 * MIB + 8));
    let refused = node.replication.open(&digest, Some(range.clone())).await;
    assert!(matches!(refused, Err(OpenError::Unreachable { .. })), "{refused:?}");
    // Wrong in a later chunk: what came before is right, and then it is cut.
    liar.set(Behaviour::Flips(2 * MIB + 2 * CHUNK));
    let mut body = node.replication.open(&digest, Some(range.clone())).await.unwrap();
    let mut got = Vec::new();
    let error = loop {
        match body.stream.next().await.expect("no end without an error") {
            Ok(bytes) => got.extend_from_slice(&bytes),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, ReadError::WrongBytes { .. }), "{error}");
    assert!(got == part(&bytes, &(range.start..2 * MIB + 2 * CHUNK)), "the chunks before were right");
    until("the liar is told", || liar.accusations().len() >= 2).await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_wrong_chunk_of_a_range_is_read_elsewhere() {
    let cluster = Cluster::start(plan()).await;
    let bytes = blob(8, 8 * MIB);
    let (digest, _) = on_two_nodes(&cluster, &bytes).await;
    let (liar, honest) = (&cluster.nodes[0].tamper, &cluster.nodes[1].tamper);
    liar.set(Behaviour::Flips(4 * MIB));
    // Whoever asks the honest one waits, and then asks the liar.
    honest.set(Behaviour::HoldsAt(0));
    let range = 3 * MIB..5 * MIB;
    let reading = tokio::spawn({
        let opening = cluster.nodes[2].replication.open(&digest, Some(range.clone())).await.unwrap();
        read_all(opening)
    });
    until("the liar is told", || liar.accusations().contains(&digest)).await;
    honest.set(Behaviour::Honest);
    assert!(reading.await.unwrap().unwrap() == part(&bytes, &range));
    assert_eq!(honest.accusations(), []);
    cluster.shutdown().await;
}
