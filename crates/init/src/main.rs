//! The program `reprieve-init`.
//!
//! It has the C library's entry point and not the standard library's, which would set up what a first process must not
//! have, or doesn't need: SIGPIPE ignored, also for the program that it starts; a handler for stack overflows with a
//! stack of its own; `/dev/null` in the place of closed descriptors, also for that program.
#![no_main]
#![allow(unsafe_code, reason = "the entry point of the C library has to be called main")]

use std::ffi::{c_char, c_int};

/// The C library's entry point. The standard library keeps the arguments by itself, before this is called.
// SAFETY: no other function of this program is called main.
#[unsafe(no_mangle)]
pub extern "C" fn main(_count: c_int, _arguments: *const *const c_char) -> c_int {
    reprieve_init::run(std::env::args_os().skip(1)).into()
}
