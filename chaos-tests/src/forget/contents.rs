//! Cuts files back to what of them was durable.

use super::forgotten::Forgotten;
use super::journal::Journal;
use super::names::Tree;
use rand::Rng;
use rand::rngs::StdRng;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Cuts every file that was written to; with `random`, somewhere between what was durable and what is there.
pub(super) fn cut(
    journal: &Journal,
    tree: &Tree,
    old_bytes: &Path,
    mut random: Option<&mut StdRng>,
) -> crate::Result<Forgotten> {
    let mut forgotten = Forgotten::default();
    for (inode, durable) in &journal.files {
        let Some(path) = tree.path(*inode) else { continue };
        let length = fs::metadata(&path)?.len();
        let mut left = *durable;
        if let Some(random) = &mut random
            && length > left
        {
            left = random.random_range(left..=length);
        }
        let changed: Vec<_> = journal.old_bytes.iter().filter(|old| old.inode == *inode).collect();
        if length == left && changed.is_empty() {
            continue;
        }
        let file = File::options().write(true).open(&path)?;
        file.set_len(left)?;
        // Backwards: of bytes that changed twice the first saved ones are the durable ones.
        for old in changed.iter().rev() {
            let mut bytes = vec![0; usize::try_from(old.length)?];
            File::open(old_bytes)?.read_exact_at(&mut bytes, old.at)?;
            file.write_all_at(&bytes, old.offset)?;
        }
        forgotten.files += 1;
        forgotten.bytes += length.saturating_sub(left);
    }
    Ok(forgotten)
}
