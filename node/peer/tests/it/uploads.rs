//! Requests for upload sessions, forwarded to their owner.

use crate::owner::BEGUN;
use crate::support::{PATIENCE, pair};
use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{iter, repeat};
use portolan_meta::id::NodeId;
use portolan_oci::{ContentRange, Digest};
use portolan_peer::{
    BrokenOff, Chunk, Config, Forwarded, ForwardedBody, PeerError, Peers, UploadAction, UploadCall, UploadFault,
    UploadReply,
};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// Who reads nothing for so long waits.
const REST: Duration = Duration::from_millis(200);

fn call(session: &str, action: UploadAction) -> UploadCall {
    UploadCall { repo: "team/app".parse().unwrap(), session: session.to_owned(), action }
}

fn append(session: &str) -> UploadCall {
    call(session, UploadAction::Append(Chunk::default()))
}

fn pieces(count: usize, length: usize) -> ForwardedBody {
    iter((0..count).map(move |_| Ok(Bytes::from(vec![7; length])))).boxed()
}

/// Sends a body to a session that wants it.
async fn send(peers: &Peers, session: &str, body: ForwardedBody) -> Result<UploadReply, PeerError> {
    match peers.forward_upload(NodeId(2), &append(session), PATIENCE).await? {
        Forwarded::Go(sending) => {
            assert_eq!(sending.length(), BEGUN);
            sending.send(body).await
        }
        Forwarded::Answer(reply) => panic!("answered before the body: {reply:?}"),
    }
}

#[tokio::test]
async fn a_body_arrives_whole_and_one_that_breaks_off_is_told_from_it() {
    let (_network, peers, served) = pair(&Config::default());
    for (count, length) in [(0, 0), (1, 1), (3, 1_000_000), (1, 20_000_000)] {
        let got = send(&peers, "count", pieces(count, length)).await;
        assert_eq!(got, Ok(UploadReply::Progress((count * length) as u64)), "{count} pieces of {length} bytes");
    }
    let broken = pieces(2, 1_000).chain(iter([Err(BrokenOff)])).boxed();
    assert_eq!(send(&peers, "count", broken).await, Ok(UploadReply::Fault(UploadFault::BrokenOff)));
    served.stop().await;
}

#[tokio::test]
async fn a_request_that_is_refused_takes_nothing_of_its_body() {
    let (_network, peers, served) = pair(&Config::default());
    let range = Some(ContentRange::parse("9-12").unwrap());
    let refused = call("refuse", UploadAction::Append(Chunk { range, length: Some(4) }));
    let finish = UploadAction::Finish { digest: Digest::sha256_of(b"x"), chunk: Chunk::default() };
    let cases = [
        (refused, UploadReply::Fault(UploadFault::OutOfOrder { start: 9, length: 7 })),
        (call("finish", finish), UploadReply::Done),
        (call("nobody's", UploadAction::Status), UploadReply::Fault(UploadFault::Unknown)),
        (call("nobody's", UploadAction::Cancel), UploadReply::Fault(UploadFault::Unknown)),
    ];
    for (call, want) in cases {
        match peers.forward_upload(NodeId(2), &call, PATIENCE).await {
            Ok(Forwarded::Answer(reply)) => assert_eq!(reply, want, "{call:?}"),
            Ok(Forwarded::Go(_)) => panic!("{call:?} wants a body"),
            Err(error) => panic!("{call:?}: {error}"),
        }
    }
    let failed = peers.forward_upload(NodeId(2), &append("fail"), PATIENCE).await;
    assert!(matches!(failed, Err(PeerError::Remote(_))), "{:?}", failed.err());
    served.stop().await;
}

#[tokio::test]
async fn an_owner_may_answer_before_the_bodys_end() {
    let (_network, peers, served) = pair(&Config::default());
    let endless = repeat(Ok(Bytes::from_static(&[1; 1_000]))).boxed();
    assert_eq!(send(&peers, "first piece", endless).await, Ok(UploadReply::Progress(1_000)));
    served.stop().await;
}

#[tokio::test]
async fn a_body_is_read_no_faster_than_its_owner_takes_it() {
    let config = Config { stream_window_bytes: 1 << 20, ..Config::default() };
    let (_network, peers, served) = pair(&config);
    let (read, mut reads) = watch::channel(0_u64);
    let endless = repeat(Bytes::from(vec![1; 64 << 10])).map(move |bytes| {
        read.send_modify(|read| *read += bytes.len() as u64);
        Ok(bytes)
    });
    let sending = tokio::spawn(async move { send(&peers, "stuck", endless.boxed()).await });
    // The windows fill, and then nothing moves.
    let deadline = Instant::now() + PATIENCE;
    reads.wait_for(|read| *read > 0).await.unwrap();
    while timeout(REST, reads.changed()).await.is_ok() {
        assert!(Instant::now() < deadline, "the sender never rests");
    }
    let read = *reads.borrow();
    assert!(read < 8 << 20, "{read} bytes were read for an owner that took one piece");
    sending.abort();
    served.stop().await;
}

#[tokio::test]
async fn a_body_that_was_read_to_its_end_waits_no_longer_than_the_owner_may_take() {
    let config = Config { upload_finish_timeout_ms: 50, ..Config::default() };
    let (_network, peers, served) = pair(&config);
    assert_eq!(send(&peers, "stuck", pieces(1, 10)).await, Err(PeerError::Deadline));
    served.stop().await;
}
