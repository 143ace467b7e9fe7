//! Serves a router on incoming connections, HTTP/1.1 and h2c, until told to stop; then finishes what is in flight.

use crate::activity::{Activity, Overdue, Patience};
use crate::stall::WriteDeadline;
use axum::Router;
use futures::{Stream, StreamExt};
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// How long accepting pauses after a failure, such as too many open files.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The window of one HTTP/2 stream: what a client may send ahead on it.
const STREAM_WINDOW: u32 = 2 << 20;
/// The window of all streams of a connection.
const CONNECTION_WINDOW: u32 = 8 << 20;
/// Streams at once on one connection.
const STREAMS: u32 = 128;
/// The most of a response that waits for the socket on an HTTP/1 connection, and of a request that is read at once.
const BUFFER: usize = 512 << 10;

/// What the connections of one listener may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServeLimits {
    /// Connections at once; more wait in the listen queue.
    pub connections: usize,
    /// How long a client may take to send a request's head, from the connection's beginning or the response before it.
    pub header_timeout: Duration,
    /// How long a client may take nothing of a response; then its connection is cut.
    pub stall_timeout: Duration,
    /// How long requests in flight may take once stopping has begun; then they are cut.
    pub drain: Duration,
}

/// The connections of a TCP listener, each with small packets sent at once. A failure to accept is logged, and tried
/// again after a pause.
pub fn tcp_incoming(listener: TcpListener) -> impl Stream<Item = io::Result<TcpStream>> + Send {
    futures::stream::unfold(listener, |listener| async move {
        let accepted = listener.accept().await.and_then(|(stream, _)| {
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        Some((accepted, listener))
    })
}

/// Serves until `shutdown` completes: then accepts no more, lets requests in flight finish for `limits.drain`, cuts
/// what is left, and returns how many connections that were.
pub async fn serve<Io>(
    incoming: impl Stream<Item = io::Result<Io>> + Send,
    router: Router,
    limits: ServeLimits,
    shutdown: impl Future<Output = ()> + Send,
) -> usize
where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let places = Arc::new(Semaphore::new(limits.connections.clamp(1, Semaphore::MAX_PERMITS)));
    let stopping = CancellationToken::new();
    let builder = Arc::new(builder(limits));
    let mut connections = JoinSet::new();
    let mut incoming = Box::pin(incoming);
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.ok()?;
            Some((incoming.next().await?, place))
        };
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            next = next => match next {
                Some((Ok(io), place)) => {
                    let patience = Patience { idle: limits.header_timeout, stall: limits.stall_timeout };
                    let builder = Arc::clone(&builder);
                    let connection = connection(builder, io, router.clone(), patience, stopping.clone(), place);
                    connections.spawn(connection);
                }
                Some((Err(error), _)) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
                None => break,
            },
        }
    }
    // The port is closed before the wait: who comes now is refused at once and goes to another node.
    drop(incoming);
    drain(connections, &stopping, limits.drain).await
}

/// Tells every connection to end after the request it is in, waits, and cuts what is left.
async fn drain(mut connections: JoinSet<()>, stopping: &CancellationToken, patience: Duration) -> usize {
    stopping.cancel();
    let all_ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(patience, all_ended).await.is_ok() {
        return 0;
    }
    let cut = connections.len();
    tracing::warn!(connections = cut, "requests in flight were cut at the end of the drain");
    connections.shutdown().await;
    cut
}

fn builder(limits: ServeLimits) -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(BUFFER)
        .http2()
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(Some(limits.header_timeout));
    builder
}

async fn connection<Io>(
    builder: Arc<Builder<TokioExecutor>>,
    io: Io,
    router: Router,
    patience: Patience,
    stopping: CancellationToken,
    _place: OwnedSemaphorePermit,
) where
    Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = WriteDeadline::new(io, patience.stall);
    let activity = Activity::new(io.moved());
    let requests = Arc::clone(&activity);
    let service = service_fn(move |request: Request<Incoming>| {
        let (under_way, router) = (requests.begin(request.version()), router.clone());
        async move { Ok::<_, Infallible>(under_way.follow(router.oneshot(request).await?)) }
    });
    let connection = builder.serve_connection(TokioIo::new(io), service);
    let mut connection = std::pin::pin!(connection);
    let mut ending = false;
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = stopping.cancelled(), if !ending => {
                ending = true;
                connection.as_mut().graceful_shutdown();
                activity.pardon();
            }
            why = activity.overdue(patience) => {
                if ending || why == Overdue::Silent {
                    tracing::debug!(?why, "connection cut");
                    return;
                }
                // The last response may still be on its way, and over HTTP/2 a request that crosses the farewell, or
                // an upload beside the response that nobody takes.
                ending = true;
                connection.as_mut().graceful_shutdown();
                activity.pardon();
            }
        }
    };
    // A client that goes away in the middle is no failure of ours; the request's own line says so.
    if let Err(error) = ended {
        tracing::debug!(%error, "connection ended");
    }
}
