//! The database file by its name: opening and locking it, moving it aside, beginning a fresh one.
//!
//! A fresh one is made under another name and takes the place when it is whole, so that no crash leaves half of one
//! there. Nothing is ever replaced: where a name is taken, the next number is tried.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use redb::Database;
use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::directory;
use crate::error::{Inside, StoreError};
use crate::tables;

const NAME: &str = "kills.redb";

/// A file that could not be used, and was moved aside.
#[derive(Debug)]
pub struct MovedAside {
    /// Where it is now.
    pub to: PathBuf,
    /// Why.
    pub why: WhyMoved,
    /// What was found, in words.
    pub what: String,
}

/// Why a file was moved aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhyMoved {
    /// No version of this program has written it so.
    Corrupt,
    /// A newer version has written it.
    Newer,
    /// It is in a format that is not read any more.
    Older,
}

impl WhyMoved {
    /// The word for it in the file's new name.
    pub fn as_str(self) -> &'static str {
        match self {
            WhyMoved::Corrupt => "corrupt",
            WhyMoved::Newer => "newer",
            WhyMoved::Older => "older",
        }
    }
}

/// The open database, with the file that it is in.
#[derive(Debug)]
pub(crate) struct Opening {
    pub(crate) path: PathBuf,
    /// Holds the lock as long as it, or a duplicate, is open.
    pub(crate) file: File,
    pub(crate) database: Database,
    pub(crate) moved: Vec<MovedAside>,
}

/// The path of the database in a state directory.
pub(crate) fn path_in(directory: &Path) -> PathBuf {
    directory.join(NAME)
}

/// Opens the database of a directory, whatever stands in its place.
pub(crate) fn open(directory: &Path) -> Result<Opening, StoreError> {
    directory::create(directory).map_err(|error| StoreError::io(directory, error))?;
    let path = path_in(directory);
    let mut moved = Vec::new();
    // Others may make or move the file at the same time, but not so often.
    for _ in 0..10 {
        let file = match open_file(&path, false) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => match begin(directory)? {
                Some((file, database)) => return Ok(Opening { path, file, database, moved }),
                None => continue,
            },
            Err(error) if error.kind() == ErrorKind::IsADirectory => {
                moved.push(move_aside(&path, WhyMoved::Corrupt, "it is a directory".into())?);
                continue;
            }
            Err(error) => return Err(StoreError::io(&path, error)),
        };
        if !lock(&file, &path)? {
            continue;
        }
        match open_database(&file, &path) {
            Ok(database) => return Ok(Opening { path, file, database, moved }),
            Err(StoreError::Corrupt { what, .. }) => moved.push(move_aside(&path, WhyMoved::Corrupt, what)?),
            Err(StoreError::Newer { what, .. }) => moved.push(move_aside(&path, WhyMoved::Newer, what)?),
            Err(StoreError::Older { what, .. }) => moved.push(move_aside(&path, WhyMoved::Older, what)?),
            Err(error) => return Err(error),
        }
    }
    Err(StoreError::Io { path, source: io::Error::other("others keep replacing it") })
}

/// Opens the database in a file that this process has locked.
pub(crate) fn open_database(file: &File, path: &Path) -> Result<Database, StoreError> {
    let of_kernel = |error| StoreError::io(path, error);
    let corrupt = |what: &str| StoreError::Corrupt { path: path.to_owned(), what: what.into() };
    let metadata = file.metadata().map_err(of_kernel)?;
    if !metadata.is_file() {
        return Err(corrupt("it is no regular file"));
    }
    if metadata.len() == 0 {
        return Err(corrupt("it is empty"));
    }
    tables::open(file.try_clone().map_err(of_kernel)?).map_err(|error| StoreError::inside(path, error))
}

/// Whether the open file is still the one at that path.
pub(crate) fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    let open = file.metadata()?;
    match path.metadata() {
        Ok(there) => Ok((open.dev(), open.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn open_file(path: &Path, create: bool) -> io::Result<File> {
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    // Should it be a FIFO or a device, opening it must not wait.
    options.read(true).write(true).create(create).mode(0o600).custom_flags(nonblocking);
    options.open(path)
}

/// Locks the file for this process alone. Says `false` where it is no longer the one at that path.
fn lock(file: &File, path: &Path) -> Result<bool, StoreError> {
    match file.try_lock() {
        Ok(()) => is_at(file, path).map_err(|error| StoreError::io(path, error)),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(StoreError::io(path, error)),
    }
}

/// Makes a fresh database and puts it in its place. `None` where another one came first.
fn begin(directory: &Path) -> Result<Option<(File, Database)>, StoreError> {
    let path = path_in(directory);
    let unfinished = directory.join(format!("{NAME}.new"));
    let of_kernel = |error| StoreError::io(&unfinished, error);
    let file = open_file(&unfinished, true).map_err(of_kernel)?;
    if !lock(&file, &unfinished)? {
        return Ok(None);
    }
    // What is in it was never finished: nothing was ever stored in it.
    file.set_len(0).map_err(of_kernel)?;
    let database = file
        .try_clone()
        .map_err(Inside::from)
        .and_then(tables::begin)
        .map_err(|error| StoreError::inside(&unfinished, error))?;
    if !rename_new(&unfinished, &path).map_err(|error| StoreError::io(&path, error))? {
        return Ok(None);
    }
    sync_directory(directory).map_err(|error| StoreError::io(directory, error))?;
    Ok(Some((file, database)))
}

fn move_aside(path: &Path, why: WhyMoved, what: String) -> Result<MovedAside, StoreError> {
    for number in 1..=u32::MAX {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}-{number}", why.as_str()));
        let to = PathBuf::from(name);
        if rename_new(path, &to).map_err(|error| StoreError::io(path, error))? {
            if let Some(directory) = path.parent() {
                sync_directory(directory).map_err(|error| StoreError::io(directory, error))?;
            }
            return Ok(MovedAside { to, why, what });
        }
    }
    Err(StoreError::Io { path: path.to_owned(), source: io::Error::from(ErrorKind::AlreadyExists) })
}

/// Renames, unless the new name is taken.
fn rename_new(from: &Path, to: &Path) -> io::Result<bool> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::EXIST) => Ok(false),
        // Not every file system can (NFS).
        Err(rustix::io::Errno::INVAL) if std::fs::symlink_metadata(to).is_ok() => Ok(false),
        Err(rustix::io::Errno::INVAL) => std::fs::rename(from, to).map(|()| true),
        Err(errno) => Err(errno.into()),
    }
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
