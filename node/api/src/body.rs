//! Blob bytes as a response body: handed on as they come, with an exact length.

use crate::places::Place;
use bytes::Bytes;
use futures::stream::BoxStream;
use http_body::{Body, Frame, SizeHint};
use portolan_replication::ReadError;
use std::pin::Pin;
use std::task::{Context, Poll};

/// A stream of exactly `remaining` bytes. When the stream fails or ends early the body fails, so that the connection is
/// cut and no client takes the part for the whole. It keeps its place among the downloads until it is dropped.
pub(crate) struct BlobBody {
    stream: BoxStream<'static, Result<Bytes, ReadError>>,
    remaining: u64,
    _place: Place,
}

/// Why a body was cut short.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CutShort {
    /// Replication failed in the middle.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The stream ended before its end, or went on after it: a defect below.
    #[error("the blob's stream has another length than was promised")]
    Length,
}

impl BlobBody {
    pub(crate) fn new(stream: BoxStream<'static, Result<Bytes, ReadError>>, length: u64, place: Place) -> Self {
        Self { stream, remaining: length, _place: place }
    }
}

impl Body for BlobBody {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        loop {
            let next = match self.stream.as_mut().poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(next) => next,
            };
            return Poll::Ready(match next {
                Some(Ok(bytes)) if bytes.is_empty() => continue,
                Some(Ok(bytes)) => match self.remaining.checked_sub(bytes.len() as u64) {
                    Some(remaining) => {
                        self.remaining = remaining;
                        Some(Ok(Frame::data(bytes)))
                    }
                    None => Some(Err(CutShort::Length)),
                },
                Some(Err(error)) => Some(Err(error.into())),
                None if self.remaining > 0 => Some(Err(CutShort::Length)),
                None => None,
            });
        }
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::BlobBody;
    use crate::places::Places;
    use bytes::Bytes;
    use futures::StreamExt;
    use http_body::Body;
    use http_body_util::BodyExt;
    use portolan_replication::ReadError;

    #[tokio::test]
    async fn a_body_of_another_length_than_promised_fails() {
        let pieces = |list: &[&'static str]| {
            let list: Vec<Result<Bytes, ReadError>> =
                list.iter().map(|piece| Ok(Bytes::from_static(piece.as_bytes()))).collect();
            futures::stream::iter(list).boxed()
        };
        for (list, length, want) in [
            (&["ab", "", "c"][..], 3, true),
            (&[][..], 0, true),
            (&["ab"][..], 3, false),
            (&["ab", "cd"][..], 3, false),
        ] {
            let place = Places::new("downloads", 1).take().unwrap();
            let body = BlobBody::new(pieces(list), length, place);
            assert_eq!(body.size_hint().exact(), Some(length));
            assert_eq!(body.collect().await.is_ok(), want, "{list:?} as {length}");
        }
    }
}
