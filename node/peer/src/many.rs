//! Calls that name many blobs, and the sums of one: bounds, checksums and order, on both sides.

use crate::convert::digest_from_wire;
use crate::error::PeerError;
use crate::message::{MANY_BLOB_BYTES, MANY_BLOBS, ManyBlobs, TransferState};
use crate::status::{from_status, to_status};
use bytes::Bytes;
use futures::stream::{BoxStream, unfold};
use futures::{Stream, StreamExt};
use portolan_meta::id::NodeId;
use portolan_oci::Digest;
use portolan_proto::v1::{ManyFrame, SmallBlob, SumsReply, Transfer, TransfersReply};
use std::time::Duration;
use tokio::time::timeout;
use tonic::Status;

pub(crate) fn sums_to_wire(sums: Vec<u32>) -> SumsReply {
    SumsReply { crc32c: crc_of(&sums), sums }
}

pub(crate) fn sums_from_wire(reply: SumsReply) -> Result<Vec<u32>, PeerError> {
    if crc_of(&reply.sums) != reply.crc32c {
        return Err(PeerError::Corrupt { offset: 0 });
    }
    Ok(reply.sums)
}

fn crc_of(sums: &[u32]) -> u32 {
    sums.iter().fold(0, |crc, sum| crc32c::crc32c_append(crc, &sum.to_le_bytes()))
}

pub(crate) fn digests_to_wire(digests: &[Digest]) -> Result<Vec<String>, PeerError> {
    check_count(digests.len())?;
    Ok(digests.iter().map(ToString::to_string).collect())
}

pub(crate) fn digests_from_wire(digests: &[String]) -> Result<Vec<Digest>, PeerError> {
    check_count(digests.len())?;
    digests.iter().map(|digest| digest_from_wire(digest)).collect()
}

fn check_count(count: usize) -> Result<(), PeerError> {
    if count > MANY_BLOBS {
        return Err(PeerError::Malformed(format!("{count} digests in one call, {MANY_BLOBS} are allowed")));
    }
    Ok(())
}

pub(crate) fn transfers_to_wire(found: Vec<TransferState>) -> TransfersReply {
    let transfers = found.into_iter().map(|state| Transfer {
        digest: state.digest.to_string(),
        received: state.received,
        from: state.from.map(|node| node.0),
        bytes_per_second: state.bytes_per_second,
    });
    TransfersReply { transfers: transfers.collect() }
}

/// Takes an answer about `asked`, and about nothing else.
pub(crate) fn transfers_from_wire(reply: TransfersReply, asked: &[Digest]) -> Result<Vec<TransferState>, PeerError> {
    if reply.transfers.len() > asked.len() {
        return Err(PeerError::Malformed(format!("{} transfers of {} blobs", reply.transfers.len(), asked.len())));
    }
    let state = |transfer: Transfer| {
        let digest = digest_from_wire(&transfer.digest)?;
        if !asked.contains(&digest) {
            return Err(PeerError::Malformed(format!("a transfer of {digest}, of which nobody asked")));
        }
        let (received, bytes_per_second) = (transfer.received, transfer.bytes_per_second);
        Ok(TransferState { digest, received, from: transfer.from.map(NodeId), bytes_per_second })
    };
    reply.transfers.into_iter().map(state).collect()
}

/// What goes out: one frame for each of `count` blobs. The source is read only when the transport asks.
pub(crate) fn frames(
    blobs: BoxStream<'static, Result<Option<Bytes>, PeerError>>,
    count: usize,
) -> impl Stream<Item = Result<ManyFrame, Status>> + Send + 'static {
    unfold(Some((blobs, 0_u32)), move |state| async move {
        let (mut blobs, index) = state?;
        if index as usize == count {
            return None;
        }
        let item = match blobs.next().await {
            Some(Ok(Some(bytes))) if bytes.len() as u64 > MANY_BLOB_BYTES => Err(too_long(bytes.len())),
            Some(Ok(bytes)) => Ok(frame(index, bytes)),
            Some(Err(error)) => Err(error),
            None => Err(PeerError::Remote(format!("{index} of {count} blobs were read"))),
        };
        Some(match item {
            Ok(frame) => (Ok(frame), Some((blobs, index + 1))),
            Err(error) => (Err(to_status(&error)), None),
        })
    })
}

fn frame(index: u32, bytes: Option<Bytes>) -> ManyFrame {
    let blob = bytes.map(|bytes| SmallBlob { crc32c: crc32c::crc32c(&bytes), bytes });
    ManyFrame { index, blob }
}

fn too_long(bytes: usize) -> PeerError {
    PeerError::Malformed(format!("a blob of {bytes} bytes among small ones, {MANY_BLOB_BYTES} are allowed"))
}

/// What comes in, of `count` blobs that were asked for. The two timeouts are until the first frame and between frames.
pub(crate) fn receive<S>(frames: S, count: usize, open: Duration, progress: Duration) -> ManyBlobs
where
    S: Stream<Item = Result<ManyFrame, Status>> + Send + Unpin + 'static,
{
    unfold(Some((frames, 0)), move |state| async move {
        let (mut frames, next) = state?;
        let limit = if next == 0 { open } else { progress };
        let item = match timeout(limit, frames.next()).await {
            Err(_) => Err(PeerError::Deadline),
            Ok(None) if next == count => return None,
            Ok(None) => Err(PeerError::Unreachable(format!("the stream ended after {next} of {count} blobs"))),
            Ok(Some(Err(status))) => Err(from_status(&status)),
            Ok(Some(Ok(frame))) => verify(frame, next, count),
        };
        let state = item.is_ok().then_some((frames, next + 1));
        Some((item, state))
    })
    .boxed()
}

fn verify(frame: ManyFrame, next: usize, count: usize) -> Result<(usize, Option<Bytes>), PeerError> {
    if frame.index as usize != next || next >= count {
        return Err(PeerError::Malformed(format!("blob {} instead of {next} of {count}", frame.index)));
    }
    let Some(blob) = frame.blob else { return Ok((next, None)) };
    if blob.bytes.len() as u64 > MANY_BLOB_BYTES {
        return Err(too_long(blob.bytes.len()));
    }
    if crc32c::crc32c(&blob.bytes) != blob.crc32c {
        return Err(PeerError::Corrupt { offset: 0 });
    }
    Ok((next, Some(blob.bytes)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic fails the test")]

    use super::{
        digests_from_wire, digests_to_wire, frame, frames, receive, sums_from_wire, sums_to_wire, transfers_from_wire,
        transfers_to_wire,
    };
    use crate::error::PeerError;
    use crate::message::{MANY_BLOB_BYTES, MANY_BLOBS, TransferState};
    use crate::status::to_status;
    use bytes::Bytes;
    use futures::StreamExt;
    use futures::stream::{iter, pending};
    use portolan_meta::id::NodeId;
    use portolan_oci::Digest;
    use portolan_proto::v1::{ManyFrame, SmallBlob, SumsReply};
    use std::time::Duration;
    use tonic::Status;

    const SECOND: Duration = Duration::from_secs(1);
    const SHORT: Duration = Duration::from_millis(30);

    fn here(index: u32, bytes: &'static [u8]) -> Result<ManyFrame, Status> {
        Ok(frame(index, Some(Bytes::from_static(bytes))))
    }

    fn missing(index: u32) -> Result<ManyFrame, Status> {
        Ok(frame(index, None))
    }

    fn damaged(index: u32) -> Result<ManyFrame, Status> {
        Ok(ManyFrame { index, blob: Some(SmallBlob { crc32c: 1, bytes: Bytes::from_static(b"abc") }) })
    }

    fn large(bytes: u64) -> Bytes {
        vec![7; usize::try_from(bytes).unwrap()].into()
    }

    fn kind(error: &PeerError) -> String {
        match error {
            PeerError::Malformed(_) => "malformed".to_owned(),
            PeerError::Unreachable(_) => "unreachable".to_owned(),
            PeerError::Remote(_) => "remote".to_owned(),
            other => other.to_string(),
        }
    }

    /// Each place that came, with its length, and how it ended.
    async fn take(frames: Vec<Result<ManyFrame, Status>>, count: usize) -> (Vec<(usize, Option<usize>)>, String) {
        let mut blobs = receive(iter(frames), count, SECOND, SECOND);
        let mut got = Vec::new();
        while let Some(item) = blobs.next().await {
            match item {
                Ok((place, bytes)) => got.push((place, bytes.map(|bytes| bytes.len()))),
                Err(error) => {
                    assert!(blobs.next().await.is_none(), "an error is the last item");
                    return (got, kind(&error));
                }
            }
        }
        (got, "ok".to_owned())
    }

    #[tokio::test]
    async fn each_place_comes_once_and_in_order_or_the_stream_fails() {
        let too_large = Ok(frame(0, Some(large(MANY_BLOB_BYTES + 1))));
        let largest = Ok(frame(0, Some(large(MANY_BLOB_BYTES))));
        let one = (0, Some(2));
        let cases = [
            (vec![], 0, vec![], "ok"),
            (vec![here(0, b"ab"), missing(1), here(2, b"")], 3, vec![one, (1, None), (2, Some(0))], "ok"),
            (vec![largest], 1, vec![(0, Some(1 << 20))], "ok"),
            (vec![here(0, b"ab")], 2, vec![one], "unreachable"),
            (vec![here(0, b"ab"), here(1, b"c")], 1, vec![one], "malformed"),
            (vec![here(0, b"ab"), here(0, b"ab")], 2, vec![one], "malformed"),
            (vec![here(1, b"ab"), here(0, b"ab")], 2, vec![], "malformed"),
            (vec![missing(0)], 0, vec![], "malformed"),
            (vec![too_large], 1, vec![], "malformed"),
            (vec![here(0, b"ab"), damaged(1), here(2, b"c")], 3, vec![one], "wrong checksum at byte 0"),
            (vec![here(0, b"ab"), Err(to_status(&PeerError::Busy))], 2, vec![one], "the peer is busy"),
        ];
        for (index, (frames, count, got, end)) in cases.into_iter().enumerate() {
            assert_eq!(take(frames, count).await, (got, end.to_owned()), "case {index}");
        }
    }

    #[tokio::test]
    async fn a_stream_of_small_blobs_that_stands_still_ends_at_the_deadline() {
        let stuck = iter([here(0, b"ab")]).chain(pending());
        let mut blobs = receive(stuck, 2, SECOND, SHORT);
        assert_eq!(blobs.next().await, Some(Ok((0, Some(Bytes::from_static(b"ab"))))));
        assert_eq!(blobs.next().await, Some(Err(PeerError::Deadline)));
        assert_eq!(blobs.next().await, None);
        let mut mute = receive(pending::<Result<ManyFrame, Status>>(), 1, SHORT, SECOND * 60);
        assert_eq!(mute.next().await, Some(Err(PeerError::Deadline)));
    }

    #[tokio::test]
    async fn a_source_that_gives_too_little_or_too_much_is_cut_off() {
        let source = |items: Vec<Result<Option<Bytes>, PeerError>>| iter(items).boxed();
        let small = || Ok(Some(Bytes::from_static(b"ab")));
        let cases = [
            (source(vec![small(), Ok(None)]), 2, 2, "ok"),
            (source(vec![small(), small(), small()]), 2, 2, "ok"),
            (source(vec![small()]), 2, 1, "remote"),
            (source(vec![small(), Ok(Some(large(MANY_BLOB_BYTES + 1)))]), 2, 1, "malformed"),
            (source(vec![Err(PeerError::Busy), small()]), 2, 0, "the peer is busy"),
        ];
        for (index, (source, count, places, end)) in cases.into_iter().enumerate() {
            let sent: Vec<_> = frames(source, count).collect().await;
            let (got, found) = take(sent, count).await;
            assert_eq!((got.len(), &*found), (places, end), "case {index}");
        }
    }

    #[test]
    fn no_call_names_more_blobs_than_are_allowed() {
        let digests = vec![Digest::sha256_of(b"x"); MANY_BLOBS + 1];
        let wire = digests_to_wire(&digests[1..]).unwrap();
        assert_eq!(digests_from_wire(&wire).unwrap().len(), MANY_BLOBS);
        assert_eq!(digests_to_wire(&digests).map_err(|error| kind(&error)), Err("malformed".to_owned()));
        let wire = vec![digests[0].to_string(); MANY_BLOBS + 1];
        assert_eq!(digests_from_wire(&wire).map_err(|error| kind(&error)), Err("malformed".to_owned()));
        assert!(digests_from_wire(&["sha256:xyz".to_owned()]).is_err());
    }

    #[test]
    fn sums_survive_the_wire_and_damage_is_noticed() {
        for sums in [vec![], vec![0], vec![1, 2, u32::MAX]] {
            assert_eq!(sums_from_wire(sums_to_wire(sums.clone())), Ok(sums));
        }
        let SumsReply { crc32c, .. } = sums_to_wire(vec![1, 2]);
        for sums in [vec![1, 3], vec![1], vec![2, 1], vec![1, 2, 0]] {
            assert_eq!(sums_from_wire(SumsReply { sums, crc32c }), Err(PeerError::Corrupt { offset: 0 }));
        }
    }

    #[test]
    fn transfers_survive_the_wire_and_are_of_what_was_asked_for() {
        let [first, second] = [Digest::sha256_of(b"1"), Digest::sha256_of(b"2")];
        let state = |digest, from| TransferState { digest, received: 5, from, bytes_per_second: 6 };
        let states = vec![state(first, Some(NodeId(3))), state(second, None)];
        let sent = || transfers_to_wire(states.clone());
        assert_eq!(transfers_from_wire(sent(), &[second, first]), Ok(states.clone()));
        for asked in [&[first][..], &[first, first], &[]] {
            assert!(matches!(transfers_from_wire(sent(), asked), Err(PeerError::Malformed(_))), "{asked:?}");
        }
    }
}
