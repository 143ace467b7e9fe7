//! Writes at any node, once each.

use crate::cluster::{Cluster, PATIENCE, call, commit, eventually, quick, soon};
use futures::future::join_all;
use portolan_consensus::{Change, ProposeError};
use portolan_meta::codec;
use portolan_meta::command::{Command, Proposal, ProposalKey};
use portolan_meta::id::NodeId;
use portolan_meta::outcome::{Outcome, Refusal};

#[tokio::test(flavor = "multi_thread")]
async fn a_write_at_any_node_is_seen_there_at_once_and_linearizably_everywhere() {
    let cluster = Cluster::start(3, 0, quick()).await;
    for id in cluster.ids() {
        cluster.put(id, id).await;
        assert!(cluster.has(id, id), "node {id} has applied what it was told is done");
        for reader in cluster.ids() {
            assert!(cluster.has_now(reader, id).await, "written at {id}, read at {reader}");
        }
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_at_every_node_all_get_their_outcome() {
    let cluster = Cluster::start(3, 0, quick()).await;
    let writes = cluster.ids().flat_map(|id| (0..200).map(move |number| (id, id * 1_000 + number)));
    join_all(writes.map(|(id, number)| cluster.put(id, number))).await;
    for id in cluster.ids() {
        assert!(cluster.has_now(id, 1_199).await && cluster.has_now(id, 3_000).await);
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeating_a_key_changes_nothing_and_gets_the_first_outcome() {
    let cluster = Cluster::start(3, 0, quick()).await;
    let leader = cluster.leader().await;
    let follower = cluster.ids().find(|id| *id != leader).expect("a follower");
    let key = ProposalKey { node: NodeId(follower), incarnation: 1, sequence: 1_000, settled_below: 1 };
    let proposal = Proposal { key, at_ms: 0, command: commit(follower, 7) };
    let mut replies = Vec::new();
    for _ in 0..3 {
        let peers = &cluster.node(follower).peers;
        replies.push(peers.propose(NodeId(leader), call(&proposal), PATIENCE).await.expect("answered"));
    }
    assert!(replies[0].index < replies[1].index && replies[1].index < replies[2].index, "each is an entry of its own");
    let outcomes: Vec<Outcome> =
        replies.iter().map(|reply| codec::decode_outcome(&reply.outcome).expect("an outcome")).collect();
    let Outcome::BlobCommitted { generation, .. } = outcomes[0] else { panic!("{:?}", outcomes[0]) };
    assert_eq!(generation, replies[0].index);
    assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]), "{outcomes:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_an_outcome_and_a_command_too_large_is_not_even_proposed() {
    let cluster = Cluster::start(1, 0, quick()).await;
    let consensus = &cluster.node(1).consensus;
    let missing =
        Command::DeleteTag { repo: crate::cluster::repo(), tag: "none".parse().expect("a tag"), by: String::new() };
    let outcome = consensus.propose(missing, soon()).await.expect("an outcome");
    assert!(matches!(outcome, Outcome::Refused(Refusal::UnknownRepo | Refusal::UnknownTag)), "{outcome:?}");
    let large = Command::DeleteTag {
        repo: crate::cluster::repo(),
        tag: "none".parse().expect("a tag"),
        by: "x".repeat(300 << 10),
    };
    let refused = consensus.propose(large, soon()).await;
    assert!(matches!(refused, Err(ProposeError::TooLarge { .. })), "{refused:?}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_hears_of_what_it_applies() {
    let cluster = Cluster::start(3, 0, quick()).await;
    let mut receivers: Vec<_> = cluster.ids().map(|id| cluster.node(id).consensus.changes()).collect();
    cluster.put(2, 42).await;
    for changes in &mut receivers {
        let heard = tokio::time::timeout(PATIENCE, async {
            loop {
                if let Change::Blobs(blobs) = changes.recv().await.expect("no lag")
                    && blobs.contains(&crate::cluster::digest(42))
                {
                    return;
                }
            }
        });
        heard.await.expect("heard of the blob");
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_tells_its_waiting_callers() {
    let mut cluster = Cluster::start(3, 0, quick()).await;
    cluster.kill(2).await;
    cluster.kill(3).await;
    let consensus = std::sync::Arc::clone(&cluster.node(1).consensus);
    let waiting = tokio::spawn({
        let consensus = std::sync::Arc::clone(&consensus);
        async move { consensus.propose(commit(1, 1), soon()).await }
    });
    eventually("the leader is lost or its lease over", || {
        let idle = waiting.is_finished();
        let leader = consensus.status().leader;
        async move { !idle && leader.is_none_or(|leader| leader == NodeId(1)) }
    })
    .await;
    consensus.shutdown().await;
    let ended = waiting.await.expect("not cancelled");
    assert!(matches!(ended, Err(ProposeError::Stopped)), "{ended:?}");
    drop(consensus);
    cluster.stop().await;
}
