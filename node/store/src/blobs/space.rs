//! How much of the disk blobs may fill.

use crate::error::StoreError;
use crate::files;
use std::path::PathBuf;

/// After how many bytes the free space is looked up again.
const LOOK_EVERY_BYTES: u64 = 1 << 20;

/// Refuses blobs the space that belongs to the metadata.
#[derive(Debug)]
pub(super) struct Space {
    pub(super) root: PathBuf,
    pub(super) reserve_bytes: u64,
}

impl Space {
    pub(super) fn free_bytes(&self) -> Result<u64, StoreError> {
        files::free_bytes(&self.root)
    }

    pub(super) fn check(&self) -> Result<(), StoreError> {
        let free_bytes = self.free_bytes()?;
        if free_bytes < self.reserve_bytes {
            return Err(StoreError::Full { free_bytes, reserve_bytes: self.reserve_bytes });
        }
        Ok(())
    }

    /// Looks up the free space when a growing file passes the next step.
    pub(super) fn check_step(&self, length: u64, more: u64) -> Result<(), StoreError> {
        if length.is_multiple_of(LOOK_EVERY_BYTES) || length / LOOK_EVERY_BYTES != (length + more) / LOOK_EVERY_BYTES {
            return self.check();
        }
        Ok(())
    }
}
