//! Each call's way to the handler and back.

use crate::support::{PATIENCE, SOON, address, append, eventually, member, pair};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::iter;
use portolan_meta::id::NodeId;
use portolan_oci::Digest;
use portolan_peer::{
    Config, Lane, PeerError, ProposeCall, ReadBlob, SnapshotData, SnapshotFile, SnapshotFrame, SnapshotHeader,
};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

const TWO: NodeId = NodeId(2);

fn proposal(text: &'static str) -> ProposeCall {
    ProposeCall { proposal: Bytes::from_static(text.as_bytes()) }
}

#[tokio::test]
async fn every_unary_call_reaches_its_handler() {
    let (_network, peers, served) = pair(&Config::default());
    assert_eq!(peers.vote(TWO, "x".into(), PATIENCE).await, Ok(Bytes::from("vote of 1 x")));
    assert_eq!(peers.pre_vote(TWO, "x".into(), PATIENCE).await, Ok(Bytes::from("pre-vote x")));
    assert_eq!(peers.transfer_leader(TWO, "x".into(), PATIENCE).await, Ok(Bytes::from("transfer x")));
    assert_eq!(peers.hand_over(TWO, "x".into(), PATIENCE).await, Ok(Bytes::from("hand over x")));
    assert_eq!(peers.read_index(TWO, PATIENCE).await, Ok(77));
    let reply = peers.propose(TWO, proposal("x"), PATIENCE).await.unwrap();
    assert_eq!((reply.index, reply.outcome), (12, Bytes::from("x")));
    let digest = Digest::sha256_of(b"x");
    assert_eq!(peers.accuse(TWO, &digest, PATIENCE).await, Ok(()));
    assert_eq!(*served.echo.accused.lock().unwrap(), vec![digest]);
    served.stop().await;
}

#[tokio::test]
async fn a_handlers_error_is_what_the_caller_gets() {
    let (_network, peers, served) = pair(&Config::default());
    let cases = [
        ("not-leader", PeerError::NotLeader { leader: Some(NodeId(9)) }),
        ("busy", PeerError::Busy),
        ("remote", PeerError::Remote("disk".to_owned())),
    ];
    for (text, want) in cases {
        assert_eq!(peers.propose(TWO, proposal(text), PATIENCE).await, Err(want));
    }
    assert_eq!(peers.ping(NodeId(3), PATIENCE).await, Err(PeerError::UnknownNode(NodeId(3))));
    served.stop().await;
}

#[tokio::test]
async fn a_deadline_frees_both_sides() {
    let (_network, peers, served) = pair(&Config::default());
    peers.ping(TWO, PATIENCE).await.unwrap();
    let start = Instant::now();
    let result = peers.propose(TWO, proposal("stall"), Duration::from_millis(100)).await;
    assert_eq!(result, Err(PeerError::Deadline));
    assert!(start.elapsed() < SOON, "it was another deadline");
    let dropped = Arc::clone(&served.echo.dropped);
    eventually("the handler's end", async || dropped.load(Ordering::SeqCst) == 1).await;
    served.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_append_streams_are_pipelined_and_each_keeps_its_order() {
    let (_network, peers, served) = pair(&Config::default());
    let mut streams = JoinSet::new();
    for stream in 0..32_u32 {
        let (sender, mut answers) = append(&peers).await;
        streams.spawn(async move {
            // All requests go out before the first answer is looked at.
            for request in 0..500_u32 {
                sender.send(format!("{stream}/{request}").into()).await.unwrap();
            }
            drop(sender);
            for request in 0..500_u32 {
                assert_eq!(answers.next().await, Some(Ok(format!("{stream}/{request}").into())));
            }
            assert_eq!(answers.next().await, None);
        });
    }
    let all = async {
        while let Some(stream) = streams.join_next().await {
            stream.unwrap();
        }
    };
    timeout(PATIENCE, all).await.unwrap();
    served.stop().await;
}

#[tokio::test]
async fn an_append_stream_that_owes_answers_ends_at_the_deadline_and_an_idle_one_does_not() {
    let config = Config { progress_timeout_ms: 100, ..Config::default() };
    let (_network, peers, served) = pair(&config);
    let (_idle_sender, mut idle) = append(&peers).await;
    let (sender, mut answers) = append(&peers).await;
    sender.send("a".into()).await.unwrap();
    assert_eq!(answers.next().await, Some(Ok("a".into())));
    sender.send("mute".into()).await.unwrap();
    assert_eq!(answers.next().await, Some(Err(PeerError::Deadline)));
    assert_eq!(answers.next().await, None);
    assert!(timeout(Duration::from_millis(300), idle.next()).await.is_err(), "the idle stream goes on");
    served.stop().await;
}

#[tokio::test]
async fn an_append_stream_ends_with_its_handlers_error() {
    let (_network, peers, served) = pair(&Config::default());
    let (sender, mut answers) = append(&peers).await;
    sender.send("fail".into()).await.unwrap();
    assert_eq!(answers.next().await, Some(Err(PeerError::Busy)));
    assert_eq!(answers.next().await, None);
    eventually("the end of the requests", async || sender.is_closed()).await;
    served.stop().await;
}

fn blob(len: usize) -> (Digest, Bytes) {
    let bytes: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
    (Digest::sha256_of(&bytes), bytes.into())
}

#[tokio::test]
async fn a_blob_comes_whole_or_from_an_offset_or_in_part() {
    let (_network, peers, served) = pair(&Config::default());
    let (digest, bytes) = blob(1_000_000);
    served.echo.blobs.lock().unwrap().insert(digest, bytes.clone());
    let cases = [(0, None), (999_999, None), (1_000_000, None), (300_000, Some(1)), (1, Some(500_000))];
    for (offset, limit) in cases {
        let read = ReadBlob { digest, offset, limit, relay: false };
        let remote = peers.read_blob(TWO, read).await.unwrap();
        assert_eq!(remote.size, 1_000_000);
        let pieces: Vec<_> = remote.stream.map(Result::unwrap).collect().await;
        let from = usize::try_from(offset).unwrap();
        let until = limit.map_or(bytes.len(), |limit| from + usize::try_from(limit).unwrap());
        assert_eq!(pieces.concat(), bytes[from..until], "{offset} {limit:?}");
    }
    let unknown = ReadBlob { digest: Digest::sha256_of(b"?"), offset: 0, limit: None, relay: false };
    assert_eq!(peers.read_blob(TWO, unknown).await.unwrap_err(), PeerError::NotFound);
    served.stop().await;
}

#[tokio::test]
async fn a_reader_that_pauses_holds_the_source_back() {
    let config = Config { stream_window_bytes: 1 << 20, connection_window_bytes: 2 << 20, ..Config::default() };
    let (_network, peers, served) = pair(&config);
    let (digest, bytes) = blob(32 << 20);
    served.echo.blobs.lock().unwrap().insert(digest, bytes.clone());
    let read = ReadBlob { digest, offset: 0, limit: None, relay: false };
    let mut remote = peers.read_blob(TWO, read).await.unwrap();
    let first = remote.stream.next().await.unwrap().unwrap();
    let counter = Arc::clone(&served.echo.read);
    // Until the source stands still.
    let mut before = 0;
    eventually("the standstill", async || {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = counter.load(Ordering::SeqCst);
        std::mem::replace(&mut before, now) == now
    })
    .await;
    assert!(before < 4 << 20, "{before} bytes were read ahead");
    let rest: Vec<_> = remote.stream.map(Result::unwrap).collect().await;
    assert_eq!(first.len() + rest.iter().map(Bytes::len).sum::<usize>(), bytes.len());
    served.stop().await;
}

fn snapshot(sent: &'static [&'static [u8]]) -> impl futures::Stream<Item = SnapshotFrame> + Send + 'static {
    let file = |size| SnapshotFile { name: "000001.sst".to_owned(), size, sha256: [1; 32] };
    let header = SnapshotHeader { meta: "meta ".into(), files: vec![file(4), file(0), file(3)] };
    let mut frames = vec![SnapshotFrame::Header(header)];
    let places = [(0, 0), (0, 2), (2, 0)];
    for ((file, offset), bytes) in places.into_iter().zip(sent) {
        frames.push(SnapshotFrame::Data(SnapshotData { file, offset, bytes: Bytes::from_static(bytes) }));
    }
    iter(frames)
}

#[tokio::test]
async fn a_snapshot_arrives_whole_or_not_at_all() {
    let (_network, peers, served) = pair(&Config::default());
    let answer = peers.send_snapshot(TWO, snapshot(&[b"ab", b"cd", b"efg"])).await;
    assert_eq!(answer, Ok(Bytes::from("meta abcdefg")));
    let answer = peers.send_snapshot(TWO, snapshot(&[b"ab", b"cd"])).await;
    assert!(answer.is_err(), "{answer:?}");
    let seen = served.echo.snapshot_error.lock().unwrap().clone();
    assert!(matches!(seen, Some(PeerError::Unreachable(_))), "{seen:?}");
    served.stop().await;
}

#[tokio::test]
async fn a_member_whose_address_changes_is_called_there() {
    let (network, peers, served) = pair(&Config::default());
    peers.ping(TWO, PATIENCE).await.unwrap();
    peers.set_members(vec![member(2, "elsewhere:7000")]);
    assert!(matches!(peers.ping(TWO, PATIENCE).await, Err(PeerError::Unreachable(_))));
    peers.set_members(vec![member(2, &address(2))]);
    peers.ping(TWO, PATIENCE).await.unwrap();
    peers.set_members(Vec::new());
    assert_eq!(peers.ping(TWO, PATIENCE).await, Err(PeerError::UnknownNode(TWO)));
    peers.set_members(vec![member(2, &address(2))]);
    assert_eq!(peers.members().len(), 1);
    peers.close();
    assert_eq!(peers.ping(TWO, PATIENCE).await, Err(PeerError::Stopped));
    peers.set_members(vec![member(2, &address(2))]);
    let closed = peers.append_stream(TWO, Lane::Raft, iter([])).await;
    assert_eq!(closed.err(), Some(PeerError::Stopped));
    drop(network);
    served.stop().await;
}
