//! A disk that forgets: what a power loss would have left, after a SIGKILL that leaves the page cache whole.
//!
//! A library that is loaded before libc ([`SHIM`]; its head describes the journal) notes what a process does to files
//! and what of it is synced. After the kill, [`Disk::forget`] takes back the rest: files are cut to the length at
//! their last sync, and names that were made, changed or removed in a folder that was not synced since are as they
//! were before. The model is stricter than common file systems, and is what POSIX promises: a synced file whose
//! folder was not synced has no name.
//!
//! A rename between two folders is one act, durable as soon as one of the two is synced: that much every journalling
//! file system gives, and no program could do without.
//!
//! In reading order: [`journal`] reads what was noted, [`names`] puts names back, [`contents`] cuts files.

mod contents;
mod forgotten;
mod journal;
mod names;

pub use forgotten::Forgotten;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

/// The library's source.
const SHIM: &str = include_str!("../shim/forget.c");

/// How much of what was not synced a power loss leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Survives {
    /// Nothing: the worst of all disks.
    #[default]
    Nothing,
    /// Of each file's tail and of each folder's latest changes a beginning whose length is drawn from this seed. So
    /// that what was done later may be there while what was done earlier elsewhere is not.
    Beginnings(u64),
}

/// How a cluster's disk forgets and misbehaves.
#[derive(Clone, Debug, Default)]
pub struct Forgetting {
    /// What a kill leaves.
    pub survives: Survives,
    /// Orders from the start: `slow=MILLISECONDS fail=PATTERN skip=PATTERN`. See [`Disk::order`].
    pub orders: String,
}

/// A folder whose processes run on a disk that forgets.
#[derive(Debug)]
pub struct Disk {
    folder: PathBuf,
    journals: PathBuf,
    library: PathBuf,
    forgetting: Forgetting,
    kills: u64,
}

impl Disk {
    /// Builds the library and a folder for journals in `beside`, which lies outside `folder` on the same file system.
    ///
    /// # Errors
    /// When there is no C compiler, or a folder cannot be made.
    pub fn new(folder: &Path, beside: &Path, forgetting: Forgetting) -> crate::Result<Self> {
        fs::create_dir_all(folder)?;
        let beside = beside.canonicalize()?;
        let (journals, library) = (beside.join("journals"), beside.join("forget.so"));
        fs::create_dir_all(&journals)?;
        fs::write(&library, built(&beside)?)?;
        Ok(Self { folder: folder.canonicalize()?, journals, library, forgetting, kills: 0 })
    }

    /// What a process needs in its environment to run on this disk.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        vec![
            ("LD_PRELOAD".to_owned(), text(&self.library)),
            ("FORGET_DIR".to_owned(), text(&self.folder)),
            ("FORGET_JOURNALS".to_owned(), text(&self.journals)),
            ("FORGET_CONTROL".to_owned(), self.forgetting.orders.clone()),
        ]
    }

    /// From its next sync on a running process gets other orders, until it ends: `slow=MILLISECONDS` (each sync takes
    /// longer), `fail=PATTERN` (a sync of such a file fails with EIO), `skip=PATTERN` (it says that it was done).
    /// Patterns are of fnmatch(3) over the path below the folder; `*` also stands for slashes.
    ///
    /// # Errors
    /// When the orders cannot be written.
    pub fn order(&self, pid: u32, orders: &str) -> crate::Result<()> {
        let (fresh, path) = (self.journals.join(format!("{pid}.orders")), self.journals.join(format!("{pid}.control")));
        fs::write(&fresh, orders)?;
        Ok(fs::rename(fresh, path)?)
    }

    /// Takes back what a killed process had not made durable. The process is gone, and nobody else uses its files.
    ///
    /// # Errors
    /// When it left no journal, did what cannot be taken back, or a file cannot be changed.
    pub fn forget(&mut self, pid: u32) -> crate::Result<Forgotten> {
        let own = |ending: &str| self.journals.join(format!("{pid}.{ending}"));
        let mut journal = journal::read(&own("journal"))?;
        self.kills += 1;
        let mut random = match self.forgetting.survives {
            Survives::Nothing => None,
            Survives::Beginnings(seed) => Some(StdRng::seed_from_u64(seed ^ self.kills)),
        };
        if let Some(random) = &mut random {
            keep_beginnings(&mut journal, random);
        }
        let (kept, stage) = (own("kept"), own("stage"));
        fs::create_dir_all(&stage)?;
        let (tree, undone) = names::put_back(&journal, &self.folder, &kept, &stage)?;
        let mut forgotten = contents::cut(&journal, &tree, &own("bytes"), random.as_mut())?;
        forgotten.names = undone;
        fs::remove_dir_all(stage)?;
        fs::remove_dir_all(kept)?;
        for ending in ["journal", "bytes", "control"] {
            match fs::remove_file(own(ending)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(forgotten)
    }
}

/// The library, built once per process.
fn built(scratch: &Path) -> crate::Result<Vec<u8>> {
    static BUILT: Mutex<Option<Vec<u8>>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(library) = &*built {
        return Ok(library.clone());
    }
    let (source, library) = (scratch.join("forget.c"), scratch.join("forget.so.built"));
    fs::write(&source, SHIM)?;
    let compiler = Command::new("cc")
        .args(["-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-pthread", "-o"])
        .args([&library, &source])
        .output()
        .map_err(|error| format!("cc: {error}"))?;
    if !compiler.status.success() {
        return Err(format!("cc: {}", String::from_utf8_lossy(&compiler.stderr)).into());
    }
    Ok(built.insert(fs::read(library)?).clone())
}

/// Lets the disk have taken some of each folder's latest changes, in their order, on its own.
fn keep_beginnings(journal: &mut journal::Journal, random: &mut StdRng) {
    for (folder, acts) in journal.acts_by_folder() {
        let synced = journal.folders.get(&folder).copied().unwrap_or(0);
        let open: Vec<u64> = acts.into_iter().filter(|number| *number > synced).collect();
        let taken = random.random_range(0..=open.len());
        if let Some(last) = taken.checked_sub(1) {
            journal.folders.insert(folder, open[last]);
        }
    }
}
