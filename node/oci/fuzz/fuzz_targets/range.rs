//! `Range` and `If-Range`.
#![no_main]

#[path = "../properties/range.rs"]
mod range;
#[path = "../properties/refusal.rs"]
mod refusal;

libfuzzer_sys::fuzz_target!(|input: &[u8]| range::check(input));
