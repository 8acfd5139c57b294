//! Passing signals on and reaping orphans must not allocate: both happen while memory is short.
//!
//! The init runs in this very process, with an allocator that counts. Without a harness, since it must have one thread.
#![allow(unsafe_code, reason = "an allocator that counts")]
#![allow(clippy::unwrap_used, missing_docs)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::OsString;
use std::sync::atomic::{AtomicU64, Ordering};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: it does what the system's allocator does, and counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the allocator's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the allocator's contract.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs an init whose program sends it so many signals, and leaves it so many orphans; returns how often was allocated.
fn run(count: u32) -> u64 {
    let script = format!("i=0; while [ $i -lt {count} ]; do kill -WINCH $PPID; (true &); i=$((i+1)); done; exit 7");
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    let arguments = ["-s", "--", "/bin/sh", "-c", &script].map(OsString::from);
    assert_eq!(reprieve_init::run(arguments), 7);
    ALLOCATIONS.load(Ordering::Relaxed) - before
}

fn main() {
    const MANY: u32 = 2000;
    // The first run also pays for what is kept.
    run(1);
    let (few, many) = (run(1), run(MANY));
    // Looks at the memory do allocate, some times a second.
    let allowed = few + u64::from(MANY) / 4;
    assert!(many < allowed, "{many} allocations for {MANY} signals and orphans, {few} for one of each");
    println!("{many} allocations for {MANY} signals and orphans, {few} for one of each: passed");
}
