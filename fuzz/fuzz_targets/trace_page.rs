//! libFuzzer's entry to [`reprieve_fuzz::trace_page`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| reprieve_fuzz::trace_page(input));
