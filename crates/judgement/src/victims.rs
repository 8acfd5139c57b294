//! Which processes of a container were killed, where only a counter tells of it?
//!
//! Inside a container there is no kernel log, only the number of kills. Its first process knows more: it lets go of its
//! children that ended by SIGKILL, and sees in the process table who is dying and who is gone. The number is what counts:
//! as many kills are told as were counted, each with the best evidence there is. A child that ended by SIGKILL without a
//! count was killed by somebody else.
//!
//! Nothing here allocates when a child is reported, since that happens while memory is short.

use std::time::Duration;

use reprieve_readings::{Bytes, ProcessName};

/// A child's end and the count of it are at most so far apart.
const TOGETHER: Duration = Duration::from_secs(1);
/// For how long a count waits for somebody to be found, until it is told by the table or without a name.
const PATIENCE: Duration = Duration::from_millis(300);
/// How many children are remembered. More kills than that at once are told without names.
const REMEMBERED: usize = 32;

/// A process that may have been the victim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Suspect {
    /// Its pid, as the container sees it.
    pub pid: u32,
    /// Its name.
    pub name: ProcessName,
    /// What it had in memory, when it was last seen alive.
    pub resident: Option<Bytes>,
}

/// How it is known who was killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// It was a child, and ended by SIGKILL.
    Reaped,
    /// It is in the process table, with a SIGKILL on its way or already ended.
    Dying,
    /// It was in the process table before the kill, and is no more.
    Gone,
}

/// One kill, and who it was if that is known.
pub type ContainerKill = Option<(Suspect, Evidence)>;

/// Matches kills that were counted with processes.
#[derive(Debug, Clone, Default)]
pub struct VictimFinder {
    counted: Option<u64>,
    owed: u64,
    owed_since: Duration,
    reaped: [Option<(Suspect, Duration)>; REMEMBERED],
    next_reaped: usize,
    told: [u32; REMEMBERED],
    next_told: usize,
}

impl VictimFinder {
    /// Takes the counter. The first one is where counting begins.
    pub fn count(&mut self, kills: u64, now: Duration) {
        let before = self.counted.replace(kills).unwrap_or(kills);
        let more = kills.saturating_sub(before);
        if more > 0 && self.owed == 0 {
            self.owed_since = now;
        }
        self.owed = self.owed.saturating_add(more);
    }

    /// Takes a child that ended by SIGKILL.
    pub fn reaped(&mut self, suspect: Suspect, now: Duration) {
        // Told while it was dying.
        if let Some(told) = self.told.iter_mut().find(|told| **told == suspect.pid) {
            *told = 0;
            return;
        }
        if let Some(place) = self.reaped.get_mut(self.next_reaped) {
            *place = Some((suspect, now));
        }
        self.next_reaped = (self.next_reaped + 1) % REMEMBERED;
    }

    /// How many kills were counted and not told.
    pub fn owed(&self) -> u64 {
        self.owed
    }

    /// Until when a kill that was counted waits for its victim to be found.
    pub fn deadline(&self) -> Option<Duration> {
        (self.owed > 0).then(|| self.owed_since.saturating_add(PATIENCE))
    }

    /// The next kill to tell. `dying` and `gone` are what the process table shows now; of the gone ones the largest is
    /// taken first. `None` where nothing is owed, or waiting may still bring the name.
    pub fn next_kill(&mut self, now: Duration, dying: &[Suspect], gone: &[Suspect]) -> Option<ContainerKill> {
        if self.owed == 0 {
            return None;
        }
        let kill = self.reaped_lately(now).or_else(|| self.untold(dying).map(|suspect| (suspect, Evidence::Dying)));
        let kill = match kill {
            Some(kill) => Some(kill),
            None if self.deadline().is_some_and(|deadline| now >= deadline) => {
                self.untold(gone).map(|suspect| (suspect, Evidence::Gone))
            }
            None => return None,
        };
        self.owed -= 1;
        if let Some((suspect, Evidence::Dying | Evidence::Gone)) = kill {
            self.remember_told(suspect.pid);
        }
        Some(kill)
    }

    fn reaped_lately(&mut self, now: Duration) -> Option<(Suspect, Evidence)> {
        let is_recent = |at: Duration| now.saturating_sub(at) <= TOGETHER;
        let recent = self.reaped.iter_mut().filter(|place| place.is_some_and(|(_, at)| is_recent(at)));
        let oldest = recent.min_by_key(|place| place.map(|(_, at)| at))?;
        oldest.take().map(|(suspect, _)| (suspect, Evidence::Reaped))
    }

    fn untold(&self, suspects: &[Suspect]) -> Option<Suspect> {
        let untold = suspects.iter().filter(|suspect| !self.told.contains(&suspect.pid));
        untold.max_by_key(|suspect| suspect.resident).copied()
    }

    fn remember_told(&mut self, pid: u32) {
        if let Some(place) = self.told.get_mut(self.next_told) {
            *place = pid;
        }
        self.next_told = (self.next_told + 1) % REMEMBERED;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn suspect(pid: u32, mib: u64) -> Suspect {
        Suspect { pid, name: ProcessName::new(b"worker"), resident: Some(Bytes::from_mib(mib)) }
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// A finder that began with 7 kills and has now counted so many more, at second 10.
    fn finder(more: u64) -> VictimFinder {
        let mut finder = VictimFinder::default();
        finder.count(7, ms(0));
        finder.count(7 + more, ms(10_000));
        finder
    }

    #[test]
    fn a_child_is_named_whether_it_is_let_go_of_before_or_after_the_count() {
        let mut early = VictimFinder::default();
        early.count(0, ms(0));
        early.reaped(suspect(5, 1), ms(9_900));
        assert_eq!(early.next_kill(ms(9_900), &[], &[]), None);
        early.count(1, ms(10_000));
        assert_eq!(early.next_kill(ms(10_000), &[], &[]), Some(Some((suspect(5, 1), Evidence::Reaped))));
        assert_eq!(early.next_kill(ms(10_000), &[], &[]), None);

        let mut late = finder(1);
        assert_eq!(late.next_kill(ms(10_000), &[], &[]), None);
        late.reaped(suspect(5, 1), ms(10_100));
        assert_eq!(late.next_kill(ms(10_100), &[], &[]), Some(Some((suspect(5, 1), Evidence::Reaped))));
    }

    #[test]
    fn a_kill_by_somebody_else_is_not_told() {
        let mut finder = finder(0);
        finder.reaped(suspect(5, 1), ms(10_000));
        assert_eq!(finder.next_kill(ms(10_000), &[suspect(6, 1)], &[]), None);
        // Nor is it taken for the victim of a later one.
        finder.count(8, ms(12_000));
        assert_eq!(finder.next_kill(ms(12_400), &[], &[]), Some(None));
    }

    #[test]
    fn who_is_dying_is_told_once() {
        let mut finder = finder(1);
        assert_eq!(finder.next_kill(ms(10_001), &[suspect(5, 1)], &[]), Some(Some((suspect(5, 1), Evidence::Dying))));
        finder.reaped(suspect(5, 0), ms(10_050));
        finder.count(9, ms(10_060));
        assert_eq!(finder.next_kill(ms(10_060), &[], &[]), None, "the child's end is that of the first kill");
        assert_eq!(finder.next_kill(ms(10_400), &[], &[]), Some(None));
    }

    #[test]
    fn the_largest_that_is_gone_is_told_when_nothing_better_comes() {
        let mut finder = finder(2);
        let gone = [suspect(4, 1), suspect(5, 30), suspect(6, 2)];
        assert_eq!(finder.next_kill(ms(10_299), &[], &gone), None);
        assert_eq!(finder.next_kill(ms(10_300), &[], &gone), Some(Some((suspect(5, 30), Evidence::Gone))));
        assert_eq!(finder.next_kill(ms(10_300), &[], &gone), Some(Some((suspect(6, 2), Evidence::Gone))));
        assert_eq!(finder.next_kill(ms(10_300), &[], &gone), None);
    }

    proptest! {
        /// As many are told as were counted, and nobody twice.
        #[test]
        fn what_is_told_adds_up(steps in prop::collection::vec((0..3_u64, 0..4_u32, 0..200_u64), 0..100)) {
            let mut finder = VictimFinder::default();
            finder.count(0, ms(0));
            let (mut counted, mut told, mut now, mut pid) = (0, 0, 0, 1);
            let mut named = std::collections::HashSet::new();
            for (kills, children, after) in steps {
                now += after;
                counted += kills;
                finder.count(counted, ms(now));
                for _ in 0..children {
                    pid += 1;
                    finder.reaped(suspect(pid, 1), ms(now));
                }
                while let Some(kill) = finder.next_kill(ms(now), &[suspect(pid + 1000, 1)], &[]) {
                    told += 1;
                    if let Some((suspect, Evidence::Reaped)) = kill {
                        prop_assert!(named.insert(suspect.pid));
                    }
                }
            }
            while finder.next_kill(ms(now + 1000), &[], &[]).is_some() {
                told += 1;
            }
            prop_assert_eq!(told, counted);
        }
    }
}
