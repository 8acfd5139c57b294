//! libFuzzer's entry to [`reprieve_fuzz::kubernetes`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| reprieve_fuzz::kubernetes(input));
