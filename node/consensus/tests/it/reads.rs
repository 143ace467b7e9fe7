//! Linearizable reads share round trips.

use crate::cluster::{Cluster, quick, soon};
use futures::future::join_all;
use portolan_consensus::Freshness;
use std::sync::atomic::Ordering;

#[tokio::test(flavor = "multi_thread")]
async fn reads_at_a_follower_that_wait_together_cost_few_round_trips() {
    let cluster = Cluster::start(3, 0, quick()).await;
    let leader = cluster.leader().await;
    let follower = cluster.ids().find(|id| *id != leader).expect("a follower");
    let asked = &cluster.node(leader).reads_asked;
    let before = asked.load(Ordering::SeqCst);
    let reads = (0..1_000).map(|_| {
        let fresh = Freshness::Linearizable { deadline: soon() };
        cluster.node(follower).consensus.view(fresh)
    });
    for view in join_all(reads).await {
        assert!(view.is_ok());
    }
    let rounds = asked.load(Ordering::SeqCst) - before;
    assert!((1..=10).contains(&rounds), "1000 reads took {rounds} round trips");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_leader_asks_nobody_else_for_the_index() {
    let cluster = Cluster::start(3, 0, quick()).await;
    let leader = cluster.leader().await;
    let counts = || cluster.ids().map(|id| cluster.node(id).reads_asked.load(Ordering::SeqCst)).sum::<u64>();
    let before = counts();
    let fresh = Freshness::Linearizable { deadline: soon() };
    assert!(cluster.node(leader).consensus.view(fresh).await.is_ok());
    assert_eq!(counts(), before);
    cluster.stop().await;
}
