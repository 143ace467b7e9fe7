//! A connection that fails when its client stops reading.
//!
//! Nothing else would end it: a write to a full socket waits for as long as the other side keeps the connection open,
//! and the response waits with it, with its place among the requests and whatever it holds on the floors below.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// Fails with [`ErrorKind::TimedOut`] once a write or a flush has moved nothing for `timeout`.
pub(crate) struct WriteDeadline<Io> {
    io: Io,
    timeout: Duration,
    moved: Arc<AtomicU64>,
    writing: Wait,
    flushing: Wait,
    /// Left to run when a wait is over: a fast transfer waits often and shortly, and would else set it each time.
    timer: Pin<Box<Sleep>>,
}

/// Since when something waits for the client, if it does.
type Wait = Option<Instant>;

impl<Io> WriteDeadline<Io> {
    /// Must be called inside a tokio runtime.
    pub(crate) fn new(io: Io, timeout: Duration) -> Self {
        let timer = Box::pin(sleep(timeout));
        Self { io, timeout, moved: Arc::default(), writing: None, flushing: None, timer }
    }

    /// The bytes that came and went so far.
    pub(crate) fn moved(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.moved)
    }

    fn wrote(&mut self, polled: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = &polled {
            self.moved.fetch_add(*bytes as u64, Ordering::Relaxed);
        }
        bounded(polled, &mut self.writing, self.timer.as_mut(), self.timeout, cx)
    }
}

/// Hands on what is ready, and fails what has waited for too long.
fn bounded<T>(
    polled: Poll<io::Result<T>>,
    wait: &mut Wait,
    mut timer: Pin<&mut Sleep>,
    timeout: Duration,
    cx: &mut Context<'_>,
) -> Poll<io::Result<T>> {
    if polled.is_ready() {
        *wait = None;
        return polled;
    }
    let deadline = *wait.get_or_insert_with(Instant::now) + timeout;
    loop {
        ready!(timer.as_mut().poll(cx));
        if Instant::now() >= deadline {
            return Poll::Ready(Err(ErrorKind::TimedOut.into()));
        }
        timer.as_mut().reset(deadline);
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for WriteDeadline<Io> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.io).poll_read(cx, buffer);
        let came = buffer.filled().len().saturating_sub(before);
        self.moved.fetch_add(came as u64, Ordering::Relaxed);
        polled
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for WriteDeadline<Io> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_write(cx, bytes);
        this.wrote(polled, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_write_vectored(cx, pieces);
        this.wrote(polled, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_flush(cx);
        bounded(polled, &mut this.flushing, this.timer.as_mut(), this.timeout, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.io).poll_shutdown(cx);
        bounded(polled, &mut this.flushing, this.timer.as_mut(), this.timeout, cx)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::WriteDeadline;
    use std::io::ErrorKind;
    use std::time::Duration;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    #[tokio::test]
    async fn a_write_that_nobody_reads_fails_and_one_that_moves_goes_on() {
        let (server, mut client) = duplex(10);
        let mut server = WriteDeadline::new(server, Duration::from_secs(3));
        // Each piece waits for far less than the timeout, all of them for longer.
        let slow = tokio::spawn(async move {
            let mut piece = [0; 10];
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_millis(400)).await;
                client.read_exact(&mut piece).await.unwrap();
            }
            client
        });
        server.write_all(&[1; 100]).await.unwrap();
        let client = slow.await.unwrap();
        server.write_all(&[1; 10]).await.unwrap();
        let error = server.write_all(&[1; 10]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        drop(client);
    }
}
