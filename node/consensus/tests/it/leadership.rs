//! Leaders that die, hand over, and come back.

use crate::cluster::{Cluster, eventually, quick, soon};
use crate::hard_of_hearing::Hearing;
use portolan_consensus::{Handover, HandoverError, Unfit};
use portolan_meta::id::NodeId;

/// How often a scene is played that an election spoils: a machine that stands still for a second is enough for one.
const SCENES: u32 = 3;

/// Whoever was not there yet when it was called first is called again after a pause only: until then it seems silent.
async fn all_hear_each_other(cluster: &Cluster) {
    let hears = |id: u64| cluster.node(id).consensus.status().nodes.values().all(|node| node.last_seen_ms.is_some());
    eventually("all hear each other", || async { cluster.ids().all(hears) }).await;
}

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
async fn another_voter_leads_when_any_node_was_asked_for_it() {
    let cluster = Cluster::start(3, 1, quick()).await;
    all_hear_each_other(&cluster).await;
    let mut number = 0;
    for asked in cluster.ids() {
        for named in [true, false] {
            let before = cluster.leader().await;
            let heir = (1..=3).find(|id| *id != before && *id != asked).map(NodeId).filter(|_| named);
            let node = &cluster.node(asked).consensus;
            let done = node.hand_over(heir, soon()).await.expect("the others are well");
            assert_eq!(done.before, NodeId(before));
            assert!(heir.map_or(done.leader != done.before, |heir| heir == done.leader), "{done:?} for {heir:?}");
            assert_eq!(node.status().leader, Some(done.leader), "who was asked knows it");
            let again = node.hand_over(Some(done.leader), soon()).await;
            assert_eq!(again, Ok(Handover { before: done.leader, leader: done.leader }));
            cluster.put(asked, number).await;
            number += 1;
        }
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_could_not_lead_is_refused_without_an_election() {
    let cluster = Cluster::start(3, 1, quick()).await;
    all_hear_each_other(&cluster).await;
    let leader = cluster.leader().await;
    let away = (1..=3).find(|id| *id != leader).expect("another voter");
    let present = (1..=3).find(|id| ![leader, away].contains(id)).expect("a third");
    cluster.isolate(away);
    let term = cluster.node(leader).consensus.status().term;
    for asked in [leader, present] {
        let node = &cluster.node(asked).consensus;
        for (wanted, why) in [(4, Unfit::NoVote), (away, Unfit::Silent), (5, Unfit::NoVote)] {
            let refused = node.hand_over(Some(NodeId(wanted)), soon()).await;
            assert_eq!(refused, Err(HandoverError::Unfit { node: NodeId(wanted), why }));
        }
    }
    assert_eq!(cluster.node(leader).consensus.status().term, term);
    // Nobody in particular is not the one that is away, however long ago it was heard.
    let done = cluster.node(present).consensus.hand_over(None, soon()).await;
    assert_eq!(done, Ok(Handover { before: NodeId(leader), leader: NodeId(present) }));
    cluster.join(away);
    cluster.put(away, 1).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_that_does_not_know_the_call_is_named_at_once() {
    let cluster = Cluster::start(3, 0, quick()).await;
    let leader = cluster.leader().await;
    cluster.node(leader).hearing.set(Hearing::Deaf);
    let term = cluster.node(leader).consensus.status().term;
    let asked = (1..=3).find(|id| *id != leader).expect("another voter");
    for wanted in [None, Some(NodeId(asked))] {
        let refused = cluster.node(asked).consensus.hand_over(wanted, soon()).await;
        assert_eq!(refused, Err(HandoverError::NotUnderstood { node: NodeId(leader) }));
    }
    assert_eq!(cluster.node(leader).hearing.asked(), 2, "once each");
    assert_eq!(cluster.node(leader).consensus.status().term, term);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_decode_is_no_word_that_nothing_was_done() {
    let cluster = Cluster::start(3, 0, quick()).await;
    all_hear_each_other(&cluster).await;
    let leader = cluster.leader().await;
    let heir = (1..=3).find(|id| *id != leader).expect("another voter");
    let third = (1..=3).find(|id| ![leader, heir].contains(id)).expect("a third");
    for hearing in [&cluster.node(leader).hearing, &cluster.node(heir).hearing] {
        hearing.set(Hearing::Mumbles);
    }
    let done = cluster.node(third).consensus.hand_over(Some(NodeId(heir)), soon()).await;
    assert_eq!(done, Ok(Handover { before: NodeId(leader), leader: NodeId(heir) }));
    assert_eq!((cluster.node(leader).hearing.asked(), cluster.node(heir).hearing.asked()), (1, 0));
    for id in cluster.ids() {
        cluster.node(id).hearing.set(Hearing::MumblesOnly);
    }
    let term = || cluster.ids().map(|id| cluster.node(id).consensus.status().term).max();
    let mut scene = 1;
    let (open, heard, elected) = loop {
        // Before anybody is known to lead, so that no election falls in between unnoticed.
        let before = term();
        let leader = cluster.leader().await;
        let other = cluster.ids().find(|id| *id != leader).expect("another voter");
        let hearing = &cluster.node(leader).hearing;
        let heard = hearing.asked();
        let open = cluster.node(other).consensus.hand_over(None, soon()).await;
        let elected = term() != before;
        if !elected || scene == SCENES {
            break (open, hearing.asked() - heard, elected);
        }
        scene += 1;
    };
    assert!(!elected, "an election in each of {SCENES} scenes: {open:?}");
    assert_eq!(open, Err(HandoverError::NotTaken));
    assert_eq!(heard, 3, "it is asked a few times, and not until the deadline");
    cluster.stop().await;
}
