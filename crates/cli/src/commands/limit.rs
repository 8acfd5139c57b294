//! The memory limit of the calling process.

use anyhow::{Result, bail};
use reprieve::{Bytes, Memory, Roots, pod_limit_from_environment};

use crate::arguments::RootArguments;

/// The smallest limit that binds this process: of its cgroup, of all levels above, and of those that are hidden but known.
/// `None` where only the machine's memory binds. Complains of what it could not read.
///
/// # Errors
/// There is no memory cgroup to read, or the limit that the environment tells of makes no sense.
pub(crate) fn read_limit(roots: &RootArguments) -> Result<Option<Bytes>> {
    let memory = Memory::below(&Roots::from(roots), pod_limit_from_environment()?)?;
    let problems = memory.problems();
    let first = problems.first().first().map(ToString::to_string);
    if memory.version().is_none() {
        bail!("{}", first.unwrap_or_else(|| "no memory cgroup can be read".into()));
    }
    if let Some(problem) = first {
        let others = match problems.count() {
            0 | 1 => String::new(),
            count => format!(" (and {} more)", count - 1),
        };
        crate::complain(&format!("{problem}{others}"));
    }
    Ok(memory.limit().filter(|_| memory.is_limited()))
}
