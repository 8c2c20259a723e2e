#![no_main]
libfuzzer_sys::fuzz_target!(|input: &[u8]| lyredb_fuzz::numbers::numbers(input));
