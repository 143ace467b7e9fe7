//! All upload sessions of this node: found by id, bounded in number.

use crate::error::RegistryError;
use crate::session::{Session, UploadId};
use portolan_oci::RepoName;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The sessions by id.
pub(crate) struct Sessions {
    limit: usize,
    by_id: Mutex<HashMap<UploadId, Arc<Session>>>,
}

impl Sessions {
    pub(crate) fn new(limit: usize) -> Self {
        metrics::gauge!("portolan_upload_sessions").set(0.0);
        metrics::counter!("portolan_upload_bytes_total").increment(0);
        Self { limit, by_id: Mutex::new(HashMap::new()) }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<UploadId, Arc<Session>>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a session unless there are as many as there may be.
    pub(crate) fn insert(&self, session: Session) -> Result<Arc<Session>, RegistryError> {
        let mut by_id = self.lock();
        if by_id.len() >= self.limit {
            return Err(RegistryError::TooManySessions { limit: self.limit });
        }
        let session = Arc::new(session);
        by_id.insert(session.id, Arc::clone(&session));
        metrics::gauge!("portolan_upload_sessions").set(gauge(by_id.len()));
        Ok(session)
    }

    /// The session of that id, if it belongs to that repository: another's is as good as none.
    pub(crate) fn get(&self, id: UploadId, repo: &RepoName) -> Option<Arc<Session>> {
        self.lock().get(&id).filter(|session| session.repo == *repo).cloned()
    }

    pub(crate) fn remove(&self, id: UploadId) {
        let mut by_id = self.lock();
        by_id.remove(&id);
        metrics::gauge!("portolan_upload_sessions").set(gauge(by_id.len()));
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Session>> {
        self.lock().values().cloned().collect()
    }
}

/// A count as a gauge takes it; exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "no count here comes near 2^53")]
fn gauge(count: usize) -> f64 {
    count as f64
}
