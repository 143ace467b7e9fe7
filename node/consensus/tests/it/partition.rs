//! A node that is cut off from the majority.

use crate::cluster::{Cluster, commit, quick};
use portolan_consensus::{Freshness, ProposeError, ReadError};
use std::time::Duration;
use tokio::time::Instant;

#[tokio::test(flavor = "multi_thread")]
async fn a_minority_refuses_in_bounded_time_what_it_cannot_know_and_serves_what_it_has() {
    let cluster = Cluster::start(3, 0, quick()).await;
    let leader = cluster.leader().await;
    let follower = cluster.ids().find(|id| *id != leader).expect("a follower");
    for lonely in [follower, leader] {
        cluster.put(lonely, lonely).await;
        cluster.isolate(lonely);
        let consensus = &cluster.node(lonely).consensus;
        let began = Instant::now();
        let limit = Duration::from_secs(1);
        let fresh = consensus.view(Freshness::Linearizable { deadline: began + limit }).await;
        assert!(matches!(fresh, Err(ReadError::Unavailable)), "node {lonely}");
        let refused = consensus.propose(commit(lonely, 100 + lonely), Instant::now() + limit).await;
        assert!(matches!(refused, Err(ProposeError::NoLeader | ProposeError::Deadline)), "{refused:?}");
        // The errors tell that both gave up by themselves; a busy machine may be late to notice that it is time.
        assert!(began.elapsed() < 10 * limit, "both gave up at their deadlines");
        assert!(cluster.has(lonely, lonely), "what it has it still shows");
        let majority: Vec<u64> = cluster.ids().filter(|id| *id != lonely).collect();
        cluster.leader_among(&majority).await;
        cluster.put(majority[0], 200 + lonely).await;
        cluster.join(lonely);
        assert!(cluster.has_now(lonely, 200 + lonely).await, "it follows again");
    }
    cluster.stop().await;
}
