//! A node's configuration: the file and the environment. The module is the binary's own; the floors that it takes
//! settings from are stand-ins with those alone.
#![no_main]

#[allow(dead_code, reason = "the rest of the binary uses the rest of it")]
#[path = "../../../src/config/mod.rs"]
mod config;
#[path = "../../../src/config/properties.rs"]
mod properties;

use std::path::PathBuf;
use std::sync::LazyLock;

/// Where the certificates lie that the configurations name.
static CERTIFICATES: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join("portolan-fuzz-config");
    properties::lay_out(&folder).expect("the temporary folder can be written");
    folder
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| properties::check(input, &CERTIFICATES));
