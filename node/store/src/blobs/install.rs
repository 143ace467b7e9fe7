//! The last steps from a growing file to a blob, whoever let it grow.

use super::home::{DATA, Home};
use super::layout;
use super::stored::StoredFile;
use super::sums::Sums;
use crate::error::StoreError;
use crate::files;
use portolan_oci::Digest;

/// Makes a blob of a part's file whose bytes are durable and have this digest: its sidecar, whole and durable, then
/// its name, then its folder. `renamed` is called once the file is no part any more.
pub(super) fn install(
    home: &Home,
    digest: &Digest,
    sums: &Sums,
    renamed: impl FnOnce(),
) -> Result<StoredFile, StoreError> {
    let layout = &home.shared.layout;
    let file = layout::fresh_file_id();
    let folder = layout.durable_folder(digest)?;
    let sidecar = layout.sums(digest, file);
    if let Err(error) = files::create_synced(&sidecar, &sums.encode()) {
        files::remove_file(&sidecar)?;
        return Err(error);
    }
    files::rename(&home.dir.join(DATA), &layout.blob(digest, file))?;
    renamed();
    files::sync_dir(&folder)?;
    // Need not be durable: what a crash brings back has no data and is swept.
    files::remove_dir(&home.dir)?;
    Ok(StoredFile { digest: *digest, size: sums.size, file, sums: sums.digest() })
}
