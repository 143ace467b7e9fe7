//! The kept inputs of a fuzz target, for the ordinary tests that replay them.

use std::fs;
use std::path::{Path, PathBuf};

/// A corpus stays small enough to be replayed with every test run: files, and bytes of all of them.
const MOST: (usize, u64) = (300, 1 << 20);

/// Shows every kept input of a target to its properties: what covers the code, and what has broken it before. `fuzz` is
/// the folder of the targets.
pub(crate) fn replay(fuzz: &Path, target: &str, check: impl Fn(&[u8])) {
    let corpus = files(&fuzz.join("corpus").join(target));
    assert!(!corpus.is_empty(), "{target} has no corpus: nothing was replayed");
    let bytes: u64 = corpus.iter().map(|path| fs::metadata(path).map_or(0, |file| file.len())).sum();
    assert!(corpus.len() <= MOST.0 && bytes <= MOST.1, "{target}: {} files, {bytes} bytes", corpus.len());
    for path in corpus.into_iter().chain(files(&fuzz.join("regressions").join(target))) {
        let input = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let named = Named(&path);
        check(&input);
        drop(named);
    }
}

/// The files of a folder, in order; none when there is no such folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// Says which input it was when a property does not hold.
struct Named<'a>(&'a Path);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the input is {}", self.0.display());
        }
    }
}
