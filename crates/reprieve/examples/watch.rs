//! Prints what changes about this process's memory, for as many seconds as the argument says (10).
//!
//! A program would do more at `AvailableLow`: drop its caches, refuse new work, or leave in good order.
//!
//!     cargo run -p reprieve --example watch -- 60
#![allow(clippy::print_stdout)]

use std::time::{Duration, Instant};

use reprieve::{Bytes, Memory, Thresholds};

fn main() -> Result<(), reprieve::Error> {
    let seconds = std::env::args().nth(1).and_then(|seconds| seconds.parse().ok()).unwrap_or(10);
    let memory = Memory::here()?;
    // Tell when less than a tenth of the limit is left, or a fifth of the time goes into waiting for memory.
    let available_below = memory.limit().map(|limit| Bytes::new(limit.get() / 10));
    let mut watch = memory.watch(Thresholds { available_below, pressure_above: Some(20.0) });
    let end = Instant::now() + Duration::from_secs(seconds);
    while let Some(change) = watch.next_until(end) {
        println!("{change:?}");
    }
    Ok(())
}
