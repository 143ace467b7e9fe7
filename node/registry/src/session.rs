//! One upload session: its name, its bytes so far, and whose turn it is to write.

use crate::error::RegistryError;
use portolan_meta::id::NodeId;
use portolan_oci::RepoName;
use portolan_store::{Part, StoredFile};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use ulid::Ulid;

/// Names a session and the node that owns it: `<node>.<ulid>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UploadId {
    /// The owner.
    pub node: NodeId,
    /// Which of its sessions.
    pub session: Ulid,
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.node, self.session)
    }
}

/// Not a session's name; whoever asks gets the same answer as for a session that is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a session's name")]
pub struct NotAnUploadId;

impl FromStr for UploadId {
    type Err = NotAnUploadId;

    fn from_str(text: &str) -> Result<Self, NotAnUploadId> {
        let (node, session) = text.split_once('.').ok_or(NotAnUploadId)?;
        let id = Self {
            node: NodeId(node.parse().map_err(|_| NotAnUploadId)?),
            session: Ulid::from_string(session).map_err(|_| NotAnUploadId)?,
        };
        // One spelling per session: no leading zeros, plus signs or lower case.
        if id.to_string() == text { Ok(id) } else { Err(NotAnUploadId) }
    }
}

/// How far a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadProgress {
    /// The session.
    pub id: UploadId,
    /// How many bytes it has.
    pub length: u64,
}

/// What a session's folder on disk says beside the bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionNote {
    pub(crate) repo: RepoName,
}

/// Where a session's bytes are.
pub(crate) enum Slot {
    /// In a part on disk that nobody has open.
    Closed,
    /// In an open part.
    Open(Box<Part>),
    /// In a blob file whose announcement has no known outcome yet.
    Sealed(StoredFile),
    /// Nowhere: it is finished or cancelled.
    Gone,
}

/// A session of this node.
pub(crate) struct Session {
    pub(crate) id: UploadId,
    pub(crate) repo: RepoName,
    slot: Arc<tokio::sync::Mutex<Slot>>,
    /// Cancelled when another request takes the session over.
    writer: Mutex<CancellationToken>,
    length: AtomicU64,
    touched: Mutex<Instant>,
}

/// The right to change a session. The one who holds it ends soon after `taken_over` is cancelled.
pub(crate) struct Turn {
    pub(crate) slot: OwnedMutexGuard<Slot>,
    pub(crate) taken_over: CancellationToken,
}

impl Session {
    pub(crate) fn new(id: UploadId, repo: RepoName, slot: Slot, length: u64, touched: Instant) -> Self {
        Self {
            id,
            repo,
            slot: Arc::new(tokio::sync::Mutex::new(slot)),
            writer: Mutex::new(CancellationToken::new()),
            length: AtomicU64::new(length),
            touched: Mutex::new(touched),
        }
    }

    /// The name of its part on disk.
    pub(crate) fn part_id(&self) -> String {
        self.id.session.to_string()
    }

    /// Ends whoever writes now and waits until it has put its bytes down. Of several that wait, the last one wins.
    pub(crate) async fn take_over(&self) -> Result<Turn, RegistryError> {
        let mine = CancellationToken::new();
        let previous = std::mem::replace(&mut *lock(&self.writer), mine.clone());
        previous.cancel();
        let slot = Arc::clone(&self.slot).lock_owned().await;
        if mine.is_cancelled() {
            return Err(RegistryError::Superseded);
        }
        self.touch();
        Ok(Turn { slot, taken_over: mine })
    }

    /// What ends whoever writes now, once it has put its bytes down; nobody who writes later.
    pub(crate) fn writer(&self) -> CancellationToken {
        lock(&self.writer).clone()
    }

    /// Waits for whoever writes now, without ending it.
    pub(crate) async fn wait_turn(&self) -> OwnedMutexGuard<Slot> {
        Arc::clone(&self.slot).lock_owned().await
    }

    /// The session, if nobody works on it.
    pub(crate) fn try_turn(&self) -> Option<OwnedMutexGuard<Slot>> {
        Arc::clone(&self.slot).try_lock_owned().ok()
    }

    pub(crate) fn touch(&self) {
        *lock(&self.touched) = Instant::now();
    }

    pub(crate) fn touched(&self) -> Instant {
        *lock(&self.touched)
    }

    /// How many bytes are known to be in the file; a writer may be ahead of it.
    pub(crate) fn length(&self) -> u64 {
        self.length.load(Ordering::Relaxed)
    }

    pub(crate) fn set_length(&self, length: u64) {
        self.length.store(length, Ordering::Relaxed);
    }

    pub(crate) fn progress(&self) -> UploadProgress {
        UploadProgress { id: self.id, length: self.length() }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::{Session, Slot, UploadId};
    use crate::error::RegistryError;
    use portolan_meta::id::NodeId;
    use std::sync::Arc;
    use tokio::time::Instant;
    use ulid::Ulid;

    fn id() -> UploadId {
        UploadId { node: NodeId(3), session: Ulid::from_parts(1_700_000_000_000, 77) }
    }

    #[test]
    fn an_id_names_its_owner_and_has_one_spelling() {
        let text = id().to_string();
        assert_eq!(text.parse(), Ok(id()));
        for wrong in [
            String::new(),
            "3".into(),
            "3.".into(),
            text.to_lowercase(),
            format!("0{text}"),
            format!("+{text}"),
            format!("{text}0"),
            text.replace('.', "/"),
            "../../etc/passwd".into(),
        ] {
            assert!(wrong.parse::<UploadId>().is_err(), "{wrong:?}");
        }
    }

    #[tokio::test]
    async fn of_several_writers_the_last_one_wins_and_the_first_is_told_to_end() {
        let session = Arc::new(Session::new(id(), "a/b".parse().unwrap(), Slot::Gone, 0, Instant::now()));
        let first = session.take_over().await.unwrap();
        let waiting = |session: &Arc<Session>| {
            let session = Arc::clone(session);
            tokio::spawn(async move { session.take_over().await.map(|_| ()) })
        };
        let second = waiting(&session);
        first.taken_over.cancelled().await;
        let third = waiting(&session);
        // The third has announced itself once it waits in line behind the second.
        while Arc::strong_count(&session) < 3 {
            tokio::task::yield_now().await;
        }
        tokio::task::yield_now().await;
        drop(first);
        assert!(matches!(second.await.unwrap(), Err(RegistryError::Superseded)));
        assert!(third.await.unwrap().is_ok());
    }
}
