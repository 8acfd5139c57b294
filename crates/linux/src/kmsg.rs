//! The kernel's log as it comes: `/dev/kmsg`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use crate::file::retry_interrupted;

/// Reads records of the kernel's log.
#[derive(Debug)]
pub struct KmsgReader {
    device: OwnedFd,
    record: Vec<u8>,
}

/// What came out of the kernel's log.
#[derive(Debug, PartialEq, Eq)]
pub enum KmsgEvent<'a> {
    /// A record, as the device gives it.
    Record(&'a [u8]),
    /// The kernel overwrote records before they were read: how many is not known.
    Overrun,
    /// Nothing more for now.
    Empty,
}

/// Why the kernel's log can't be read.
#[derive(Debug, thiserror::Error)]
pub enum KmsgError {
    /// Opening was refused.
    #[error("{0}; grant CAP_SYSLOG (or set kernel.dmesg_restrict=0), and in a container allow the device")]
    Denied(Errno),
    /// There is no such device here.
    #[error("{0}; in a container, mount the host's /dev/kmsg")]
    Absent(Errno),
    /// Anything else.
    #[error("{0}")]
    Other(Errno),
}

impl KmsgReader {
    /// Larger than any record (`PRINTK_MESSAGE_MAX` and its header, kernel/printk/internal.h): to a smaller buffer the
    /// device answers EINVAL.
    const LARGEST_RECORD: usize = 16 * 1024;

    /// Opens the device and passes over what it holds already.
    pub fn open_at_end(device: &Path) -> Result<Self, KmsgError> {
        let reader = Self::open_at_start(device)?;
        rustix::fs::seek(&reader.device, SeekFrom::End(0)).map_err(KmsgError::Other)?;
        Ok(reader)
    }

    /// Opens the device; the oldest record that the kernel still holds comes first.
    pub fn open_at_start(device: &Path) -> Result<Self, KmsgError> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let device = rustix::fs::open(device, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::PERM | Errno::ACCESS => KmsgError::Denied(errno),
            Errno::NOENT | Errno::NXIO | Errno::NODEV => KmsgError::Absent(errno),
            _ => KmsgError::Other(errno),
        })?;
        Ok(KmsgReader { device, record: vec![0; Self::LARGEST_RECORD] })
    }

    /// The next record, without waiting.
    pub fn next_event(&mut self) -> Result<KmsgEvent<'_>, KmsgError> {
        match retry_interrupted(|| rustix::io::read(&self.device, &mut *self.record)) {
            Ok(0) | Err(Errno::AGAIN) => Ok(KmsgEvent::Empty),
            Ok(length) => Ok(KmsgEvent::Record(self.record.get(..length).unwrap_or_default())),
            Err(Errno::PIPE) => Ok(KmsgEvent::Overrun),
            Err(errno) => Err(KmsgError::Other(errno)),
        }
    }
}

impl AsFd for KmsgReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}
