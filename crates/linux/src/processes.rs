//! Processes: which are in a cgroup, who they are, and whether they still run.

use reprieve_readings::{
    Bytes, CgroupPath, ParseError, ProcCgroup, ProcessStat, parse_is_namespace_init, parse_resident,
};

use crate::error::ReadError;
use crate::file;
use crate::roots::Roots;

/// How far the end of a process has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProcessEnd {
    /// It still has memory.
    HoldsMemory,
    /// It has none any more, and nobody let go of it yet.
    Ended(ProcessStat),
    /// It is gone.
    Gone,
}

/// Reads `/proc/PID/stat` of a process that is being killed, unless it still has memory.
///
/// Reading `stat` (or `status`, `cmdline`) holds a process's memory for some microseconds (`get_task_mm` in `do_task_stat`,
/// fs/proc/array.c, Linux 6.18). If it ends in these, whoever reads frees its memory in its place, while the parent learns
/// that its child is gone. Where the parent then asks for memory, there is none yet, and the kernel kills the next
/// process. `statm` holds it too, but so shortly that this was not seen in millions of reads.
pub fn process_end(roots: &Roots, pid: u32) -> Result<ProcessEnd, ReadError> {
    match read(roots, pid, "statm", |text| parse_resident(text, Bytes::new(1)))? {
        None => Ok(ProcessEnd::Gone),
        Some(Bytes::ZERO) => Ok(process_stat(roots, pid)?.map_or(ProcessEnd::Gone, ProcessEnd::Ended)),
        Some(_) => Ok(ProcessEnd::HoldsMemory),
    }
}

/// Reads `/proc/PID/stat`; `None` where the process is gone. Not for a process that is being killed: see [`process_end`].
pub fn process_stat(roots: &Roots, pid: u32) -> Result<Option<ProcessStat>, ReadError> {
    read(roots, pid, "stat", ProcessStat::parse)
}

/// The arguments of a process, separated by blanks and cut to `most` bytes; `None` where it is gone or has none.
///
/// The kernel takes the process's memory lock to read them: while that is held by somebody who waits for memory, so does
/// this. Not to be called from a loop that must not wait.
pub fn command_line(roots: &Roots, pid: u32, most: usize) -> Result<Option<Vec<u8>>, ReadError> {
    let path = roots.proc(format!("{pid}/cmdline"));
    let Some(mut text) = file::read_start_if_present(&path, most)? else { return Ok(None) };
    let end = text.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    text.truncate(end);
    for byte in text.iter_mut().filter(|byte| **byte == 0) {
        *byte = b' ';
    }
    Ok((!text.is_empty()).then_some(text))
}

/// The memory cgroup of a process; `None` where the process is gone or is in none.
///
/// v1 books a process that has ended, but was not yet waited for, to the root.
pub fn memory_cgroup_of(roots: &Roots, pid: u32) -> Result<Option<CgroupPath>, ReadError> {
    let cgroups = read(roots, pid, "cgroup", ProcCgroup::parse)?;
    Ok(cgroups.and_then(|cgroups| cgroups.memory().cloned()))
}

/// The id of the cgroup hierarchy that counts memory: 0 is that of v2.
pub fn memory_hierarchy_id(roots: &Roots) -> Result<u32, ReadError> {
    let path = roots.proc("self/cgroup");
    let cgroups = ProcCgroup::parse(&file::read(&path)?).map_err(|error| ReadError::parse(path, error))?;
    Ok(cgroups.memory_hierarchy())
}

/// Whether a process is PID 1 of a pid namespace inside ours: a container's first process. `false` where it is gone.
pub fn is_namespace_init(roots: &Roots, pid: u32) -> Result<bool, ReadError> {
    read(roots, pid, "status", |text| Ok(parse_is_namespace_init(text))).map(|init| init.unwrap_or(false))
}

fn read<T>(
    roots: &Roots,
    pid: u32,
    name: &str,
    parse: impl Fn(&[u8]) -> Result<T, ParseError>,
) -> Result<Option<T>, ReadError> {
    let path = roots.proc(format!("{pid}/{name}"));
    file::read_if_present(&path)?.map(|text| parse(&text).map_err(|error| ReadError::parse(&path, error))).transpose()
}

/// Whether this process lives in the first pid namespace, whose pids the kernel's log speaks of.
pub fn in_first_pid_namespace(roots: &Roots) -> bool {
    // PROC_PID_INIT_INO, include/linux/proc_ns.h.
    const FIRST: &[u8] = b"pid:[4026531836]";
    rustix::fs::readlink(roots.proc("self/ns/pid"), Vec::new()).is_ok_and(|namespace| namespace.as_bytes() == FIRST)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn an_end_goes_from_memory_to_none_to_nobody() {
        let roots = Roots::default();
        let mut child = Command::new("sleep").arg("600").spawn().unwrap();
        assert_eq!(process_end(&roots, child.id()).unwrap(), ProcessEnd::HoldsMemory);
        let before = process_stat(&roots, child.id()).unwrap().unwrap();
        child.kill().unwrap();
        let end = std::iter::repeat_with(|| process_end(&roots, child.id()).unwrap());
        let ended = end.take(1_000_000).find(|end| *end != ProcessEnd::HoldsMemory);
        assert!(matches!(&ended, Some(ProcessEnd::Ended(stat)) if stat.id == before.id), "{ended:?}");
        child.wait().unwrap();
        assert_eq!(process_end(&roots, child.id()).unwrap(), ProcessEnd::Gone);
    }
}
