//! Names, tags and references.
#![no_main]

#[path = "../properties/reference.rs"]
mod reference;
#[path = "../properties/refusal.rs"]
mod refusal;

libfuzzer_sys::fuzz_target!(|input: &[u8]| reference::check(input));
