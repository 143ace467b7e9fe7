//! Leaders that die, hand over, and come back.

use crate::cluster::{Cluster, eventually, quick};
use portolan_meta::id::NodeId;

#[tokio::test(flavor = "multi_thread")]
async fn when_the_leader_dies_writes_go_on_and_the_dead_one_catches_up() {
    let mut cluster = Cluster::start(3, 0, quick()).await;
    let first = cluster.leader().await;
    cluster.put(first, 1).await;
    cluster.kill(first).await;
    let survivor = cluster.ids().find(|id| *id != first).expect("a survivor");
    // No waiting for the election: that is the proposer's business.
    cluster.put(survivor, 2).await;
    let second = cluster.leader().await;
    assert_ne!(second, first);
    cluster.run(first).await;
    cluster.boot(first).await;
    assert!(cluster.has_now(first, 1).await && cluster.has_now(first, 2).await);
    cluster.put(first, 3).await;
    assert!(cluster.has_now(survivor, 3).await);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_stopped_as_a_whole_starts_with_everything_it_acknowledged() {
    let mut cluster = Cluster::start(3, 0, quick()).await;
    for number in 0..30 {
        cluster.put(number % 3 + 1, number).await;
    }
    for id in cluster.ids() {
        cluster.kill(id).await;
    }
    for id in cluster.ids() {
        cluster.run(id).await;
    }
    for id in cluster.ids() {
        cluster.boot(id).await;
        for number in 0..30 {
            assert!(cluster.has_now(id, number).await, "blob {number} at node {id}");
        }
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leadership_is_handed_over_on_request() {
    let cluster = Cluster::start(3, 0, quick()).await;
    let first = cluster.leader().await;
    let heir = cluster.ids().find(|id| *id != first).expect("another voter");
    cluster.put(heir, 1).await;
    eventually("the heir leads", || async {
        cluster.node(first).consensus.transfer_leader(NodeId(heir)).await.expect("asked");
        cluster.leader().await == heir
    })
    .await;
    cluster.put(first, 2).await;
    assert!(cluster.has_now(heir, 2).await);
    cluster.stop().await;
}
