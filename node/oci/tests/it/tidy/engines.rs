//! Each foreign engine has one home: nobody else names it, in a manifest or in a path.

use super::tokens::{Token, of_source, reads};
use super::tree::{Tree, Violation, dependencies};

/// An engine and the folders that may know it.
struct Engine {
    /// The names of its crates begin with it.
    name: &'static str,
    homes: &'static [&'static str],
}

const ENGINES: [Engine; 6] = [
    Engine { name: "rocksdb", homes: &["node/store"] },
    Engine { name: "openraft", homes: &["node/consensus"] },
    Engine { name: "axum", homes: &["node/api"] },
    // What is generated from the .proto files speaks to it.
    Engine { name: "tonic", homes: &["node/peer", "proto"] },
    Engine { name: "opentelemetry", homes: &["node/trace"] },
    Engine { name: "tracing-opentelemetry", homes: &["node/trace"] },
];

/// Engines outside of their homes.
pub(crate) fn strays(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (folder, manifest) in tree.crates() {
        for dependency in dependencies(&manifest) {
            if let Some(engine) = engine(&dependency).filter(|engine| !engine.homes.contains(&folder)) {
                let path = format!("{folder}/Cargo.toml");
                violations.push(Violation { path, line: 0, message: describe(engine, &dependency) });
            }
        }
    }
    for (path, text) in tree.rust() {
        let tokens = of_source(path, text);
        for (at, token) in tokens.iter().enumerate() {
            let Some(engine) = engine(&token.text).filter(|_| begins_a_path(&tokens, at)) else { continue };
            if !engine.homes.iter().any(|home| path.strip_prefix(home).is_some_and(|rest| rest.starts_with('/'))) {
                let message = describe(engine, &token.text);
                violations.push(Violation { path: path.to_owned(), line: token.line, message });
            }
        }
    }
    violations
}

fn engine(name: &str) -> Option<&'static Engine> {
    // A crate's name in a path has no dashes.
    let name = name.replace('_', "-");
    ENGINES
        .iter()
        .find(|engine| name.strip_prefix(engine.name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-')))
}

fn describe(engine: &Engine, name: &str) -> String {
    format!("{name} lives in {} only", engine.homes.join(" and "))
}

/// Whether a path, or a `use` or `extern crate`, begins with the token: a field or a local of that name does not.
fn begins_a_path(tokens: &[Token], at: usize) -> bool {
    let before = |back: usize| at.checked_sub(back).map_or("", |index| tokens[index].text.as_str());
    let absolute = before(1) == ":" && before(2) == ":" && !is_word(before(3)) && before(3) != ">";
    let inside = before(1) == ":" && before(2) == ":" && !absolute;
    let declared = matches!(before(1), "use" | "crate");
    !inside && (declared || reads(tokens, at + 1, &[":", ":"]))
}

fn is_word(text: &str) -> bool {
    text.starts_with(|character: char| character.is_alphanumeric() || character == '_')
        && !matches!(text, "use" | "in" | "return" | "as" | "dyn" | "impl" | "mut" | "for" | "where")
}

#[cfg(test)]
mod tests {
    use super::{Tree, strays};

    #[test]
    fn an_engine_outside_its_home_is_found_in_manifests() {
        let cases = [
            ("node/registry", "[dependencies]\nrocksdb.workspace = true", 1),
            ("node/registry", "[dependencies]\nlibrocksdb = \"1\"", 0),
            ("node/api", "[dev-dependencies]\ntonic-prost = \"1\"", 1),
            ("node/meta", "[build-dependencies]\nopenraft-macros = \"1\"", 1),
            ("node/meta", "[dependencies]\nweb = { package = \"axum\", version = \"1\" }", 1),
            ("node/store", "[dependencies]\nrocksdb.workspace = true", 0),
            ("node", "[dependencies]\nopentelemetry-otlp.workspace = true", 1),
            ("node/trace", "[dependencies]\ntracing-opentelemetry.workspace = true", 0),
            ("proto", "[dependencies]\ntonic.workspace = true", 0),
            ("", "[workspace.dependencies]\nrocksdb = \"1\"", 0),
        ];
        for (folder, manifest, want) in cases {
            let path = format!("{folder}/Cargo.toml");
            let found = strays(&Tree::of(&[(path.trim_start_matches('/'), manifest)]));
            assert_eq!(found.len(), want, "{folder}: {found:?}");
        }
    }

    #[test]
    fn an_engine_outside_its_home_is_found_in_paths() {
        let cases = [
            ("node/api/src/a.rs", "use axum::Router;", 0),
            ("node/api2/src/a.rs", "use axum::Router;", 1),
            ("node/src/main.rs", "use axum::{Router, Json};", 1),
            ("node/src/main.rs", "use ::axum::Router;", 1),
            ("node/src/main.rs", "use axum;", 1),
            ("node/api/src/a.rs", "use tracing_opentelemetry::OpenTelemetrySpanExt;", 1),
            ("node/trace/src/a.rs", "use opentelemetry_sdk::Resource;", 0),
            ("node/src/main.rs", "fn f() -> tonic::Status { tonic::Status::ok(\"\") }", 2),
            ("node/src/main.rs", "fn f() { info!(\"{}\", openraft::VERSION) }", 1),
            ("node/src/main.rs", "type A = Vec<::rocksdb::DB>;", 1),
            (
                "node/src/main.rs",
                "fn f() { metrics.axum.get(\"tonic::x\"); portolan_api::axum::serve() } // axum::x",
                0,
            ),
        ];
        for (path, source, want) in cases {
            let found = strays(&Tree::of(&[(path, source)]));
            assert_eq!(found.len(), want, "{source}: {found:?}");
        }
    }
}
