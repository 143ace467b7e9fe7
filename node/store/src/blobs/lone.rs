//! Sidecars whose blob file is not there: a crash came before the file got its name, or after it was unlinked. Nothing lists
//! them, and nothing reads them.

use super::layout;
use super::shared::Shared;
use crate::error::StoreError;
use crate::files;
use portolan_meta::id::FileId;
use portolan_oci::Digest;
use std::collections::HashSet;

/// Removes those in a digest's folder whose file id `may_go`. A file of this start may get its sidecar first, so that its
/// id must not be among those. One whose file is there stays, even half written: whoever hashes that file may be at it.
pub(super) fn remove(shared: &Shared, beside: &Digest, may_go: impl Fn(FileId) -> bool) -> Result<usize, StoreError> {
    let folder = shared.layout.folder(beside);
    let names = files::names_in(&folder)?;
    let there: HashSet<&str> = names.iter().map(String::as_str).collect();
    let mut removed = 0;
    for name in &names {
        let Some(of) = layout::file_of_sums(name).filter(|of| !there.contains(of)) else { continue };
        let Some((digest, file)) = layout::blob_in(of, beside.algorithm()) else { continue };
        // A listing is no snapshot: the file itself is asked for.
        if may_go(file) && files::size_of(&shared.layout.blob(&digest, file))?.is_none() {
            removed += usize::from(files::remove_file(&folder.join(name))?);
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use crate::blobs::{Blobs, PartKind, StoredFile};
    use crate::config::Config;
    use portolan_meta::id::FileId;
    use portolan_oci::{Algorithm, Digest};
    use std::path::{Path, PathBuf};
    use std::sync::Arc;
    use ulid::Ulid;

    fn open(dir: &Path) -> Arc<Blobs> {
        Blobs::open(dir, &Config { reserve_bytes: 0, ..Config::default() }).unwrap()
    }

    fn store(blobs: &Blobs, bytes: &[u8]) -> StoredFile {
        let mut part = blobs.parts(PartKind::Upload).create("store", Algorithm::Sha256, b"").unwrap();
        part.append(bytes).unwrap();
        part.seal(&Digest::sha256_of(bytes)).unwrap()
    }

    fn path_of(dir: &Path, digest: &Digest, file: FileId, end: &str) -> PathBuf {
        let hex = digest.hex();
        dir.join("blobs").join("sha256").join(&hex[..2]).join(format!("{hex}.{}{end}", Ulid(file.0)))
    }

    #[test]
    fn a_sidecar_without_its_file_goes_unless_it_may_be_of_this_start() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = open(dir.path());
        let stored = store(&blobs, b"some bytes");
        let digest = stored.digest;
        let (old, new) = (FileId(Ulid::from_parts(1, 1).0), FileId(Ulid::from_parts(u64::MAX >> 16, 1).0));
        let lay = |file, end| {
            let path = path_of(dir.path(), &digest, file, end);
            std::fs::write(&path, b"sums").unwrap();
            path
        };
        let lone = [lay(old, ".sum"), lay(old, ".sum.tmp")];
        let kept = [
            lay(new, ".sum"),
            path_of(dir.path(), &digest, stored.file, ""),
            path_of(dir.path(), &digest, stored.file, ".sum"),
            lay(stored.file, ".sum.tmp"),
            lay(FileId(2), ""),
            lay(FileId(2), ".sum"),
        ];
        let odd = dir.path().join("blobs/sha256").join(&digest.hex()[..2]).join("odd.sum");
        std::fs::write(&odd, b"?").unwrap();
        assert_eq!(blobs.remove_lone_sums(&digest).unwrap(), lone.len());
        assert!(lone.iter().all(|path| !path.exists()));
        assert!(kept.iter().chain([&odd]).all(|path| path.exists()));
        assert_eq!(blobs.remove_lone_sums(&Digest::sha256_of(b"another folder, perhaps")).unwrap(), 0);
    }

    #[test]
    fn a_file_is_of_an_earlier_start_exactly_when_another_start_made_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = open(dir.path());
        let stored = store(&first, b"some bytes");
        assert!(!first.is_of_earlier_start(stored.file));
        // Ids count milliseconds.
        let made_ms = Ulid(stored.file.0).timestamp_ms();
        while Ulid::new().timestamp_ms() <= made_ms {
            std::thread::yield_now();
        }
        let second = open(dir.path());
        assert!(second.is_of_earlier_start(stored.file));
        assert_eq!(second.size_of(&stored.digest, stored.file).unwrap(), Some(10));
        assert_eq!(second.size_of(&stored.digest, FileId(7)).unwrap(), None);
    }

    #[test]
    fn a_clock_that_is_set_back_makes_no_file_look_old() {
        let ahead_ms = Ulid::new().timestamp_ms() + 3_600_000;
        let file = super::layout::fresh_file_id(ahead_ms);
        assert_eq!(Ulid(file.0).timestamp_ms(), ahead_ms);
        assert_ne!(super::layout::fresh_file_id(ahead_ms), file);
    }
}
