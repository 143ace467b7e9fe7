//! Many small blobs at a time: few streams, few syncs, and the same promises as for one.

use crate::cluster::{Cluster, Node, PATIENCE, Plan, random, read_all, repo, until};
use crate::tamper::Behaviour;
use futures::future::join_all;
use portolan_meta::command::Command;
use portolan_meta::id::StoreId;
use portolan_meta::outcome::Outcome;
use portolan_meta::policy::{PolicyRow, Regions};
use portolan_oci::Digest;
use portolan_replication::Config;
use portolan_store::{PartKind, WholeBlob};
use std::collections::HashSet;

const BLOBS: u64 = 600;
const SIZE: usize = 10_240;

/// A cluster whose policy keeps everything in region "a" for now.
async fn start(plan: Plan) -> Cluster {
    let cluster = Cluster::start(plan).await;
    let regions = Regions::Only([String::from("a")].into());
    cluster.nodes[0].set_policy(PolicyRow { regions: Some(regions), ..PolicyRow::default() }).await;
    cluster
}

fn whole(seed: u64) -> WholeBlob {
    let bytes = random(seed, SIZE);
    WholeBlob::check(Digest::sha256_of(&bytes), bytes.into()).unwrap()
}

/// Makes small blobs at a node; of the same seeds the same ones.
async fn push(node: &Node, seeds: std::ops::Range<u64>) -> Vec<Digest> {
    let stored = node.blobs.store_many(&seeds.map(whole).collect::<Vec<_>>()).unwrap();
    let commit = |file: &portolan_store::StoredFile| Command::CommitBlob {
        repo: repo(),
        digest: file.digest,
        size: file.size,
        store: StoreId::from(node.id),
        file: file.file,
        pin_ms: 3_600_000,
        sums: Some(file.sums),
    };
    let outcomes = join_all(stored.iter().map(|file| node.propose(commit(file)))).await;
    assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::BlobCommitted { .. })));
    stored.iter().map(|file| file.digest).collect()
}

/// From now on every region wants everything.
async fn widen(cluster: &Cluster) {
    cluster.nodes[0].set_policy(PolicyRow::default()).await;
}

/// Waits until a node holds them all, each once, sound and recorded, and nothing else is left on its disk.
async fn wait_all(node: &Node, digests: &[Digest]) {
    until("every copy is recorded", || digests.iter().all(|digest| !node.recorded(digest).is_empty())).await;
    for digest in digests {
        assert_eq!(node.blobs.files_of(digest).unwrap(), node.recorded(digest));
        node.blobs.verify_whole(digest, node.recorded(digest)[0]).unwrap();
    }
    assert!(node.blobs.parts(PartKind::Fetch).list().unwrap().is_empty());
}

/// What was asked of a node in batches.
fn asked(node: &Node) -> Vec<Digest> {
    node.tamper.batches().concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_small_blobs_travel_in_few_streams() {
    let cluster = start(Plan::default()).await;
    let digests = push(&cluster.nodes[0], 0..BLOBS).await;
    widen(&cluster).await;
    for node in &cluster.nodes[1..] {
        wait_all(node, &digests).await;
    }
    let streams: usize = cluster.nodes.iter().map(|node| node.tamper.batches().len()).sum();
    assert!(streams < 60, "{streams} streams for {BLOBS} blobs at two nodes");
    assert!(cluster.nodes.iter().all(|node| node.tamper.reads().is_empty()), "none went alone");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn small_blobs_cross_to_a_region_once_and_its_other_nodes_read_them_there() {
    let cluster = start(Plan { regions: vec!["a", "b", "b"], ..Plan::default() }).await;
    let digests = push(&cluster.nodes[0], 0..BLOBS).await;
    widen(&cluster).await;
    for node in &cluster.nodes[1..] {
        wait_all(node, &digests).await;
    }
    let crossed = asked(&cluster.nodes[0]);
    let different: HashSet<&Digest> = crossed.iter().collect();
    assert_eq!((crossed.len(), different.len()), (digests.len(), digests.len()), "each was asked for once across");
    assert!(cluster.nodes.iter().all(|node| node.tamper.reads().is_empty()), "none went alone");
    cluster.shutdown().await;
}

/// One node misbehaves, and everybody gets everything all the same.
async fn check_against(behaviour: Behaviour, accused: bool) {
    let usual = Plan::default().config;
    // Whoever stands still is given up soon; whoever misbehaves otherwise must be heard, however slow the machine is.
    let config = match behaviour {
        Behaviour::HoldsAt(_) => Config { stall_timeout_ms: 300, open_timeout_ms: 300, ..usual },
        _ => usual,
    };
    let cluster = start(Plan { config, ..Plan::default() }).await;
    let (first, second) = (&cluster.nodes[0], &cluster.nodes[1]);
    let digests = push(first, 0..100).await;
    // The second has them too, so that there is somebody honest.
    let regions = Regions::Only([String::from("a"), String::from("b")].into());
    first.set_policy(PolicyRow { regions: Some(regions), ..PolicyRow::default() }).await;
    wait_all(second, &digests).await;
    // The honest one answers nothing until the other was heard.
    let before = first.tamper.batches().len();
    first.tamper.set(behaviour);
    cluster.cut(1, 2);
    widen(&cluster).await;
    until("the first was heard", || first.tamper.batches().len() > before).await;
    cluster.heal(1, 2);
    wait_all(&cluster.nodes[2], &digests).await;
    let told = first.tamper.accusations();
    assert_eq!(!told.is_empty(), accused, "{behaviour:?}: {} accusations", told.len());
    assert!(told.iter().all(|digest| digests.contains(digest)));
    assert!(second.tamper.accusations().is_empty(), "{behaviour:?}");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn wrong_bytes_in_a_batch_are_never_stored_and_whoever_gave_them_is_told() {
    check_against(Behaviour::Flips(77), true).await;
    check_against(Behaviour::Adds(5), true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_batch_that_ends_early_or_stands_still_is_made_up_for_elsewhere() {
    check_against(Behaviour::EndsAt(0), false).await;
    check_against(Behaviour::HoldsAt(0), false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_without_room_stores_no_batch_and_still_serves_what_is_in_it() {
    let cluster = start(Plan { full: Some(2), ..Plan::default() }).await;
    let digests = push(&cluster.nodes[0], 0..50).await;
    widen(&cluster).await;
    wait_all(&cluster.nodes[1], &digests).await;
    let full = &cluster.nodes[2];
    for (seed, digest) in (0..).zip(&digests) {
        assert!(read_all(full.open(digest).await).await.unwrap() == random(seed, SIZE));
        assert!(full.blobs.files_of(digest).unwrap().is_empty());
    }
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_an_earlier_start_stored_and_did_not_announce_is_not_fetched_again() {
    let mut cluster = start(Plan::default()).await;
    let digests = push(&cluster.nodes[0], 0..50).await;
    cluster.nodes[2].blobs.store_many(&(0..30).map(whole).collect::<Vec<_>>()).unwrap();
    cluster.restart_unknown(2, |_| ()).await;
    // Until the start is known nothing is swept that nobody wanted here before.
    widen(&cluster).await;
    cluster.nodes[2].boot().await;
    for node in &cluster.nodes[1..] {
        wait_all(node, &digests).await;
    }
    let copies = cluster.nodes.iter().flat_map(asked).filter(|digest| digests[..30].contains(digest)).count();
    assert!(copies <= 30, "the second node alone asked for what the third had: {copies}");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn pulls_beside_a_batch_get_the_same_bytes_and_leave_one_file_each() {
    let cluster = start(Plan::default()).await;
    let digests = push(&cluster.nodes[0], 0..BLOBS).await;
    widen(&cluster).await;
    let reader = &cluster.nodes[2];
    let pulls = (0..).zip(&digests).step_by(20).map(|(seed, digest)| async move {
        let body = reader.open(digest).await;
        assert!(read_all(body).await.unwrap() == random(seed, SIZE));
    });
    tokio::time::timeout(PATIENCE, join_all(pulls)).await.unwrap();
    until("every copy is recorded", || digests.iter().all(|digest| !reader.recorded(digest).is_empty())).await;
    // Of two files of a blob the one that was refused goes.
    until("one file each", || digests.iter().all(|digest| reader.on_disk(digest) == 1)).await;
    wait_all(reader, &digests).await;
    cluster.shutdown().await;
}
