//! Which kills happened, and who were the victims?
//!
//! Two sources tell of a kill. The counter of the victim's cgroup is the truth of how many; the kernel's log says who,
//! but can lose records and, in a storm, leaves out the cgroup. The ledger matches them: every rise of a counter is told
//! exactly once, with a victim if the log named one. They arrive in either order, so each waits a little for the other.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use reprieve_readings::{CgroupPath, OomVictim};

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

/// What is known of all kills so far. Times are those of one monotonic clock.
#[derive(Debug)]
pub struct KillLedger {
    patience: Duration,
    counted: HashMap<CgroupPath, u64>,
    // Named by the log, not yet seen in the counter.
    uncounted: HashMap<CgroupPath, Uncounted>,
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
    cgroup: CgroupPath,
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

    /// An empty ledger. A rise waits at most `patience` for its victim's name, and a name for its cgroup: nothing, where
    /// the kernel's log can't be read.
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
    pub fn begin(&mut self, cgroup: &CgroupPath, kills: u64) {
        self.counted.insert(cgroup.clone(), kills);
    }

    /// Takes the counter of a cgroup. One that was not there before starts from zero.
    pub fn count(&mut self, cgroup: &CgroupPath, kills: u64, now: Duration) {
        let before = match self.counted.get_mut(cgroup) {
            Some(counted) => std::mem::replace(counted, kills),
            None => {
                self.counted.insert(cgroup.clone(), kills);
                0
            }
        };
        // Counters only rise, so a smaller one belongs to a new cgroup of the same name.
        let rise = if kills >= before { kills - before } else { kills };
        let unnamed = rise - self.take_uncounted(cgroup, rise);
        if unnamed > 0 {
            self.unnamed.push_back(Rise { cgroup: cgroup.clone(), count: unnamed, since: now });
        }
    }

    /// Takes a victim that the kernel's log named, and tells the kill at once if its cgroup is known.
    ///
    /// The kernel prints, and counts, the first victim of a group kill twice: the second line only balances the counter.
    pub fn name(
        &mut self,
        victim: OomVictim,
        cgroup: Option<CgroupPath>,
        first_process: FirstProcess,
        now: Duration,
    ) -> Option<Kill> {
        let Some(cgroup) = cgroup else {
            self.unplaced.push_back(Unplaced { victim, first_process, since: now });
            return None;
        };
        if !self.take_unnamed(&cgroup) {
            let uncounted = self.uncounted.entry(cgroup.clone()).or_insert(Uncounted { count: 0, since: now });
            uncounted.count += 1;
            uncounted.since = now;
        }
        if victim.repeat {
            return None;
        }
        Some(Kill { victim: Some(victim), count: 1, cgroup: Some(cgroup), cgroup_certain: true, first_process })
    }

    /// Forgets a cgroup that is gone. What its counter had not told yet, it never will.
    pub fn forget(&mut self, cgroup: &CgroupPath) {
        self.counted.remove(cgroup);
        self.uncounted.remove(cgroup);
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
                cgroup: Some(rise.cgroup),
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
    /// cgroup.
    fn place(&mut self, told: &mut Vec<Kill>) {
        let mut cgroups = self.unnamed.iter().map(|rise| &rise.cgroup);
        let first = cgroups.next();
        let certain = cgroups.all(|cgroup| Some(cgroup) == first);
        while let Some(rise) = self.unnamed.front_mut() {
            let Some(unplaced) = self.unplaced.pop_front() else { break };
            told.extend(unplaced.told(Some(rise.cgroup.clone()), certain));
            rise.count -= 1;
            if rise.count == 0 {
                self.unnamed.pop_front();
            }
        }
    }

    /// Takes up to `most` named kills that wait for this counter; says how many there were.
    fn take_uncounted(&mut self, cgroup: &CgroupPath, most: u64) -> u64 {
        let Some(uncounted) = self.uncounted.get_mut(cgroup) else { return 0 };
        let taken = uncounted.count.min(most);
        uncounted.count -= taken;
        if uncounted.count == 0 {
            self.uncounted.remove(cgroup);
        }
        taken
    }

    /// Takes one counted kill of this cgroup that waits for a name; says whether there was one.
    fn take_unnamed(&mut self, cgroup: &CgroupPath) -> bool {
        let Some(index) = self.unnamed.iter().position(|rise| rise.cgroup == *cgroup) else { return false };
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
mod tests {
    use proptest::prelude::*;
    use reprieve_readings::OomReport;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(2);

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn cgroup(name: &str) -> CgroupPath {
        CgroupPath::new(name.as_bytes())
    }

    fn victim(pid: u32) -> OomVictim {
        OomVictim {
            sequence: 0,
            since_boot: Duration::ZERO,
            pid,
            name: b"hog".to_vec(),
            uid: None,
            total_vm: None,
            anon_rss: None,
            file_rss: None,
            shmem_rss: None,
            pgtables: None,
            oom_score_adj: None,
            scope: None,
            oom_group: None,
            repeat: false,
            report: OomReport::default(),
        }
    }

    fn name(ledger: &mut KillLedger, pid: u32, path: Option<&str>, now: u64) -> Option<Kill> {
        ledger.name(victim(pid), path.map(cgroup), FirstProcess::Survived, at(now))
    }

    /// What was told, short: pid and cgroup, or `count` and cgroup.
    fn short(kills: &[Kill]) -> Vec<String> {
        kills
            .iter()
            .map(|kill| {
                let who = kill.victim.as_ref().map_or(format!("{}x", kill.count), |victim| victim.pid.to_string());
                let place = kill.cgroup.as_ref().map_or("?".into(), ToString::to_string);
                format!("{who} {place}{}", if kill.cgroup_certain { "" } else { "?" })
            })
            .collect()
    }

    #[test]
    fn a_kill_is_told_once_whichever_source_comes_first() {
        let mut ledger = KillLedger::new(PATIENCE);
        ledger.begin(&cgroup("/a"), 5);
        assert!(name(&mut ledger, 1, Some("/a"), 0).is_some());
        ledger.count(&cgroup("/a"), 6, at(1));
        assert_eq!(short(&ledger.settle(at(100))), [""; 0], "named first, counted later");

        ledger.count(&cgroup("/a"), 7, at(101));
        assert_eq!(short(&ledger.settle(at(101))), [""; 0], "it may still be named");
        assert!(name(&mut ledger, 2, Some("/a"), 102).is_some());
        assert_eq!(short(&ledger.settle(at(200))), [""; 0], "counted first, named later");
    }

    #[test]
    fn what_nobody_names_is_told_by_its_count() {
        let mut ledger = KillLedger::new(PATIENCE);
        ledger.begin(&cgroup("/a"), 5);
        ledger.count(&cgroup("/a"), 8, at(1));
        ledger.count(&cgroup("/new"), 1, at(1));
        assert_eq!(short(&ledger.settle(at(2))), [""; 0]);
        assert_eq!(short(&ledger.settle(at(3))), ["3x /a", "1x /new"]);
        assert!(!ledger.is_waiting());
    }

    #[test]
    fn history_is_not_told() {
        let mut ledger = KillLedger::new(PATIENCE);
        ledger.begin(&cgroup("/a"), 5);
        ledger.count(&cgroup("/a"), 5, at(1));
        assert_eq!(short(&ledger.settle(at(100))), [""; 0]);
    }

    #[test]
    fn a_smaller_counter_is_a_new_cgroup_s() {
        let mut ledger = KillLedger::new(Duration::ZERO);
        ledger.begin(&cgroup("/a"), 5);
        ledger.count(&cgroup("/a"), 2, at(1));
        assert_eq!(short(&ledger.settle(at(1))), ["2x /a"]);
        ledger.forget(&cgroup("/a"));
        ledger.count(&cgroup("/a"), 2, at(2));
        assert_eq!(short(&ledger.settle(at(2))), ["2x /a"]);
    }

    #[test]
    fn a_victim_without_a_cgroup_goes_to_the_counter_that_rose() {
        let mut ledger = KillLedger::new(PATIENCE);
        assert_eq!(name(&mut ledger, 7, None, 0), None);
        ledger.count(&cgroup("/a"), 1, at(1));
        assert_eq!(short(&ledger.settle(at(1))), ["7 /a"]);

        name(&mut ledger, 8, None, 2);
        name(&mut ledger, 9, None, 2);
        ledger.count(&cgroup("/a"), 2, at(3));
        ledger.count(&cgroup("/b"), 1, at(3));
        assert_eq!(short(&ledger.settle(at(3))), ["8 /a?", "9 /b?"], "which is which can't be told");

        name(&mut ledger, 10, None, 4);
        assert_eq!(short(&ledger.settle(at(5))), [""; 0]);
        assert_eq!(short(&ledger.settle(at(6))), ["10 ??"], "no counter rose");
    }

    #[test]
    fn the_second_line_of_a_group_kill_balances_the_counter_only() {
        let mut ledger = KillLedger::new(PATIENCE);
        assert!(name(&mut ledger, 1, Some("/a"), 0).is_some());
        let again = OomVictim { repeat: true, ..victim(1) };
        assert_eq!(ledger.name(again, Some(cgroup("/a")), FirstProcess::Killed, at(0)), None);
        ledger.count(&cgroup("/a"), 2, at(1));
        assert_eq!(short(&ledger.settle(at(100))), [""; 0]);
    }

    fn steps() -> impl Strategy<Value = Vec<(bool, bool)>> {
        prop::collection::vec((any::<bool>(), any::<bool>()), 0..40)
    }

    proptest! {
        /// Kills happen in two cgroups, each is both counted and named, in any order within the patience: every victim
        /// is told once, by name, in its own cgroup.
        #[test]
        fn every_kill_is_told_by_name_exactly_once(kills in steps()) {
            let mut ledger = KillLedger::new(PATIENCE);
            let mut counters = [0_u64; 2];
            let mut told = Vec::new();
            for (number, &(second_cgroup, name_first)) in kills.iter().enumerate() {
                let which = usize::from(second_cgroup);
                let path = ["/a", "/b"][which];
                counters[which] += 1;
                if name_first {
                    told.extend(name(&mut ledger, number as u32, Some(path), 0));
                }
                ledger.count(&cgroup(path), counters[which], at(0));
                if !name_first {
                    told.extend(name(&mut ledger, number as u32, Some(path), 0));
                }
                told.extend(ledger.settle(at(0)));
            }
            told.extend(ledger.settle(at(100)));
            prop_assert_eq!(told.len(), kills.len());
            for (number, (second_cgroup, _)) in kills.iter().enumerate() {
                let expected = format!("{number} {}", if *second_cgroup { "/b" } else { "/a" });
                prop_assert!(short(&told).contains(&expected));
            }
        }

        /// The log loses any of the names: what is told still adds up to the counters.
        #[test]
        fn counts_add_up_whatever_the_log_loses(kills in steps()) {
            let mut ledger = KillLedger::new(PATIENCE);
            let mut told = Vec::new();
            for (number, (named, placed)) in kills.iter().enumerate() {
                let now = at(number as u64);
                if *named {
                    told.extend(name(&mut ledger, number as u32, placed.then_some("/a"), number as u64));
                }
                ledger.count(&cgroup("/a"), number as u64 + 1, now);
                told.extend(ledger.settle(now));
            }
            told.extend(ledger.settle(at(1000)));
            prop_assert_eq!(told.iter().map(|kill| kill.count).sum::<u64>(), kills.len() as u64);
        }
    }
}
