//! What a log tells of one run of the OOM killer.

use std::time::Duration;

use super::memory::{CgroupStats, LimitUse, MemoryInfo, SlabUse};
use super::tasks::TaskTable;
use crate::{Bytes, CgroupPath, Constraint, OomScope, OomTrigger, PrintkCaller};

/// Something that a log told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OomLogEvent {
    /// A report of the kernel's OOM killer has ended.
    Report(Box<OomLogReport>),
    /// Something else than the kernel's OOM killer killed for want of memory.
    OtherKill(OtherKill),
}

/// One run of the kernel's OOM killer, as far as the log tells.
///
/// Every part can be absent: kernel versions print different ones, the rate limit (10 reports in 5 seconds) leaves all
/// but the kill lines out, and people cut logs. [`OomLogReport::missing`] says what should be here and is not. Sources:
/// `dump_header` and `oom_kill_process` in mm/oom_kill.c, `mem_cgroup_print_oom_meminfo` in mm/memcontrol.c, `show_mem`
/// in mm/show_mem.c (before 6.4 `show_free_areas` in mm/page_alloc.c), Linux 3.10 to 6.19.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OomLogReport {
    /// The number of the log's line that begins the report, the first line being 1.
    pub line: u64,
    /// When the report's first line was printed.
    pub time: LogTime,
    /// Who printed the report, where the log says so (`CONFIG_PRINTK_CALLER`).
    pub caller: Option<PrintkCaller>,
    /// Whose memory had run out. `None` where no line that is left tells.
    pub scope: Option<OomScope>,
    /// What kept the kernel from using other memory. From Linux 5.0, whose releases before 5.2 always print
    /// [`Constraint::None`]: trust [`OomLogReport::scope`] there.
    pub constraint: Option<Constraint>,
    /// The constraint as printed, such as `CONSTRAINT_MEMCG`; some kernels have more of them than [`Constraint`].
    pub constraint_text: Option<Vec<u8>>,
    /// Who asked for memory and got the OOM killer instead.
    pub trigger: Option<OomTrigger>,
    /// The processor that the trigger ran on.
    pub cpu: Option<u32>,
    /// The kernel's release, such as `6.1.0-13-amd64`, where a line tells.
    pub kernel: Option<Vec<u8>>,
    /// The name of the trigger's cpuset; from Linux 5.0 the last name of its path only.
    pub cpuset: Option<Vec<u8>>,
    /// The memory nodes that the cpuset allows, such as `0-1`.
    pub mems_allowed: Option<Vec<u8>>,
    /// The memory nodes that the allocation was limited to; `None` too where the kernel printed `(null)`, which is no
    /// limit.
    pub nodemask: Option<Vec<u8>>,
    /// The cgroup whose limit was hit.
    pub oom_memcg: Option<CgroupPath>,
    /// The cgroup of the victim; up to Linux 5.0 that of the process chosen, whose child can be the victim instead.
    pub task_memcg: Option<CgroupPath>,
    /// Memory of `oom_memcg`.
    pub memory: Option<LimitUse>,
    /// Swap of `oom_memcg`: v2, from Linux 5.3.
    pub swap: Option<LimitUse>,
    /// Memory and swap together of `oom_memcg`: v1, and up to Linux 5.2 also v2 (which does not limit it).
    pub memory_and_swap: Option<LimitUse>,
    /// The kernel's memory of `oom_memcg`: as `memory_and_swap`.
    pub kmem: Option<LimitUse>,
    /// What `memory.stat` of the cgroup said; up to Linux 5.2 of each cgroup below it too.
    pub stats: Vec<CgroupStats>,
    /// The machine's memory. Global reports only.
    pub memory_info: Option<MemoryInfo>,
    /// Slabs that can't be reclaimed, as printed, where they were larger than the LRU lists. From Linux 4.15.
    pub slabs: Vec<SlabUse>,
    /// The table of processes that could have been killed. `None` where there was none (`vm.oom_dump_tasks` is 0).
    pub tasks: Option<TaskTable>,
    /// The process that was chosen, up to Linux 5.0. The victim can be a child of it, or have another thread's pid.
    pub announced: Option<AnnouncedVictim>,
    /// Who the summary says was chosen: pid and name. From Linux 5.0.
    pub chosen: Option<NamedProcess>,
    /// Who was killed, in order, each once.
    pub victims: Vec<KilledProcess>,
    /// How many victims are left out of `victims` because there were too many to keep.
    pub victims_left_out: u64,
    /// Who would have been killed but was exiting already. From Linux 5.9.
    pub already_exiting: Vec<NamedProcess>,
    /// Whose memory was freed before they had exited. From Linux 4.6.
    pub reaped: Vec<ReapedProcess>,
    /// Whose memory could not be freed before they had exited.
    pub unreaped: Vec<NamedProcess>,
    /// The cgroup that was killed as a whole, by `memory.oom.group`.
    pub oom_group: Option<CgroupPath>,
    /// Whether the kernel found nobody to kill.
    pub no_killable: bool,
    /// Why the kernel gave up, where it did.
    pub panic: Option<OomPanic>,
    /// What should be here and is not.
    pub missing: Vec<Missing>,
}

impl OomLogReport {
    /// Whether the report goes from its beginning to its outcome and tells of the memory in between. The table of
    /// processes, which can be turned off, and ends of lines may be missing still.
    pub fn is_complete(&self) -> bool {
        ![Missing::Beginning, Missing::Memory, Missing::Outcome].iter().any(|part| self.missing.contains(part))
    }

    /// Whether somebody asked for the kill by SysRq (`f`).
    pub fn is_sysrq(&self) -> bool {
        self.trigger.as_ref().is_some_and(|trigger| trigger.order == Some(-1))
    }
}

/// What a report lacks, of what its kernel would have printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Missing {
    /// The line `… invoked oom-killer …`: the log begins later, or the rate limit left the report out.
    Beginning,
    /// The memory of the cgroup or machine.
    Memory,
    /// The table of processes. It can have been turned off (`vm.oom_dump_tasks`).
    Tasks,
    /// The line `oom-kill:…` of a kernel that prints it.
    Summary,
    /// The kill, or the word why there was none.
    Outcome,
    /// The rest of a line that was cut off.
    RestOfLine,
}

/// When a line was printed, in the forms that the log has.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogTime {
    /// Since boot, by the kernel's own clock, which stands still while the machine sleeps.
    pub since_boot: Option<Duration>,
    /// Since 1970 in UTC, where the log tells the year and the zone.
    pub since_epoch: Option<Duration>,
    /// The time of day as the log has it, in any form and language.
    pub text: Option<Vec<u8>>,
}

/// A process by its pid, in the first pid namespace, and its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedProcess {
    /// Its pid.
    pub pid: u32,
    /// Its name, at most 15 bytes, as it chose it itself. `None` where the line was cut before it.
    pub name: Option<Vec<u8>>,
}

/// The process that the kernel chose, up to Linux 5.0: `Kill process …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnouncedVictim {
    /// Its pid.
    pub pid: u32,
    /// Its name, as it chose it itself.
    pub name: Vec<u8>,
    /// How much the kernel wanted to kill it, in thousandths of the memory allowed; more than 1000 with a positive
    /// `oom_score_adj`.
    pub score: Option<u64>,
}

/// A process that was killed: a line `Killed process …`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KilledProcess {
    /// When the line was printed.
    pub time: LogTime,
    /// Its pid, in the first pid namespace. Where the thread group's leader has ended, that of another thread.
    pub pid: u32,
    /// Its name, at most 15 bytes, as it chose it itself. `None` where the line was cut before it.
    pub name: Option<Vec<u8>>,
    /// The user it ran as, in the first user namespace. From Linux 5.4 (el7 1062, el8 240); from the summary before.
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
    /// How many lines told of it: two for the first victim of a group kill.
    pub lines: u32,
}

/// A line of the oom_reaper, which frees the memory of a victim that has not exited yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReapedProcess {
    /// Its pid; that of a thread where the leader has ended.
    pub pid: u32,
    /// Its name, as it chose it itself.
    pub name: Vec<u8>,
    /// Anonymous memory that is left.
    pub anon_rss: Option<Bytes>,
    /// Mapped file pages that are left.
    pub file_rss: Option<Bytes>,
    /// Shared memory that is left.
    pub shmem_rss: Option<Bytes>,
}

/// Why the kernel panicked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OomPanic {
    /// `vm.panic_on_oom` is 2: whenever memory runs out.
    Compulsory,
    /// `vm.panic_on_oom` is 1: whenever the whole machine's memory runs out.
    SystemWide,
    /// There was nobody to kill.
    NoKillable,
}

/// A kill for want of memory that was not the kernel's OOM killer's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OtherKill {
    /// The number of the log's line, the first being 1.
    pub line: u64,
    /// When it was printed.
    pub time: LogTime,
    /// Who killed.
    pub killer: OtherKiller,
    /// The pid of the victim, where the line tells.
    pub pid: Option<u32>,
    /// What the line says, as printed.
    pub message: Vec<u8>,
}

/// Who kills for want of memory beside the kernel's OOM killer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OtherKiller {
    /// systemd-oomd, by memory pressure or swap use. It kills whole cgroups.
    SystemdOomd,
    /// earlyoom, by free memory and swap.
    Earlyoom,
    /// Android's lowmemorykiller, in the kernel or out of it.
    LowMemoryKiller,
}
