//! What the ledger tells after a while: names find their cgroups, and what nothing names is told by its number.

use std::time::Duration;

use reprieve_readings::CgroupInode;

use super::account::CgroupAccount;
use super::ledger::{KillLedger, Named, Unnamed};
use super::{Place, Told};

/// How far the sources were read when the ledger settles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The kernel's log was read to its end: whoever is not named now was not when the counters were read.
    pub log_read: bool,
    /// When the last whole scan of the cgroups began: one that rose before is known by now. `None` where there was none.
    pub scan_began: Option<Duration>,
}

/// Kills that a cgroup has counted and nothing has named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NamelessKills {
    /// The cgroup.
    pub cgroup: CgroupInode,
    /// How many.
    pub kills: u64,
    /// When the first of them was seen.
    pub since: Duration,
}

/// A cgroup in which kills are open.
struct OpenCgroup {
    inode: CgroupInode,
    since: Duration,
    open: u64,
}

impl KillLedger {
    /// Matches victims without a cgroup with rises without a victim, and tells what has waited long enough.
    /// To be called after the counters, and last the machine's, were taken.
    pub fn settle(&mut self, progress: Progress, now: Duration) -> Vec<Told> {
        let mut told = Vec::new();
        self.place(now, &mut told);
        if !progress.log_read {
            return told;
        }
        // Before that, names are still to come.
        let Some(end) = now.checked_sub(self.patience) else { return told };
        self.name_marked(end, &mut told);
        self.place(now, &mut told);
        self.tell_open_cgroups(end, now, &mut told);
        if let Some(began) = progress.scan_began {
            self.tell_unplaced(end.min(began), &mut told);
        }
        self.tell_rest(end, progress, now, &mut told);
        self.marked.retain(|marked| marked.since.saturating_add(self.patience * 4) > now);
        told
    }

    /// Whether kills wait for a scan: they were named or counted a while ago, and no cgroup that is known counted them.
    pub fn wants_scan(&self, now: Duration) -> bool {
        let Some(end) = now.checked_sub(self.patience) else { return false };
        self.unplaced.front().is_some_and(|named| named.since <= end) || self.unaccounted(end) > 0
    }

    /// The cgroups in which kills wait for a name and the log has had some time to give it: whoever has vanished from there
    /// is a likely victim, see [`mark`](Self::mark).
    pub fn nameless(&self, now: Duration) -> Vec<NamelessKills> {
        let Some(end) = now.checked_sub(self.patience / 2) else { return Vec::new() };
        let waiting = |(&cgroup, known): (&CgroupInode, &CgroupAccount)| {
            let since = known.account.open_since()?;
            Some(NamelessKills { cgroup, kills: known.account.open_at(end), since })
        };
        self.cgroups.iter().filter_map(waiting).filter(|waiting| waiting.kills > 0).collect()
    }

    /// Gives victims without a cgroup to cgroups with open kills, oldest to oldest: at once where all kills are accounted
    /// for by both, so that waiting tells nothing more; else when one has waited long enough. It is certain if all are of
    /// one cgroup, the machine counted no other, and no account is wrong from before.
    fn place(&mut self, now: Duration, told: &mut Vec<Told>) {
        let mut cgroups = self.open_cgroups();
        let open: u64 = cgroups.iter().map(|cgroup| cgroup.open).sum();
        let named: u64 = self.unplaced.iter().map(Named::units).sum();
        let matches = open == named && self.node.open().is_none_or(|node| node == named);
        let oldest = cgroups.first().map(|cgroup| cgroup.since).into_iter();
        let oldest = oldest.chain(self.unplaced.front().map(|named| named.since)).min();
        if !matches && oldest.is_none_or(|oldest| now.saturating_sub(oldest) < self.patience) {
            return;
        }
        if named == 0 && matches && self.is_even(now) {
            self.loose = false;
        }
        let counted = self.node.open() == Some(named);
        let certain = matches && counted && cgroups.len() == 1 && !self.loose && self.is_even(now);
        while let Some(units) = self.unplaced.front().map(Named::units) {
            let roomy = cgroups.iter().position(|cgroup| cgroup.open >= units);
            let Some(index) = roomy.or_else(|| cgroups.iter().position(|cgroup| cgroup.open > 0)) else { return };
            let (Some(cgroup), Some(mut named)) = (cgroups.get_mut(index), self.unplaced.pop_front()) else { return };
            cgroup.open = cgroup.open.saturating_sub(units);
            let path = self.cgroups.get(&cgroup.inode).and_then(|account| account.path.clone());
            named.place = path.map(|path| Place { path, inode: Some(cgroup.inode) });
            named.place_certain = certain;
            self.loose |= !matches || roomy.is_none();
            told.push(self.tell_named(named));
        }
    }

    /// Names what nothing else does by the kernel's marks, oldest first: those of cgroups that have counted such kills, and
    /// then as many more as the machine has counted elsewhere. Whom a cgroup that is there did not count ended by itself.
    fn name_marked(&mut self, end: Duration, told: &mut Vec<Told>) {
        let named: u64 = self.unplaced.iter().map(Named::units).sum();
        let mut elsewhere = match self.node.open() {
            Some(_) => self.unaccounted(end),
            None => self.cgroups.values().map(|cgroup| cgroup.account.open_at(end)).sum::<u64>().saturating_sub(named),
        };
        for marked in std::mem::take(&mut self.marked) {
            let counted = marked.place.as_ref().and_then(|place| place.inode).map_or(0, |inode| self.open_in(inode));
            if marked.since > end {
                self.marked.push_back(marked);
            } else if counted > 0 && self.room() != Some(0) {
                self.loose = true;
                told.push(self.tell_named(marked));
            } else if elsewhere > 0 {
                elsewhere -= 1;
                self.loose = true;
                match marked.place {
                    Some(_) => told.push(self.tell_named(marked)),
                    None => self.unplaced.push_back(marked),
                }
            } else {
                self.marked.push_back(marked);
            }
        }
    }

    /// Tells the open kills of each cgroup by their number, as far as the machine's count has room: the others were told
    /// in another place.
    fn tell_open_cgroups(&mut self, end: Duration, now: Duration, told: &mut Vec<Told>) {
        for cgroup in self.open_cgroups() {
            let Some(account) = self.cgroups.get(&cgroup.inode) else { continue };
            let overdue = account.account.open_at(end);
            let path = account.path.clone();
            let count = self.room().map_or(overdue, |room| room.min(overdue));
            if count > 0 {
                self.tell_in(cgroup.inode, count);
                told.push(self.tell_unnamed(path, count, now));
            }
            if overdue > count {
                self.loose = true;
                self.close(cgroup.inode);
            }
        }
    }

    /// Tells victims whose cgroup nothing told, though all that are there were looked at since.
    fn tell_unplaced(&mut self, end: Duration, told: &mut Vec<Told>) {
        while let Some(named) = self.unplaced.pop_front_if(|named| named.since <= end) {
            self.loose = true;
            if self.node.room_for(named.units()) == named.units() {
                told.push(self.tell_named(named));
            } else {
                told.extend(self.tell_late(named));
            }
        }
    }

    /// Tells what the machine counted and nothing else did: kills in cgroups that are gone, or that can't be seen.
    fn tell_rest(&mut self, end: Duration, progress: Progress, now: Duration, told: &mut Vec<Told>) {
        let scanned = progress.scan_began.map_or(0, |began| self.unaccounted(end.min(began)));
        if scanned > 0 {
            told.push(self.tell_unnamed(None, scanned, now));
        }
    }

    /// Kills that the machine had counted by `end`, and that neither a name nor a cgroup accounts for.
    fn unaccounted(&self, end: Duration) -> u64 {
        let named: u64 = self.unplaced.iter().map(Named::units).sum();
        let open: u64 = self.cgroups.values().map(|cgroup| cgroup.account.open()).sum();
        self.node.open_at(end).saturating_sub(named.saturating_add(open))
    }

    /// Whether no cgroup has more told than counted, and none has told without a name what may be named yet.
    fn is_even(&self, now: Duration) -> bool {
        let ahead = self.cgroups.values().any(|cgroup| cgroup.account.is_ahead());
        let lately = |unnamed: &Unnamed| now.saturating_sub(unnamed.since) < self.patience * 30;
        !ahead && !self.unnamed.iter().any(lately)
    }

    /// Kills that a cgroup has counted and nothing has told.
    pub fn open_in(&self, inode: CgroupInode) -> u64 {
        self.cgroups.get(&inode).map_or(0, |cgroup| cgroup.account.open())
    }

    /// The cgroups with open kills, the longest open first.
    fn open_cgroups(&self) -> Vec<OpenCgroup> {
        let open = |(&inode, cgroup): (&CgroupInode, &CgroupAccount)| {
            let since = cgroup.account.open_since()?;
            (cgroup.account.open() > 0).then(|| OpenCgroup { inode, since, open: cgroup.account.open() })
        };
        let mut cgroups: Vec<OpenCgroup> = self.cgroups.iter().filter_map(open).collect();
        cgroups.sort_by_key(|cgroup| (cgroup.since, cgroup.inode));
        cgroups
    }
}
