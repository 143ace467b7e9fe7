//! The owner's side of a forwarded upload: what other nodes hand to this one. Nothing is handed on from here.

use crate::error::{BodyError, RegistryError};
use crate::pour::UploadBody;
use crate::registry::Registry;
use crate::session::{UploadId, UploadProgress};
use futures::{FutureExt, StreamExt};
use portolan_peer::{
    Answer, PeerIdentity, UploadAction, UploadCall, UploadFault, UploadHandler, UploadReply, WaitingBody,
};
use std::sync::Arc;

/// Answers for the sessions of one registry.
struct Owner(Arc<Registry>);

impl Registry {
    /// What the peer port answers for this node's upload sessions.
    #[must_use]
    pub fn upload_handler(self: &Arc<Self>) -> Arc<dyn UploadHandler> {
        Arc::new(Owner(Arc::clone(self)))
    }
}

impl UploadHandler for Owner {
    fn forwarded(&self, from: PeerIdentity, call: UploadCall, body: WaitingBody) -> Answer<'_, UploadReply> {
        async move {
            let session = call.session.clone();
            let result = self.serve(call, body).await;
            Ok(result.unwrap_or_else(|error| {
                let fault = fault(&error);
                if fault == UploadFault::Failed {
                    tracing::error!(session, from = %from.node, error = &error as &dyn std::error::Error,
                        "a forwarded upload failed");
                }
                UploadReply::Fault(fault)
            }))
        }
        .boxed()
    }
}

impl Owner {
    async fn serve(&self, call: UploadCall, body: WaitingBody) -> Result<UploadReply, RegistryError> {
        let UploadCall { repo, session, action } = call;
        let unknown = || RegistryError::UploadUnknown(session.clone());
        let id: UploadId = session.parse().map_err(|_| unknown())?;
        let Self(registry) = self;
        if id.node != registry.node() {
            return Err(unknown());
        }
        if action == UploadAction::Begin {
            return registry.begin_here(id, &repo).await.map(progress);
        }
        let session = registry.sessions.get(id, &repo).ok_or_else(unknown)?;
        // Asked for its first piece only when the session's turn has come and the request was found right.
        let body = async move { body.accept(session.length()) }.into_stream().flatten();
        let body: UploadBody = body.map(|piece| piece.map_err(|error| BodyError(Box::new(error)))).boxed();
        match action {
            UploadAction::Status => registry.status_here(&repo, id).await.map(progress),
            UploadAction::Append(chunk) => registry.append_here(&repo, id, chunk, body).await.map(progress),
            UploadAction::Finish { digest, chunk } => {
                registry.finish_here(&repo, id, digest, chunk, body).await.map(|()| UploadReply::Done)
            }
            UploadAction::Cancel => registry.cancel_here(&repo, id).await.map(|()| UploadReply::Done),
            UploadAction::Begin => Err(unknown()),
        }
    }
}

fn progress(progress: UploadProgress) -> UploadReply {
    UploadReply::Progress(progress.length)
}

/// What the other node is told: all that its client may act on.
fn fault(error: &RegistryError) -> UploadFault {
    use RegistryError as E;
    match error {
        E::UploadUnknown(_) => UploadFault::Unknown,
        E::OutOfOrder { start, length } => UploadFault::OutOfOrder { start: *start, length: *length },
        E::SizeMismatch { expected, found } => UploadFault::SizeMismatch { expected: *expected, found: *found },
        E::DigestMismatch { .. } => UploadFault::DigestMismatch,
        E::BlobTooLarge { limit } => UploadFault::TooLarge { limit: *limit },
        E::Body(_) => UploadFault::BrokenOff,
        E::Idle { idle_ms } => UploadFault::Idle { idle_ms: *idle_ms },
        E::Superseded => UploadFault::Superseded,
        E::StorageFull => UploadFault::StorageFull,
        E::NoQuorum | E::NotConfirmed => UploadFault::NoQuorum,
        E::Busy(_) | E::TooManySessions { .. } => UploadFault::Busy,
        E::Stopping => UploadFault::Stopping,
        E::RepoUnknown(_)
        | E::ManifestUnknown { .. }
        | E::TagNeverWas { .. }
        | E::BlobUnknown { .. }
        | E::ManifestInvalid(_)
        | E::ManifestTooLarge { .. }
        | E::TooMany { .. }
        | E::ImageTooLarge { .. }
        | E::ChildrenUnknown(_)
        | E::RangeUnsatisfiable { .. }
        | E::ListedByIndex(_)
        | E::ReferredTo(_)
        | E::AckPending(_)
        | E::RegionUnknown { .. }
        | E::NotWanted { .. }
        | E::Policy(_)
        | E::Leader(_)
        | E::PolicyUnknown(_)
        | E::Unreachable(_)
        | E::OwnerAway(_)
        | E::OwnerFailed(_)
        | E::Unplaceable(_)
        | E::Store(_)
        | E::View(_)
        | E::Refused(_)
        | E::Outcome(_) => UploadFault::Failed,
    }
}
