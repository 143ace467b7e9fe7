//! Digests, and hashers that go on from a saved state.
#![no_main]

#[path = "../properties/digest.rs"]
mod digest;
#[path = "../properties/refusal.rs"]
mod refusal;

libfuzzer_sys::fuzz_target!(|input: &[u8]| digest::check(input));
