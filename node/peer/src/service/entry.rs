//! What every service does first.

use crate::error::PeerError;
use crate::handlers::Handlers;
use crate::identity::PeerIdentity;
use crate::status::to_status;
use std::sync::{Arc, OnceLock};
use tonic::{Extensions, Status};

/// The handlers, which come later than the server.
pub(super) type Later = Arc<OnceLock<Handlers>>;

/// The handlers, once they are there.
pub(super) fn ready(handlers: &OnceLock<Handlers>) -> Result<&Handlers, Status> {
    handlers.get().ok_or_else(|| to_status(&PeerError::Starting))
}

/// Who calls, as the identity check has found.
pub(super) fn caller(extensions: &Extensions) -> Result<PeerIdentity, Status> {
    extensions
        .get::<PeerIdentity>()
        .cloned()
        .ok_or_else(|| to_status(&PeerError::Remote("a request passed without an identity".to_owned())))
}
