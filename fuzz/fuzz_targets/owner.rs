//! libFuzzer's entry to [`reprieve_fuzz::owner`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| reprieve_fuzz::owner(input));
