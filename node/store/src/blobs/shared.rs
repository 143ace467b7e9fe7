//! What the files of this folder share: where things lie, how full the disk may get, who works on which part.

use super::layout::{Layout, PartKind};
use super::space::Space;
use crate::config::Config;
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// What everything here shares.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) layout: Layout,
    pub(super) space: Space,
    pub(super) config: Config,
    pub(super) open: OpenParts,
    /// When this start began, in milliseconds since the Unix epoch: no file id that it makes is older.
    pub(super) started_ms: u64,
}

/// The parts that somebody in this process works on. One at a time: two writers would mix their bytes.
#[derive(Debug, Default)]
pub(super) struct OpenParts {
    claimed: Mutex<HashSet<(PartKind, String)>>,
    pub(super) freed: Notify,
}

impl OpenParts {
    pub(super) fn claimed(&self) -> MutexGuard<'_, HashSet<(PartKind, String)>> {
        self.claimed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
