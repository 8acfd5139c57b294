//! libFuzzer's entry to [`reprieve_fuzz::kmsg_record`].

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| reprieve_fuzz::kmsg_record(input));
