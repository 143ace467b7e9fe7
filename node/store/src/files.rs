//! Small helpers over the file system: every one says what it did on which path when it fails.

use crate::error::StoreError;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

/// Wraps an error of the operating system. A full disk becomes [`StoreError::Full`] with no reserve.
pub(crate) fn io(action: &'static str, path: &Path, source: io::Error) -> StoreError {
    if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) {
        let free_bytes = free_bytes(path.parent().unwrap_or(path)).unwrap_or(0);
        return StoreError::Full { free_bytes, reserve_bytes: 0 };
    }
    if source.kind() == io::ErrorKind::NotFound {
        return StoreError::NotFound { what: path.display().to_string() };
    }
    StoreError::Io { action, path: path.to_owned(), source }
}

/// What the file system of `path` has left for us, in bytes.
pub(crate) fn free_bytes(path: &Path) -> Result<u64, StoreError> {
    let stat = rustix::fs::statvfs(path).map_err(|source| io("asking for free space of", path, source.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Creates a folder and its missing parents.
pub(crate) fn create_dir(path: &Path) -> Result<(), StoreError> {
    fs::create_dir_all(path).map_err(|source| io("creating", path, source))
}

/// Makes the names in a folder durable.
pub(crate) fn sync_dir(path: &Path) -> Result<(), StoreError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(|source| io("syncing folder", path, source))
}

/// Makes the bytes of a file durable.
pub(crate) fn sync_file(file: &File, path: &Path) -> Result<(), StoreError> {
    file.sync_data().map_err(|source| io("syncing", path, source))
}

/// Renames within one file system.
pub(crate) fn rename(from: &Path, to: &Path) -> Result<(), StoreError> {
    fs::rename(from, to).map_err(|source| io("renaming to", to, source))
}

/// Replaces a file's contents so that a crash leaves the old or the new, whole and durable on return.
pub(crate) fn replace(path: &Path, contents: &[u8]) -> Result<(), StoreError> {
    replace_unsynced_name(path, contents)?;
    sync_dir(path.parent().unwrap_or(path))
}

/// Like [`replace`], but which of the two a crash leaves is open until the folder is synced. The contents are synced.
pub(crate) fn replace_unsynced_name(path: &Path, contents: &[u8]) -> Result<(), StoreError> {
    let mut tmp = path.as_os_str().to_owned();
    tmp.push(".tmp");
    let tmp = Path::new(&tmp);
    let mut file = File::create(tmp).map_err(|source| io("creating", tmp, source))?;
    file.write_all(contents).map_err(|source| io("writing", tmp, source))?;
    sync_file(&file, tmp)?;
    rename(tmp, path)
}

/// Makes a file with these contents; the contents are durable on return, its name is not.
pub(crate) fn create_synced(path: &Path, contents: &[u8]) -> Result<(), StoreError> {
    let mut file = File::create_new(path).map_err(|source| io("creating", path, source))?;
    file.write_all(contents).map_err(|source| io("writing", path, source))?;
    sync_file(&file, path)
}

/// The names in a folder, in no order; none when there is no folder.
pub(crate) fn names_in(path: &Path) -> Result<Vec<String>, StoreError> {
    let failed = |source| io("listing", path, source);
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(source) => return Err(failed(source)),
    };
    // A name that is not UTF-8 is none of ours.
    entries
        .filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).map_err(failed).transpose())
        .collect()
}

/// A name in a folder, which must be there; `None` when the folder is empty.
pub(crate) fn first_name_in(path: &Path) -> Result<Option<OsString>, StoreError> {
    let failed = |source| io("listing", path, source);
    let first = fs::read_dir(path).map_err(failed)?.next().transpose().map_err(failed)?;
    Ok(first.map(|entry| entry.file_name()))
}

/// Reads a small file; `None` when there is none.
pub(crate) fn read_optional(path: &Path) -> Result<Option<Vec<u8>>, StoreError> {
    match fs::read(path) {
        Ok(contents) => Ok(Some(contents)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io("reading", path, source)),
    }
}

/// The length of a file in bytes; `None` when there is none.
pub(crate) fn size_of(path: &Path) -> Result<Option<u64>, StoreError> {
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata.len())),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io("measuring", path, source)),
    }
}

/// Removes a folder with all in it; a missing one is no error.
pub(crate) fn remove_dir(path: &Path) -> Result<(), StoreError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => Err(io("removing", path, source)),
        _ => Ok(()),
    }
}

/// Removes a file; a missing one is no error. Tells whether there was one.
pub(crate) fn remove_file(path: &Path) -> Result<bool, StoreError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(source) => Err(io("removing", path, source)),
    }
}

/// Refuses names that could leave their folder or collide with our own: letters, digits, `.`, `_`, `-`, at most 200
/// bytes, and no leading dot.
pub(crate) fn checked_name(name: &str) -> Result<&str, StoreError> {
    let fits = !name.is_empty() && name.len() <= 200 && !name.starts_with('.');
    if fits && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
        Ok(name)
    } else {
        Err(StoreError::BadName { name: name.to_owned() })
    }
}
