//! A small file system of its own, for disks that fill up.

use crate::tool;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A mounted one; unmounted when it goes. Wants root.
pub struct Tmpfs {
    folder: PathBuf,
    /// Whether the folder goes with it.
    own: bool,
}

impl Tmpfs {
    /// Mounts one in a folder of its own.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn mount(size_mib: usize) -> crate::Result<Self> {
        let folder = tempfile::Builder::new().prefix("portolan-tmpfs").tempdir()?.keep();
        mount(&folder, size_mib).await?;
        Ok(Self { folder, own: true })
    }

    /// Mounts one over a folder, which is created when it is missing.
    ///
    /// # Errors
    /// When the system refuses.
    pub async fn mount_at(folder: &Path, size_mib: usize) -> crate::Result<Self> {
        std::fs::create_dir_all(folder)?;
        mount(folder, size_mib).await?;
        Ok(Self { folder: folder.to_owned(), own: false })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.folder
    }

    /// What is left, in bytes.
    ///
    /// # Errors
    /// When the system refuses to say.
    pub fn free(&self) -> crate::Result<usize> {
        let disk = rustix::fs::statvfs(&self.folder)?;
        Ok(usize::try_from(disk.f_bavail * disk.f_frsize)?)
    }
}

async fn mount(folder: &Path, size_mib: usize) -> crate::Result<()> {
    let size = format!("size={size_mib}m");
    let target = folder.to_string_lossy();
    tool::run(Duration::from_secs(5), "mount", &["-t", "tmpfs", "-o", &size, "tmpfs", &target]).await?;
    Ok(())
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        // Lazily: a process that is being killed may still hold a file.
        let unmounted = std::process::Command::new("umount").arg("-l").arg(&self.folder).status();
        if self.own && unmounted.is_ok_and(|status| status.success()) {
            let _ = std::fs::remove_dir(&self.folder);
        }
    }
}
