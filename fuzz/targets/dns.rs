//! See `rais_tests::fuzz`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| rais_tests::fuzz::dns(data));
