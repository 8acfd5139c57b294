//! The filesystem through which the kernel's tracing is controlled: where it is, and its files.

use std::ffi::OsStr;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use reprieve_readings::{Escaped, ParseError, TraceDecoder, Tracepoint};
use rustix::fs::{Access, AtFlags, Dir, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::error::TraceError;
use crate::file::{self, Buffer, Failure};
use crate::roots::Roots;

/// A tracefs that can be written to.
#[derive(Debug)]
pub(super) struct Tracefs {
    root: OwnedFd,
    /// What messages call it.
    name: PathBuf,
}

impl Tracefs {
    /// `TRACEFS_MAGIC`, include/uapi/linux/magic.h.
    const MAGIC: i64 = 0x7472_6163;

    /// Finds tracefs. Our own mount is tried before the old place below debugfs: looking there makes a mount that others
    /// see, and a remark in the kernel's log.
    pub(super) fn find(roots: &Roots) -> Result<Self, TraceError> {
        if cfg!(target_endian = "big") {
            return Err(TraceError::BigEndian);
        }
        let usual = roots.sys("kernel/tracing");
        let refused = match Self::at(&usual) {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => None,
            Err(error) => Some(error),
        };
        // Another `/sys` may be another machine's: what this kernel traces says nothing of it.
        let own = fs::canonicalize(roots.sys("")).is_ok_and(|sys| sys == Path::new("/sys")).then(Self::mount);
        match own {
            Some(Ok(found)) => Ok(found),
            _ if refused.is_none()
                && Self::at(&roots.sys("kernel/debug/tracing")).is_ok_and(|found| found.is_some()) =>
            {
                Self::at(&roots.sys("kernel/debug/tracing"))?.ok_or_else(|| absent(&usual))
            }
            Some(Err(errno)) => Err(refused.unwrap_or(TraceError::MountRefused { path: shown(&usual), errno })),
            None => Err(refused.unwrap_or_else(|| absent(&usual))),
        }
    }

    /// The tracefs at a path; `None` where something else is there, or nothing.
    fn at(path: &Path) -> Result<Option<Self>, TraceError> {
        let root = match rustix::fs::open(path, file::OPEN | OFlags::DIRECTORY, Mode::empty()) {
            Ok(root) => root,
            Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
            Err(errno) => return Err(TraceError::new(shown(path), errno)),
        };
        let kind = rustix::fs::fstatfs(&root).map_err(|errno| TraceError::new(shown(path), errno))?.f_type;
        if i128::from(kind) != i128::from(Self::MAGIC) {
            return Ok(None);
        }
        let found = Tracefs { root, name: path.to_path_buf() };
        let writable = rustix::fs::accessat(&found.root, "instances", Access::WRITE_OK, AtFlags::EACCESS);
        writable.map_err(|errno| TraceError::new(found.path("instances"), errno))?;
        Ok(Some(found))
    }

    /// A mount that is attached nowhere and ends with its descriptor.
    fn mount() -> Result<Self, Errno> {
        let context = rustix::mount::fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
        rustix::mount::fsconfig_create(&context)?;
        let attributes =
            MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let root = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
        Ok(Tracefs { root, name: PathBuf::from("tracefs:") })
    }

    /// A decoder for the pages of this kernel.
    pub(super) fn decoder(&self) -> Result<TraceDecoder, TraceError> {
        const FILE: &str = "events/header_page";
        let text = self.read(FILE).map_err(|errno| TraceError::new(self.path(FILE), errno))?;
        TraceDecoder::new(&text).map_err(|error| self.unknown(FILE, error))
    }

    /// Tells the decoder of an event of this kernel.
    pub(super) fn add_format(&self, decoder: &mut TraceDecoder, tracepoint: Tracepoint) -> Result<(), TraceError> {
        let file = format!("events/{}/{}/format", tracepoint.system(), tracepoint.event());
        let text = self.read(&file).map_err(|errno| match errno {
            Errno::NOENT => TraceError::NoTracepoint {
                path: self.path(&file),
                errno,
                tracepoint: format!("{}:{}", tracepoint.system(), tracepoint.event()),
            },
            _ => TraceError::new(self.path(&file), errno),
        })?;
        decoder.add(tracepoint, &text).map_err(|error| self.unknown(&file, error))
    }

    fn unknown(&self, file: &str, error: ParseError) -> TraceError {
        TraceError::Unknown { path: self.path(file), error }
    }

    /// What messages call a file.
    pub(super) fn path(&self, file: &str) -> String {
        shown(&self.name.join(file))
    }

    pub(super) fn open(&self, file: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        file::retry_interrupted(|| rustix::fs::openat(&self.root, file, flags | OFlags::CLOEXEC, Mode::empty()))
    }

    pub(super) fn read(&self, file: &str) -> Result<Vec<u8>, Errno> {
        let file = self.open(file, OFlags::RDONLY)?;
        match Buffer::new().read_to_end(file) {
            Ok(text) => Ok(text.to_vec()),
            Err(Failure::Io(errno)) => Err(errno),
            Err(Failure::TooLarge) => Err(Errno::FBIG),
        }
    }

    /// Writes a setting. The kernel takes it with one `write` or refuses it.
    pub(super) fn write(&self, file: &str, setting: &str) -> Result<(), Errno> {
        let file = self.open(file, OFlags::WRONLY)?;
        file::retry_interrupted(|| rustix::io::write(&file, setting.as_bytes())).map(drop)
    }

    /// The names in a folder.
    pub(super) fn names(&self, folder: &str) -> Result<Vec<Vec<u8>>, Errno> {
        let folder = self.open(folder, OFlags::RDONLY | OFlags::DIRECTORY)?;
        Dir::new(folder)?.map(|entry| entry.map(|entry| entry.file_name().to_bytes().to_vec())).collect()
    }

    pub(super) fn make_folder(&self, folder: &str) -> Result<(), Errno> {
        rustix::fs::mkdirat(&self.root, folder, Mode::RWXU)
    }

    pub(super) fn remove_folder(&self, folder: &[u8]) -> Result<(), Errno> {
        file::retry_interrupted(|| rustix::fs::unlinkat(&self.root, OsStr::from_bytes(folder), AtFlags::REMOVEDIR))
    }
}

fn absent(path: &Path) -> TraceError {
    TraceError::Absent { path: shown(path) }
}

fn shown(path: &Path) -> String {
    Escaped(path.as_os_str().as_bytes()).to_string()
}
