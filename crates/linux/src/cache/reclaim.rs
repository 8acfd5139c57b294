//! Freeing cache: v2's `memory.reclaim` and v1's `memory.force_empty`.
//!
//! Sources: Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst, mm/memcontrol.c (`memory_reclaim`),
//! mm/memcontrol-v1.c (`mem_cgroup_force_empty`), Linux 6.12.

use std::os::fd::OwnedFd;

use reprieve_readings::Bytes;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::{CacheError, CacheTarget, refused};
use crate::file::{self, Buffer};

/// Times that a write is tried again after a signal came in between.
const TRIES: usize = 3;

pub(super) fn is_there(target: &CacheTarget, name: &str) -> bool {
    rustix::fs::statat(&target.directory, name, AtFlags::SYMLINK_NOFOLLOW).is_ok()
}

/// Whether `memory.reclaim` takes `swappiness=` (later than Linux 6.8). Asking for nothing changes nothing: a kernel that
/// doesn't know the word refuses the whole.
pub(super) fn takes_swappiness(target: &CacheTarget) -> Result<bool, CacheError> {
    match write(target, "memory.reclaim", "0 swappiness=0") {
        Ok(_) => Ok(true),
        Err(Errno::INVAL) => Ok(false),
        Err(errno) => Err(refused(target, "memory.reclaim", errno)),
    }
}

/// Reclaims so much. Returns whether the kernel fell short.
pub(super) fn reclaim(target: &CacheTarget, amount: Bytes, without_swap: bool) -> Result<bool, CacheError> {
    let swappiness = if without_swap { " swappiness=0" } else { "" };
    let text = format!("{}{swappiness}", amount.get());
    short(target, "memory.reclaim", &text)
}

/// Reclaims whatever can be. Returns whether the kernel was interrupted.
pub(super) fn force_empty(target: &CacheTarget) -> Result<bool, CacheError> {
    short(target, "memory.force_empty", "0")
}

/// Whether a v1 cgroup's own setting keeps its anonymous memory from being swapped.
pub(super) fn never_swaps(target: &CacheTarget) -> bool {
    let mut buffer = Buffer::new();
    let open = rustix::fs::openat(&target.directory, "memory.swappiness", file::OPEN, Mode::empty());
    open.is_ok_and(|open| buffer.read_record(open).is_ok_and(|text| text.trim_ascii() == b"0"))
}

fn short(target: &CacheTarget, name: &str, text: &str) -> Result<bool, CacheError> {
    for _ in 0..TRIES {
        match write(target, name, text) {
            Ok(_) => return Ok(false),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(true),
            Err(errno) => return Err(refused(target, name, errno)),
        }
    }
    Ok(true)
}

/// For somebody else to write to.
pub(super) fn open_force_empty(target: &CacheTarget) -> Result<OwnedFd, CacheError> {
    let name = "memory.force_empty";
    open(target, name).map_err(|errno| refused(target, name, errno))
}

fn write(target: &CacheTarget, name: &str, text: &str) -> Result<usize, Errno> {
    rustix::io::write(&open(target, name)?, text.as_bytes())
}

fn open(target: &CacheTarget, name: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    rustix::fs::openat(&target.directory, name, flags, Mode::empty())
}
