//! `reprieve init`: the same as the program `reprieve-init`, for images that have `reprieve` anyway.

use std::process;

/// Runs until the program has ended, and exits as it does. The arguments are read as they were given: what stands behind
/// `init`, `--` included.
pub(crate) fn run() -> ! {
    process::exit(reprieve_init::run(std::env::args_os().skip(2)).into())
}
