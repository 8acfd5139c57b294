//! libFuzzer's entry to [`reprieve_fuzz::stored_kill`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| reprieve_fuzz::stored_kill(input));
