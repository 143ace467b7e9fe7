//! Files aim at 300 lines and stop at 600; functions stop at 70.

use super::tokens::{Token, of_source};
use super::tree::{Tree, Violation};

const FILE_LINES: usize = 600;
const FUNCTION_LINES: usize = 70;

/// Files that are too long. Manifests may be as long as they need.
pub(crate) fn long_files(tree: &Tree) -> Vec<Violation> {
    let sources = tree.files.iter().filter(|(path, _)| !path.ends_with(".toml"));
    sources
        .filter_map(|(path, text)| {
            let lines = text.lines().count();
            let message = format!("{lines} lines; a file stops at {FILE_LINES}");
            (lines > FILE_LINES).then(|| Violation { path: path.clone(), line: lines, message })
        })
        .collect()
}

/// Functions that are too long, from `fn` to the closing brace; those inside macros too.
pub(crate) fn long_functions(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (path, text) in tree.rust() {
        for function in functions(&of_source(path, text)) {
            let lines = function.last - function.first + 1;
            if lines > FUNCTION_LINES {
                let message = format!("fn {} has {lines} lines; a function stops at {FUNCTION_LINES}", function.name);
                violations.push(Violation { path: path.to_owned(), line: function.first, message });
            }
        }
    }
    violations
}

struct Function {
    name: String,
    first: usize,
    last: usize,
}

fn functions(tokens: &[Token]) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, pair) in tokens.windows(2).enumerate() {
        // `fn(u8)` is a type.
        if pair[0].text == "fn"
            && pair[1].text != "("
            && let Some(last) = end_of_body(&tokens[at..])
        {
            found.push(Function { name: pair[1].text.clone(), first: pair[0].line, last });
        }
    }
    found
}

/// The line where the first braces outside of parentheses and brackets close; `None` for a declaration.
fn end_of_body(tokens: &[Token]) -> Option<usize> {
    let (mut depth, mut in_body) = (0usize, false);
    for token in tokens {
        match token.text.as_str() {
            "{" if depth == 0 => {
                in_body = true;
                depth = 1;
            }
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => {
                depth = depth.checked_sub(1)?;
                if depth == 0 && in_body {
                    return Some(token.line);
                }
            }
            ";" if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::{FILE_LINES, FUNCTION_LINES, long_files, long_functions};
    use crate::tidy::tree::Tree;

    #[test]
    fn a_file_of_601_lines_is_too_long() {
        let (short, long) = ("\n".repeat(FILE_LINES), "\n".repeat(FILE_LINES + 1));
        let tree = Tree::of(&[("a.rs", &short), ("b.rs", &long), ("c.proto", &long), ("Cargo.toml", &long)]);
        let paths: Vec<_> = long_files(&tree).into_iter().map(|violation| violation.path).collect();
        assert_eq!(paths, ["b.rs", "c.proto"]);
    }

    #[test]
    fn a_function_of_71_lines_is_too_long_wherever_it_is() {
        let body = |lines: usize| "let _ = [1; 2];\n".repeat(lines - 2);
        let cases = [
            ("fn f() {\n$}\n", 0),
            ("/// Docs\n#[test]\npub(crate) const fn f<T>(t: fn(T) -> [T; 2]) -> (T, T)\nwhere T: Copy {\n$}\n", 2),
            ("impl A { fn f(&self) {\n$} }\n", 0),
            ("trait A { fn g(); fn f() {\n$} }\n", 0),
            ("proptest! { fn f(a in 0..9) {\n$} }\n", 0),
            ("mod tests { fn f() {\n$} }\n", 0),
        ];
        for (source, header) in cases {
            for lines in [FUNCTION_LINES, FUNCTION_LINES + 1] {
                let source = source.replace('$', &body(lines - header.min(1)));
                let found = long_functions(&Tree::of(&[("a.rs", &source)]));
                assert_eq!(found.len(), lines - FUNCTION_LINES, "{source}: {found:?}");
            }
        }
        let two_short = format!("fn f() {{\n{0}}}\nfn g() {{\n{0}}}\n", body(FUNCTION_LINES));
        assert_eq!(long_functions(&Tree::of(&[("a.rs", &two_short)])), []);
    }
}
