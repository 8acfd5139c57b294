//! The memory limit of the calling process.

use anyhow::Result;
use reprieve_linux::{MemoryController, Problems, Roots, read_levels, read_node};
use reprieve_readings::Bytes;

/// The smallest limit that binds this process: of its cgroup and all levels above, and of those that only v1 tells of
/// (hidden by a namespace). `None` where only the machine's memory binds. Complains of what it could not read of them.
///
/// # Errors
/// There is no memory controller, or the process's own cgroup can't be read.
pub(crate) fn read_limit(roots: &Roots) -> Result<Option<Bytes>> {
    let mut problems = Problems::default();
    let controller = MemoryController::find(roots, &mut problems)?;
    let levels = read_levels(&controller, &mut problems)?;
    let machine = read_node(roots, &mut problems).meminfo.and_then(|meminfo| meminfo.total);
    if let Some(problem) = problems.first().first() {
        let others = match problems.count() {
            0 | 1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        crate::complain(&format!("{problem}{others}"));
    }
    let visible = levels.iter().filter_map(|level| level.max?.bytes());
    let hidden = levels.iter().filter_map(|level| level.stat?.hierarchical_limit?.bytes());
    let limit = visible.chain(hidden).min();
    Ok(limit.filter(|&limit| machine.is_none_or(|machine| limit < machine)))
}
