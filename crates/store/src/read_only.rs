//! Looking into the store without changing it, where no agent runs.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use crate::error::StoreError;
use crate::place::path_in;
use crate::reader::{Reader, Shared};
use crate::tables;

/// Opens the store of a directory for reading, also one whose agent was killed while it wrote. The file stays as it is. As
/// long as the reader lives no agent can open the store: it must not wait for people.
///
/// # Errors
/// There is none, it may not be read, an agent has it open, or it holds what makes no sense or is a newer version's.
pub fn open_read_only(directory: &Path) -> Result<Reader, StoreError> {
    let path = path_in(directory);
    let file = open_file(&path).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => StoreError::Absent { path: path.clone() },
        _ => StoreError::io(&path, error),
    })?;
    let corrupt = |what: &str| StoreError::Corrupt { path: path.clone(), what: what.into() };
    let metadata = file.metadata().map_err(|error| StoreError::io(&path, error))?;
    if !metadata.is_file() {
        return Err(corrupt("it is no regular file"));
    }
    if metadata.len() == 0 {
        return Err(corrupt("it is empty"));
    }
    match file.try_lock_shared() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(StoreError::Locked { path }),
        Err(TryLockError::Error(error)) => return Err(StoreError::io(&path, error)),
    }
    let database = tables::open_overlay(file).map_err(|error| StoreError::inside(&path, error))?;
    Ok(Reader::new(Arc::new(Shared::to_read(path, database))))
}

fn open_file(path: &Path) -> std::io::Result<File> {
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    OpenOptions::new().read(true).custom_flags(nonblocking).open(path)
}
