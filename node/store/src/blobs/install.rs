//! The last steps from a growing file to a blob, whoever let it grow.

use super::home::{DATA, Home};
use super::layout;
use super::stored::StoredFile;
use super::sums::Sums;
use crate::error::StoreError;
use crate::files;
use portolan_oci::Digest;
use portolan_sabotage::Sabotage;
use std::fs::File;
use std::sync::atomic::Ordering;

/// Makes a blob of a part's file `data` whose bytes have this digest: they and its sidecar, whole and durable, then its
/// name, then its folder. `renamed` is called once the file is no part any more.
pub(super) fn install(
    home: &Home,
    data: &File,
    digest: &Digest,
    sums: &Sums,
    renamed: impl FnOnce(),
) -> Result<StoredFile, StoreError> {
    let layout = &home.shared.layout;
    let file = layout::fresh_file_id(home.shared.started_ms);
    let folder = layout.durable_folder(digest)?;
    let (part, sidecar) = (home.dir.join(DATA), layout.sums(digest, file));
    // Side by side, they share a flush of the disk.
    let (written, synced) = std::thread::scope(|scope| {
        let writing = scope.spawn(|| files::create_synced(&sidecar, &sums.encode()));
        let synced = files::sync_file(data, &part);
        (writing.join().unwrap_or(Err(StoreError::Closed { what: "the sidecar" })), synced)
    });
    if synced.is_err() {
        home.sync_failed.store(true, Ordering::Release);
    }
    if let Err(error) = synced.and(written) {
        files::remove_file(&sidecar)?;
        return Err(error);
    }
    files::rename(&part, &layout.blob(digest, file))?;
    renamed();
    // Sabotaged: the blob's name may be lost.
    if !portolan_sabotage::is(Sabotage::SkipFsync) {
        files::sync_dir(&folder)?;
    }
    // Need not be durable: what a crash brings back has no data and is swept.
    files::remove_dir(&home.dir)?;
    Ok(StoredFile { digest: *digest, size: sums.size, file, sums: sums.digest() })
}
