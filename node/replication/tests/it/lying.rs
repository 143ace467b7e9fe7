//! Peers that give other bytes than they should.

use crate::cluster::{Cluster, Plan, random, read_all, until};
use crate::tamper::Behaviour;

const SIZE: usize = 2 << 20;

/// What comes of a lie.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The digest is wrong: another is asked, and the liar is told.
    Accused,
    /// It is noticed before the end: another is asked.
    Replaced,
    /// What matters was right: nobody else need be asked.
    Harmless,
}

/// One node lies, another is honest, a third pulls until it has the blob: it never completes wrong bytes.
async fn check(lie: Behaviour, outcome: Outcome) {
    let cluster = Cluster::start(Plan::without_workers()).await;
    let bytes = random(1, SIZE);
    let digest = cluster.nodes[0].push(&bytes).await;
    read_all(cluster.nodes[1].open(&digest).await).await.unwrap();
    cluster.nodes[1].wait_recorded(&digest).await;
    let reader = &cluster.nodes[2];
    until("both holders are known", || reader.holders(&digest) == 2).await;

    // The honest one answers nothing at first, so that the liar is surely heard.
    let (liar, honest) = (&cluster.nodes[0].tamper, &cluster.nodes[1].tamper);
    let pulled_before = liar.reads().len();
    liar.set(lie);
    cluster.cut(1, 2);
    let first = async {
        match reader.replication.open(&digest, None).await {
            Ok(body) => read_all(body).await.ok(),
            Err(_) => None,
        }
    };
    let heal = async {
        until("the liar was heard", || liar.reads().len() > pulled_before).await;
        cluster.heal(1, 2);
    };
    let (first, ()) = tokio::join!(first, heal);
    if let Some(got) = first {
        assert!(got == bytes, "{lie:?}: wrong bytes were completed");
    }
    let deadline = tokio::time::Instant::now() + crate::cluster::PATIENCE;
    loop {
        assert!(tokio::time::Instant::now() < deadline, "{lie:?}: the honest copy never came");
        let Ok(body) = reader.replication.open(&digest, None).await else { continue };
        match read_all(body).await {
            Ok(got) => {
                assert!(got == bytes, "{lie:?}: wrong bytes were completed");
                break;
            }
            Err(_) => continue,
        }
    }
    let file = reader.wait_recorded(&digest).await;
    assert_eq!(reader.blobs.files_of(&digest).unwrap(), [file], "{lie:?}: something else was kept");
    assert!(outcome == Outcome::Harmless || !honest.reads().is_empty(), "{lie:?}: nobody asked the honest one");
    if outcome == Outcome::Accused {
        until("the liar was told", || liar.accusations().contains(&digest)).await;
    }
    // Its own file was sound, so the accused keeps it.
    assert_eq!(cluster.nodes[0].recorded(&digest).len(), 1);
    cluster.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_wrong_byte_at_the_beginning_is_never_completed() {
    check(Behaviour::Flips(0), Outcome::Accused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_wrong_byte_at_the_end_is_never_completed() {
    check(Behaviour::Flips(SIZE as u64 - 1), Outcome::Accused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn too_few_bytes_are_made_up_by_another_holder() {
    check(Behaviour::EndsAt(1_000_000), Outcome::Replaced).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn too_many_bytes_are_not_taken() {
    check(Behaviour::Adds(1000), Outcome::Harmless).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn another_size_is_not_believed() {
    check(Behaviour::Resizes, Outcome::Replaced).await;
}
