//! Snapshots, and logs that end behind them.

use crate::cluster::{Cluster, eventually, quick};
use portolan_consensus::{Change, Config};

fn small_log() -> Config {
    Config { snapshot_log_bytes: 16 << 10, ..quick() }
}

/// Writes until every one of these nodes has purged its log beyond an index.
async fn write_past(cluster: &Cluster, ids: &[u64], index: u64) -> u64 {
    let mut number = 0;
    while ids.iter().any(|id| cluster.node(*id).consensus.status().purged <= index) {
        cluster.put(ids[0], number).await;
        number += 1;
        assert!(number < 20_000, "no purge");
    }
    number
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_was_away_past_the_log_s_end_catches_up_by_snapshot() {
    let mut cluster = Cluster::start(3, 0, small_log()).await;
    let leader = cluster.leader().await;
    let away = cluster.ids().find(|id| *id != leader).expect("a follower");
    let others: Vec<u64> = cluster.ids().filter(|id| *id != away).collect();
    let left_at = cluster.node(away).consensus.status().last_log;
    cluster.kill(away).await;
    let written = write_past(&cluster, &others, left_at).await;
    cluster.run(away).await;
    let mut changes = cluster.node(away).consensus.changes();
    cluster.boot(away).await;
    for number in [0, written / 2, written - 1] {
        assert!(cluster.has_now(away, number).await, "blob {number} of {written}");
    }
    let mut reset = false;
    while let Ok(change) = changes.try_recv() {
        reset |= matches!(change, Change::Reset);
    }
    assert!(reset, "it was a snapshot that brought them");
    eventually("both stand at one index, with one hash", || async {
        let hash = async |id| cluster.node(id).consensus.state_hash().await.expect("nobody else hashes");
        let (one, other) = (hash(away).await, hash(leader).await);
        assert!(one.applied != other.applied || one == other, "{one:?} {other:?}");
        one == other
    })
    .await;
    cluster.put(away, 1_000_000).await;
    // What it received it can also restart from.
    cluster.kill(away).await;
    cluster.run(away).await;
    cluster.boot(away).await;
    assert!(cluster.has_now(away, 0).await && cluster.has_now(away, 1_000_000).await);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_bounds_the_log_of_every_node() {
    let cluster = Cluster::start(3, 0, small_log()).await;
    let ids: Vec<u64> = cluster.ids().collect();
    let written = write_past(&cluster, &ids, 0).await;
    for id in ids {
        let consensus = &cluster.node(id).consensus;
        eventually("a snapshot covers the purge", || async {
            consensus.status().snapshot >= consensus.status().purged
        })
        .await;
        assert!(cluster.has_now(id, written - 1).await);
    }
    cluster.stop().await;
}
