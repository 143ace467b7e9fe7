//! What policies want comes about by itself, and what they do not want goes: never before every target has its copy.

use crate::cluster::{Cluster, Node, Plan, random, read_all, until};
use portolan_meta::command::Command;
use portolan_meta::outcome::Outcome;
use portolan_meta::placement::{self, Topology};
use portolan_meta::policy::{PolicyRow, Regions};
use portolan_meta::query;
use portolan_meta::row::{BandwidthLimit, BandwidthRow, NodeState, Traffic};
use portolan_oci::Digest;
use portolan_replication::{Config, Source};
use tokio::time::Instant;

/// A cluster that lets go of surplus copies soon.
fn quick(regions: &[&'static str], surplus_keep_ms: u64) -> Plan {
    let plan = Plan::default();
    let config = Config { surplus_keep_ms, reclaim_ms: 100, ..plan.config };
    Plan { regions: regions.to_vec(), config, ..plan }
}

fn regions(regions: Regions) -> PolicyRow {
    PolicyRow { regions: Some(regions), ..PolicyRow::default() }
}

fn named(names: &[&str]) -> std::collections::BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// How many files of the blob lie on each node's disk.
fn files(cluster: &Cluster, digest: &Digest) -> Vec<usize> {
    cluster.nodes.iter().map(|node| node.on_disk(digest)).collect()
}

/// Whether every node knows the same copies, one per file, and no file waits to be unlinked.
fn is_settled(cluster: &Cluster, digest: &Digest, expected: &[usize]) -> bool {
    let total: usize = expected.iter().sum();
    files(cluster, digest) == expected
        && cluster.nodes.iter().all(|node| {
            let reclaims = node.consensus.local().read(|view| query::reclaims(view, node.id.into(), None, 10));
            node.holders(digest) == total && reclaims.unwrap().is_empty()
        })
}

/// Whether every target has its copy, as far as a node knows: no more come of themselves.
fn is_placed(node: &Node, digest: &Digest) -> bool {
    let state = node.consensus.local();
    let standing =
        state.read(|view| Topology::read(view).and_then(|topology| placement::standing(view, &topology, digest)));
    standing.unwrap().is_some_and(|standing| standing.missing.is_empty())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_policy_that_is_narrowed_takes_copies_away_and_one_that_is_widened_brings_them_back() {
    let cluster = Cluster::start(quick(&["a", "b", "c"], 0)).await;
    let digest = cluster.nodes[0].push(&random(1, 700_000)).await;
    until("everywhere", || is_settled(&cluster, &digest, &[1, 1, 1])).await;
    cluster.nodes[1].set_policy(regions(Regions::Only(named(&["b"])))).await;
    until("in b alone", || is_settled(&cluster, &digest, &[0, 1, 0])).await;
    cluster.nodes[2].set_policy(regions(Regions::NeverOutside(named(&["c"])))).await;
    until("it moved to c", || is_settled(&cluster, &digest, &[0, 0, 1])).await;
    cluster.nodes[0].set_policy(PolicyRow::default()).await;
    until("everywhere again", || is_settled(&cluster, &digest, &[1, 1, 1])).await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_must_not_lie_outside_is_streamed_there_and_never_stored() {
    let cluster = Cluster::start(quick(&["a", "b", "c"], 3_600_000)).await;
    cluster.nodes[0].set_policy(regions(Regions::NeverOutside(named(&["a"])))).await;
    let bytes = random(2, 3 << 20);
    let digest = cluster.nodes[0].push(&bytes).await;
    for node in &cluster.nodes[1..] {
        let body = node.open(&digest).await;
        assert!(matches!(body.source, Source::Through(_)), "{:?}", body.source);
        assert!(read_all(body).await.unwrap() == bytes);
    }
    assert!(is_settled(&cluster, &digest, &[1, 0, 0]), "{:?}", files(&cluster, &digest));
    assert_eq!(cluster.nodes[1].replication.status().missing.iter().map(|row| row.copies).sum::<u64>(), 0);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_pull_brings_where_no_copy_is_wanted_is_kept_for_a_while() {
    let cluster = Cluster::start(quick(&["a", "b", "c"], 1_500)).await;
    cluster.nodes[0].set_policy(regions(Regions::Only(named(&["a"])))).await;
    let bytes = random(3, 3 << 20);
    let digest = cluster.nodes[0].push(&bytes).await;
    let node = &cluster.nodes[1];
    assert!(read_all(node.open(&digest).await).await.unwrap() == bytes);
    node.wait_recorded(&digest).await;
    let again = node.open(&digest).await;
    assert_eq!(again.source, Source::Local, "the second pull finds it");
    until("it is given up", || is_settled(&cluster, &digest, &[1, 0, 0])).await;
    assert!(read_all(again).await.unwrap() == bytes, "whoever reads it reads on");
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_lost_nodes_copies_are_made_anew_and_a_silent_ones_are_not() {
    let cluster = Cluster::start(quick(&["a", "a", "a"], 3_600_000)).await;
    let mut digests = Vec::new();
    for seed in 0..6 {
        digests.push(cluster.nodes[0].push(&random(10 + seed, 50_000)).await);
    }
    let copies = |digest: &Digest| cluster.nodes[0].holders(digest);
    // Where the node that took the push is no target, the second copy is not the last one.
    until("every target has its copy", || digests.iter().all(|digest| is_placed(&cluster.nodes[0], digest))).await;
    let before: Vec<usize> = digests.iter().map(copies).collect();
    assert!(before.iter().all(|copies| *copies >= 2), "{before:?}");
    cluster.nodes[0].judge(2, NodeState::Down).await;
    cluster.nodes[0].judge(2, NodeState::Up).await;
    assert_eq!(digests.iter().map(copies).collect::<Vec<_>>(), before, "flapping moves nothing");
    // It answers all the while, so that the leader would call it back at once.
    cluster.nodes[0].judge(2, NodeState::Draining).await;
    until("the two that stay hold all", || {
        digests.iter().all(|digest| cluster.nodes[..2].iter().all(|node| !node.recorded(digest).is_empty()))
    })
    .await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_hangs_on_one_region_is_told_until_another_has_it() {
    let cluster = Cluster::start(Plan::without_workers()).await;
    let bytes = random(5, 300_000);
    let digest = cluster.nodes[0].push(&bytes).await;
    let node = &cluster.nodes[1];
    until("it hangs on a", || node.replication.only_in("a", 10) == [digest]).await;
    let exposure = node.replication.exposure();
    let told: Vec<_> = exposure.regions.iter().map(|row| (row.region.as_str(), row.blobs, row.bytes)).collect();
    assert_eq!(told, [("a", 1, 300_000), ("b", 0, 0), ("c", 0, 0)]);
    assert!(read_all(cluster.nodes[2].open(&digest).await).await.unwrap() == bytes);
    until("c has it too", || node.replication.only_in("a", 10).is_empty()).await;
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_limit_of_bandwidth_holds_copies_back_until_it_is_lifted_and_pulls_are_not_concerned() {
    const RATE: u64 = 200_000;
    let cluster = Cluster::start(Plan { regions: vec!["a", "b"], ..Plan::default() }).await;
    let node = &cluster.nodes[1];
    let limit =
        |class| BandwidthLimit { from: None, to: Some("b".to_owned()), class: Some(class), bytes_per_second: RATE };
    let limits = vec![limit(Traffic::Ack), limit(Traffic::Repair)];
    assert_eq!(node.propose(Command::SetBandwidth(BandwidthRow { limits })).await, Outcome::Done);
    let bytes = random(7, 8 << 20);
    let began = Instant::now();
    let digest = cluster.nodes[0].push(&bytes).await;
    let received = || node.replication.transfers(&[digest]).first().map_or(0, |fetch| fetch.received);
    until("a MiB of it is here", || received() >= 1 << 20).await;
    // A bucket is full at first, and a chunk may be under way.
    let least = (received() as f64 - 2.0 * f64::from(1 << 18)) / RATE as f64;
    assert!(began.elapsed().as_secs_f64() >= least, "{} bytes after {:?}", received(), began.elapsed());
    assert!(read_all(node.open(&digest).await).await.unwrap() == bytes, "a pull takes the same transfer along");
    let lifted = BandwidthRow::default();
    assert_eq!(node.propose(Command::SetBandwidth(lifted)).await, Outcome::Done);
    node.wait_recorded(&digest).await;
    cluster.shutdown().await;
}
