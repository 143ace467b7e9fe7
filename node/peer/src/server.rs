//! The server: what other nodes ask of this one.

use crate::admit::Admit;
use crate::config::Config;
use crate::guard::Guard;
use crate::handlers::{Handlers, HelloHandler};
use crate::identity::LocalIdentity;
use crate::io::PeerIo;
use crate::link::frame_bytes;
use crate::refusals::Refusals;
use crate::service::{BlobsService, ClusterService, RaftService, UploadsService};
use futures::{Stream, TryStreamExt};
use portolan_proto::v1::blobs_server::BlobsServer;
use portolan_proto::v1::cluster_server::ClusterServer;
use portolan_proto::v1::raft_server::RaftServer;
use portolan_proto::v1::uploads_server::UploadsServer;
use std::future::Future;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

/// The server of the peer port.
pub struct PeerServer {
    config: Config,
    admit: Admit,
    handlers: Arc<OnceLock<Handlers>>,
    hello: Arc<dyn HelloHandler>,
}

impl PeerServer {
    /// A server that answers `hello` at once, and everything else as soon as `handlers` is set.
    #[must_use]
    pub fn new(
        config: Config,
        local: Arc<LocalIdentity>,
        guard: Arc<dyn Guard>,
        handlers: Arc<OnceLock<Handlers>>,
        hello: Arc<dyn HelloHandler>,
    ) -> Self {
        let admit = Admit { local, guard, refusals: Arc::new(Refusals::new(&config)) };
        Self { config, admit, handlers, hello }
    }

    /// Serves until `shutdown` is done: then append streams end at once, calls under way may finish within the grace
    /// period, and what is left is cut. Returns when no connection is left.
    ///
    /// # Errors
    /// The server could not be set up.
    pub async fn serve(
        self,
        incoming: impl Stream<Item = io::Result<PeerIo>> + Send,
        shutdown: impl Future<Output = ()> + Send,
    ) -> io::Result<()> {
        let stopping = CancellationToken::new();
        let cut = CancellationToken::new();
        let incoming = incoming.map_ok(|io| io.cut_by(cut.clone()));
        let signal = async {
            shutdown.await;
            stopping.cancel();
        };
        // Should this future be dropped, connections and streams end as well: nothing outlives its owner.
        let _stop_on_drop = stopping.clone().drop_guard();
        let _cut_on_drop = cut.clone().drop_guard();
        let grace = Duration::from_millis(self.config.shutdown_grace_ms);
        let limit = self.config.max_message_bytes;
        let raft = RaftService {
            handlers: Arc::clone(&self.handlers),
            progress: self.config.progress_timeout(),
            stopping: stopping.clone(),
        };
        let cluster = ClusterService { handlers: Arc::clone(&self.handlers), hello: self.hello };
        let uploads = UploadsService { handlers: Arc::clone(&self.handlers), open: self.config.open_timeout() };
        let blobs = BlobsService { handlers: self.handlers, chunk: self.config.chunk_bytes };
        let served = builder(&self.config)
            .layer(self.admit)
            .add_service(RaftServer::new(raft).max_decoding_message_size(limit).max_encoding_message_size(limit))
            .add_service(ClusterServer::new(cluster).max_decoding_message_size(limit).max_encoding_message_size(limit))
            .add_service(BlobsServer::new(blobs).max_decoding_message_size(limit).max_encoding_message_size(limit))
            .add_service(UploadsServer::new(uploads).max_decoding_message_size(limit).max_encoding_message_size(limit))
            .serve_with_incoming_shutdown(incoming, signal);
        let mut served = Box::pin(served);
        let patience = async {
            stopping.cancelled().await;
            tokio::time::sleep(grace).await;
        };
        let result = tokio::select! {
            result = &mut served => result,
            () = patience => {
                tracing::warn!("peers still had calls under way after the grace period; they are cut");
                cut.cancel();
                served.await
            }
        };
        result.map_err(io::Error::other)
    }
}

fn builder(config: &Config) -> Server {
    Server::builder()
        .initial_stream_window_size(config.stream_window_bytes)
        .initial_connection_window_size(config.connection_window_bytes)
        .max_frame_size(frame_bytes(config))
        .max_concurrent_streams(config.max_streams_per_connection)
        // The default of 20 is meant for strangers: calls that reach their deadline while this node stalls would
        // break the connection for all others.
        .http2_max_pending_accept_reset_streams(usize::try_from(config.max_streams_per_connection).ok())
        .http2_keepalive_interval(Some(config.keepalive_interval()))
        .http2_keepalive_timeout(Some(Duration::from_millis(config.bulk_keepalive_timeout_ms)))
}
