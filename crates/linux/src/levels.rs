//! Reading one process's cgroup and those that hold it, as often as wanted.
//!
//! Of a level without limits nothing more is asked, so that a deep tree costs little: a level binds by its limits only.
//!
//! A level keeps its place even where it can't be read: levels are told apart by their number, and nothing may be taken
//! for what it is not. [`Levels::unread`] then says that the truth may be less than what the others tell.

use std::path::{Path, PathBuf};

use reprieve_readings::{CgroupMemory, CgroupPath, CgroupVersion, Limit, MemoryFile, Role};
use rustix::io::Errno;

use crate::cgroup::{Cgroup, CgroupId, Gone, Which};
use crate::controller::MemoryController;
use crate::descriptors::DescriptorBudget;
use crate::error::{Problems, ReadError};
use crate::events_watch::EventsWatch;
use crate::file::Buffer;

/// A process's cgroup and every level above it that can be seen, from the inside out. Its files stay open.
#[derive(Debug)]
pub struct Levels {
    levels: Vec<Level>,
    version: CgroupVersion,
    buffer: Buffer,
    budget: DescriptorBudget,
}

/// One of the levels.
#[derive(Debug)]
struct Level {
    path: CgroupPath,
    directory: PathBuf,
    /// `None` where the directory can't be opened.
    cgroup: Option<Cgroup>,
    /// Whether a limit, or what counts against it, could not be read the last time.
    unread: bool,
}

impl Level {
    fn open(path: CgroupPath, directory: PathBuf, files: &[MemoryFile], problems: &mut Problems) -> Self {
        let cgroup = problems.keep(Cgroup::open_top(CgroupId(0), path.clone(), &directory, files));
        Level { path, directory, unread: cgroup.is_none(), cgroup }
    }

    fn memory(&self) -> CgroupMemory {
        self.cgroup.as_ref().map(|cgroup| cgroup.memory).unwrap_or_default()
    }
}

impl Levels {
    /// Opens this process's own cgroup and every level above that can be seen. One whose directory can't be opened is a
    /// problem; its reading stays empty.
    ///
    /// # Errors
    /// Not one of the directories can be opened.
    pub fn open(controller: &MemoryController, problems: &mut Problems) -> Result<Self, ReadError> {
        let files = MemoryFile::all(controller.version);
        let mut failures = Problems::default();
        let levels: Vec<Level> = directories(controller)
            .into_iter()
            .map(|(path, directory)| Level::open(path, directory, files, &mut failures))
            .collect();
        let mut failures = failures.into_first();
        if levels.iter().all(|level| level.cgroup.is_none()) {
            let none = || ReadError::io(&controller.directory, Errno::NOENT);
            return Err(failures.next().unwrap_or_else(none));
        }
        failures.for_each(|failure| problems.push(failure));
        let budget = DescriptorBudget::for_own_levels();
        Ok(Levels { levels, version: controller.version, buffer: Buffer::new(), budget })
    }

    /// Reads what bounds the memory: all of it for the process's own cgroup, and for each level above with a limit.
    /// A level that went away meanwhile is a problem, and its reading is empty.
    pub fn read(&mut self, problems: &mut Problems) {
        let last = self.levels.len().saturating_sub(1);
        for number in 0..=last {
            if let Some(level) = self.levels.get_mut(number) {
                level.unread = level.cgroup.is_none();
            }
            if self.read_some(number, Which::Role(Role::Limit), problems).is_err() {
                continue;
            }
            let rest = if number == 0 || self.levels.get(number).is_some_and(|level| has_limit(&level.memory())) {
                Which::Role(Role::Usage)
            } else if number == last {
                // Only the root of v2 has no usage: this tells whether the topmost level is the root.
                Which::Named(usage_file(self.version))
            } else {
                continue;
            };
            let _: Result<(), Gone> = self.read_some(number, rest, problems);
        }
    }

    /// Reads also what the topmost level uses, for which there may be a limit that can't be seen.
    pub fn read_top(&mut self, problems: &mut Problems) {
        let top = self.levels.len().saturating_sub(1);
        let _: Result<(), Gone> = self.read_some(top, Which::Role(Role::Usage), problems);
    }

    /// Reads one more file of the process's own cgroup, such as `memory.pressure`.
    pub fn read_own(&mut self, file: &'static str, problems: &mut Problems) {
        let _: Result<(), Gone> = self.read_some(0, Which::Named(file), problems);
    }

    /// What was read last, from the inside out.
    pub fn memory(&self) -> impl Iterator<Item = CgroupMemory> {
        self.levels.iter().map(Level::memory)
    }

    /// What was read last of the process's own cgroup.
    pub fn own(&self) -> CgroupMemory {
        self.levels.first().map(Level::memory).unwrap_or_default()
    }

    /// The innermost level of which a limit, or what counts against it, was not to be read the last time. What the others
    /// tell is then an upper bound and no more.
    pub fn unread(&self) -> Option<usize> {
        self.levels.iter().position(|level| level.unread)
    }

    /// The path of a level; 0 is the process's own.
    pub fn path(&self, number: usize) -> Option<&CgroupPath> {
        self.levels.get(number).map(|level| &level.path)
    }

    /// The directory of a level; 0 is the process's own.
    pub fn directory(&self, number: usize) -> Option<&Path> {
        self.levels.get(number).map(|level| level.directory.as_path())
    }

    /// Has the kernel tell of events in the process's own cgroup and all inside it. `None` where it doesn't (v1).
    ///
    /// # Errors
    /// The kernel has no notice to give any more.
    pub fn watch_own_events(&self) -> Result<Option<EventsWatch>, Errno> {
        let own = self.levels.first().and_then(|level| level.cgroup.as_ref());
        let Some(own) = own.filter(|_| self.version == CgroupVersion::V2) else { return Ok(None) };
        let mut watch = EventsWatch::new()?;
        Ok(watch.add_subtree(own).is_ok().then_some(watch))
    }

    /// Reads some files of a level. Gone is told as a problem here, and returned so that no more is asked of it.
    fn read_some(&mut self, number: usize, which: Which, problems: &mut Problems) -> Result<(), Gone> {
        let Some(level) = self.levels.get_mut(number) else { return Ok(()) };
        let Some(cgroup) = &mut level.cgroup else { return Ok(()) };
        let files = MemoryFile::all(self.version);
        let before = problems.count();
        let read = cgroup.read_files(which, files, &mut self.buffer, &mut self.budget, problems);
        if read.is_err() {
            problems.push(ReadError::io(&level.directory, Errno::NOENT));
        }
        // Other files, such as memory.pressure, bound nothing.
        level.unread |= problems.count() > before && matches!(which, Which::Role(Role::Limit | Role::Usage));
        read
    }
}

fn has_limit(memory: &CgroupMemory) -> bool {
    let limits = [memory.max, memory.high, memory.swap_max, memory.memory_and_swap_limit];
    limits.into_iter().flatten().any(|limit| limit != Limit::Max)
}

fn usage_file(version: CgroupVersion) -> &'static str {
    match version {
        CgroupVersion::V1 => "memory.usage_in_bytes",
        CgroupVersion::V2 => "memory.current",
    }
}

/// The process's own cgroup and those above it, from the inside out.
fn directories(controller: &MemoryController) -> Vec<(CgroupPath, PathBuf)> {
    let mut found = Vec::new();
    let mut path = Some(controller.own.clone());
    while let Some(level) = path {
        let Some(directory) = controller.directory_of(&level) else { break };
        path = level.parent();
        found.push((level, directory));
    }
    found
}
