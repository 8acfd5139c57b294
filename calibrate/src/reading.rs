//! Reading a cgroup and all levels above it, just as `reprieve free` inside of it would.

use std::path::Path;

use anyhow::{Result, ensure};
use reprieve_lab::Lab;
use reprieve_linux::{Levels, MemoryController, NodeMemoryReader, Problems, Roots};
use reprieve_readings::{CgroupMemory, CgroupPath, CgroupVersion, NodeMemory};

/// What was read of one moment.
#[derive(Debug)]
pub(crate) struct Reading {
    /// The interface that the files speak.
    pub(crate) version: CgroupVersion,
    /// From the innermost level to the outermost.
    pub(crate) levels: Vec<CgroupMemory>,
    /// The machine.
    pub(crate) node: NodeMemory,
    /// Free pages that each processor keeps for itself. `MemFree` does not count them.
    pub(crate) on_processors: Option<u64>,
}

impl Reading {
    /// Reads the cgroup in this directory.
    pub(crate) fn take(lab: &Lab, cgroup: &Path) -> Result<Self> {
        let roots = Roots::default();
        let mut problems = Problems::default();
        let found = MemoryController::find(&roots, &mut problems)?;
        let controller = MemoryController { own: CgroupPath::new(lab.path_of(cgroup).as_bytes()), ..found };
        let mut levels = Levels::open(&controller, &mut problems)?;
        levels.read(&mut problems);
        let node = NodeMemoryReader::open(&roots, &mut problems).read(&mut problems);
        ensure!(problems.count() == 0, "{}: {:?}", cgroup.display(), problems.first());
        Ok(Reading {
            version: controller.version,
            levels: levels.memory().collect(),
            node,
            on_processors: read_on_processors(),
        })
    }
}

/// The sum over all zones and processors of `count` below `pagesets`, in bytes.
fn read_on_processors() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/zoneinfo").ok()?;
    let counts = text.lines().filter_map(|line| line.trim().strip_prefix("count:")?.trim().parse::<u64>().ok());
    Some(counts.sum::<u64>() * rustix::param::page_size() as u64)
}
