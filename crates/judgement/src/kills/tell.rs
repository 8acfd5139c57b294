//! Telling: from a victim or a number to what the ledger says, and what it remembers of that for what may come late.

use std::time::Duration;

use reprieve_readings::{CgroupInode, CgroupPath, OomVictim};

use super::account::CgroupAccount;
use super::ledger::{KillLedger, Named, Recent, Unnamed};
use super::{Identity, Kill, KillId, Place, Told};
use crate::first_process::FirstProcess;

impl KillLedger {
    /// How many kills the machine's count has room for beside those that wait; `None` where it isn't known.
    pub(super) fn room(&self) -> Option<u64> {
        let waiting: u64 = self.unplaced.iter().map(Named::units).sum();
        self.node.open().map(|open| open.saturating_sub(waiting))
    }

    /// Tells a kill by name, in its place.
    pub(super) fn tell_named(&mut self, named: Named) -> Told {
        let units = named.units();
        self.node.tell(units);
        if let Some(inode) = named.place.as_ref().and_then(|place| place.inode) {
            self.tell_in(inode, units);
        }
        let id = self.take_id();
        self.finish(named, id, false)
    }

    /// Tells kills of which nothing but the number is known.
    pub(super) fn tell_unnamed(&mut self, cgroup: Option<CgroupPath>, count: u64, now: Duration) -> Told {
        self.node.tell(count);
        let id = self.take_id();
        self.remember_unnamed(Unnamed { id, cgroup: cgroup.clone(), count, since: now });
        Told::Kill(Box::new(Kill {
            id,
            since_boot: now,
            sequence: None,
            victim: None,
            identity: Identity::Unknown,
            count,
            repeats: 0,
            cgroup_certain: cgroup.is_some(),
            cgroup,
            first_process: FirstProcess::Unknown,
            history: false,
        }))
    }

    /// Takes all that a cgroup's counter showed for told, here or elsewhere.
    pub(super) fn close(&mut self, cgroup: CgroupInode) {
        if let Some(account) = self.cgroups.get_mut(&cgroup) {
            account.account.close();
            self.dirty.insert(cgroup);
        }
        self.drop_if_gone(cgroup);
    }

    /// The kill of a line for which the machine's count has no room. If one was told without a sure name, this is its name.
    pub(super) fn tell_late(&mut self, named: Named) -> Vec<Told> {
        let path = named.place.as_ref().map(|place| &place.path);
        let same_place = self.unnamed.iter().position(|unnamed| unnamed.cgroup.as_ref() == path);
        self.tell_instead(same_place.unwrap_or(0), named)
    }

    /// Tells a kill by name that was told without a sure one, or as history where there is none such.
    pub(super) fn tell_instead(&mut self, index: usize, mut named: Named) -> Vec<Told> {
        self.loose = true;
        let Some(unnamed) = self.unnamed.get_mut(index) else { return vec![self.tell_history(named)] };
        unnamed.count -= 1;
        let id = unnamed.id;
        if named.place.is_none() {
            named.place = unnamed.cgroup.clone().map(|path| Place { path, inode: None });
        }
        if unnamed.count == 0 {
            self.unnamed.remove(index);
            return vec![self.finish(named, id, false)];
        }
        let own = self.take_id();
        vec![Told::OneFewer(id), self.finish(named, own, false)]
    }

    pub(super) fn tell_history(&mut self, named: Named) -> Told {
        let id = self.take_id();
        self.finish(named, id, true)
    }

    fn finish(&mut self, named: Named, id: KillId, history: bool) -> Told {
        let Named { victim, sequence, identity, first_process, place, place_certain, repeats, .. } = named;
        if let Some(sequence) = sequence {
            self.position.done(sequence);
        }
        let OomVictim { pid, since_boot, .. } = victim;
        let cgroup = place.as_ref().and_then(|place| place.inode);
        self.remember_victim(Recent { pid, since_boot, id, history, cgroup, cgroup_certain: place_certain });
        if identity != Identity::Exact {
            let cgroup = place.as_ref().map(|place| place.path.clone());
            self.remember_unnamed(Unnamed { id, cgroup, count: 1, since: since_boot });
        }
        Told::Kill(Box::new(Kill {
            id,
            since_boot: victim.since_boot,
            sequence,
            victim: Some(victim),
            identity,
            count: 1,
            repeats,
            cgroup: place.map(|place| place.path),
            cgroup_certain: place_certain,
            first_process,
            history,
        }))
    }

    /// Gives up a likely victim that waits for its cgroup, for a sure one; says whether there was one.
    pub(super) fn give_up_likely(&mut self) -> bool {
        let likely = self.unplaced.iter().position(|named| named.identity == Identity::Likely);
        likely.and_then(|index| self.unplaced.remove(index)).is_some()
    }

    /// Counts a victim again; `None` where its first line isn't known.
    pub(super) fn count_again(&mut self, victim: &OomVictim, place: Option<&Place>) -> Option<Vec<Told>> {
        // Without room it was told before, without a name.
        let has_room = self.room() != Some(0) || self.give_up_likely();
        if let Some(named) = self.unplaced.iter_mut().find(|named| named.victim.pid == victim.pid) {
            named.repeats += u64::from(has_room);
            return Some(Vec::new());
        }
        let &Recent { id, history, cgroup, cgroup_certain, .. } = self.recent(victim, Self::SAME_GROUP)?;
        // If it was only likely, it is sure now.
        self.unnamed.retain(|unnamed| unnamed.id != id);
        if !history {
            if !has_room {
                return Some(Vec::new());
            }
            self.node.tell(1);
            self.loose |= place.is_none() && !cgroup_certain;
            if let Some(inode) = place.and_then(|place| place.inode).or(cgroup) {
                self.tell_in(inode, 1);
            }
        }
        Some(vec![Told::CountedAgain(id)])
    }

    pub(super) fn tell_in(&mut self, inode: CgroupInode, units: u64) {
        let account = self.cgroups.entry(inode).or_insert_with(|| CgroupAccount::told_to(0));
        account.account.tell(units);
        self.dirty.insert(inode);
        self.drop_if_gone(inode);
    }

    /// A place that is gone may be that of an account that is still open.
    pub(super) fn find_gone(&self, place: Place) -> Place {
        let is_there = |inode: &&CgroupInode| {
            self.cgroups.get(inode).is_some_and(|account| account.path.as_ref() == Some(&place.path))
        };
        let inode = place.inode.or_else(|| self.gone.iter().find(is_there).copied());
        Place { inode, ..place }
    }

    pub(super) fn drop_if_gone(&mut self, inode: CgroupInode) {
        let is_settled = self.cgroups.get(&inode).is_some_and(|cgroup| cgroup.account.open() == 0);
        if is_settled && self.gone.remove(&inode) {
            self.cgroups.remove(&inode);
            self.forgotten.push(inode);
        }
    }

    fn take_id(&mut self) -> KillId {
        let id = self.next_id;
        self.next_id = KillId(id.0.saturating_add(1));
        id
    }

    pub(super) fn recent(&self, victim: &OomVictim, within: Duration) -> Option<&Recent> {
        self.recent
            .iter()
            .rev()
            .find(|recent| recent.pid == victim.pid && recent.since_boot.abs_diff(victim.since_boot) < within)
    }

    pub(super) fn remember_victim(&mut self, recent: Recent) {
        if self.recent.len() >= Self::REMEMBERED {
            self.recent.pop_front();
        }
        self.recent.push_back(recent);
    }

    pub(super) fn remember_unnamed(&mut self, unnamed: Unnamed) {
        if self.unnamed.len() >= Self::REMEMBERED {
            self.unnamed.pop_front();
        }
        self.unnamed.push_back(unnamed);
    }
}
