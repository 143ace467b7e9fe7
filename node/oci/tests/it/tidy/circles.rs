//! No circles between files of one crate: shared types sink to a leaf file, and a child is handed what it needs instead
//! of reaching for its parent.

use super::modules::{Modules, Uses};
use super::tree::{Tree, Violation};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Files that use each other, directly or around.
pub(crate) fn circles(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for root in tree.files.keys().filter(|path| is_root(path)) {
        let modules = Modules::read(tree, root);
        let uses = modules.uses();
        let mut reported = BTreeSet::new();
        for &file in uses.keys() {
            if reported.contains(file) {
                continue;
            }
            if let Some(circle) = shortest_circle(&uses, file) {
                reported.extend(circle.iter().copied());
                let steps = circle.windows(2).map(|step| format!("→ {} ({})", step[1], uses[step[0]][step[1]]));
                let message = format!("a circle: {file} {}", steps.collect::<Vec<_>>().join(" "));
                violations.push(Violation { path: file.to_owned(), line: 0, message });
            }
        }
    }
    violations
}

/// Where cargo begins to compile.
fn is_root(path: &str) -> bool {
    let Some((folder, name)) = path.rsplit_once('/') else {
        return false;
    };
    let parents: Vec<&str> = folder.rsplit('/').take(2).collect();
    match parents[..] {
        _ if name == "build.rs" => true,
        ["src", ..] => matches!(name, "lib.rs" | "main.rs"),
        ["tests" | "benches" | "examples", ..] | ["bin", "src"] => name.ends_with(".rs"),
        [_, "tests" | "benches" | "examples"] => name == "main.rs",
        _ => false,
    }
}

/// The shortest way from a file back to itself; it begins and ends with it.
fn shortest_circle<'a>(uses: &'a Uses<'a>, start: &'a str) -> Option<Vec<&'a str>> {
    let mut came_from: BTreeMap<&str, &str> = BTreeMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(file) = queue.pop_front() {
        for &used in uses.get(file).into_iter().flat_map(BTreeMap::keys) {
            if used == start {
                let mut circle = vec![start, file];
                while let Some(&before) = came_from.get(circle[circle.len() - 1]) {
                    circle.push(before);
                }
                // A file that uses itself is not in `uses`, so the way has at least two steps.
                circle.reverse();
                return Some(circle);
            }
            if !came_from.contains_key(used) {
                came_from.insert(used, file);
                queue.push_back(used);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{Tree, circles};

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<_> = files.iter().map(|(path, text)| (format!("x/{path}"), *text)).collect();
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        // What stands in brackets, the example of a use, differs from case to case.
        let files_only = |message: String| -> Vec<String> {
            let words = message.split_whitespace().filter(|word| !word.starts_with('('));
            words.map(|word| word.replace("x/src/", "")).collect()
        };
        circles(&Tree::of(&files)).into_iter().map(|violation| files_only(violation.message).join(" ")).collect()
    }

    const LIB: (&str, &str) = ("src/lib.rs", "mod a; mod b; mod c; pub use a::A; pub use b::B;");

    #[test]
    fn files_that_use_each_other_are_a_circle_however_they_say_it() {
        let ways =
            ["use crate::b::B;", "use crate::B;", "use super::b;", "fn f() { crate::b::f() }", "type T = super::B;"];
        let others =
            ["use crate::a::A;", "use crate::{A as X};", "fn f() { vec![crate::a::f()]; }", "impl crate::A for B {}"];
        for way in ways {
            for other in others {
                let circle = found(&[LIB, ("src/a.rs", way), ("src/b.rs", other), ("src/c.rs", "")]);
                assert_eq!(circle, ["a circle: a.rs → b.rs → a.rs"], "{way} {other}");
            }
        }
    }

    #[test]
    fn a_circle_is_reported_with_an_example_of_each_use() {
        let (lib, a) = ("mod a; struct Own; fn f() { a::f() }", "pub fn f(_: super::Own) {}");
        let found = circles(&Tree::of(&[("x/src/lib.rs", lib), ("x/src/a.rs", a)]));
        let [violation] = &found[..] else { panic!("{found:?}") };
        assert_eq!(violation.message, "a circle: x/src/a.rs → x/src/lib.rs (super::Own) → x/src/a.rs (a::f)");
    }

    #[test]
    fn a_long_way_round_is_a_circle_too() {
        let files = [
            LIB,
            ("src/a.rs", "use crate::b::B;"),
            ("src/b.rs", "use crate::c::C;"),
            ("src/c.rs", "mod inner { use super::super::a::A; }"),
        ];
        assert_eq!(found(&files), ["a circle: a.rs → b.rs → c.rs → a.rs"]);
    }

    #[test]
    fn a_child_that_reaches_for_its_parent_is_a_circle() {
        let parent = ("src/a.rs", "mod child; pub struct A; fn f() { child::f(A) }");
        let files =
            [LIB, parent, ("src/a/child.rs", "use super::A; pub fn f(_: A) {}"), ("src/b.rs", ""), ("src/c.rs", "")];
        assert_eq!(found(&files), ["a circle: a.rs → a/child.rs → a.rs"]);
        let files = [
            LIB,
            parent,
            ("src/a/mod.rs", ""),
            ("src/a/child.rs", "use crate::B;"),
            ("src/b.rs", ""),
            ("src/c.rs", ""),
        ];
        assert_eq!(found(&files), [""; 0]);
    }

    #[test]
    fn what_lib_rs_defines_itself_closes_a_circle_and_what_it_passes_on_does_not() {
        let a = ("src/a.rs", "use crate::Own;");
        assert_eq!(found(&[("src/lib.rs", "mod a; use a::A; struct Own;"), a]), ["a circle: a.rs → lib.rs → a.rs"]);
        assert_eq!(found(&[("src/lib.rs", "mod a; mod b; use a::A; pub use b::Own;"), a, ("src/b.rs", "")]), [""; 0]);
    }

    #[test]
    fn one_way_use_visibility_and_tests_are_no_circle() {
        let a = "pub(crate) struct A; pub(super) struct X; #[cfg(test)] mod tests { use crate::b::B; }";
        let b = "use crate::a::A; #[cfg(test)] mod tests;";
        let files = [
            LIB,
            ("src/a.rs", a),
            ("src/b.rs", b),
            ("src/b/tests.rs", "mod help; use super::B; use help::f;"),
            ("src/b/tests/help.rs", "use super::C;"),
            ("src/c.rs", "use std::a;"),
        ];
        assert_eq!(found(&files), [""; 0]);
    }

    #[test]
    fn integration_tests_and_binaries_are_crates_of_their_own() {
        let a = ("tests/it/a.rs", "use crate::b::f; pub fn f() {}");
        let b = ("tests/it/b.rs", "use crate::a::f; pub fn f() {}");
        let circle = found(&[("tests/it/main.rs", "mod a; mod b;"), a, b]);
        assert_eq!(circle, ["a circle: x/tests/it/a.rs → x/tests/it/b.rs → x/tests/it/a.rs"]);
    }
}
