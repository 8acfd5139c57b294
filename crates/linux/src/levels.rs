//! Reading one process's cgroup and those that hold it, once.

use std::path::PathBuf;

use reprieve_readings::{CgroupMemory, CgroupPath, MemoryFile};

use crate::cgroup::{Cgroup, CgroupId, Which};
use crate::controller::MemoryController;
use crate::descriptors::DescriptorBudget;
use crate::error::{Problems, ReadError};
use crate::file::Buffer;

/// Reads this process's own cgroup and every level above that can be seen, in this order.
///
/// # Errors
/// Its own cgroup's directory can't be opened. Anything less is a problem.
pub fn read_levels(controller: &MemoryController, problems: &mut Problems) -> Result<Vec<CgroupMemory>, ReadError> {
    let files = MemoryFile::all(controller.version);
    let mut buffer = Buffer::new();
    let mut budget = DescriptorBudget::none();
    let mut levels = Vec::new();
    for (path, directory) in directories(controller) {
        let mut cgroup = match Cgroup::open_top(CgroupId(0), path, &directory, files) {
            Ok(cgroup) => cgroup,
            Err(error) if levels.is_empty() => return Err(error),
            Err(error) => {
                problems.push(error);
                continue;
            }
        };
        // A cgroup that goes away meanwhile leaves an empty reading.
        let _ = cgroup.read_files(Which::All, files, &mut buffer, &mut budget, problems);
        levels.push(cgroup.memory);
    }
    Ok(levels)
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
