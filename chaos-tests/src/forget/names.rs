//! Puts the names back that were durable.

use super::journal::Journal;
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Where every file and folder lies, by inode: below a root, or in another folder under a name. A file with several
/// names is known by one of them.
#[derive(Debug, Default)]
pub(super) struct Tree {
    roots: HashMap<u64, PathBuf>,
    at: HashMap<u64, (u64, OsString)>,
}

impl Tree {
    fn add_root(&mut self, path: &Path) -> crate::Result<u64> {
        let inode = fs::metadata(path)?.ino();
        self.roots.insert(inode, path.to_owned());
        let mut folders = vec![(inode, path.to_owned())];
        while let Some((folder, path)) = folders.pop() {
            // Nothing of the dead process vanishes any more: what does belongs to one that lives on beside it.
            let Some(entries) = found(fs::read_dir(path))? else { continue };
            for entry in entries {
                let entry = entry?;
                // Of the entry, not of what it points to.
                let Some(metadata) = found(entry.metadata())? else { continue };
                self.at.insert(metadata.ino(), (folder, entry.file_name()));
                if metadata.is_dir() {
                    folders.push((metadata.ino(), entry.path()));
                }
            }
        }
        Ok(inode)
    }

    /// Its path now.
    pub(super) fn path(&self, inode: u64) -> Option<PathBuf> {
        if let Some(root) = self.roots.get(&inode) {
            return Some(root.clone());
        }
        let (folder, name) = self.at.get(&inode)?;
        Some(self.path(*folder)?.join(name))
    }
}

/// Nothing for what is not there.
fn found<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What each name that was touched durably means.
fn durable(journal: &Journal) -> BTreeMap<(u64, OsString), u64> {
    let mut names = BTreeMap::new();
    for act in &journal.acts {
        // One act has one fate: see the module's head on renames between folders.
        let taken = act
            .changes
            .iter()
            .any(|change| journal.folders.get(&change.folder).is_some_and(|covered| *covered >= act.number));
        for change in &act.changes {
            let meaning = names.entry((change.folder, change.name.clone())).or_insert(change.old);
            if taken {
                *meaning = change.new;
            }
        }
    }
    names
}

/// Makes the names below `folder` what they durably were, and gives where everything lies then. What has no name any
/// more ends in `stage`.
pub(super) fn put_back(journal: &Journal, folder: &Path, kept: &Path, stage: &Path) -> crate::Result<(Tree, u64)> {
    let names = durable(journal);
    let mut tree = Tree::default();
    // The folder last, so that a file is known by its own name rather than by its spare one.
    tree.add_root(kept)?;
    let stage_inode = tree.add_root(stage)?;
    tree.add_root(folder)?;
    let mut undone = 0;
    for ((folder, name), meaning) in &names {
        let Some(path) = tree.path(*folder).map(|folder| folder.join(name)) else { continue };
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        let inode = metadata.ino();
        if inode == *meaning {
            continue;
        }
        let aside = OsString::from(inode.to_string());
        if metadata.is_dir() {
            fs::rename(&path, stage.join(&aside))?;
        } else {
            if !stage.join(&aside).exists() {
                fs::hard_link(&path, stage.join(&aside))?;
            }
            fs::remove_file(&path)?;
        }
        tree.at.insert(inode, (stage_inode, aside));
        undone += 1;
    }
    for ((folder, name), meaning) in names {
        // A folder that is nowhere was never durable, nor is what was in it.
        let Some(path) = tree.path(folder).map(|folder| folder.join(&name)) else { continue };
        if meaning == 0 || fs::symlink_metadata(&path).is_ok() {
            continue;
        }
        let source = tree.path(meaning).ok_or_else(|| format!("nothing was kept of {}", path.display()))?;
        if fs::symlink_metadata(&source)?.is_dir() {
            fs::rename(source, path)?;
        } else {
            fs::hard_link(source, path)?;
        }
        tree.at.insert(meaning, (folder, name));
        undone += 1;
    }
    Ok((tree, undone))
}
