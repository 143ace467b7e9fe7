//! Restarts in the middle.

use crate::cluster::{Cluster, Plan, random, read_all, read_first, until};
use crate::tamper::Behaviour;
use portolan_replication::Source;

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_restart_resumes_a_transfer_where_it_was() {
    let mut cluster = Cluster::start(Plan::default().patient()).await;
    let size: u64 = 6 << 20;
    let bytes = random(1, 6 << 20);
    // The third node stays out of it, so that every byte is counted at one place.
    cluster.cut(0, 2);
    cluster.cut(1, 2);
    let held = 4 << 20;
    cluster.nodes[0].tamper.set(Behaviour::HoldsAt(held));
    let digest = cluster.nodes[0].push(&bytes).await;
    let received = |cluster: &Cluster| {
        let status = cluster.nodes[1].replication.status();
        status.in_flight.iter().map(|fetch| fetch.received).sum::<u64>()
    };
    until("most of it is there", || received(&cluster) == held).await;
    assert_eq!(cluster.nodes[0].tamper.bytes(), held);
    // What came may still be on its way to the disk, where the restart would overtake it; what can be read is there.
    let mut reader = cluster.nodes[1].open(&digest).await;
    assert_eq!(reader.source, Source::Following);
    read_first(&mut reader, held).await;
    drop(reader);
    cluster.restart(1, |cluster| cluster.nodes[0].tamper.set(Behaviour::Honest)).await;
    let node = &cluster.nodes[1];
    node.wait_recorded(&digest).await;
    assert_eq!(read_all(node.open(&digest).await).await.unwrap(), bytes);
    let offsets: Vec<u64> = cluster.nodes[0].tamper.reads().iter().map(|read| read.offset).collect();
    assert_eq!(offsets, [0, held]);
    assert_eq!(cluster.nodes[0].tamper.bytes(), size, "bytes travelled twice");
    cluster.shutdown().await;
}
