//! `csv::decode` on arbitrary bytes, the header among them.

#![no_main]

#[expect(dead_code, reason = "the other targets use the rest")]
#[path = "../checks/formats.rs"]
mod formats;

libfuzzer_sys::fuzz_target!(|payload: &[u8]| formats::csv(payload));
