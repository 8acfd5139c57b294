//! What the kernel's log tells of one victim of the OOM killer.
//!
//! The line that names the victim is always there; the rest of the report is rate-limited, and each kernel tells other
//! parts of it. So all but the pid and name can be `None`.

use std::time::Duration;

use crate::{Bytes, CgroupPath, Limit};

/// A process that the kernel's OOM killer killed: one `Killed process` line of the log.
///
/// Sizes are those of its address space at the moment of the kill. Source: `__oom_kill_process` in mm/oom_kill.c (3.10
/// to 5.0: `oom_kill_process`); fields by version in the comments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OomVictim {
    /// The number of the record in the kernel's log.
    pub sequence: u64,
    /// When the line was printed, since boot.
    pub since_boot: Duration,
    /// Its pid, in the first pid namespace. Where the thread group's leader has ended, that of another thread.
    pub pid: u32,
    /// Its name, at most 15 bytes, as it chose it itself.
    pub name: Vec<u8>,
    /// The user it ran as, in the first user namespace. From Linux 5.4, el7 1062 and el8 240; from the report's summary
    /// in 5.0 to 5.3.
    pub uid: Option<u32>,
    /// The size of its address space.
    pub total_vm: Option<Bytes>,
    /// Anonymous memory in RAM.
    pub anon_rss: Option<Bytes>,
    /// Mapped file pages in RAM.
    pub file_rss: Option<Bytes>,
    /// Shared memory and tmpfs in RAM. From Linux 4.5; part of `file_rss` before.
    pub shmem_rss: Option<Bytes>,
    /// Page tables. From Linux 5.4, whose first releases print bytes and call them kB.
    pub pgtables: Option<Bytes>,
    /// How much its owner wanted it killed, from −1000 to 1000. From Linux 5.4.
    pub oom_score_adj: Option<i16>,
    /// Whose memory had run out. `None` where the line alone does not tell (before 5.0) and the rest is missing.
    pub scope: Option<OomScope>,
    /// The cgroup that dies as a whole by `memory.oom.group`, where this victim is one of it. The kernel names the
    /// cgroup after the first victim, which therefore has `None` here; its second line, a [`repeat`](Self::repeat),
    /// tells.
    pub oom_group: Option<CgroupPath>,
    /// Whether an earlier line named this very victim: in a group kill the kernel prints the first victim's line again.
    pub repeat: bool,
    /// What the rest of the report told.
    pub report: OomReport,
}

/// What the lines before the kill tell. All of it is missing when the kernel's rate limit left the report out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OomReport {
    /// Who asked for memory and got the OOM killer instead.
    pub trigger: Option<OomTrigger>,
    /// What kept the kernel from using other memory. From Linux 5.0, whose releases before 5.2 always print
    /// [`Constraint::None`]: trust [`OomVictim::scope`] there.
    pub constraint: Option<Constraint>,
    /// The cgroup whose limit was hit.
    pub oom_memcg: Option<CgroupPath>,
    /// The cgroup of the victim; up to Linux 5.0 that of the process chosen, whose child can be the victim instead.
    pub task_memcg: Option<CgroupPath>,
    /// Memory charged to `oom_memcg`. May lie below the limit: the charge that failed is not in it.
    pub usage: Option<Bytes>,
    /// The limit on memory of `oom_memcg`. Where it is far above the usage, another limit was hit (memory+swap on v1).
    pub limit: Option<Limit>,
    /// How often `oom_memcg` ran into its limit; from Linux 6.19 on v2 the `max` of its `memory.events`.
    pub failcnt: Option<u64>,
}

/// The allocation that could not be served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OomTrigger {
    /// The name of the task.
    pub name: Vec<u8>,
    /// Its pid in the first pid namespace.
    pub pid: Option<u32>,
    /// What the allocation allowed, as printed: `0xcc0(GFP_KERNEL)`. The number's meaning differs by kernel version;
    /// the names are there from Linux 4.6. `0x0()` is a page fault that went wrong elsewhere.
    pub gfp: Vec<u8>,
    /// The allocation's size as a power of two of pages; −1 for a kill asked for by SysRq.
    pub order: Option<i32>,
    /// How much the task's owner wanted it killed, from −1000 to 1000.
    pub oom_score_adj: Option<i16>,
}

/// Whose memory had run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OomScope {
    /// A memory cgroup's: its limit, or one above it, was hit.
    MemoryCgroup,
    /// The machine's, or the part of it that a cpuset or memory policy allows.
    Global,
}

/// What kept the kernel from using other memory (`enum oom_constraint`, include/linux/oom.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Constraint {
    /// Nothing: the whole machine was out of memory.
    None,
    /// The cpuset's memory nodes.
    Cpuset,
    /// The memory policy's nodes.
    MemoryPolicy,
    /// A memory cgroup's limit.
    MemoryCgroup,
}
