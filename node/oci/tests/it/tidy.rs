//! Keeps the floor plan: each rule reads the tree of sources and names what breaks it.
//!
//! A rule is a pure function from [`tree::Tree`] to violations, so that its own test can show it a made-up source and see
//! it fire.

mod circles;
mod edges;
mod engines;
mod layout;
mod length;
mod modules;
mod paths;
mod tokens;
mod tree;
mod words;

use tree::{Tree, Violation};

/// Names what breaks it.
type Rule = fn(&Tree) -> Vec<Violation>;

/// Every rule, with what it guards.
const RULES: [(&str, Rule); 9] = [
    ("files stay short", length::long_files),
    ("functions stay short", length::long_functions),
    ("files of one crate form no circle", circles::circles),
    ("foreign engines stay at home", engines::strays),
    ("crates import only what lies below them", edges::unknown_edges),
    ("nothing is left to do", words::unfinished),
    ("an ignored test says why", words::ignored_without_reason),
    ("imports name what they import", words::glob_imports),
    ("the top level holds what the floor plan names", layout::unknown_entries),
];

#[test]
fn the_workspace_is_tidy() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let tree = Tree::read(root.as_ref()).unwrap();
    assert!(tree.files.len() > 50, "only {} files found below {root}", tree.files.len());
    let mut report = String::new();
    for (what, rule) in RULES {
        for violation in rule(&tree) {
            report.push_str(&format!("{what}: {violation}\n"));
        }
    }
    assert!(report.is_empty(), "\n{report}");
}
