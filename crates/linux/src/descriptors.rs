//! How many files may stay open.
//!
//! Reading a file again through an open descriptor costs a third of opening it anew. But each costs the kernel about
//! 4 KiB (the seq_file buffer, charged to the reader's own cgroup), so the number is bounded; what doesn't fit is opened
//! for each reading.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// How many more of the small files may be kept open.
#[derive(Debug)]
pub struct DescriptorBudget {
    left: usize,
}

impl DescriptorBudget {
    /// A budget of `most` descriptors, but no more than half of what the process may open: the rest is for
    /// directories, sockets and the moment.
    pub fn new(most: usize) -> Self {
        let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let half = usize::try_from(allowed / 2).unwrap_or(usize::MAX);
        DescriptorBudget { left: most.min(half) }
    }

    /// A budget for reading once: nothing is kept open.
    pub(crate) fn none() -> Self {
        DescriptorBudget { left: 0 }
    }

    /// Takes one descriptor out of the budget; `false` where none is left.
    pub(crate) fn take(&mut self) -> bool {
        let enough = self.left > 0;
        self.left = self.left.saturating_sub(1);
        enough
    }

    /// Puts `count` descriptors back.
    pub(crate) fn give_back(&mut self, count: usize) {
        self.left = self.left.saturating_add(count);
    }
}

/// Raises the number of files that this process may open as far as its hard limit allows, and returns that number.
/// Where the system refuses, the limit stays.
pub fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let now = if raised.is_ok() { limit.maximum } else { limit.current };
    now.unwrap_or(u64::MAX)
}
