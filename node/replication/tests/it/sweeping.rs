//! Files that an earlier start made and told nobody of.

use crate::cluster::{Cluster, Node, Plan, random, read_all, until};
use portolan_replication::Config;
use portolan_store::StoredFile;

/// Only the sweep moves anything, and it looks again soon.
fn alone() -> Plan {
    let plan = Plan::without_workers();
    Plan { config: Config { rescan_ms: 100, ..plan.config }, ..plan }
}

fn is_there(node: &Node, stored: &StoredFile) -> bool {
    node.blobs.files_of(&stored.digest).unwrap().contains(&stored.file)
}

/// Bytes whose digest begins so, which says when their folder is looked at.
fn bytes_of_folder(first: u8) -> Vec<u8> {
    let begins = |bytes: &Vec<u8>| portolan_oci::Digest::sha256_of(bytes).raw()[0] == first;
    (0..).map(|seed| random(seed, 100)).find(begins).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_file_of_a_blob_that_nobody_knows_goes_with_its_sidecar() {
    let mut cluster = Cluster::start(alone()).await;
    let stray = cluster.nodes[1].lay(&random(1, 600_000));
    cluster.restart(1, |_| {}).await;
    until("file and sidecar are gone", || cluster.names_beside(1, &stray.digest).is_empty()).await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_second_file_of_a_blob_goes_and_the_recorded_one_stays() {
    let mut cluster = Cluster::start(alone()).await;
    let bytes = random(2, 600_000);
    let before = cluster.nodes[1].lay(&bytes);
    let digest = cluster.nodes[1].push(&bytes).await;
    let recorded = cluster.nodes[1].recorded(&digest);
    let after = cluster.nodes[1].lay(&bytes);
    cluster.restart(1, |_| {}).await;
    let node = &cluster.nodes[1];
    until("the other files are gone", || !is_there(node, &before) && !is_there(node, &after)).await;
    assert_eq!(node.blobs.files_of(&digest).unwrap(), recorded);
    assert_eq!(node.recorded(&digest), recorded);
    node.blobs.verify_whole(&digest, recorded[0]).unwrap();
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_second_file_stays_while_the_recorded_one_is_too_short() {
    let mut cluster = Cluster::start(alone()).await;
    let (bytes, later) = (bytes_of_folder(0), bytes_of_folder(0xff));
    let second = cluster.nodes[1].lay(&bytes);
    let digest = cluster.nodes[1].push(&bytes).await;
    let recorded = cluster.nodes[1].recorded(&digest)[0];
    let stray = cluster.nodes[1].lay(&later);
    cluster.restart(1, |cluster| cluster.truncate(1, &digest, recorded, 99)).await;
    // Its folder is looked at after the other one's.
    until("the stray is gone", || !is_there(&cluster.nodes[1], &stray)).await;
    assert!(is_there(&cluster.nodes[1], &second), "it is the only one that may be whole");
    // As long as it was again, it is enough: the sweep looks at the size alone.
    cluster.truncate(1, &digest, recorded, 100);
    until("the second file is gone", || !is_there(&cluster.nodes[1], &second)).await;
    assert_eq!(cluster.nodes[1].recorded(&digest), [recorded]);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_file_that_placement_wants_is_announced_and_one_of_them_that_is_damaged_is_put_aside() {
    let mut cluster = Cluster::start(alone()).await;
    let (whole, torn) = (random(3, 600_000), random(4, 600_000));
    let (laid, damaged) = (cluster.nodes[1].lay(&whole), cluster.nodes[1].lay(&torn));
    for bytes in [&whole, &torn] {
        cluster.nodes[0].push(bytes).await;
    }
    cluster.restart(1, |cluster| cluster.damage(1, &damaged.digest, damaged.file)).await;
    let node = &cluster.nodes[1];
    assert_eq!(node.wait_recorded(&laid.digest).await, laid.file);
    assert_eq!(node.blobs.files_of(&laid.digest).unwrap(), [laid.file]);
    until("the damaged file is put aside", || !is_there(node, &damaged)).await;
    assert!(node.recorded(&damaged.digest).is_empty());
    assert_eq!(cluster.nodes[0].tamper.bytes(), 0, "it was fetched instead");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_file_that_no_target_is_to_have_goes_unless_a_target_lacks_its_own() {
    let mut cluster = Cluster::start(Plan { regions: vec!["a", "a", "a"], ..alone() }).await;
    let (digest, outsider) = cluster.push_with_outsider().await;
    let holder = cluster.nodes.iter().position(|node| !node.recorded(&digest).is_empty()).unwrap();
    let target = (0..cluster.nodes.len()).find(|at| ![outsider, holder].contains(at)).unwrap();
    let bytes = read_all(cluster.nodes[target].open(&digest).await).await.unwrap();
    let file = cluster.nodes[target].wait_recorded(&digest).await;
    let stray = cluster.nodes[outsider].lay(&bytes);
    cluster.restart(outsider, |_| {}).await;
    until("the file is gone", || !is_there(&cluster.nodes[outsider], &stray)).await;
    assert!(cluster.nodes[outsider].recorded(&digest).is_empty());
    // A target loses its copy: another one is worth having until it has a new one.
    cluster.damage(target, &digest, file);
    let accuser = cluster.identity(outsider);
    cluster.nodes[target].replication.blob_handler().accuse(accuser, digest).await.unwrap();
    until("the target's copy is dropped", || cluster.nodes.iter().all(|node| node.holders(&digest) == 1)).await;
    let spare = cluster.nodes[outsider].lay(&bytes);
    cluster.restart(outsider, |_| {}).await;
    assert_eq!(cluster.nodes[outsider].wait_recorded(&digest).await, spare.file);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_file_of_this_start_stays() {
    let mut cluster = Cluster::start(alone()).await;
    let old = cluster.nodes[1].lay(&bytes_of_folder(0xff));
    cluster.restart_unknown(1, |_| {}).await;
    let young = cluster.nodes[1].lay(&bytes_of_folder(0));
    cluster.nodes[1].boot().await;
    // Its folder is looked at after the other one's.
    until("the old file is gone", || !is_there(&cluster.nodes[1], &old)).await;
    assert!(is_there(&cluster.nodes[1], &young));
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_goes_before_the_start_is_known() {
    let mut cluster = Cluster::start(alone()).await;
    let old = cluster.nodes[1].lay(&bytes_of_folder(0));
    cluster.restart_unknown(1, |_| {}).await;
    // Enough comes and goes for a sweep that would not wait.
    for seed in 10..40 {
        let digest = cluster.nodes[0].push(&random(seed, 100)).await;
        cluster.nodes[1].wait_known(&digest).await;
    }
    assert!(is_there(&cluster.nodes[1], &old));
    cluster.nodes[1].boot().await;
    until("the old file is gone", || !is_there(&cluster.nodes[1], &old)).await;
    cluster.shutdown().await;
}
