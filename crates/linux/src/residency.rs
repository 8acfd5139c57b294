//! Keeping the memory of a small, long-lived process small, and in memory.
//!
//! The kernel maps up to 16 pages of a program's file around each page that is touched (`do_fault_around`, mm/memory.c),
//! but never beyond the end of a mapping. A program that touches a few dozen pages, each some way from the next, so has
//! most of itself resident. Cut into mappings of one page each, only what is touched is.
#![allow(unsafe_code, reason = "giving back pages and locking them are calls on raw addresses")]

use rustix::io::Errno;
use rustix::mm::{Advice, MlockAllFlags};

unsafe extern "C" {
    /// The beginning of the program's file in memory, and the end of its code; both set by the linker. In between lie
    /// code and constants, which the kernel can read again from the file at any time.
    static __executable_start: u8;
    static etext: u8;
}

const PAGE: usize = 4096;

/// Gives back free pages of the heap, what calls that have returned left on the stack, and all of the program's code and
/// constants, and has only those come back that are touched from now on. Every second page is left out of core dumps, which
/// sets it apart from its neighbours. For static executables that are mapped at a fixed address, whose code nobody has
/// written to.
pub fn shrink_program() -> Result<(), Errno> {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) may be called at any time; it gives back free pages of the heap.
    unsafe {
        libc::malloc_trim(0);
    }
    give_back_stack();
    let start = (&raw const __executable_start).addr() & !(PAGE - 1);
    let end = (&raw const etext).addr().next_multiple_of(PAGE);
    for page in (start..end).step_by(2 * PAGE) {
        advise(page, PAGE, Advice::LinuxDontDump)?;
    }
    // Last: what is called after it comes back.
    advise(start, end - start, Advice::LinuxDontNeed)
}

/// Gives back the part of the stack that was used by calls which have returned.
#[inline(never)]
fn give_back_stack() {
    /// More than any call of a small program has used.
    const DEEPEST: usize = 64 * PAGE;
    let here = 0_u8;
    // The kernel may write below the stack pointer only to run a handler; a page is left all the same.
    let end = ((&raw const here).addr() & !(PAGE - 1)) - PAGE;
    // The part that was never used is not mapped, which is an error that comes after the rest was done.
    let _ = advise_stack(end - DEEPEST, DEEPEST);
}

fn advise_stack(start: usize, length: usize) -> Result<(), Errno> {
    let address = std::ptr::with_exposed_provenance_mut(start);
    // SAFETY: the range lies below the frames of all calls that have not returned, on the stack of the only thread.
    unsafe { rustix::mm::madvise(address, length, Advice::LinuxDontNeed) }
}

fn advise(start: usize, length: usize, advice: Advice) -> Result<(), Errno> {
    let address = std::ptr::with_exposed_provenance_mut(start);
    // SAFETY: the range lies between the program's start and the end of its code, which is mapped from its file for
    // reading only: pages that are given back are read again, with the same content.
    unsafe { rustix::mm::madvise(address, length, advice) }
}

/// Keeps the pages that this process touches, from now on, from being reclaimed, so that it does not wait for a disk when
/// memory is short. Children don't inherit it. Fails where the limit on locked memory (`ulimit -l`) is small.
pub fn lock_touched_memory() -> Result<(), Errno> {
    rustix::mm::mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT)
}
