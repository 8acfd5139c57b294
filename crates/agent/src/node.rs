//! The node as last read, with what the agent remembers of it.

use reprieve_linux::{CgroupId, CgroupTree, Problems, Roots, memory_cgroup_of};
use reprieve_readings::CgroupPath;

use crate::containers::KnownCgroups;
use crate::problems::NamedProblems;

/// Everything that the parts of the loop read and remember in common.
pub(crate) struct Node {
    pub(crate) roots: Roots,
    pub(crate) tree: CgroupTree,
    pub(crate) known: KnownCgroups,
    pub(crate) problems: NamedProblems,
}

impl Node {
    /// Reads one cgroup now; `false` where it is gone.
    pub(crate) fn refresh(&mut self, id: CgroupId) -> bool {
        let mut problems = Problems::default();
        let there = self.tree.refresh(id, &mut problems);
        self.problems.take(&problems);
        there
    }

    /// The memory cgroup of a process, if it can still be told.
    pub(crate) fn memory_cgroup_of(&mut self, pid: u32) -> Option<CgroupPath> {
        let mut problems = Problems::default();
        let cgroup = problems.keep(memory_cgroup_of(&self.roots, pid)).flatten();
        self.problems.take(&problems);
        cgroup
    }
}
