//! What can go wrong with a reading, and how many times it did.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use reprieve_readings::{Escaped, ParseError};
use rustix::io::Errno;

/// Why the C library's last call failed.
pub(crate) fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

/// A file that could not be read, or not be understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadError {
    path: PathBuf,
    cause: Cause,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Cause {
    Io(Errno),
    Parse(ParseError),
    TooLarge,
    /// Of no single file.
    Other(String),
}

impl ReadError {
    pub(crate) fn io(path: impl Into<PathBuf>, errno: Errno) -> Self {
        ReadError { path: path.into(), cause: Cause::Io(errno) }
    }

    pub(crate) fn parse(path: impl Into<PathBuf>, error: ParseError) -> Self {
        ReadError { path: path.into(), cause: Cause::Parse(error) }
    }

    pub(crate) fn too_large(path: impl Into<PathBuf>) -> Self {
        ReadError { path: path.into(), cause: Cause::TooLarge }
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the kernel answered, where it was the kernel that refused.
    pub fn errno(&self) -> Option<Errno> {
        match self.cause {
            Cause::Io(errno) => Some(errno),
            Cause::Parse(_) | Cause::TooLarge | Cause::Other(_) => None,
        }
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = Escaped(self.path.as_os_str().as_bytes());
        match &self.cause {
            Cause::Io(errno) => write!(f, "{path}: {errno}"),
            Cause::Parse(error) => write!(f, "{path}: {error}"),
            Cause::Other(what) => f.write_str(what),
            Cause::TooLarge => write!(f, "{path}: larger than any file of the kernel"),
        }
    }
}

impl std::error::Error for ReadError {}

/// The problems of one reading: how many, and the first of them.
#[derive(Debug, Default)]
pub struct Problems {
    count: u64,
    first: Vec<ReadError>,
}

impl Problems {
    /// As many as are kept with their text: ten thousand broken cgroups must not fill memory or the log.
    const KEPT: usize = 100;

    /// Counts a problem.
    pub fn push(&mut self, problem: ReadError) {
        self.count += 1;
        if self.first.len() < Self::KEPT {
            self.first.push(problem);
        }
    }

    /// Counts a problem of no single file, told in a sentence.
    pub fn note(&mut self, what: String) {
        self.push(ReadError { path: PathBuf::new(), cause: Cause::Other(what) });
    }

    /// Takes the problems of another reading too.
    pub(crate) fn append(&mut self, other: Problems) {
        self.count += other.count;
        let room = Self::KEPT.saturating_sub(self.first.len());
        self.first.extend(other.first.into_iter().take(room));
    }

    /// Keeps the value of a reading that worked, and counts the problem of one that didn't.
    pub fn keep<T>(&mut self, reading: Result<T, ReadError>) -> Option<T> {
        reading.map_err(|problem| self.push(problem)).ok()
    }

    /// The first hundred of them, to be kept elsewhere.
    pub(crate) fn into_first(self) -> impl Iterator<Item = ReadError> {
        self.first.into_iter()
    }

    /// How many there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The first hundred of them.
    pub fn first(&self) -> &[ReadError] {
        &self.first
    }
}
