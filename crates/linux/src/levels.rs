//! Reading one process's cgroup and those that hold it, as often as wanted.
//!
//! Of a level without limits nothing more is asked, so that a deep tree costs little: a level binds by its limits only.

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
    cgroup: Cgroup,
    directory: PathBuf,
}

impl Levels {
    /// Opens this process's own cgroup and every level above that can be seen.
    ///
    /// # Errors
    /// Its own cgroup's directory can't be opened. A level above that can't is a problem, and left out.
    pub fn open(controller: &MemoryController, problems: &mut Problems) -> Result<Self, ReadError> {
        let files = MemoryFile::all(controller.version);
        let mut levels = Vec::new();
        for (path, directory) in directories(controller) {
            match Cgroup::open_top(CgroupId(0), path, &directory, files) {
                Ok(cgroup) => levels.push(Level { cgroup, directory }),
                Err(error) if levels.is_empty() => return Err(error),
                Err(error) => problems.push(error),
            }
        }
        let budget = DescriptorBudget::for_own_levels();
        Ok(Levels { levels, version: controller.version, buffer: Buffer::new(), budget })
    }

    /// Reads what bounds the memory: all of it for the process's own cgroup, and for each level above with a limit.
    /// A level that went away meanwhile has an empty reading.
    pub fn read(&mut self, problems: &mut Problems) {
        let last = self.levels.len().saturating_sub(1);
        for number in 0..=last {
            self.read_some(number, Which::Role(Role::Limit), problems);
            if number == 0 || self.levels.get(number).is_some_and(|level| has_limit(&level.cgroup.memory)) {
                self.read_some(number, Which::Role(Role::Usage), problems);
            } else if number == last {
                // Only the root of v2 has no usage: this tells whether the topmost level is the root.
                self.read_some(number, Which::Named(usage_file(self.version)), problems);
            }
        }
    }

    /// Reads also what the topmost level uses, for which there may be a limit that can't be seen.
    pub fn read_top(&mut self, problems: &mut Problems) {
        self.read_some(self.levels.len().saturating_sub(1), Which::Role(Role::Usage), problems);
    }

    /// Reads one more file of the process's own cgroup, such as `memory.pressure`.
    pub fn read_own(&mut self, file: &'static str, problems: &mut Problems) {
        self.read_some(0, Which::Named(file), problems);
    }

    /// What was read last, from the inside out.
    pub fn memory(&self) -> Vec<CgroupMemory> {
        self.levels.iter().map(|level| level.cgroup.memory).collect()
    }

    /// What was read last of the process's own cgroup.
    pub fn own(&self) -> CgroupMemory {
        self.levels.first().map(|level| level.cgroup.memory).unwrap_or_default()
    }

    /// The path of a level; 0 is the process's own.
    pub fn path(&self, number: usize) -> Option<&CgroupPath> {
        self.levels.get(number).map(|level| level.cgroup.path())
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
        let Some(own) = self.levels.first().filter(|_| self.version == CgroupVersion::V2) else { return Ok(None) };
        let mut watch = EventsWatch::new()?;
        Ok(watch.add_subtree(&own.cgroup).is_ok().then_some(watch))
    }

    fn read_some(&mut self, number: usize, which: Which, problems: &mut Problems) {
        let Some(level) = self.levels.get_mut(number) else { return };
        let files = MemoryFile::all(self.version);
        // Gone leaves an empty reading, which says all there is to say.
        let _: Result<(), Gone> = level.cgroup.read_files(which, files, &mut self.buffer, &mut self.budget, problems);
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
