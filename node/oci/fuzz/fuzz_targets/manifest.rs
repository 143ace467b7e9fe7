//! Manifests, with the `Content-Type` that they come under.
#![no_main]

#[path = "../properties/json.rs"]
mod json;
#[path = "../properties/manifest.rs"]
mod manifest;
#[path = "../properties/refusal.rs"]
mod refusal;

libfuzzer_sys::fuzz_target!(|input: &[u8]| manifest::check(input));
