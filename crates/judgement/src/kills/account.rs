//! Accounts: how far a counter of the kernel's is told.
//!
//! A counter is seen to rise, and kills are told. Either comes first, so both are numbers that only grow, and what is
//! open is their difference. In a storm something is always open: to say what has been open for long, an account marks
//! when the counter was seen how high.

use std::collections::VecDeque;
use std::time::Duration;

use reprieve_readings::CgroupPath;

/// A counter as seen, and how much of it is told.
#[derive(Debug, Clone, Default)]
pub(super) struct Account {
    told: u64,
    seen: u64,
    // When the counter was seen how high, for what is not told yet.
    marks: VecDeque<(Duration, u64)>,
}

impl Account {
    /// A finer memory of a storm tells nothing more.
    const MOST_MARKS: usize = 32;

    pub(super) fn told_to(told: u64) -> Self {
        Account { told, seen: told, marks: VecDeque::new() }
    }

    pub(super) fn see(&mut self, count: u64, now: Duration) {
        if count > self.seen.max(self.told) {
            if self.marks.len() >= Self::MOST_MARKS {
                self.marks.pop_back();
            }
            self.marks.push_back((now, count));
        }
        self.seen = count;
    }

    pub(super) fn tell(&mut self, count: u64) {
        self.told = self.told.saturating_add(count);
        while self.marks.pop_front_if(|(_, seen)| *seen <= self.told).is_some() {}
    }

    pub(super) fn told(&self) -> u64 {
        self.told
    }

    /// What was seen and is not told.
    pub(super) fn open(&self) -> u64 {
        self.seen.saturating_sub(self.told)
    }

    /// Whether more is told than was seen.
    pub(super) fn is_ahead(&self) -> bool {
        self.told > self.seen
    }

    /// What of it was seen at `end` or before.
    pub(super) fn open_at(&self, end: Duration) -> u64 {
        let mark = self.marks.iter().rev().find(|(at, _)| *at <= end);
        mark.map_or(0, |(_, seen)| seen.min(&self.seen).saturating_sub(self.told))
    }

    /// Since when something is open.
    pub(super) fn open_since(&self) -> Option<Duration> {
        self.marks.front().map(|(at, _)| *at)
    }

    /// Takes all that is open for told elsewhere.
    pub(super) fn close(&mut self) {
        self.tell(self.open());
    }

    /// Takes what was told and never seen for another's.
    fn retract(&mut self) {
        self.told = self.told.min(self.seen);
    }
}

/// The kills of one cgroup itself.
#[derive(Debug, Clone)]
pub(super) struct CgroupAccount {
    pub(super) path: Option<CgroupPath>,
    pub(super) account: Account,
    // Since when more is told than was seen.
    ahead_since: Option<Duration>,
}

impl CgroupAccount {
    /// A counter that is not this far after so long won't be: the kill was another cgroup's.
    const FORGET_AHEAD: Duration = Duration::from_secs(30);

    pub(super) fn told_to(told: u64) -> Self {
        CgroupAccount { path: None, account: Account::told_to(told), ahead_since: None }
    }

    /// Takes the counter as read.
    pub(super) fn see(&mut self, path: &CgroupPath, kills: u64, now: Duration) {
        if self.path.as_ref() != Some(path) {
            self.path = Some(path.clone());
        }
        self.account.see(kills, now);
        if kills >= self.account.told() {
            self.ahead_since = None;
        } else if now.saturating_sub(*self.ahead_since.get_or_insert(now)) >= Self::FORGET_AHEAD {
            self.account.retract();
            self.ahead_since = None;
        }
    }
}

/// The kills of the whole machine: what all told kills must come to.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeAccount {
    /// `None` where the kernel does not count (before 4.13).
    account: Option<Account>,
    /// What was told since counting began.
    pub(super) rise: u64,
}

impl NodeAccount {
    /// Goes on from what was saved.
    pub(super) fn resumed(told: Option<u64>, rise: u64) -> Self {
        NodeAccount { account: told.map(Account::told_to), rise }
    }

    pub(super) fn see(&mut self, kills: u64, now: Duration) {
        self.account.get_or_insert_with(|| Account::told_to(kills)).see(kills, now);
    }

    pub(super) fn tell(&mut self, count: u64) {
        self.rise = self.rise.saturating_add(count);
        if let Some(account) = &mut self.account {
            account.tell(count);
        }
    }

    pub(super) fn told(&self) -> Option<u64> {
        self.account.as_ref().map(Account::told)
    }

    /// Kills seen and not told; `None` where the kernel does not count them.
    pub(super) fn open(&self) -> Option<u64> {
        self.account.as_ref().map(Account::open)
    }

    /// What of them was seen at `end` or before.
    pub(super) fn open_at(&self, end: Duration) -> u64 {
        self.account.as_ref().map_or(0, |account| account.open_at(end))
    }

    /// Of `count` kills, how many there is room for.
    pub(super) fn room_for(&self, count: u64) -> u64 {
        self.open().map_or(count, |open| open.min(count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_is_open_is_what_was_seen_and_not_told() {
        let mut account = Account::told_to(5);
        account.see(7, at(1));
        account.see(9, at(3));
        assert_eq!((account.open(), account.open_since()), (4, Some(at(1))));
        assert_eq!([0, 1, 2, 3].map(|end| account.open_at(at(end))), [0, 2, 2, 4]);
        account.tell(2);
        assert_eq!((account.open(), account.open_since()), (2, Some(at(3))), "the storm goes on, and this is younger");
        account.tell(3);
        assert_eq!((account.open(), account.open_since()), (0, None), "named before it was counted");
        account.see(10, at(4));
        assert_eq!(account.open(), 0);
    }

    #[test]
    fn a_long_storm_is_remembered_in_bounded_space() {
        let mut account = Account::default();
        for second in 0..1000 {
            account.see(second + 1, at(second));
        }
        assert_eq!(account.marks.len(), Account::MOST_MARKS);
        assert_eq!((account.open_at(at(999)), account.open_at(at(0))), (1000, 1));
    }

    #[test]
    fn what_is_never_counted_was_anothers() {
        let path = CgroupPath::root();
        let mut cgroup = CgroupAccount::told_to(0);
        cgroup.account.tell(1);
        cgroup.see(&path, 0, at(0));
        cgroup.see(&path, 0, at(29));
        assert_eq!(cgroup.account.told(), 1);
        cgroup.see(&path, 0, at(30));
        assert_eq!(cgroup.account.told(), 0);
    }
}
