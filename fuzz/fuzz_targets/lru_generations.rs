//! libFuzzer's entry to [`reprieve_fuzz::lru_generations`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| reprieve_fuzz::lru_generations(input));
