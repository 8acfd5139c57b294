//! Reading small files of the kernel whole.

use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{Mode, OFlags};
use rustix::io::{self, Errno};

use crate::error::ReadError;

/// How a kernel file is opened. NONBLOCK, so that a FIFO in a captured tree can't hang the reader.
pub(crate) const OPEN: OFlags = OFlags::RDONLY.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// A buffer that is reused from file to file and grows as needed.
#[derive(Debug)]
pub(crate) struct Buffer(Vec<u8>);

/// Why a file could not be read whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    Io(Errno),
    TooLarge,
}

impl Failure {
    pub(crate) fn at(self, path: impl AsRef<Path>) -> ReadError {
        match self {
            Failure::Io(errno) => ReadError::io(path.as_ref(), errno),
            Failure::TooLarge => ReadError::too_large(path.as_ref()),
        }
    }
}

impl Buffer {
    /// Twice what a `memory.stat` needs today.
    const START: usize = 4 * 1024;
    /// The largest record that is read. More is no kernel's.
    const LARGEST_RECORD: usize = 1024 * 1024;
    /// The largest list that is read: the `cgroup.procs` of millions of processes, the mountinfo of ten thousand containers.
    const LARGEST_LIST: usize = 64 * 1024 * 1024;

    pub(crate) fn new() -> Self {
        Buffer(vec![0; Self::START])
    }

    /// Reads an open file that the kernel shows as one record, as it does all `memory.*` files of a cgroup: one `pread`
    /// gives the whole of it, unless it fills the buffer.
    pub(crate) fn read_record(&mut self, file: impl AsFd) -> Result<&[u8], Failure> {
        loop {
            let length = retry_interrupted(|| io::pread(&file, &mut *self.0, 0)).map_err(Failure::Io)?;
            if length < self.0.len() {
                return Ok(self.0.get(..length).unwrap_or_default());
            }
            self.grow(Self::LARGEST_RECORD)?;
        }
    }

    /// Reads an open file to its end. Lists such as `cgroup.procs` and mountinfo come a page at a time.
    pub(crate) fn read_to_end(&mut self, file: impl AsFd) -> Result<&[u8], Failure> {
        let mut length = 0;
        loop {
            if length == self.0.len() {
                self.grow(Self::LARGEST_LIST)?;
            }
            let rest = self.0.get_mut(length..).unwrap_or_default();
            match retry_interrupted(|| io::pread(&file, &mut *rest, length as u64)).map_err(Failure::Io)? {
                0 => return Ok(self.0.get(..length).unwrap_or_default()),
                read => length += read,
            }
        }
    }

    fn grow(&mut self, most: usize) -> Result<(), Failure> {
        if self.0.len() >= most {
            return Err(Failure::TooLarge);
        }
        self.0.resize(self.0.len() * 2, 0);
        Ok(())
    }
}

/// Repeats a call that a signal interrupted.
pub(crate) fn retry_interrupted<T>(mut call: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    loop {
        match call() {
            Err(Errno::INTR) => {}
            result => return result,
        }
    }
}

/// Files up to this size are read onto the stack: a process that reads them again and again needs no heap for it, whose
/// pages would be its own.
const SMALL: usize = 2 * 1024;

/// Has an open file's whole text understood, which the kernel shows as one record: as [`Buffer::read_record`].
#[inline(never)]
pub(crate) fn parse_record<T>(file: impl AsFd, parse: impl FnOnce(&[u8]) -> T) -> Result<T, Failure> {
    let mut start = [0; SMALL];
    let length = retry_interrupted(|| io::pread(&file, &mut start, 0)).map_err(Failure::Io)?;
    match start.get(..length) {
        Some(text) if length < SMALL => Ok(parse(text)),
        _ => Buffer::new().read_record(file).map(parse),
    }
}

/// The whole text of an open file, which may come in pieces: as [`Buffer::read_to_end`].
#[inline(never)]
pub(crate) fn read_whole(file: impl AsFd) -> Result<Vec<u8>, Failure> {
    let mut start = [0; SMALL];
    let mut length = 0;
    loop {
        let rest = start.get_mut(length..).unwrap_or_default();
        if rest.is_empty() {
            return Buffer::new().read_to_end(file).map(<[u8]>::to_vec);
        }
        match retry_interrupted(|| io::pread(&file, &mut *rest, length as u64)).map_err(Failure::Io)? {
            0 => return Ok(start.get(..length).unwrap_or_default().to_vec()),
            read => length += read,
        }
    }
}

/// Reads a file by its path; `None` where there is no such file.
pub(crate) fn read_if_present(path: &Path) -> Result<Option<Vec<u8>>, ReadError> {
    let file = match rustix::fs::open(path, OPEN, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(ReadError::io(path, errno)),
    };
    match read_whole(file) {
        Ok(text) => Ok(Some(text)),
        // A process that ended between open and read.
        Err(Failure::Io(Errno::SRCH)) => Ok(None),
        Err(failure) => Err(failure.at(path)),
    }
}

/// Reads the first bytes of a file, at most `most`; `None` where there is no such file.
pub(crate) fn read_start_if_present(path: &Path, most: usize) -> Result<Option<Vec<u8>>, ReadError> {
    let file = match rustix::fs::open(path, OPEN, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(ReadError::io(path, errno)),
    };
    let mut text = vec![0; most];
    match retry_interrupted(|| io::pread(&file, &mut *text, 0)) {
        Ok(length) => {
            text.truncate(length);
            Ok(Some(text))
        }
        Err(Errno::SRCH) => Ok(None),
        Err(errno) => Err(ReadError::io(path, errno)),
    }
}

/// Reads a small file of whoever wrote it, such as one that Kubernetes puts into a volume.
///
/// # Errors
/// It can't be read.
pub fn read_small_file(path: &Path) -> Result<Vec<u8>, ReadError> {
    read(path)
}

/// Reads a file by its path, which must be there.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, ReadError> {
    read_if_present(path)?.ok_or_else(|| ReadError::io(path, Errno::NOENT))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    /// Also around the size from which on a file is read into a buffer.
    #[test]
    fn files_of_all_sizes_are_read_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        for size in [0, 1, SMALL - 1, SMALL, SMALL + 1, Buffer::START, Buffer::START + 1, 100_000] {
            let text: Vec<u8> = (0..size).map(|place| (place % 251) as u8).collect();
            std::fs::write(&path, &text).unwrap();
            assert_eq!(read(&path), Ok(text.clone()), "{size}");
            let record = parse_record(File::open(&path).unwrap(), <[u8]>::to_vec);
            assert_eq!(record, Ok(text), "{size}");
        }
    }
}
