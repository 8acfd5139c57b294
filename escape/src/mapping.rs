//! A file mapped for writing: the one thing here that can't be done without `unsafe`.
#![allow(unsafe_code, reason = "mmap(2) gives raw memory")]

use std::fs::File;
use std::ptr::NonNull;

use anyhow::{Context, Result};
use rustix::mm::{MapFlags, ProtFlags};

/// A whole file, mapped shared, for as long as the process lives.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

impl Mapping {
    /// Maps a file of this program's own, which nobody cuts short meanwhile.
    pub(crate) fn of(file: &File) -> Result<Self> {
        let length = usize::try_from(file.metadata()?.len())?;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses an address where nothing is mapped yet.
        let start = unsafe { rustix::mm::mmap(std::ptr::null_mut(), length, access, MapFlags::SHARED, file, 0) };
        let start = NonNull::new(start.context("the file could not be mapped")?.cast()).context("mapped at zero")?;
        Ok(Mapping { start, length })
    }

    /// Its bytes.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is `length` bytes long, never unmapped, and borrowed with `self`; no other process has it.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}
