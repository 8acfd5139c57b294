//! One cgroup's directory: its files, kept open between readings, and what they said last.

use std::ffi::OsStr;
use std::fmt;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use reprieve_readings::{CgroupInode, CgroupMemory, CgroupPath, MemoryFile, Pace, Role, parse_cgroup_procs};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

use crate::descriptors::DescriptorBudget;
use crate::error::{Problems, ReadError};
use crate::file::{self, Buffer, Failure};

/// Names a cgroup for as long as it exists. A cgroup made later under the same path has another id.
/// Ids grow: a cgroup's is larger than its parent's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CgroupId(pub(crate) u64);

/// A cgroup, as last read.
pub struct Cgroup {
    pub(crate) id: CgroupId,
    pub(crate) parent: Option<CgroupId>,
    pub(crate) children: Vec<CgroupId>,
    pub(crate) path: CgroupPath,
    pub(crate) memory: CgroupMemory,
    directory: OwnedFd,
    inode: CgroupInode,
    listed_at_links: Option<u64>,
    sources: Box<[Source]>,
    read_before: bool,
}

/// What is known of one file of the cgroup.
#[derive(Debug)]
enum Source {
    /// Not looked for yet.
    Unknown,
    /// The kernel doesn't have it here.
    Absent,
    /// It is there; opened anew for each reading, because that is seldom or the budget is spent.
    Closed,
    /// It is there, and open.
    Open(OwnedFd),
}

/// Which of a cgroup's files to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Which {
    All,
    Fast,
    /// Those that tell of a kill.
    Kill,
    Role(Role),
    /// One file, by its name.
    Named(&'static str),
}

impl Which {
    fn includes(self, file: &MemoryFile) -> bool {
        match self {
            Which::All => true,
            Which::Fast => file.pace == Pace::Fast,
            Which::Kill => file.tells_of_kill,
            Which::Role(role) => file.role == role,
            Which::Named(name) => file.name == name,
        }
    }
}

/// The cgroup whose directory was read is gone.
#[derive(Debug)]
pub(crate) struct Gone;

impl Cgroup {
    /// Which cgroup this is.
    pub fn id(&self) -> CgroupId {
        self.id
    }

    /// The cgroup that holds it; `None` for the topmost that can be seen.
    pub fn parent(&self) -> Option<CgroupId> {
        self.parent
    }

    /// The cgroups that it holds.
    pub fn children(&self) -> &[CgroupId] {
        &self.children
    }

    /// Its path.
    pub fn path(&self) -> &CgroupPath {
        &self.path
    }

    /// Its memory, as last read.
    pub fn memory(&self) -> &CgroupMemory {
        &self.memory
    }

    /// The inode of its directory.
    pub fn inode(&self) -> CgroupInode {
        self.inode
    }

    /// Reads the pids of its own processes (not those of cgroups inside it). A cgroup that is gone has none.
    pub fn processes(&self) -> Result<Vec<u32>, ReadError> {
        const NAME: &str = "cgroup.procs";
        let mut buffer = Buffer::new();
        let opened = rustix::fs::openat(&self.directory, NAME, file::OPEN, Mode::empty()).map_err(Failure::Io);
        match opened.and_then(|procs| buffer.read_to_end(procs)) {
            Ok(text) => parse_cgroup_procs(text).map_err(|error| ReadError::parse(self.file(NAME), error)),
            // A threaded cgroup of v2 answers OPNOTSUPP: its processes are in the cgroup above.
            Err(Failure::Io(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP)) => Ok(Vec::new()),
            Err(failure) => Err(failure.at(self.file(NAME))),
        }
    }

    /// Another descriptor of its directory, which names this cgroup even when its path is another's.
    pub(crate) fn duplicate_directory(&self) -> Result<OwnedFd, Errno> {
        rustix::io::fcntl_dupfd_cloexec(&self.directory, 0)
    }

    /// How one of its files is called in messages.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        file_of(&self.path, name)
    }

    /// A path to one of its files that is short however deep the cgroup lies.
    pub(crate) fn file_by_descriptor(&self, name: &str) -> PathBuf {
        Path::new("/proc/self/fd").join(self.directory.as_raw_fd().to_string()).join(name)
    }

    pub(crate) fn open_top(
        id: CgroupId,
        path: CgroupPath,
        directory: &Path,
        files: &[MemoryFile],
    ) -> Result<Self, ReadError> {
        let opened = rustix::fs::open(directory, DIRECTORY, Mode::empty());
        let opened = opened.and_then(|opened| Self::new(id, None, path, opened, files));
        opened.map_err(|errno| ReadError::io(directory, errno))
    }

    pub(crate) fn open_child(&self, id: CgroupId, name: &[u8], files: &[MemoryFile]) -> Result<Self, Errno> {
        let directory = rustix::fs::openat(&self.directory, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
        Self::new(id, Some(self.id), self.path.child(name), directory, files)
    }

    fn new(
        id: CgroupId,
        parent: Option<CgroupId>,
        path: CgroupPath,
        directory: OwnedFd,
        files: &[MemoryFile],
    ) -> Result<Self, Errno> {
        let inode = CgroupInode(rustix::fs::fstat(&directory)?.st_ino);
        let sources = files.iter().map(|_| Source::Unknown).collect();
        let memory = CgroupMemory::default();
        Ok(Cgroup {
            id,
            parent,
            children: Vec::new(),
            path,
            memory,
            directory,
            inode,
            listed_at_links: None,
            sources,
            read_before: false,
        })
    }

    /// Whether a directory `name` inside `parent` is still this cgroup's.
    pub(crate) fn is_inside(&self, parent: &Cgroup) -> bool {
        let name = self.path.names().next_back().unwrap_or_default();
        rustix::fs::statat(&parent.directory, name, AtFlags::SYMLINK_NOFOLLOW)
            .is_ok_and(|stat| CgroupInode(stat.st_ino) == self.inode)
    }

    /// Whether cgroups were made or removed inside it since it was last listed; says so once.
    ///
    /// The link count of a directory of cgroupfs is 2 plus the number of its directories (`kernfs_refresh_inode`,
    /// fs/kernfs/inode.c), so one `fstat` saves the listing. One made and one removed leave the count alone: the reading
    /// of the removed one fails, and the tree then calls [`Cgroup::list_again`]. File systems that don't count links so
    /// (captured trees may lie on one) say 1, and are listed each time.
    pub(crate) fn needs_listing(&mut self) -> bool {
        let links = rustix::fs::fstat(&self.directory).ok().map(|stat| stat.st_nlink).filter(|&links| links >= 2);
        let listed_at = std::mem::replace(&mut self.listed_at_links, links);
        links.is_none() || links != listed_at
    }

    /// Has it listed at the next reading, whatever the link count says.
    pub(crate) fn list_again(&mut self) {
        self.listed_at_links = None;
    }

    /// Calls `visit` with the name of each directory inside it.
    pub(crate) fn for_each_directory(&self, mut visit: impl FnMut(&[u8])) -> Result<(), Errno> {
        let listing = rustix::fs::openat(&self.directory, ".", DIRECTORY, Mode::empty())?;
        let mut buffer = Vec::with_capacity(16 * 1024);
        let mut entries = RawDir::new(listing, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            let directory = match entry.file_type() {
                FileType::Directory => true,
                FileType::Unknown => rustix::fs::statat(&self.directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)
                    .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory),
                _ => false,
            };
            if directory && name != b"." && name != b".." {
                visit(name);
            }
        }
        Ok(())
    }

    /// Reads its files: all of them, or some, with the others left as they were read last. The first reading of the fast
    /// ones is of all. A file that can't be read or understood is a problem and leaves `None`.
    /// `Gone` means only that a file which was there is not: whether the cgroup is gone too, the parent tells.
    pub(crate) fn read_files(
        &mut self,
        which: Which,
        files: &[MemoryFile],
        buffer: &mut Buffer,
        budget: &mut DescriptorBudget,
        problems: &mut Problems,
    ) -> Result<(), Gone> {
        let is_part = matches!(which, Which::Fast | Which::Kill);
        let which = if is_part && !self.read_before { Which::All } else { which };
        for (file, source) in files.iter().zip(&mut self.sources).filter(|(file, _)| which.includes(file)) {
            (file.clear)(&mut self.memory);
            match source.read(&self.directory, file, buffer, budget) {
                Ok(None) => {}
                Ok(Some(text)) => {
                    if let Err(error) = (file.apply)(text, &mut self.memory) {
                        problems.push(ReadError::parse(file_of(&self.path, file.name), error));
                    }
                }
                Err(Failure::Io(Errno::NODEV | Errno::NOENT)) => {
                    self.memory = CgroupMemory::default();
                    return Err(Gone);
                }
                Err(failure) => problems.push(failure.at(file_of(&self.path, file.name))),
            }
        }
        self.read_before |= which == Which::All;
        Ok(())
    }

    /// Reads again only what counts its own kills, if it was read before. A failure is left for the next scan to tell.
    pub(crate) fn read_kill_counter(
        &mut self,
        files: &[MemoryFile],
        buffer: &mut Buffer,
        budget: &mut DescriptorBudget,
    ) {
        let counter = files.iter().zip(&mut self.sources).find(|(file, _)| file.counts_kills);
        if let Some((file, source)) = counter
            && let Ok(Some(text)) = source.read(&self.directory, file, buffer, budget)
        {
            let _ = (file.apply)(text, &mut self.memory);
        }
    }

    /// Forgets what is known of its files, so that they are looked for again. Returns how many were open.
    pub(crate) fn forget_files(&mut self) -> usize {
        self.read_before = false;
        let mut open = 0;
        for source in &mut self.sources {
            if let Source::Open(_) = std::mem::replace(source, Source::Unknown) {
                open += 1;
            }
        }
        open
    }
}

impl fmt::Debug for Cgroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cgroup").field("id", &self.id).field("path", &self.path).finish_non_exhaustive()
    }
}

const DIRECTORY: OFlags = OFlags::DIRECTORY.union(file::OPEN);

fn file_of(path: &CgroupPath, name: &str) -> PathBuf {
    PathBuf::from(OsStr::from_bytes(path.child(name.as_bytes()).as_bytes()))
}

impl Source {
    fn read<'b>(
        &mut self,
        directory: &OwnedFd,
        file: &MemoryFile,
        buffer: &'b mut Buffer,
        budget: &mut DescriptorBudget,
    ) -> Result<Option<&'b [u8]>, Failure> {
        match self {
            Source::Absent => return Ok(None),
            Source::Open(open) => return buffer.read_record(&*open).map(Some),
            Source::Unknown | Source::Closed => {}
        }
        let opened = match rustix::fs::openat(directory, file.name, file::OPEN, Mode::empty()) {
            Ok(opened) => opened,
            Err(Errno::NOENT) if matches!(self, Source::Unknown) => {
                *self = Source::Absent;
                return Ok(None);
            }
            Err(errno) => return Err(Failure::Io(errno)),
        };
        let text = match buffer.read_record(&opened) {
            // A feature that is compiled in and switched off, such as pressure.
            Err(Failure::Io(Errno::OPNOTSUPP)) => {
                *self = Source::Absent;
                return Ok(None);
            }
            read => read?,
        };
        let keep = (file.pace == Pace::Fast || budget.keeps_slow_files()) && budget.take_file();
        *self = if keep { Source::Open(opened) } else { Source::Closed };
        Ok(Some(text))
    }
}
