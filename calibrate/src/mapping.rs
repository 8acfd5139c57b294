//! Files mapped into memory: the one thing here that can't be done without `unsafe`.
#![allow(unsafe_code)]

use std::fs::File;
use std::ptr::NonNull;

use anyhow::{Context, Result};
use rustix::mm::{MapFlags, ProtFlags};

/// A whole file, mapped shared and for reading, for as long as the process lives.
#[derive(Debug)]
pub(crate) struct Mapping {
    start: NonNull<u8>,
    length: usize,
}

impl Mapping {
    /// Maps a file of these runs' own, which nobody cuts short meanwhile.
    pub(crate) fn of(file: &File) -> Result<Self> {
        let length = usize::try_from(file.metadata()?.len())?;
        // SAFETY: the kernel chooses an address where nothing is mapped yet.
        let start =
            unsafe { rustix::mm::mmap(std::ptr::null_mut(), length, ProtFlags::READ, MapFlags::SHARED, file, 0) };
        let start = NonNull::new(start.context("the file could not be mapped")?.cast()).context("mapped at zero")?;
        Ok(Mapping { start, length })
    }

    /// Its bytes.
    pub(crate) fn bytes(&self) -> &'static [u8] {
        // SAFETY: the mapping is `length` bytes long, readable, never unmapped, and the file keeps its bytes.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    /// Keeps all of it in memory.
    pub(crate) fn lock(&self) -> Result<()> {
        // SAFETY: locking changes no byte, and the range is the mapping's own.
        unsafe { rustix::mm::mlock(self.start.as_ptr().cast(), self.length) }.context("mlock failed")
    }
}
