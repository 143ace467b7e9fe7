//! Byte streams between nodes, whatever they run over.

use futures::future::BoxFuture;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::transport::server::Connected;

/// A byte stream in both directions.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Io for T {}

/// Opens connections to peers. A real network has [`crate::tls::TlsConnector`]; simulations bring their own, such as
/// [`crate::memory::MemoryNetwork::connector`].
pub trait Connector: Send + Sync + 'static {
    /// Connects to `host:port`. The caller bounds how long it takes.
    fn connect(&self, address: String) -> BoxFuture<'static, io::Result<Box<dyn Io>>>;
}

/// An accepted connection.
pub struct PeerIo {
    io: Box<dyn Io>,
    remote: Arc<str>,
    // Dropped with the connection: what it counts against, or who watches whether it lives.
    kept: Option<Box<dyn Send>>,
    cut: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
}

impl PeerIo {
    /// Wraps a byte stream; `remote` is for the log.
    pub fn new(io: impl Io, remote: impl Into<Arc<str>>) -> Self {
        Self { io: Box::new(io), remote: remote.into(), kept: None, cut: None }
    }

    pub(crate) fn counted(io: impl Io, remote: impl Into<Arc<str>>, permit: OwnedSemaphorePermit) -> Self {
        Self { io: Box::new(io), remote: remote.into(), kept: Some(Box::new(permit)), cut: None }
    }

    /// Keeps something as long as the connection.
    pub(crate) fn kept(mut self, what: impl Send + 'static) -> Self {
        self.kept = Some(Box::new(what));
        self
    }

    /// Breaks the connection when the token is cancelled: hyper runs connections as tasks of its own, and this is how
    /// their owner ends them.
    pub(crate) fn cut_by(mut self, token: CancellationToken) -> Self {
        if self.cut.is_some() {
            // The simulated network cuts its connections too: each cut is one more layer.
            let remote = Arc::clone(&self.remote);
            self = Self::new(self, remote);
        }
        self.cut = Some(Box::pin(token.cancelled_owned()));
        self
    }
}

impl std::fmt::Debug for PeerIo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerIo").field("remote", &self.remote).finish_non_exhaustive()
    }
}

/// What tonic tells handlers about a connection.
#[derive(Clone, Debug)]
pub struct Remote(pub Arc<str>);

impl Connected for PeerIo {
    type ConnectInfo = Remote;

    fn connect_info(&self) -> Remote {
        Remote(Arc::clone(&self.remote))
    }
}

impl AsyncRead for PeerIo {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if let Some(cut) = &mut self.cut
            && cut.as_mut().poll(cx).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl AsyncWrite for PeerIo {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
