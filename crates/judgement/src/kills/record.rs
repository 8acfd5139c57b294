//! One entry of the ledger: kills that can't be told apart, mostly a single one, with all that is known of them.

use std::time::Duration;

use reprieve_readings::{BootId, Bytes, CgroupPath, Limit, OomTrigger, Owner};

use crate::{FirstProcess, OomKind};

/// The number of a record in the ledger. Grows by one from 1 on and is never given twice, also over restarts and boots.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KillId(pub u64);

/// Processes that the kernel's OOM killer has killed: one, or several where nothing tells them apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KillRecord {
    /// Its number.
    pub id: KillId,
    /// The boot of the machine in which it happened.
    pub boot: BootId,
    /// When, since that boot: the time of the kernel's own line, as `dmesg` prints it. Without a line, when the kill was
    /// noticed, by CLOCK_MONOTONIC. Both stand still while the machine sleeps, and neither jumps: this orders kills.
    pub since_boot: Duration,
    /// The same by the machine's wall clock as it stood when it was told, since 1970. That clock may jump: for people to
    /// read.
    pub killed_at: Duration,
    /// The number of the kernel's line in its log, where a line told.
    pub sequence: Option<u64>,
    /// It happened before counting began, and was found in the kernel's log: it is in no total.
    pub history: bool,
    /// How many processes were killed: 1 where there is a victim.
    pub count: u64,
    /// How many times more the kernel counted them: of a group kill it counts the first victim twice.
    pub repeats: u64,
    /// The victim; `None` where nothing tells who it was.
    pub victim: Option<Victim>,
    /// How sure it is who the victim was.
    pub identity: Identity,
    /// The cgroup that they were in; `None` where nothing tells.
    pub cgroup: Option<CgroupPath>,
    /// Whether `cgroup` is certain. If not, it is likely: several cgroups lost processes at once, and nothing said which.
    pub cgroup_certain: bool,
    /// Whose memory had run out.
    pub kind: OomKind,
    /// The cgroup that was killed as a whole (`memory.oom.group`), where the kernel says so.
    pub whole_cgroup: Option<CgroupPath>,
    /// The cgroup whose limit was hit, if it was a cgroup's.
    pub limited_cgroup: Option<CgroupPath>,
    /// That cgroup's limit.
    pub limit: Option<Limit>,
    /// The memory charged to that cgroup when the limit was hit, if the kernel's report tells.
    pub usage: Option<Bytes>,
    /// The memory charged to it right after the kill, where the report is missing.
    pub usage_after: Option<Bytes>,
    /// The allocation that could not be served.
    pub trigger: Option<OomTrigger>,
    /// What became of the first process of the container: if it survived, Kubernetes is told nothing.
    pub first_process: FirstProcess,
}

impl KillRecord {
    /// By how much the machine's count of kills (`oom_kill` of `/proc/vmstat`) rose by them.
    pub fn counted(&self) -> u64 {
        if self.history { 0 } else { self.count.saturating_add(self.repeats) }
    }

    /// Whose cgroup it was, as far as its path tells.
    pub fn owner(&self) -> Owner {
        self.cgroup.as_ref().map(Owner::of).unwrap_or_default()
    }

    /// Whether Kubernetes can see it.
    pub fn visibility(&self) -> Visibility {
        Visibility::of(self.first_process)
    }
}

/// How sure it is who a victim was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Identity {
    /// The kernel named it.
    Exact,
    /// It vanished from a cgroup in which the kernel killed, or the kernel marked it and could have meant another kill.
    Likely,
    /// Nothing tells.
    Unknown,
}

impl Identity {
    /// How it is written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Identity::Exact => "exact",
            Identity::Likely => "likely",
            Identity::Unknown => "unknown",
        }
    }
}

/// Whether Kubernetes can see a kill: it reports one only when a container's first process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Visibility {
    /// The first process died.
    Visible,
    /// The first process lives on.
    Invisible,
    /// It can't be told.
    Unknown,
}

impl Visibility {
    /// Every visibility.
    pub const ALL: [Visibility; 3] = [Visibility::Visible, Visibility::Invisible, Visibility::Unknown];

    /// What follows from the fate of the first process.
    pub fn of(first_process: FirstProcess) -> Self {
        match first_process {
            FirstProcess::Survived => Visibility::Invisible,
            FirstProcess::Killed => Visibility::Visible,
            FirstProcess::Unknown => Visibility::Unknown,
        }
    }

    /// How it is written in JSON and in labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Visibility::Visible => "visible",
            Visibility::Invisible => "invisible",
            Visibility::Unknown => "unknown",
        }
    }
}

/// A process that was killed. All but pid and name can be missing: kernels tell more or less, and lose records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Victim {
    /// Its pid, in the first pid namespace.
    pub pid: u32,
    /// Its name, at most 15 bytes, as it chose it itself.
    pub name: Vec<u8>,
    /// Its arguments as last seen, separated by blanks and cut to a bounded length.
    pub command_line: Option<Vec<u8>>,
    /// The user it ran as, in the first user namespace.
    pub uid: Option<u32>,
    /// The size of its address space.
    pub total_vm: Option<Bytes>,
    /// Anonymous memory in RAM.
    pub anon_rss: Option<Bytes>,
    /// Mapped file pages in RAM.
    pub file_rss: Option<Bytes>,
    /// Shared memory and tmpfs in RAM.
    pub shmem_rss: Option<Bytes>,
    /// Page tables.
    pub pgtables: Option<Bytes>,
    /// How much its owner wanted it killed, from −1000 to 1000.
    pub oom_score_adj: Option<i16>,
}
