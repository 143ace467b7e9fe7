//! Learners, and nodes that fall silent.

use crate::cluster::{Cluster, eventually, quick};
use portolan_consensus::Config;
use portolan_meta::id::NodeId;
use portolan_meta::query;
use portolan_meta::row::NodeState;

#[tokio::test(flavor = "multi_thread")]
async fn a_listed_node_without_a_vote_becomes_a_learner_with_the_full_state() {
    let cluster = Cluster::start(3, 1, quick()).await;
    cluster.put(4, 1).await;
    assert!(cluster.has(4, 1) && cluster.has_now(4, 1).await);
    let status = cluster.node(4).consensus.status();
    assert_eq!(status.voters, [NodeId(1), NodeId(2), NodeId(3)]);
    assert_eq!(status.learners, [NodeId(4)]);
    eventually("everybody's standing is known", || async {
        let status = cluster.node(4).consensus.status();
        status.nodes.values().all(|progress| progress.applied.is_some_and(|applied| applied > 0))
    })
    .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_is_committed_as_down_then_out_and_an_answer_as_up() {
    let config = Config { down_after_ms: 1_500, out_after_ms: 4_000, ..quick() };
    let mut cluster = Cluster::start(3, 0, config).await;
    let leader = cluster.leader().await;
    let silent = cluster.ids().find(|id| *id != leader).expect("a follower");
    cluster.kill(silent).await;
    for state in [NodeState::Down, NodeState::Out] {
        eventually(&format!("{state:?}"), || async { state_of(&cluster, leader, silent) == state }).await;
    }
    cluster.run(silent).await;
    eventually("up again", || async { state_of(&cluster, leader, silent) == NodeState::Up }).await;
    cluster.stop().await;
}

fn state_of(cluster: &Cluster, reader: u64, node: u64) -> NodeState {
    let row = cluster.node(reader).consensus.local().read(|view| query::node(view, NodeId(node)));
    row.expect("reads").expect("booted").state
}
