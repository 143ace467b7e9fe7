//! All upload sessions of this node: found by id, bounded in number.

use crate::error::RegistryError;
use crate::session::{Session, UploadId};
use crate::telemetry;
use portolan_oci::RepoName;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The sessions by id.
pub(crate) struct Sessions {
    limit: usize,
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    by_id: HashMap<UploadId, Arc<Session>>,
    /// Places of sessions that are being made.
    reserved: usize,
}

/// The right to add a session; given back when it is dropped.
pub(crate) struct Place(Option<Arc<Sessions>>);

impl Place {
    /// Adds the session.
    pub(crate) fn fill(mut self, session: Session) -> Arc<Session> {
        let session = Arc::new(session);
        if let Some(sessions) = self.0.take() {
            let mut table = sessions.lock();
            table.reserved -= 1;
            table.by_id.insert(session.id, Arc::clone(&session));
            table.measure();
        }
        session
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(sessions) = &self.0 {
            sessions.lock().reserved -= 1;
        }
    }
}

impl Table {
    fn measure(&self) {
        telemetry::upload_sessions().set(gauge(self.by_id.len()));
    }
}

impl Sessions {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        telemetry::describe();
        Arc::new(Self { limit, table: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more session, unless there are as many as there may be. It comes before anything on the disk,
    /// so that what lies there is bounded too.
    pub(crate) fn reserve(self: &Arc<Self>) -> Result<Place, RegistryError> {
        let mut table = self.lock();
        if table.by_id.len() + table.reserved >= self.limit {
            return Err(RegistryError::TooManySessions { limit: self.limit });
        }
        table.reserved += 1;
        Ok(Place(Some(Arc::clone(self))))
    }

    /// The session of that id, if it belongs to that repository: another's is as good as none.
    pub(crate) fn get(&self, id: UploadId, repo: &RepoName) -> Option<Arc<Session>> {
        self.lock().by_id.get(&id).filter(|session| session.repo == *repo).cloned()
    }

    pub(crate) fn remove(&self, id: UploadId) {
        let mut table = self.lock();
        table.by_id.remove(&id);
        table.measure();
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().by_id.len()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.lock().by_id.values().cloned().collect()
    }
}

/// A count as a gauge takes it; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^53")]
fn gauge(count: usize) -> f64 {
    count as f64
}
