//! libFuzzer's entry to [`reprieve_fuzz::memory_files`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| reprieve_fuzz::memory_files(input));
