//! Which kills happened, and who were the victims?
//!
//! Two sources tell of a kill. The counter of the victim's cgroup is the truth of how many; the kernel's log says who,
//! but can lose records and, in a storm, leaves out the cgroup. The ledger matches them: every rise of a counter is told
//! exactly once, with a victim if the log named one. They arrive in either order, so each waits a little for the other.

mod filter;
mod record;
mod saved;
mod totals;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use reprieve_readings::{CgroupInode, CgroupPath, OomVictim};

pub use filter::KillFilter;
pub use record::{Identity, KillId, KillRecord, Victim, Visibility};
pub use saved::{LedgerChange, SavedLedger};
pub use totals::{KillKey, KillPlace, KillTotal, KillTotals};

use crate::first_process::FirstProcess;

/// Processes that an OOM killer has killed: one that the kernel's log named, or some that it didn't.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kill {
    /// The victim; `None` where only the counter told.
    pub victim: Option<OomVictim>,
    /// How many were killed: 1 for a named victim.
    pub count: u64,
    /// The cgroup that they were in; `None` where neither log nor process table nor a counter tells.
    pub cgroup: Option<CgroupPath>,
    /// Whether `cgroup` is certain. If not, several cgroups lost processes at once and the log did not say which.
    pub cgroup_certain: bool,
    /// What became of the cgroup's first process.
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

/// What is known of all kills so far. Times are those of one monotonic clock.
#[derive(Debug)]
pub struct KillLedger {
    patience: Duration,
    counted: HashMap<CgroupInode, u64>,
    // Named by the log, not yet seen in the counter.
    uncounted: HashMap<CgroupInode, Uncounted>,
    // Seen in a counter, not yet named.
    unnamed: VecDeque<Rise>,
    // Named by the log without a cgroup.
    unplaced: VecDeque<Unplaced>,
}

#[derive(Debug)]
struct Uncounted {
    count: u64,
    since: Duration,
}

#[derive(Debug)]
struct Rise {
    cgroup: Place,
    count: u64,
    since: Duration,
}

#[derive(Debug)]
struct Unplaced {
    victim: OomVictim,
    first_process: FirstProcess,
    since: Duration,
}

impl KillLedger {
    /// A counter that has not risen after so long won't: its cgroup is gone, or its kernel doesn't count.
    const FORGET_UNCOUNTED: Duration = Duration::from_secs(30);

    /// An empty ledger. A rise waits at most `patience` for its victim's name, and a name for its cgroup.
    pub fn new(patience: Duration) -> Self {
        KillLedger {
            patience,
            counted: HashMap::new(),
            uncounted: HashMap::new(),
            unnamed: VecDeque::new(),
            unplaced: VecDeque::new(),
        }
    }

    /// Takes a counter as it stood when watching began: kills before that are history.
    pub fn begin(&mut self, cgroup: CgroupInode, kills: u64) {
        self.counted.insert(cgroup, kills);
        // What the log named before is in that count.
        self.uncounted.remove(&cgroup);
    }

    /// Takes the counter of a cgroup. One that was not there before starts from zero.
    pub fn count(&mut self, cgroup: CgroupInode, path: &CgroupPath, kills: u64, now: Duration) {
        let before = self.counted.insert(cgroup, kills).unwrap_or(0);
        let rise = kills.saturating_sub(before);
        let unnamed = rise - self.take_uncounted(cgroup, rise);
        if unnamed > 0 {
            let cgroup = Place { path: path.clone(), inode: Some(cgroup) };
            self.unnamed.push_back(Rise { cgroup, count: unnamed, since: now });
        }
    }

    /// Takes a victim that the kernel's log named, and tells the kill at once if its cgroup is known.
    ///
    /// The kernel prints, and counts, the first victim of a group kill twice: the second line only balances the counter.
    pub fn name(
        &mut self,
        victim: OomVictim,
        cgroup: Option<Place>,
        first_process: FirstProcess,
        now: Duration,
    ) -> Option<Kill> {
        let unplaced = Unplaced { victim, first_process, since: now };
        let Some(cgroup) = cgroup else {
            self.unplaced.push_back(unplaced);
            return None;
        };
        if let Some(inode) = cgroup.inode
            && !self.take_unnamed(inode)
        {
            let uncounted = self.uncounted.entry(inode).or_insert(Uncounted { count: 0, since: now });
            uncounted.count += 1;
            uncounted.since = now;
        }
        unplaced.told(Some(cgroup.path), true)
    }

    /// Forgets a cgroup that is gone. What its counter had not told yet, it never will.
    pub fn forget(&mut self, cgroup: CgroupInode) {
        self.counted.remove(&cgroup);
        self.uncounted.remove(&cgroup);
    }

    /// Matches victims without a cgroup with rises without a victim, and tells what has waited long enough.
    /// To be called after counters were taken.
    pub fn settle(&mut self, now: Duration) -> Vec<Kill> {
        let mut told = Vec::new();
        self.place(&mut told);
        while let Some(rise) = self.unnamed.pop_front_if(|rise| now.saturating_sub(rise.since) >= self.patience) {
            told.push(Kill {
                victim: None,
                count: rise.count,
                cgroup: Some(rise.cgroup.path),
                cgroup_certain: true,
                first_process: FirstProcess::Unknown,
            });
        }
        while let Some(unplaced) =
            self.unplaced.pop_front_if(|victim| now.saturating_sub(victim.since) >= self.patience)
        {
            told.extend(unplaced.told(None, false));
        }
        self.uncounted.retain(|_, uncounted| now.saturating_sub(uncounted.since) < Self::FORGET_UNCOUNTED);
        told
    }

    /// Whether something waits for `settle`.
    pub fn is_waiting(&self) -> bool {
        !self.unnamed.is_empty() || !self.unplaced.is_empty()
    }

    /// Gives victims without a cgroup to rises without a victim, oldest to oldest. It is certain if all rises are of one
    /// cgroup and are as many as the victims.
    fn place(&mut self, told: &mut Vec<Kill>) {
        let mut cgroups = self.unnamed.iter().map(|rise| &rise.cgroup);
        let first = cgroups.next();
        let of_one = cgroups.all(|cgroup| Some(cgroup) == first);
        let rises: u64 = self.unnamed.iter().map(|rise| rise.count).sum();
        let certain = of_one && rises == self.unplaced.len() as u64;
        while let Some(rise) = self.unnamed.front_mut() {
            let Some(unplaced) = self.unplaced.pop_front() else { break };
            told.extend(unplaced.told(Some(rise.cgroup.path.clone()), certain));
            rise.count -= 1;
            if rise.count == 0 {
                self.unnamed.pop_front();
            }
        }
    }

    /// Takes up to `most` named kills that wait for this counter; says how many there were.
    fn take_uncounted(&mut self, cgroup: CgroupInode, most: u64) -> u64 {
        let Some(uncounted) = self.uncounted.get_mut(&cgroup) else { return 0 };
        let taken = uncounted.count.min(most);
        uncounted.count -= taken;
        if uncounted.count == 0 {
            self.uncounted.remove(&cgroup);
        }
        taken
    }

    /// Takes one counted kill of this cgroup that waits for a name; says whether there was one.
    fn take_unnamed(&mut self, cgroup: CgroupInode) -> bool {
        let of_cgroup = |rise: &Rise| rise.cgroup.inode == Some(cgroup);
        let Some(index) = self.unnamed.iter().position(of_cgroup) else { return false };
        if let Some(rise) = self.unnamed.get_mut(index) {
            rise.count -= 1;
            if rise.count == 0 {
                self.unnamed.remove(index);
            }
        }
        true
    }
}

impl Unplaced {
    fn told(self, cgroup: Option<CgroupPath>, cgroup_certain: bool) -> Option<Kill> {
        let Unplaced { victim, first_process, .. } = self;
        (!victim.repeat).then_some(Kill { victim: Some(victim), count: 1, cgroup, cgroup_certain, first_process })
    }
}

#[cfg(test)]
mod tests;
