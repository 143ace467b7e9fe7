//! Upload sessions over a node's lifetime: taken up again after a restart, swept when they expire.

use crate::config::ms;
use crate::disk::blocking;
use crate::error::RegistryError;
use crate::registry::Registry;
use crate::session::{Session, SessionNote, Slot, UploadId};
use portolan_sabotage::Sabotage;
use portolan_store::{PartInfo, PartKind, Parts};
use std::time::Duration;
use tokio::time::Instant;
use ulid::Ulid;

impl Registry {
    pub(crate) fn parts(&self) -> Parts {
        self.floors.blobs.parts(PartKind::Upload)
    }

    /// Takes up the sessions that an earlier start left on disk, the youngest first, and removes what cannot be taken
    /// up: nobody could ever go on with it, and it would lie there without a bound.
    pub(crate) fn resume_sessions(&self) {
        let mut parts = match self.parts().list() {
            Ok(parts) => parts,
            Err(error) => {
                tracing::error!(%error, "upload sessions of an earlier start cannot be listed");
                return;
            }
        };
        parts.sort_by_key(|part| std::cmp::Reverse(part.modified));
        let mut resumed = 0_usize;
        for part in parts {
            match self.resume(&part) {
                Ok(()) => resumed += 1,
                Err(reason) => {
                    tracing::warn!(part = part.id, bytes = part.synced_bytes, reason, "removing an upload session");
                    if let Err(error) = self.parts().remove(&part.id) {
                        tracing::error!(part = part.id, %error, "it cannot be removed");
                    }
                }
            }
        }
        if resumed > 0 {
            tracing::info!(sessions = resumed, "took up upload sessions of an earlier start");
        }
    }

    /// Takes a part up as a session, or tells why not.
    fn resume(&self, part: &PartInfo) -> Result<(), &'static str> {
        let age = part.modified.elapsed().unwrap_or_default();
        let session = self.session_of(part, age).ok_or("it does not say whose it is")?;
        if age >= ms(self.config.uploads.session_ttl_ms) {
            return Err("it has expired");
        }
        let place = self.sessions.reserve().map_err(|_| "there are more than uploads.sessions")?;
        place.fill(session);
        Ok(())
    }

    fn session_of(&self, part: &PartInfo, age: Duration) -> Option<Session> {
        let session = Ulid::from_string(&part.id).ok()?;
        let note: SessionNote = serde_json::from_slice(&part.note).ok()?;
        let touched = Instant::now().checked_sub(age).unwrap_or_else(Instant::now);
        let id = UploadId { node: self.node, session };
        Some(Session::new(id, note.repo, Slot::Closed, part.synced_bytes, touched))
    }

    /// Ends the sessions that nobody touched for `uploads.session_ttl_ms`, and closes the files of those that nobody
    /// touched since the last sweep.
    pub(crate) async fn sweep_sessions(&self) {
        let (ttl, interval) = (ms(self.config.uploads.session_ttl_ms), ms(self.config.uploads.sweep_interval_ms));
        for session in self.sessions.all() {
            let idle = session.touched().elapsed();
            if idle < ttl {
                if idle >= interval {
                    close(&session).await;
                }
                continue;
            }
            let Some(mut slot) = session.try_turn() else { continue };
            match std::mem::replace(&mut *slot, Slot::Gone) {
                Slot::Sealed(stored) if matches!(self.is_kept(&stored).await, Ok(false)) => {
                    self.sessions.remove(session.id);
                }
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
        // Sabotaged: they stay.
        if portolan_sabotage::is(Sabotage::LeaveUploads) {
            return Ok(());
        }
        let parts = self.parts();
        let id = session.part_id();
        parts.wait_free(&id).await;
        blocking(move || parts.remove(&id)).await.map(|_| ())
    }
}

/// Closes the file of a session that has one open: a begun one that no byte came to.
async fn close(session: &Session) {
    let Some(mut slot) = session.try_turn() else { return };
    match std::mem::replace(&mut *slot, Slot::Closed) {
        Slot::Open(part) => {
            // Once durable it can be opened again. One that the disk refuses to sync is opened as its last sync left it.
            if let Err(error) = part.sync_async().await {
                tracing::warn!(session = %session.id, %error, "an idle upload cannot be made durable");
            }
        }
        other @ (Slot::Closed | Slot::Sealed(_) | Slot::Gone) => *slot = other,
    }
}
