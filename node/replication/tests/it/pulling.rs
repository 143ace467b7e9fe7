//! Pulls at a node that lacks the blob.

use crate::cluster::{Cluster, Plan, random, read_all, until};
use crate::tamper::Behaviour;
use futures::StreamExt;
use portolan_meta::id::NodeId;
use portolan_oci::Digest;
use portolan_replication::{OpenError, ReadError, Source};
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_miss_is_read_through_and_stored() {
    let cluster = Cluster::start(Plan::without_workers()).await;
    let bytes = random(1, 3 << 20);
    let digest = cluster.nodes[0].push(&bytes).await;
    let (node, source) = (&cluster.nodes[1], &cluster.nodes[0].tamper);
    // Else all of it may be here before anybody looks.
    source.set(Behaviour::HoldsAt(2 << 20));
    let body = node.open(&digest).await;
    source.set(Behaviour::Honest);
    assert_eq!(body.source, Source::Peer(NodeId(1)));
    assert_eq!(read_all(body).await.unwrap(), bytes);
    node.wait_recorded(&digest).await;
    let body = node.open(&digest).await;
    assert_eq!(body.source, Source::Local);
    assert_eq!(read_all(body).await.unwrap(), bytes);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn fifty_readers_are_one_transfer() {
    let cluster = Cluster::start(Plan::without_workers().patient()).await;
    let bytes = Arc::new(random(2, 6 << 20));
    let digest = cluster.nodes[0].push(&bytes).await;
    let node = &cluster.nodes[1];
    let source = &cluster.nodes[0].tamper;
    source.set(Behaviour::HoldsAt(2 << 20));
    let mut bodies = Vec::new();
    for _ in 0..50 {
        bodies.push(node.open(&digest).await);
    }
    assert_eq!(bodies.iter().filter(|body| body.source == Source::Following).count(), 49);
    let readers: Vec<_> = bodies.into_iter().map(|body| tokio::spawn(read_all(body))).collect();
    source.set(Behaviour::Honest);
    for reader in readers {
        assert!(reader.await.unwrap().unwrap() == *bytes, "a reader got other bytes");
    }
    assert_eq!(source.reads().len(), 1);
    assert_eq!(source.bytes(), bytes.len() as u64);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_last_chunk_is_held_back_until_the_digest_is_right() {
    let cluster = Cluster::start(Plan::without_workers()).await;
    let size = 2 << 20;
    let bytes = random(3, size);
    let digest = cluster.nodes[0].push(&bytes).await;
    let source = &cluster.nodes[0].tamper;
    source.set(Behaviour::HoldsAt(size as u64 - 1));
    let mut body = cluster.nodes[1].open(&digest).await;
    let mut got = 0;
    while got < size - (256 << 10) {
        got += body.stream.next().await.unwrap().unwrap().len();
    }
    assert_eq!(got, size - (256 << 10), "the last chunk came before the last byte was there");
    // All but one byte is there, and yet nothing more comes.
    let early = tokio::time::timeout(std::time::Duration::from_millis(200), body.stream.next()).await;
    assert!(early.is_err(), "a held back chunk was given out");
    source.set(Behaviour::Honest);
    let mut rest = Vec::new();
    while let Some(bytes) = body.stream.next().await {
        rest.extend_from_slice(&bytes.unwrap());
    }
    assert_eq!(rest, bytes[got..]);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn ranges_of_a_miss_are_the_bytes_asked_for() {
    let cluster = Cluster::start(Plan::without_workers()).await;
    let size: u64 = 3 << 20;
    let bytes = random(4, 3 << 20);
    // Without committed sums a range follows the whole.
    let digest = cluster.nodes[0].push_without_sums(&bytes).await;
    let node = &cluster.nodes[1];
    node.wait_known(&digest).await;
    cluster.nodes[0].tamper.set(Behaviour::HoldsAt(1));
    let ranges = [0..1, 0..size, 100..100, size - 1..size, 1_000_000..2_000_000, 262_143..262_145];
    let mut bodies = Vec::new();
    for range in ranges {
        bodies.push((range.clone(), node.replication.open(&digest, Some(range)).await.unwrap()));
    }
    assert_eq!(node.replication.status().in_flight.len(), 1, "they are one transfer");
    cluster.nodes[0].tamper.set(Behaviour::Honest);
    for (range, body) in bodies {
        assert_eq!(body.range, range);
        let expected = &bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
        assert!(read_all(body).await.unwrap() == expected, "{range:?}");
    }
    for range in [0..size + 1, size + 1..size + 2] {
        let error = node.replication.open(&digest, Some(range)).await.unwrap_err();
        assert!(matches!(error, OpenError::Range { .. }), "{error}");
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_source_that_dies_midway_is_replaced_at_the_same_offset() {
    let cluster = Cluster::start(Plan::without_workers()).await;
    let size = 4 << 20;
    let bytes = random(5, size);
    let digest = cluster.nodes[0].push(&bytes).await;
    // Two holders, so that the third node has a choice.
    read_all(cluster.nodes[1].open(&digest).await).await.unwrap();
    cluster.nodes[1].wait_recorded(&digest).await;
    let reader = &cluster.nodes[2];
    until("both holders are known", || reader.holders(&digest) == 2).await;
    let held = 1_500_000;
    for node in &cluster.nodes[..2] {
        node.tamper.set(Behaviour::HoldsAt(held));
    }
    let body = reader.open(&digest).await;
    let Source::Peer(NodeId(first)) = body.source else { panic!("{:?}", body.source) };
    let (first, other) = if first == 1 { (0, 1) } else { (1, 0) };
    let reading = tokio::spawn(read_all(body));
    until("the first bytes are there", || received(reader, &digest) == held).await;
    cluster.nodes[other].tamper.set(Behaviour::Honest);
    cluster.cut(first, 2);
    assert!(reading.await.unwrap().unwrap() == bytes, "the reader noticed");
    let last = cluster.nodes[other].tamper.reads().last().map(|read| read.offset);
    assert_eq!(last, Some(held));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_region_crosses_the_wan_once_for_all_its_nodes() {
    let plan = Plan { regions: vec!["a", "b", "b"], ..Plan::without_workers() };
    let cluster = Cluster::start(plan).await;
    for seed in 0..6 {
        let bytes = random(seed, 2 << 20);
        let digest = cluster.nodes[0].push(&bytes).await;
        let before = cluster.nodes[0].tamper.bytes();
        cluster.wait_known(&digest).await;
        // Both at once: one crosses, the other reads through it, and they do not wait for each other.
        let pull = async |index: usize| read_all(cluster.nodes[index].open(&digest).await).await;
        let (one, other) = tokio::join!(pull(1), pull(2));
        assert!(one.unwrap() == bytes && other.unwrap() == bytes);
        assert_eq!(cluster.nodes[0].tamper.bytes() - before, bytes.len() as u64, "seed {seed}");
        for node in &cluster.nodes[1..] {
            node.wait_recorded(&digest).await;
        }
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn without_room_a_blob_streams_through_and_leaves_nothing() {
    let plan = Plan { full: Some(1), ..Plan::without_workers() };
    let cluster = Cluster::start(plan).await;
    let bytes = random(6, 3 << 20);
    let digest = cluster.nodes[0].push(&bytes).await;
    let node = &cluster.nodes[1];
    let body = node.open(&digest).await;
    assert_eq!(body.source, Source::Through(NodeId(1)));
    assert_eq!(read_all(body).await.unwrap(), bytes);
    let range = 1_000_000..1_500_000;
    let body = node.replication.open(&digest, Some(range)).await.unwrap();
    assert_eq!(read_all(body).await.unwrap(), bytes[1_000_000..1_500_000]);
    assert!(node.blobs.files_of(&digest).unwrap().is_empty());
    assert!(node.recorded(&digest).is_empty());
    // Wrong bytes are not completed on this way either.
    cluster.nodes[0].tamper.set(Behaviour::Flips(10));
    let error = read_all(node.open(&digest).await).await.unwrap_err();
    assert!(matches!(error, ReadError::WrongBytes { .. }), "{error}");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_empty_blob_is_had_with_room_and_without_and_nobody_is_asked() {
    let plan = Plan { full: Some(1), ..Plan::without_workers() };
    let cluster = Cluster::start(plan).await;
    let digest = cluster.nodes[0].push(b"").await;
    for node in &cluster.nodes {
        let body = node.open(&digest).await;
        assert_eq!((body.size, body.range.clone()), (0, 0..0));
        assert!(read_all(body).await.unwrap().is_empty());
    }
    cluster.nodes[2].wait_recorded(&digest).await;
    assert!(cluster.nodes[1].blobs.files_of(&digest).unwrap().is_empty());
    for node in &cluster.nodes {
        assert!(node.tamper.reads().is_empty(), "{} was asked", node.id);
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_transfer_that_nobody_wants_any_more_stops() {
    // One region, three nodes: two of them are targets of any blob, one is not.
    let plan = Plan { regions: vec!["a", "a", "a"], ..Plan::without_workers() };
    let cluster = Cluster::start(plan).await;
    let (digest, outsider) = cluster.push_with_outsider().await;
    let node = &cluster.nodes[outsider];
    for source in &cluster.nodes {
        source.tamper.set(Behaviour::HoldsAt(1_000_000));
    }
    let first = node.open(&digest).await;
    let second = node.open(&digest).await;
    assert_eq!(node.replication.status().in_flight.len(), 1);
    drop(first);
    let mut second = second;
    second.stream.next().await.unwrap().unwrap();
    assert_eq!(node.replication.status().in_flight.len(), 1, "a reader was left");
    drop(second);
    until("the transfer is gone", || node.replication.status().in_flight.is_empty()).await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_transfer_that_policy_wants_goes_on_without_its_reader() {
    let cluster = Cluster::start(Plan::without_workers()).await;
    let digest = cluster.nodes[0].push(&random(8, 3 << 20)).await;
    cluster.nodes[0].tamper.set(Behaviour::HoldsAt(1_000_000));
    let node = &cluster.nodes[1];
    drop(node.open(&digest).await);
    cluster.nodes[0].tamper.set(Behaviour::Honest);
    node.wait_recorded(&digest).await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn holders_out_of_reach_make_a_pull_fail_and_not_hang() {
    let cluster = Cluster::start(Plan::without_workers()).await;
    let digest = cluster.nodes[0].push(&random(9, 1000)).await;
    let node = &cluster.nodes[1];
    node.wait_known(&digest).await;
    cluster.cut(0, 1);
    let error = node.replication.open(&digest, None).await.unwrap_err();
    assert!(matches!(error, OpenError::Unreachable { asked: 2 }), "{error}");
    cluster.shutdown().await;
}

fn received(node: &crate::cluster::Node, digest: &Digest) -> u64 {
    let status = node.replication.status();
    status.in_flight.iter().find(|fetch| fetch.digest == *digest).map_or(0, |fetch| fetch.received)
}
