//! What policy wants arrives by itself.

use crate::cluster::{Cluster, PATIENCE, Plan, random, read_all, repo, until};
use futures::StreamExt;
use portolan_replication::{OpenError, ReadError, SettleError, Source};
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_region_gets_a_copy_and_serves_it_from_its_own_disk() {
    let cluster = Cluster::start(Plan::default()).await;
    let sizes = [0, 1, 300_000, 5 << 20];
    let mut pushed = Vec::new();
    for (seed, size) in sizes.into_iter().enumerate() {
        let bytes = random(seed as u64, size);
        pushed.push((cluster.nodes[0].push(&bytes).await, bytes));
    }
    let digests: Vec<_> = pushed.iter().map(|(digest, _)| *digest).collect();
    cluster.nodes[0].set_ack(3).await;
    let replication = &cluster.nodes[0].replication;
    replication.settle(&repo(), &digests, Instant::now() + PATIENCE).await.unwrap();
    for node in &cluster.nodes {
        for (digest, bytes) in &pushed {
            node.wait_recorded(digest).await;
            let body = node.open(digest).await;
            assert_eq!((body.source, body.size), (Source::Local, bytes.len() as u64));
            assert_eq!(&read_all(body).await.unwrap(), bytes);
        }
        until("nothing is missing any more", || {
            let status = node.replication.status();
            status.queue == 0 && status.unconfirmed == 0 && status.missing.iter().all(|region| region.copies == 0)
        })
        .await;
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn settling_waits_for_the_policy_and_names_what_is_missing() {
    let cluster = Cluster::start(Plan::without_workers()).await;
    let (first, second) = (&cluster.nodes[0], &cluster.nodes[1]);
    let digest = first.push(&random(1, 1000)).await;
    let soon = || Instant::now() + std::time::Duration::from_millis(200);
    first.replication.settle(&repo(), &[digest], soon()).await.unwrap();
    first.set_ack(2).await;
    let pending = first.replication.settle(&repo(), &[digest], soon()).await.unwrap_err();
    assert!(matches!(pending, SettleError::Pending(missing) if missing == [digest]));
    // A pull makes the second copy.
    let name = repo();
    let settled = first.replication.settle(&name, std::slice::from_ref(&digest), Instant::now() + PATIENCE);
    let (settled, bytes) = tokio::join!(settled, async { read_all(second.open(&digest).await).await });
    settled.unwrap();
    assert_eq!(bytes.unwrap().len(), 1000);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_damaged_file_is_put_aside_and_fetched_anew() {
    let cluster = Cluster::start(Plan::default()).await;
    let bytes = random(3, 3 << 20);
    let digest = cluster.nodes[0].push(&bytes).await;
    let node = &cluster.nodes[1];
    let file = node.wait_recorded(&digest).await;
    cluster.damage(1, &digest, file);
    // An accusation is what makes the holder look; its own hash is what convinces it.
    let handler = node.replication.blob_handler();
    handler.accuse(cluster.identity(2), digest).await.unwrap();
    until("another file took its place", || {
        let now = node.recorded(&digest);
        !now.is_empty() && !now.contains(&file)
    })
    .await;
    assert_eq!(read_all(node.open(&digest).await).await.unwrap(), bytes);
    // A sound file stays, whatever is said about it.
    let file = node.wait_recorded(&digest).await;
    handler.accuse(cluster.identity(2), digest).await.unwrap();
    assert_eq!(node.recorded(&digest), [file]);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_reader_of_a_file_that_is_found_damaged_is_cut_short() {
    let cluster = Cluster::start(Plan::without_workers()).await;
    let node = &cluster.nodes[0];
    let digest = node.push(&random(31, 8 << 20)).await;
    let mut body = node.open(&digest).await;
    body.stream.next().await.unwrap().unwrap();
    let file = node.recorded(&digest)[0];
    cluster.damage(0, &digest, file);
    node.replication.blob_handler().accuse(cluster.identity(1), digest).await.unwrap();
    until("the file is put aside", || node.blobs.files_of(&digest).unwrap().is_empty()).await;
    let error = read_all(body).await.unwrap_err();
    assert!(matches!(error, ReadError::WrongBytes { .. }), "{error}");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_unknown_blob_is_not_found() {
    let cluster = Cluster::start(Plan { regions: vec!["a"], ..Plan::default() }).await;
    let digest = portolan_oci::Digest::sha256_of(b"never pushed");
    let error = cluster.nodes[0].replication.open(&digest, None).await.unwrap_err();
    assert!(matches!(error, OpenError::NotFound), "{error}");
    cluster.shutdown().await;
}
