//! What a process did, as its journal tells it.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

/// A name in a folder that means another file than before; 0 stands for none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) folder: u64,
    pub(super) name: OsString,
    pub(super) old: u64,
    pub(super) new: u64,
}

/// One or two names that changed at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Act {
    pub(super) number: u64,
    pub(super) changes: Vec<Change>,
}

/// Durable bytes that were about to change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OldBytes {
    pub(super) number: u64,
    pub(super) inode: u64,
    pub(super) offset: u64,
    pub(super) length: u64,
    /// Where they lie in the file of old bytes.
    pub(super) at: u64,
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// In their order.
    pub(super) acts: Vec<Act>,
    /// The last act that each folder's last sync surely covers.
    pub(super) folders: HashMap<u64, u64>,
    /// The durable length of each file that was made, opened for writing or synced; ordered, so that a seed repeats.
    pub(super) files: BTreeMap<u64, u64>,
    /// In their order, without what a later sync made old.
    pub(super) old_bytes: Vec<OldBytes>,
}

impl Journal {
    /// Which acts changed each folder, in order.
    pub(super) fn acts_by_folder(&self) -> BTreeMap<u64, Vec<u64>> {
        let mut folders: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
        for act in &self.acts {
            for change in &act.changes {
                folders.entry(change.folder).or_default().push(act.number);
            }
        }
        folders
    }

    fn take(&mut self, line: &str) -> crate::Result<()> {
        let fields: Vec<&str> = line.split('\t').collect();
        let number = |at: usize| -> crate::Result<u64> {
            Ok(fields.get(at).ok_or_else(|| format!("a field is missing: {line}"))?.parse()?)
        };
        let change = |at: usize| -> crate::Result<Change> {
            let name = fields.get(at + 1).ok_or_else(|| format!("a name is missing: {line}"))?;
            Ok(Change { folder: number(at)?, name: unescaped(name)?, old: number(at + 2)?, new: number(at + 3)? })
        };
        match fields[0] {
            "C" | "K" | "L" | "U" | "D" => {
                let change = change(2)?;
                if fields[0] == "C" {
                    self.files.insert(change.new, 0);
                }
                self.acts.push(Act { number: number(1)?, changes: vec![change] });
            }
            "R" => self.acts.push(Act { number: number(1)?, changes: vec![change(2)?, change(6)?] }),
            "F" => {
                self.files.insert(number(1)?, number(2)?);
            }
            "S" => {
                let (inode, began) = (number(1)?, number(3)?);
                self.files.insert(inode, number(2)?);
                self.old_bytes.retain(|old| old.inode != inode || old.number > began);
            }
            "Y" => {
                let covered = self.folders.entry(number(1)?).or_default();
                *covered = number(2)?.max(*covered);
            }
            "O" => self.old_bytes.push(OldBytes {
                number: number(1)?,
                inode: number(2)?,
                offset: number(3)?,
                length: number(4)?,
                at: number(5)?,
            }),
            "!" => return Err(format!("cannot be taken back: {line}").into()),
            _ => return Err(format!("an unknown line: {line}").into()),
        }
        Ok(())
    }
}

/// Reads a journal. Its last line may be cut short by the kill: what it says is left out.
pub(super) fn read(path: &Path) -> crate::Result<Journal> {
    let text = fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let mut journal = Journal::default();
    for line in whole.lines() {
        journal.take(line)?;
    }
    Ok(journal)
}

fn unescaped(name: &str) -> crate::Result<OsString> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find('%') {
        bytes.extend(rest[..at].bytes());
        let code = rest.get(at + 1..at + 3).ok_or_else(|| format!("a name that ends early: {name}"))?;
        bytes.push(u8::from_str_radix(code, 16)?);
        rest = &rest[at + 3..];
    }
    bytes.extend(rest.bytes());
    Ok(OsString::from_vec(bytes))
}
