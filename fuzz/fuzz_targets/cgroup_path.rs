//! libFuzzer's entry to [`reprieve_fuzz::cgroup_path`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| reprieve_fuzz::cgroup_path(input));
