//! Upload sessions over a node's lifetime: taken up again after a restart, swept when they expire.

use crate::config::ms;
use crate::disk::blocking;
use crate::error::RegistryError;
use crate::registry::Registry;
use crate::session::{Session, SessionNote, Slot, UploadId};
use portolan_store::{PartInfo, PartKind, Parts};
use tokio::time::Instant;
use ulid::Ulid;

impl Registry {
    pub(crate) fn parts(&self) -> Parts {
        self.floors.blobs.parts(PartKind::Upload)
    }

    /// Takes up the sessions that an earlier start left on disk. What cannot be read is left for an operator to see.
    pub(crate) fn resume_sessions(&self) {
        let parts = match self.parts().list() {
            Ok(parts) => parts,
            Err(error) => {
                tracing::error!(%error, "upload sessions of an earlier start cannot be listed");
                return;
            }
        };
        let mut resumed = 0_usize;
        for part in parts {
            let Some(session) = self.session_of(&part) else {
                tracing::warn!(part = part.id, "an upload session on disk does not say what it is");
                continue;
            };
            match self.sessions.insert(session) {
                Ok(_) => resumed += 1,
                Err(error) => tracing::warn!(part = part.id, %error, "an upload session on disk is not taken up"),
            }
        }
        if resumed > 0 {
            tracing::info!(sessions = resumed, "took up upload sessions of an earlier start");
        }
    }

    fn session_of(&self, part: &PartInfo) -> Option<Session> {
        let session = Ulid::from_string(&part.id).ok()?;
        let note: SessionNote = serde_json::from_slice(&part.note).ok()?;
        let age = part.modified.elapsed().unwrap_or_default();
        let touched = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
        let id = UploadId { node: self.node, session };
        Some(Session::new(id, note.repo, Slot::Closed, part.synced_bytes, touched))
    }

    /// Ends the sessions that nobody touched for `uploads.session_ttl_ms`.
    pub(crate) async fn sweep_sessions(&self) {
        let ttl = ms(self.config.uploads.session_ttl_ms);
        for session in self.sessions.all() {
            if session.touched().elapsed() < ttl {
                continue;
            }
            let Some(mut slot) = session.try_turn() else { continue };
            match std::mem::replace(&mut *slot, Slot::Gone) {
                // Its announcement has an unknown outcome: only when it has a known one may the file be forgotten.
                Slot::Sealed(stored) => match self.announce(&session.repo, &stored).await {
                    Err(error @ (RegistryError::NoQuorum | RegistryError::Stopping)) => {
                        tracing::warn!(session = %session.id, digest = %stored.digest, %error,
                            "an uploaded blob still waits for its commit");
                        *slot = Slot::Sealed(stored);
                    }
                    Ok(()) | Err(_) => self.sessions.remove(session.id),
                },
                open @ (Slot::Open(_) | Slot::Closed) => {
                    drop(open);
                    match self.remove_part(&session).await {
                        Ok(()) => {
                            tracing::info!(session = %session.id, repo = %session.repo, "upload session expired");
                            self.sessions.remove(session.id);
                        }
                        Err(error) => {
                            tracing::error!(session = %session.id, %error, "an expired upload cannot be removed");
                            *slot = Slot::Closed;
                        }
                    }
                }
                Slot::Gone => self.sessions.remove(session.id),
            }
        }
    }

    /// Removes a session's bytes from the disk. Nobody of ours may still have the part open.
    pub(crate) async fn remove_part(&self, session: &Session) -> Result<(), RegistryError> {
        let parts = self.parts();
        let id = session.part_id();
        parts.wait_free(&id).await;
        blocking(move || parts.remove(&id)).await.map(|_| ())
    }
}
