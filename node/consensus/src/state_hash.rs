//! What this node has applied, in short: two nodes at the same index have the same hash, or one of them is wrong.

use crate::error::HashError;
use crate::group::Group;
use crate::markers::{self, LAST_APPLIED, MEMBERSHIP};
use crate::types::index_of;
use portolan_oci::Digest;
use std::io;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::task::spawn_blocking;

/// Both facts are of one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateHash {
    /// The newest applied index; 0 before the first entry.
    pub applied: u64,
    /// SHA-256 over all rows that the log has made; see [`portolan_store::StateHash`].
    pub digest: Digest,
}

/// Makes hashes, one at a time.
#[derive(Default)]
pub(crate) struct StateHasher {
    busy: Arc<Mutex<()>>,
}

impl StateHasher {
    /// Reads the whole state, away from the tasks. Ends soon after whoever waits for it has gone.
    pub(crate) async fn hash(&self, group: &Group) -> Result<StateHash, HashError> {
        let alone = Arc::clone(&self.busy).try_lock_owned().map_err(|_| HashError::Busy)?;
        let left = group.stopping.child_token();
        let _leaving = left.clone().drop_guard();
        let state = Arc::clone(&group.state);
        let hashed = spawn_blocking(move || {
            let _alone = alone;
            // Of the markers both say what the log says, so that they are the same wherever it was applied.
            state.hash(&[LAST_APPLIED, MEMBERSHIP], || !left.is_cancelled())
        });
        let hash = hashed.await.map_err(io::Error::other)?.map_err(io::Error::other)?.ok_or(HashError::Stopped)?;
        let last_applied = markers::of_received(&hash.markers)?;
        Ok(StateHash { applied: index_of(last_applied), digest: hash.digest })
    }
}
