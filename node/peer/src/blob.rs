//! A blob's bytes: cut into chunks with their CRC32C on one side, put together and verified on the other.

use crate::error::PeerError;
use crate::message::{ReadBlob, RemoteBlob};
use crate::status::{from_status, to_status};
use bytes::Bytes;
use futures::stream::{BoxStream, once, unfold};
use futures::{Stream, StreamExt};
use portolan_proto::v1::{BlobChunk, BlobFrame, BlobHeader, blob_frame::Frame};
use std::time::Duration;
use tokio::time::timeout;
use tonic::Status;

struct Cutting {
    source: BoxStream<'static, Result<Bytes, PeerError>>,
    rest: Bytes,
    offset: u64,
    chunk: usize,
}

/// What goes out: a header, then chunks of at most `chunk` bytes. The source is read only when the transport asks.
pub(crate) fn frames(
    blob: RemoteBlob,
    offset: u64,
    chunk: usize,
) -> impl Stream<Item = Result<BlobFrame, Status>> + Send + 'static {
    let header = BlobFrame { frame: Some(Frame::Header(BlobHeader { size: blob.size })) };
    let cutting = Cutting { source: blob.stream, rest: Bytes::new(), offset, chunk: chunk.max(1) };
    let chunks = unfold(Some(cutting), |state| async move {
        let mut cutting = state?;
        while cutting.rest.is_empty() {
            match cutting.source.next().await? {
                Ok(bytes) => cutting.rest = bytes,
                Err(error) => return Some((Err(to_status(&error)), None)),
            }
        }
        let bytes = cutting.rest.split_to(cutting.rest.len().min(cutting.chunk));
        let chunk = BlobChunk { offset: cutting.offset, crc32c: crc32c::crc32c(&bytes), bytes };
        cutting.offset += chunk.bytes.len() as u64;
        Some((Ok(BlobFrame { frame: Some(Frame::Chunk(chunk)) }), Some(cutting)))
    });
    once(async move { Ok(header) }).chain(chunks)
}

/// What comes in.
struct Joining<S> {
    frames: S,
    next: u64,
    end: u64,
    limit: Duration,
}

/// Reads the header, then gives the chunks. The two timeouts are until the header and between chunks.
///
/// # Errors
/// The peer has no such blob, or its first frame is wrong.
pub(crate) async fn receive<S>(
    mut frames: S,
    read: &ReadBlob,
    open: Duration,
    progress: Duration,
) -> Result<RemoteBlob, PeerError>
where
    S: Stream<Item = Result<BlobFrame, Status>> + Send + Unpin + 'static,
{
    let first = timeout(open, frames.next()).await.map_err(|_| PeerError::Deadline)?;
    let size = match first.transpose().map_err(|status| from_status(&status))? {
        Some(BlobFrame { frame: Some(Frame::Header(header)) }) => header.size,
        Some(_) => return Err(PeerError::Malformed("a blob that does not begin with its header".to_owned())),
        None => return Err(PeerError::Unreachable("the stream ended before its header".to_owned())),
    };
    if read.offset > size {
        return Err(PeerError::Malformed(format!("offset {} in a blob of {size} bytes", read.offset)));
    }
    let end = read.limit.map_or(size, |limit| size.min(read.offset.saturating_add(limit)));
    let joining = Joining { frames, next: read.offset, end, limit: progress };
    let stream = unfold(Some(joining), |state| async move {
        let mut joining = state?;
        let item = joining.next().await?;
        let state = item.is_ok().then_some(joining);
        Some((item, state))
    });
    Ok(RemoteBlob { size, stream: stream.boxed() })
}

impl<S: Stream<Item = Result<BlobFrame, Status>> + Unpin> Joining<S> {
    async fn next(&mut self) -> Option<Result<Bytes, PeerError>> {
        let Ok(frame) = timeout(self.limit, self.frames.next()).await else {
            return Some(Err(PeerError::Deadline));
        };
        match frame {
            Some(Ok(BlobFrame { frame: Some(Frame::Chunk(chunk)) })) => Some(self.verify(chunk)),
            Some(Ok(_)) => Some(Err(PeerError::Malformed("a blob frame that is no chunk".to_owned()))),
            Some(Err(status)) => Some(Err(from_status(&status))),
            None if self.next == self.end => None,
            None => Some(Err(PeerError::Unreachable(format!("the stream ended at {} of {}", self.next, self.end)))),
        }
    }

    fn verify(&mut self, chunk: BlobChunk) -> Result<Bytes, PeerError> {
        if chunk.offset != self.next {
            return Err(PeerError::Malformed(format!("chunk at {} instead of {}", chunk.offset, self.next)));
        }
        let after = self.next + chunk.bytes.len() as u64;
        if chunk.bytes.is_empty() || after > self.end {
            return Err(PeerError::Malformed(format!("chunk up to {after} of {}", self.end)));
        }
        if crc32c::crc32c(&chunk.bytes) != chunk.crc32c {
            return Err(PeerError::Corrupt { offset: chunk.offset });
        }
        self.next = after;
        Ok(chunk.bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic fails the test")]

    use super::{frames, receive};
    use crate::error::PeerError;
    use crate::message::{ReadBlob, RemoteBlob};
    use crate::status::to_status;
    use bytes::Bytes;
    use futures::StreamExt;
    use futures::stream::{iter, pending};
    use portolan_oci::Digest;
    use portolan_proto::v1::{BlobChunk, BlobFrame, BlobHeader, blob_frame::Frame};
    use std::time::Duration;
    use tonic::Status;

    const SECOND: Duration = Duration::from_secs(1);
    const SHORT: Duration = Duration::from_millis(30);

    fn read(offset: u64, limit: Option<u64>) -> ReadBlob {
        ReadBlob { digest: Digest::sha256_of(b""), offset, limit, relay: false }
    }

    fn header(size: u64) -> Result<BlobFrame, Status> {
        Ok(BlobFrame { frame: Some(Frame::Header(BlobHeader { size })) })
    }

    fn chunk(offset: u64, bytes: &'static [u8]) -> Result<BlobFrame, Status> {
        let chunk = BlobChunk { offset, crc32c: crc32c::crc32c(bytes), bytes: Bytes::from_static(bytes) };
        Ok(BlobFrame { frame: Some(Frame::Chunk(chunk)) })
    }

    fn damaged(offset: u64, bytes: &'static [u8]) -> Result<BlobFrame, Status> {
        let chunk = BlobChunk { offset, crc32c: 1, bytes: Bytes::from_static(bytes) };
        Ok(BlobFrame { frame: Some(Frame::Chunk(chunk)) })
    }

    /// The bytes that came and how it ended.
    async fn take(frames: Vec<Result<BlobFrame, Status>>, read: ReadBlob) -> (Vec<u8>, Option<PeerError>) {
        let mut blob = match receive(iter(frames), &read, SECOND, SECOND).await {
            Ok(blob) => blob,
            Err(error) => return (Vec::new(), Some(error)),
        };
        let mut got = Vec::new();
        while let Some(item) = blob.stream.next().await {
            match item {
                Ok(bytes) => got.extend_from_slice(&bytes),
                Err(error) => {
                    assert!(blob.stream.next().await.is_none(), "an error is the last item");
                    return (got, Some(error));
                }
            }
        }
        (got, None)
    }

    #[tokio::test]
    async fn a_stream_that_keeps_its_promise_ends_without_an_error() {
        let cases = [
            (vec![header(0)], read(0, None), &b""[..]),
            (vec![header(5), chunk(0, b"ab"), chunk(2, b"cde")], read(0, None), b"abcde"),
            (vec![header(5), chunk(3, b"de")], read(3, None), b"de"),
            (vec![header(5), chunk(1, b"bc")], read(1, Some(2)), b"bc"),
            (vec![header(5), chunk(3, b"de")], read(3, Some(u64::MAX)), b"de"),
            (vec![header(5)], read(5, None), b""),
        ];
        for (frames, read, want) in cases {
            assert_eq!(take(frames, read).await, (want.to_vec(), None));
        }
    }

    #[tokio::test]
    async fn a_stream_that_breaks_its_promise_ends_with_an_error() {
        let kind = |error: &PeerError| match error {
            PeerError::Corrupt { offset } => format!("corrupt {offset}"),
            PeerError::Malformed(_) => "malformed".to_owned(),
            PeerError::Unreachable(_) => "unreachable".to_owned(),
            other => other.to_string(),
        };
        let cases = [
            (vec![], read(0, None), "", "unreachable"),
            (vec![chunk(0, b"ab")], read(0, None), "", "malformed"),
            (vec![header(2)], read(3, None), "", "malformed"),
            (vec![header(5), chunk(0, b"ab")], read(0, None), "ab", "unreachable"),
            (vec![header(5), chunk(0, b"ab"), damaged(2, b"cde")], read(0, None), "ab", "corrupt 2"),
            (vec![header(5), chunk(1, b"bcde")], read(0, None), "", "malformed"),
            (vec![header(5), chunk(0, b"abc"), chunk(2, b"cde")], read(0, None), "abc", "malformed"),
            (vec![header(2), chunk(0, b"abc")], read(0, None), "", "malformed"),
            (vec![header(5), chunk(0, b"abc")], read(0, Some(2)), "", "malformed"),
            (vec![header(2), chunk(0, b"")], read(0, None), "", "malformed"),
            (vec![header(2), header(2)], read(0, None), "", "malformed"),
            (vec![header(2), Err(to_status(&PeerError::Busy))], read(0, None), "", "the peer is busy"),
            (vec![Err(to_status(&PeerError::NotFound))], read(0, None), "", "not found at the peer"),
        ];
        for (index, (frames, read, bytes, want)) in cases.into_iter().enumerate() {
            let (got, error) = take(frames, read).await;
            assert_eq!((got, error.as_ref().map(kind)), (bytes.into(), Some(want.to_owned())), "case {index}");
        }
    }

    #[tokio::test]
    async fn a_stream_that_stands_still_ends_at_the_deadline() {
        let stuck = iter([header(5), chunk(0, b"ab")]).chain(pending());
        let mut blob = receive(stuck, &read(0, None), SHORT, SHORT).await.unwrap();
        assert_eq!(blob.stream.next().await, Some(Ok(Bytes::from_static(b"ab"))));
        assert_eq!(blob.stream.next().await, Some(Err(PeerError::Deadline)));
        let mute = pending::<Result<BlobFrame, Status>>();
        assert_eq!(receive(mute, &read(0, None), SHORT, SHORT).await.unwrap_err(), PeerError::Deadline);
    }

    #[tokio::test]
    async fn large_pieces_are_cut_into_chunks_that_the_other_side_accepts() {
        let source = iter([Ok(Bytes::from(vec![1; 1_000])), Ok(Bytes::new()), Ok(Bytes::from(vec![2; 7]))]);
        let blob = RemoteBlob { size: 1_107, stream: source.boxed() };
        let sent: Vec<_> = frames(blob, 100, 300).collect().await;
        assert_eq!(sent.len(), 1 + 4 + 1);
        let (got, error) = take(sent, read(100, None)).await;
        assert_eq!((got.len(), error), (1_007, None));
    }
}
