//! What `reprieve free` says: procps' table for people and scripts, an explanation, JSON for programs.

mod explain;
mod json;
mod scale;
mod table;

use std::path::PathBuf;

use reprieve_judgement::Available;
use reprieve_readings::{Bytes, CgroupMemory, CgroupPath, CgroupVersion, Meminfo};

pub use explain::free_explanation;
pub use json::free_json;
pub use scale::{Scale, Unit};
pub use table::{TableOptions, free_line, free_table};

/// The memory of one process's container, ready to be shown.
#[derive(Debug, Clone)]
pub struct FreeReport {
    /// `/proc/meminfo` as it would speak of the container.
    pub container: Meminfo,
    /// `/proc/meminfo` as it is.
    pub node: Meminfo,
    /// The process's cgroup. `None` where there is none to be read.
    pub cgroup: Option<FreeCgroup>,
    /// The smallest limit of it and all levels above, the machine's memory included.
    pub limit: Option<Bytes>,
    /// What may still be used, and what ends that.
    pub available: Option<Available>,
    /// The limit by which the kernel kills first.
    pub kill_bound: FreeBound,
    /// The limit by which it throttles first.
    pub throttle_bound: FreeBound,
}

/// The limit that decides.
#[derive(Debug, Clone, Default)]
pub struct FreeBound {
    /// How much it is. `None` where there is none, or it is not known.
    pub limit: Option<Bytes>,
    /// The file that says so. `None` where that is no file of a cgroup that can be seen.
    pub file: Option<PathBuf>,
}

/// The process's own cgroup.
#[derive(Debug, Clone)]
pub struct FreeCgroup {
    /// Its path.
    pub path: CgroupPath,
    /// The interface that it speaks.
    pub version: CgroupVersion,
    /// Whether it was assumed to be the process's own, because the paths don't prove it.
    pub assumed: bool,
    /// What its files say.
    pub memory: CgroupMemory,
}
