//! libFuzzer's entry to [`reprieve_fuzz::program`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| reprieve_fuzz::program(input));
