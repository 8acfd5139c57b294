//! libFuzzer's entry to [`reprieve_fuzz::node_memory`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| reprieve_fuzz::node_memory(input));
