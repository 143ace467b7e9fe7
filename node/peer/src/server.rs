//! The server: what other nodes ask of this one.

use crate::config::Config;
use crate::error::PeerError;
use crate::guard::Guard;
use crate::handlers::{Handlers, HelloHandler};
use crate::identity::LocalIdentity;
use crate::io::PeerIo;
use futures::Stream;
use std::future::Future;
use std::io;
use std::sync::{Arc, OnceLock};

/// The server of the peer port.
pub struct PeerServer {}

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
        todo!()
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
    ) -> Result<(), PeerError> {
        todo!()
    }
}
