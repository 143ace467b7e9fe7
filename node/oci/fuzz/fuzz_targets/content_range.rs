//! `Content-Range` of an upload's chunk.
#![no_main]

#[path = "../properties/content_range.rs"]
mod content_range;
#[path = "../properties/refusal.rs"]
mod refusal;

libfuzzer_sys::fuzz_target!(|input: &[u8]| content_range::check(input));
