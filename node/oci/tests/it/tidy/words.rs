//! What may not be written: unfinished code, tests that are skipped without a word, imports that hide what they import.

use super::paths::{Import, imports};
use super::tokens::{Token, of_source, reads};
use super::tree::{Tree, Violation};

/// `todo!` and `unimplemented!`.
pub(crate) fn unfinished(tree: &Tree) -> Vec<Violation> {
    find(tree, |tokens, at| {
        let word = &tokens[at].text;
        let unfinished = matches!(word.as_str(), "todo" | "unimplemented") && reads(tokens, at + 1, &["!"]);
        // `macro != other` and `!matches` are no calls.
        (unfinished && !reads(tokens, at + 1, &["!", "="])).then(|| format!("{word}! is left"))
    })
}

/// `#[ignore]` that does not say why.
pub(crate) fn ignored_without_reason(tree: &Tree) -> Vec<Violation> {
    find(tree, |tokens, at| {
        if tokens[at].text != "ignore" || !in_attribute(tokens, at) {
            return None;
        }
        let reason = tokens.get(at + 2).filter(|_| reads(tokens, at + 1, &["="]));
        let empty = reason.is_none_or(|reason| reason.text.trim_matches('"').trim().is_empty());
        empty.then(|| "an ignored test gives its reason: #[ignore = \"why\"]".to_owned())
    })
}

/// Whether the token is an attribute of its own: after `#[`, or within `cfg_attr(…, `.
fn in_attribute(tokens: &[Token], at: usize) -> bool {
    let bracket = (0..at).rev().find(|&before| tokens[before].text == "[");
    let Some(bracket) = bracket.filter(|&bracket| bracket > 0 && tokens[bracket - 1].text == "#") else {
        return false;
    };
    let inside = &tokens[bracket + 1..at];
    inside.is_empty()
        || (inside[0].text == "cfg_attr"
            && inside.last().is_some_and(|token| token.text == ",")
            && inside.iter().all(|token| token.text != "]"))
}

/// `use x::*`.
pub(crate) fn glob_imports(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (path, text) in tree.rust() {
        let file = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
        for Import { segments, line, glob, .. } in imports(&file) {
            if glob {
                let message = format!("use {}::*: name what is imported", segments.join("::"));
                violations.push(Violation { path: path.to_owned(), line, message });
            }
        }
    }
    violations
}

fn find(tree: &Tree, rule: impl Fn(&[Token], usize) -> Option<String>) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (path, text) in tree.rust() {
        let tokens = of_source(path, text);
        for (at, token) in tokens.iter().enumerate() {
            if let Some(message) = rule(&tokens, at) {
                violations.push(Violation { path: path.to_owned(), line: token.line, message });
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::{Tree, Violation, glob_imports, ignored_without_reason, unfinished};

    fn check(rule: fn(&Tree) -> Vec<Violation>, cases: &[(&str, &[usize])]) {
        for (source, want) in cases {
            let found = rule(&Tree::of(&[("a.rs", source)]));
            let lines: Vec<_> = found.iter().map(|violation| violation.line).collect();
            assert_eq!(lines, *want, "{source}: {found:?}");
        }
    }

    #[test]
    fn unfinished_code_is_found_even_in_macros() {
        check(
            unfinished,
            &[
                ("fn f() {\n todo!()\n}", &[2]),
                ("fn f() {\n unimplemented!(\"later\")\n}", &[2]),
                ("fn f() {\n\n select! { _ = a => { todo!() } }\n}", &[3]),
                ("// todo!()\nfn f() { let todo = 1; if todo != 2 {} }", &[]),
                ("fn f() { g(\"todo!()\") }", &[]),
            ],
        );
    }

    #[test]
    fn an_ignored_test_needs_a_reason() {
        check(
            ignored_without_reason,
            &[
                ("#[ignore]\nfn f() {}", &[1]),
                ("#[test]\n#[ignore = \"\"]\nfn f() {}", &[2]),
                ("#[cfg_attr(not(unix), ignore)]\nfn f() {}", &[1]),
                ("#[ignore = \"needs root\"]\nfn f() {}", &[]),
                ("#[cfg_attr(not(unix), ignore = \"needs root\")]\nfn f() {}", &[]),
                ("fn f() { let ignore = [ignore]; ignore() }", &[]),
            ],
        );
    }

    #[test]
    fn a_glob_import_is_found_wherever_it_hides() {
        check(
            glob_imports,
            &[
                ("use a::*;", &[1]),
                ("pub use a::b::*;", &[1]),
                ("use a::{b, c::{d, *}};", &[1]),
                ("mod tests {\n use super::*;\n}", &[2]),
                ("fn f() {\n use E::*;\n}", &[2]),
                ("use a::{b, c};\nconst X: *const u8 = a * b;", &[]),
            ],
        );
    }
}
