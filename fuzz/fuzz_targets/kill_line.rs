//! libFuzzer's entry to [`reprieve_fuzz::kill_line`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| reprieve_fuzz::kill_line(input));
