//! The events that tell of kills and of where tasks belong, and how they are read out of records.

use std::time::Duration;

use super::format::EventFormat;
use crate::bytes::Bytes;
use crate::cgroup_path::{CgroupInode, CgroupPath};

/// A tracepoint whose events can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tracepoint {
    /// `oom:mark_victim`.
    MarkVictim,
    /// `cgroup:cgroup_attach_task`.
    CgroupAttachTask,
    /// `task:task_newtask`. It tells what `sched:sched_process_fork` doesn't: whether the new task is a thread, and
    /// whether it began in another cgroup.
    TaskNewtask,
}

/// An event of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceEvent {
    /// When, by the clock of the trace.
    pub time: Duration,
    /// What.
    pub kind: TraceEventKind,
}

/// What happened. Ids of processes and threads are those of the first pid namespace, wherever the reader is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TraceEventKind {
    /// The OOM killer chose a victim.
    MarkVictim(MarkVictim),
    /// A task was moved into a cgroup. Of a process that moves as a whole, only its first thread is told.
    CgroupAttach {
        /// The thread id of the task, which is the pid of a process.
        pid: u32,
        /// The id of the hierarchy, as in `/proc/PID/cgroup`: 0 is that of v2.
        hierarchy: u32,
        /// The path from the root of the hierarchy, whatever cgroup namespace the reader is in. It is cut off after 1023
        /// bytes (`TRACE_CGROUP_PATH_LEN`, kernel/cgroup/cgroup-internal.h, Linux 6.18).
        path: CgroupPath,
        /// The inode of the cgroup's directory. Unknown on kernels whose `dst_id` is a number of another kind, of 32 bits
        /// (before Linux 5.5).
        inode: Option<CgroupInode>,
    },
    /// A task was made.
    Fork {
        /// The thread id of the task that made it.
        parent: u32,
        /// The thread id of the new one, which is its pid unless it is a thread.
        child: u32,
        /// What was made.
        kind: ForkKind,
    },
}

/// What a fork made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ForkKind {
    /// A process, in its parent's cgroup.
    Process,
    /// A thread of its parent's process (`CLONE_THREAD`).
    Thread,
    /// A process that was put into a cgroup of the parent's choice (`CLONE_INTO_CGROUP`, v2 since Linux 5.7). No event
    /// tells into which.
    IntoCgroup,
}

/// A victim of the OOM killer (`mark_oom_victim`, mm/oom_kill.c). Older kernels tell the pid alone; Linux 6.12 and 6.18
/// tell it all, and so does Debian's 6.1.
///
/// The event comes before the victim dies, also where it was dying anyway, and then nothing counts it as a kill: it tells
/// who, not how many. The fields are those of include/trace/events/oom.h, Linux 6.18; sizes are in KiB there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MarkVictim {
    /// The id of the victim's thread that still had memory: its first one, unless that has ended before the others.
    pub pid: u32,
    /// Its name, as it stood in `/proc/PID/comm`.
    pub name: Option<Vec<u8>>,
    /// The user id in the first user namespace.
    pub uid: Option<u32>,
    /// The size of its address space.
    pub total_vm: Option<Bytes>,
    /// Its anonymous memory.
    pub anon_rss: Option<Bytes>,
    /// Its file pages.
    pub file_rss: Option<Bytes>,
    /// Its shared memory.
    pub shmem_rss: Option<Bytes>,
    /// Its page tables.
    pub pgtables: Option<Bytes>,
    /// What its score was adjusted by: −1000 to 1000.
    pub oom_score_adj: Option<i16>,
}

impl MarkVictim {
    /// A victim of which no more than this is known.
    pub fn new(pid: u32, name: Option<Vec<u8>>) -> Self {
        MarkVictim {
            pid,
            name,
            uid: None,
            total_vm: None,
            anon_rss: None,
            file_rss: None,
            shmem_rss: None,
            pgtables: None,
            oom_score_adj: None,
        }
    }
}

impl Tracepoint {
    /// The name of the folder in `events` that holds the event's own.
    pub fn system(self) -> &'static str {
        match self {
            Tracepoint::MarkVictim => "oom",
            Tracepoint::CgroupAttachTask => "cgroup",
            Tracepoint::TaskNewtask => "task",
        }
    }

    /// The event's own name.
    pub fn event(self) -> &'static str {
        match self {
            Tracepoint::MarkVictim => "mark_victim",
            Tracepoint::CgroupAttachTask => "cgroup_attach_task",
            Tracepoint::TaskNewtask => "task_newtask",
        }
    }

    /// The fields without which the event is of no use.
    pub(super) fn required_fields(self) -> &'static [&'static str] {
        match self {
            Tracepoint::MarkVictim => &["pid"],
            Tracepoint::CgroupAttachTask => &["dst_root", "pid", "dst_path"],
            Tracepoint::TaskNewtask => &["common_pid", "pid", "clone_flags"],
        }
    }

    pub(super) fn decode(self, format: &EventFormat, record: &[u8]) -> Option<TraceEventKind> {
        match self {
            Tracepoint::MarkVictim => mark_victim(format, record).map(TraceEventKind::MarkVictim),
            Tracepoint::CgroupAttachTask => Some(TraceEventKind::CgroupAttach {
                pid: task(format, "pid", record)?,
                hierarchy: format.number("dst_root", record)?,
                path: CgroupPath::new(format.text("dst_path", record)?),
                inode: cgroup_inode(format, record),
            }),
            // Whoever runs while the event is recorded is the parent.
            Tracepoint::TaskNewtask => Some(TraceEventKind::Fork {
                parent: task(format, "common_pid", record)?,
                child: task(format, "pid", record)?,
                kind: fork_kind(format.number("clone_flags", record)?),
            }),
        }
    }
}

fn mark_victim(format: &EventFormat, record: &[u8]) -> Option<MarkVictim> {
    let size = |name| format.number(name, record).map(Bytes::from_kib);
    Some(MarkVictim {
        pid: task(format, "pid", record)?,
        name: format.text("comm", record).map(<[u8]>::to_vec),
        uid: format.number("uid", record),
        total_vm: size("total_vm"),
        anon_rss: size("anon_rss"),
        file_rss: size("file_rss"),
        shmem_rss: size("shmem_rss"),
        pgtables: size("pgtables"),
        oom_score_adj: format.number("oom_score_adj", record),
    })
}

fn cgroup_inode(format: &EventFormat, record: &[u8]) -> Option<CgroupInode> {
    format.field("dst_id").filter(|field| field.size == 8)?;
    format.number("dst_id", record).map(CgroupInode)
}

fn task(format: &EventFormat, name: &str, record: &[u8]) -> Option<u32> {
    format.number(name, record).filter(|&id| id != 0)
}

fn fork_kind(clone_flags: u64) -> ForkKind {
    const CLONE_THREAD: u64 = 0x1_0000;
    const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;
    if clone_flags & CLONE_THREAD != 0 {
        ForkKind::Thread
    } else if clone_flags & CLONE_INTO_CGROUP != 0 {
        ForkKind::IntoCgroup
    } else {
        ForkKind::Process
    }
}
