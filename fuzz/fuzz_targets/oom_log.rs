//! libFuzzer's entry to [`reprieve_fuzz::oom_log`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| reprieve_fuzz::oom_log(input));
