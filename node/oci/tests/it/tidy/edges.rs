//! The floor plan's table: which crate may import which of ours. A new edge is written here, and in
//! `node/ARCHITECTURE.md`, or it is not made.

use super::tree::{Tree, Violation, dependencies};

/// A crate's folder and what it may import, both without the `portolan-` that every name begins with.
struct Floor {
    folder: &'static str,
    name: &'static str,
    below: &'static [&'static str],
}

const fn floor(folder: &'static str, name: &'static str, below: &'static [&'static str]) -> Floor {
    Floor { folder, name, below }
}

/// What the binary may import: everything below it.
const ALL: &[&str] = &[
    "proto",
    "oci",
    "meta",
    "store",
    "trace",
    "sabotage",
    "peer",
    "auth",
    "consensus",
    "replication",
    "registry",
    "api",
];

/// `oci` is the vocabulary that `meta` speaks, so whoever imports `meta` may name its words.
const FLOORS: [Floor; 15] = [
    floor("proto", "portolan-proto", &[]),
    floor("node/oci", "portolan-oci", &[]),
    floor("node/sabotage", "portolan-sabotage", &[]),
    floor("node/meta", "portolan-meta", &["oci", "sabotage"]),
    floor("node/store", "portolan-store", &["oci", "meta", "sabotage"]),
    floor("node/trace", "portolan-trace", &[]),
    floor("node/peer", "portolan-peer", &["proto", "oci", "meta", "trace"]),
    floor("node/auth", "portolan-auth", &["oci", "meta"]),
    floor("node/consensus", "portolan-consensus", &["oci", "meta", "store", "trace", "peer", "sabotage"]),
    floor("node/replication", "portolan-replication", &["oci", "meta", "store", "peer", "consensus", "sabotage"]),
    floor(
        "node/registry",
        "portolan-registry",
        &["oci", "meta", "store", "peer", "consensus", "replication", "sabotage"],
    ),
    floor("node/api", "portolan-api", &["oci", "trace", "auth", "consensus", "registry", "replication", "sabotage"]),
    floor("node", "portolan", ALL),
    floor("chaos-tests", "portolan-chaos-tests", &["oci", "proto"]),
    // As needed: floors to measure, and the black-box tests' way to start a cluster.
    floor("benches", "portolan-benches", &["proto", "oci", "meta", "store", "peer", "chaos-tests"]),
];

/// Crates that the table lacks, crates in the wrong place, and edges that it lacks.
pub(crate) fn unknown_edges(tree: &Tree) -> Vec<Violation> {
    let mut violations = Vec::new();
    for (folder, manifest) in tree.crates().filter(|(folder, _)| !folder.is_empty()) {
        let mut report = |message| {
            violations.push(Violation { path: format!("{folder}/Cargo.toml"), line: 0, message });
        };
        let name = manifest.get("package").and_then(|package| package.get("name")?.as_str()).unwrap_or_default();
        let Some(floor) = FLOORS.iter().find(|floor| floor.folder == folder && floor.name == name) else {
            report(format!("the floor plan knows no crate {name} here"));
            continue;
        };
        for dependency in dependencies(&manifest) {
            let ours = dependency == "portolan" || dependency.starts_with("portolan-");
            let short = dependency.strip_prefix("portolan-").unwrap_or(&dependency);
            if ours && !floor.below.contains(&short) {
                report(format!("{name} may not import {dependency}; it may import {:?}", floor.below));
            }
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::{FLOORS, Tree, unknown_edges};

    fn manifest(name: &str, dependencies: &str) -> String {
        format!("[package]\nname = \"{name}\"\n{dependencies}\n")
    }

    #[test]
    fn an_edge_that_the_table_lacks_is_found() {
        let cases = [
            ("node/meta", "portolan-meta", "[dependencies]\nportolan-oci.workspace = true", 0),
            ("node/meta", "portolan-meta", "[dependencies]\nportolan-store.workspace = true", 1),
            ("node/meta", "portolan-meta", "[dev-dependencies]\nportolan-store.workspace = true", 1),
            ("node/oci", "portolan-oci", "[dependencies]\nportolan-meta = { path = \"../meta\" }", 1),
            ("node/api", "portolan-api", "[dependencies]\nportolan-store.workspace = true", 1),
            ("chaos-tests", "portolan-chaos-tests", "[dependencies]\nportolan.workspace = true", 1),
            ("node/new", "portolan-new", "", 1),
            ("node/oci", "portolan-other", "", 1),
        ];
        for (folder, name, dependencies, want) in cases {
            let found = unknown_edges(&Tree::of(&[(&format!("{folder}/Cargo.toml"), &manifest(name, dependencies))]));
            assert_eq!(found.len(), want, "{folder} {dependencies}: {found:?}");
        }
    }

    #[test]
    fn the_table_itself_points_downwards() {
        for (at, floor) in FLOORS.iter().enumerate() {
            for below in floor.below {
                let below = FLOORS.iter().position(|other| other.name == format!("portolan-{below}")).unwrap();
                assert!(below < at, "{} imports something above it", floor.name);
            }
        }
    }
}
