//! Which kills happened, and who were the victims?
//!
//! Three sources tell of a kill, each in its own way. The machine's counter is the truth of how many there were, also of
//! those in cgroups that nobody has seen. A cgroup's counter says where, until the cgroup is gone. The kernel's log and
//! its tracepoint say who, but can lose records and, in a storm, leave out the cgroup. They arrive in any order. The
//! ledger matches them so that every kill is told exactly once: what is told adds up to the rise of the machine's counter.

mod account;
mod filter;
mod ledger;
mod position;
mod processes;
mod record;
mod saved;
mod settle;
mod tell;
#[cfg(test)]
mod tests;
mod totals;

use std::time::Duration;

use reprieve_readings::{CgroupInode, CgroupPath, OomVictim};

pub use filter::KillFilter;
pub use ledger::KillLedger;
pub use processes::{ProcessTable, SeenProcess, judge_likely_victims};
pub use record::{Identity, KillId, KillRecord, Victim, Visibility};
pub use saved::{LedgerChange, SavedLedger};
pub use settle::{NamelessKills, Progress};
pub use totals::{KillKey, KillPlace, KillTotal, KillTotals};

use crate::first_process::FirstProcess;

/// A victim that the kernel named, with what could be found out of it at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sighting {
    /// The victim.
    pub victim: OomVictim,
    /// Its cgroup, if that is known.
    pub place: Option<Place>,
    /// Whether the cgroup is certain.
    pub place_certain: bool,
    /// What became of the first process of its container.
    pub first_process: FirstProcess,
}

/// The cgroup of a kill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Its path.
    pub path: CgroupPath,
    /// Its inode; `None` where it is gone already, so that no counter of it will ever tell.
    pub inode: Option<CgroupInode>,
}

/// What the ledger has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// A kill; where its number was told before, it takes the place of that one.
    Kill(Box<Kill>),
    /// The kernel counted the victim of this record once more, and named it: if that was only likely, it is sure now.
    CountedAgain(KillId),
    /// One of the kills that this record tells by their number is told by name now.
    OneFewer(KillId),
}

/// Processes that an OOM killer has killed: one that the kernel named, or some that it didn't.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// The number of its record.
    pub id: KillId,
    /// When, since boot: by the kernel's line, or when it was told.
    pub since_boot: Duration,
    /// The number of the line that named it, in the kernel's log.
    pub sequence: Option<u64>,
    /// The victim; `None` where only a counter told.
    pub victim: Option<OomVictim>,
    /// How sure it is who it was.
    pub identity: Identity,
    /// How many were killed: 1 for a named victim.
    pub count: u64,
    /// How many times more the kernel counted them.
    pub repeats: u64,
    /// The cgroup that they were in; `None` where nothing tells.
    pub cgroup: Option<CgroupPath>,
    /// Whether `cgroup` is certain. If not, several cgroups lost processes at once and nothing said which.
    pub cgroup_certain: bool,
    /// What became of the cgroup's first process.
    pub first_process: FirstProcess,
    /// It happened before counting began.
    pub history: bool,
}
