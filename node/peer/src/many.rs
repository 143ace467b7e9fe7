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
