//! How many files may stay open.
//!
//! Reading a file again through an open descriptor costs a third of opening it anew. But each costs the kernel about
//! 4 KiB (the seq_file buffer, charged to the reader's own cgroup), so the number is bounded; what doesn't fit is opened
//! for each reading.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many more cgroups and files of theirs may be kept open.
#[derive(Debug)]
pub struct DescriptorBudget {
    files: usize,
    directories: usize,
    slow_files: bool,
}

impl DescriptorBudget {
    /// Descriptors left to everything else: sockets, the kernel's log, the files of the moment.
    const RESERVE: usize = 128;

    /// A budget of `most` files, but no more than half of what the process may open. The rest, some apart, is for the
    /// directories: each cgroup takes one.
    pub fn new(most: usize) -> Self {
        let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let allowed = usize::try_from(allowed).unwrap_or(usize::MAX);
        let files = most.min(allowed / 2);
        DescriptorBudget { files, directories: (allowed - files).saturating_sub(Self::RESERVE), slow_files: false }
    }

    /// A budget for reading one process's own levels again and again: all that is read stays open.
    pub(crate) fn for_own_levels() -> Self {
        DescriptorBudget { files: 256, directories: 0, slow_files: true }
    }

    /// Whether files that seldom change may stay open too.
    pub(crate) fn keeps_slow_files(&self) -> bool {
        self.slow_files
    }

    /// Takes one file out of the budget; `false` where none is left.
    pub(crate) fn take_file(&mut self) -> bool {
        take(&mut self.files)
    }

    /// Takes one directory out of the budget; `false` where none is left.
    pub(crate) fn take_directory(&mut self) -> bool {
        take(&mut self.directories)
    }

    /// Puts `count` files back.
    pub(crate) fn give_back_files(&mut self, count: usize) {
        self.files = self.files.saturating_add(count);
    }

    /// Puts a directory back.
    pub(crate) fn give_back_directory(&mut self) {
        self.directories = self.directories.saturating_add(1);
    }
}

fn take(left: &mut usize) -> bool {
    let enough = *left > 0;
    *left = left.saturating_sub(1);
    enough
}

/// Raises the number of files that this process may open as far as its hard limit allows, and returns that number.
/// Where the system refuses, the limit stays.
pub fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let now = if raised.is_ok() { limit.maximum } else { limit.current };
    now.unwrap_or(u64::MAX)
}
