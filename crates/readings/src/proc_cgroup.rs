//! `/proc/PID/cgroup`: which cgroup of each hierarchy a process is in.

use crate::cgroup_path::CgroupPath;
use crate::parse::{self, ParseError};

/// The cgroups of one process that matter for memory.
///
/// Source: cgroups(7); `proc_cgroup_show` in kernel/cgroup/cgroup.c, Linux 6.18.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcCgroup {
    /// Its cgroup in the v1 hierarchy that has the memory controller, if there is one.
    pub v1_memory: Option<CgroupPath>,
    /// The id of that hierarchy. It is the same for all processes until the hierarchy is gone.
    pub v1_memory_hierarchy: Option<u32>,
    /// Its cgroup in the unified hierarchy, if that is mounted.
    pub v2: Option<CgroupPath>,
}

impl ProcCgroup {
    /// Parses the file: lines of `HIERARCHY:CONTROLLERS:PATH`, where the path may hold colons.
    pub fn parse(text: &[u8]) -> Result<Self, ParseError> {
        let mut cgroups = ProcCgroup::default();
        for line in text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()) {
            let mut parts = line.splitn(3, |&byte| byte == b':');
            let (Some(hierarchy), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next()) else {
                return Err(ParseError::new("a line `HIERARCHY:CONTROLLERS:PATH`", line));
            };
            if controllers.split(|&byte| byte == b',').any(|controller| controller == b"memory") {
                cgroups.v1_memory = Some(CgroupPath::new(path));
                cgroups.v1_memory_hierarchy = parse::decimal(hierarchy).and_then(|id| u32::try_from(id).ok());
            } else if hierarchy == b"0" && controllers.is_empty() {
                cgroups.v2 = Some(CgroupPath::new(path));
            }
        }
        Ok(cgroups)
    }

    /// Its cgroup where memory is counted: a v1 hierarchy with the memory controller wins, because a hybrid machine
    /// leaves no memory to the unified one.
    pub fn memory(&self) -> Option<&CgroupPath> {
        self.v1_memory.as_ref().or(self.v2.as_ref())
    }

    /// The id of the hierarchy that [`memory`](Self::memory) is a cgroup of. The unified one has 0.
    pub fn memory_hierarchy(&self) -> u32 {
        self.v1_memory_hierarchy.unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> Option<CgroupPath> {
        Some(CgroupPath::new(text.as_bytes()))
    }

    #[test]
    fn the_v1_memory_line_wins_over_the_unified_one() {
        let hybrid = ProcCgroup::parse(b"9:name=systemd:/x\n4:cpu,memory:/a\n1:cpuset:/b\n0::/c\n").unwrap();
        assert_eq!(hybrid.memory(), path("/a").as_ref());
        assert_eq!(hybrid.v2, path("/c"));
        assert_eq!(hybrid.memory_hierarchy(), 4);
        assert_eq!(ProcCgroup::parse(b"0::/c\n").unwrap().memory_hierarchy(), 0);
        assert_eq!(ProcCgroup::parse(b"0::/c\n").unwrap().memory(), path("/c").as_ref());
        assert_eq!(ProcCgroup::parse(b"1:name=memory:/x\n").unwrap().memory(), None, "a named hierarchy");
    }

    #[test]
    fn a_path_may_hold_colons() {
        assert_eq!(ProcCgroup::parse(b"0::/a:b::c/d\n").unwrap().v2, path("/a:b::c/d"));
    }

    #[test]
    fn malformed_lines_are_errors() {
        assert!(ProcCgroup::parse(b"0:\n").is_err());
        assert!(ProcCgroup::parse(b"\x00\xff").is_err());
        assert_eq!(ProcCgroup::parse(b"").unwrap(), ProcCgroup::default());
    }
}
