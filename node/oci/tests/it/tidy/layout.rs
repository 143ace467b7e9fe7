//! The top level of the workspace.

use super::tree::{Tree, Violation};

const FOLDERS_AND_FILES: [&str; 14] = [
    ".cargo",
    ".ci",
    ".git",
    ".gitignore",
    ".clippy.toml",
    ".rustfmt.toml",
    "Cargo.lock",
    "Cargo.toml",
    "README.md",
    "benches",
    "chaos-tests",
    "deploy",
    "node",
    "proto",
];

/// Entries that the floor plan does not name. What `.gitignore` lists is nobody's business.
pub(crate) fn unknown_entries(tree: &Tree) -> Vec<Violation> {
    let unknown = tree.top.iter().filter(|name| !FOLDERS_AND_FILES.contains(&name.as_str()));
    unknown
        .map(|name| {
            let message = "the floor plan has no such entry at the top level".to_owned();
            Violation { path: name.clone(), line: 0, message }
        })
        .collect()
}

#[test]
fn an_entry_that_the_floor_plan_lacks_is_found() {
    let tree = Tree::of(&[("Cargo.toml", ""), ("node/Cargo.toml", ""), ("scripts/x.sh", ""), ("NOTES.toml", "")]);
    let found: Vec<_> = unknown_entries(&tree).into_iter().map(|violation| violation.path).collect();
    assert_eq!(found, ["NOTES.toml", "scripts"]);
}
