//! Hostile configurations that the fuzz target in `node/oci/fuzz` has found, shown to the same properties again.

#[path = "../../oci/fuzz/properties/corpus.rs"]
mod corpus;

use super::properties::{check, lay_out};
use std::path::Path;

#[test]
fn what_fuzzing_found_holds_every_property() {
    let certificates = tempfile::tempdir().expect("a temporary folder");
    lay_out(certificates.path()).expect("files in a temporary folder");
    let fuzz = concat!(env!("CARGO_MANIFEST_DIR"), "/oci/fuzz");
    corpus::replay(Path::new(fuzz), "config", |input| check(input, certificates.path()));
}
