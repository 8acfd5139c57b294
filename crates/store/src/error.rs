//! What keeps the store from being read or written, in words that say what to do.

use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use reprieve_readings::Escaped;
use thiserror::Error;

use crate::encoding::DecodeError;

/// Why the store could not be opened, read or written.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// There is no store at that path.
    #[error("there is no store at {}", shown(.path))]
    Absent {
        /// The file.
        path: PathBuf,
    },
    /// Another process has it open.
    #[error("{} is in use by another process (an agent, or `reprieve kills`): end that one, or choose another \
             --state-dir", shown(.path))]
    Locked {
        /// The file.
        path: PathBuf,
    },
    /// No space is left, or the quota is used up.
    #[error("{}: {source}: make room there, or choose another --state-dir", shown(.path))]
    Full {
        /// The file.
        path: PathBuf,
        /// The kernel's word for it.
        source: io::Error,
    },
    /// The file system is mounted read-only.
    #[error("{}: {source}: choose another --state-dir", shown(.path))]
    ReadOnly {
        /// The file or directory.
        path: PathBuf,
        /// The kernel's word for it.
        source: io::Error,
    },
    /// It may not be read or written.
    #[error("{}: {source}: run as its owner, or choose another --state-dir", shown(.path))]
    Denied {
        /// The file or directory.
        path: PathBuf,
        /// The kernel's word for it.
        source: io::Error,
    },
    /// The file was moved or removed while it was open.
    #[error("{} was moved or removed while it was in use", shown(.path))]
    Gone {
        /// The file.
        path: PathBuf,
    },
    /// The file holds what no version of this program has written.
    #[error("{} can't be read: {what}", shown(.path))]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A newer version of this program has written it.
    #[error("{} was written by a newer version of reprieve ({what}): use that one", shown(.path))]
    Newer {
        /// The file.
        path: PathBuf,
        /// By which number that shows.
        what: String,
    },
    /// It is in a format that is not read any more.
    #[error("{} is in an older format ({what}), which this version of reprieve does not read", shown(.path))]
    Older {
        /// The file.
        path: PathBuf,
        /// By which number that shows.
        what: String,
    },
    /// Another error of the kernel.
    #[error("{}: {source}", shown(.path))]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// The kernel's word for it.
        source: io::Error,
    },
}

fn shown(path: &Path) -> String {
    Escaped(path.as_os_str().as_bytes()).to_string()
}

impl StoreError {
    /// What an error of the kernel about `path` means.
    pub(crate) fn io(path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StoreError::Full { path, source },
            ErrorKind::ReadOnlyFilesystem => StoreError::ReadOnly { path, source },
            ErrorKind::PermissionDenied => StoreError::Denied { path, source },
            _ => StoreError::Io { path, source },
        }
    }

    /// What went wrong inside of the database at `path`.
    pub(crate) fn inside(path: &Path, error: Inside) -> Self {
        // How redb 4 begins what it says of a file format that it does not know yet.
        const NEWER_FORMAT: &str = "Expected file format version <=";
        let owned = path.to_owned();
        // It may quote what is in the file.
        let escaped = |what: &str| Escaped(what.as_bytes()).to_string();
        match error {
            Inside::Redb(redb::Error::Io(error)) => match error.kind() {
                ErrorKind::InvalidData => StoreError::Corrupt { path: owned, what: escaped(&error.to_string()) },
                ErrorKind::UnexpectedEof => StoreError::Corrupt { path: owned, what: "it is cut short".into() },
                _ => StoreError::io(path, error),
            },
            Inside::Redb(redb::Error::Corrupted(what)) if what.starts_with(NEWER_FORMAT) => {
                StoreError::Newer { path: owned, what }
            }
            Inside::Redb(redb::Error::UpgradeRequired(version)) => {
                StoreError::Older { path: owned, what: format!("file format {version}") }
            }
            Inside::Redb(error) => StoreError::Corrupt { path: owned, what: escaped(&error.to_string()) },
            Inside::Schema(schema) => StoreError::Newer { path: owned, what: format!("schema {schema}") },
            Inside::Decode(error) => StoreError::Corrupt { path: owned, what: error.to_string() },
            Inside::Missing(what) => StoreError::Corrupt { path: owned, what: format!("it has no {what}") },
            Inside::Panicked => StoreError::Corrupt { path: owned, what: "it makes no sense to its reader".into() },
        }
    }
}

/// What goes wrong inside of the database.
#[derive(Debug)]
pub(crate) enum Inside {
    Redb(redb::Error),
    Decode(DecodeError),
    Missing(&'static str),
    Schema(u64),
    Panicked,
}

impl<E: Into<redb::Error>> From<E> for Inside {
    fn from(error: E) -> Self {
        Inside::Redb(error.into())
    }
}

impl From<DecodeError> for Inside {
    fn from(error: DecodeError) -> Self {
        Inside::Decode(error)
    }
}
