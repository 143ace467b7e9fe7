//! The folder of one part.

use super::layout::PartKind;
use super::shared::Shared;
use crate::error::StoreError;
use crate::files;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The bytes.
pub(super) const DATA: &str = "data";
/// How far they are durable: [`super::progress`].
pub(super) const STATE: &str = "state";
/// What the part's creator noted.
pub(super) const NOTE: &str = "note";

/// A part's folder, claimed until the last holder (the part, or a sync that outlives it) is gone.
#[derive(Debug)]
pub(super) struct Home {
    pub(super) shared: Arc<Shared>,
    pub(super) id: String,
    pub(super) dir: PathBuf,
    kind: PartKind,
    /// Whether the names of folder and files are known to be durable.
    pub(super) names_durable: AtomicBool,
    /// A sync failed: what was written since the last good one may be gone, whatever a later sync says.
    pub(super) sync_failed: AtomicBool,
}

impl Home {
    pub(super) fn claim(shared: &Arc<Shared>, kind: PartKind, id: &str) -> Result<Arc<Self>, StoreError> {
        let id = files::checked_name(id)?.to_owned();
        if !shared.open.claimed().insert((kind, id.clone())) {
            return Err(StoreError::Busy { id });
        }
        Ok(Arc::new(Self {
            shared: Arc::clone(shared),
            dir: shared.layout.parts(kind).join(&id),
            id,
            kind,
            names_durable: AtomicBool::new(false),
            sync_failed: AtomicBool::new(false),
        }))
    }

    /// Makes the names of the folder and of what is in it durable, once.
    pub(super) fn sync_names(&self) -> Result<(), StoreError> {
        if !self.names_durable.load(Ordering::Acquire) {
            files::sync_dir(&self.dir)?;
            files::sync_dir(self.dir.parent().unwrap_or(&self.dir))?;
            self.names_durable.store(true, Ordering::Release);
        }
        Ok(())
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        self.shared.open.claimed().remove(&(self.kind, std::mem::take(&mut self.id)));
        self.shared.open.freed.notify_waiters();
    }
}
