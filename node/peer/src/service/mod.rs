//! The gRPC services: from the wire to the handlers and back, nothing else.

mod blobs;
mod cluster;
mod raft;

pub(crate) use blobs::BlobsService;
pub(crate) use cluster::ClusterService;
pub(crate) use raft::RaftService;

use crate::error::PeerError;
use crate::handlers::Handlers;
use crate::identity::PeerIdentity;
use crate::status::to_status;
use std::sync::{Arc, OnceLock};
use tonic::{Extensions, Status};

/// The handlers, once they are there.
fn ready(handlers: &OnceLock<Handlers>) -> Result<&Handlers, Status> {
    handlers.get().ok_or_else(|| to_status(&PeerError::Starting))
}

/// Who calls, as the identity check has found.
fn caller(extensions: &Extensions) -> Result<PeerIdentity, Status> {
    extensions
        .get::<PeerIdentity>()
        .cloned()
        .ok_or_else(|| to_status(&PeerError::Remote("a request passed without an identity".to_owned())))
}

type Later = Arc<OnceLock<Handlers>>;
