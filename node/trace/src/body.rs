//! A body that belongs to a span: what lasts until its last byte is not over with its head.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use tracing::Span;

/// A body whose work is done within a span, which ends when the body is dropped.
#[derive(Debug)]
pub struct InSpan<B> {
    body: B,
    span: Span,
}

impl<B> InSpan<B> {
    /// Puts a body into a span.
    pub fn new(body: B, span: Span) -> Self {
        Self { body, span }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for InSpan<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Self { body, span } = &mut *self;
        let _entered = span.enter();
        Pin::new(body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
