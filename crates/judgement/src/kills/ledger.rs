//! The ledger: each rise of the kernel's counters is told exactly once, with a victim where anything names one.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use reprieve_readings::{BootId, CgroupInode, CgroupPath, OomVictim};

use super::account::{CgroupAccount, NodeAccount};
use super::position::LogPosition;
use super::{Identity, KillId, KillRecord, LedgerChange, Place, SavedLedger, Sighting, Told, Victim};
use crate::first_process::FirstProcess;

/// What is known of all kills so far. Times are those since boot, by a clock that never jumps (CLOCK_MONOTONIC).
#[derive(Debug)]
pub struct KillLedger {
    pub(super) boot: BootId,
    pub(super) patience: Duration,
    pub(super) next_id: KillId,
    pub(super) node: NodeAccount,
    pub(super) cgroups: HashMap<CgroupInode, CgroupAccount>,
    // Cgroups that are gone, while something of them is open.
    pub(super) gone: HashSet<CgroupInode>,
    // Named without a cgroup.
    pub(super) unplaced: VecDeque<Named>,
    // Marked by the kernel, not named by its log so far.
    pub(super) marked: VecDeque<Named>,
    // Told by name lately: a group kill's first victim is counted again.
    pub(super) recent: VecDeque<Recent>,
    // Told without a sure name lately: it can still come.
    pub(super) unnamed: VecDeque<Unnamed>,
    // A kill may be told in the wrong cgroup, and the accounts have not been even since.
    pub(super) loose: bool,
    counts_begun: bool,
    begun_unsaved: bool,
    pub(super) position: LogPosition,
    pub(super) dirty: HashSet<CgroupInode>,
    pub(super) forgotten: Vec<CgroupInode>,
}

/// A victim that something named.
#[derive(Debug)]
pub(super) struct Named {
    pub(super) victim: OomVictim,
    /// The number of the line that named it.
    pub(super) sequence: Option<u64>,
    pub(super) identity: Identity,
    pub(super) first_process: FirstProcess,
    pub(super) place: Option<Place>,
    pub(super) place_certain: bool,
    /// How often the kernel counted it again.
    pub(super) repeats: u64,
    pub(super) since: Duration,
}

/// A victim that was told.
#[derive(Debug)]
pub(super) struct Recent {
    pub(super) pid: u32,
    pub(super) since_boot: Duration,
    pub(super) id: KillId,
    pub(super) history: bool,
    pub(super) cgroup: Option<CgroupInode>,
    pub(super) cgroup_certain: bool,
}

/// Kills that were told without a name, or with one that is only likely.
#[derive(Debug)]
pub(super) struct Unnamed {
    pub(super) id: KillId,
    pub(super) cgroup: Option<CgroupPath>,
    pub(super) count: u64,
    pub(super) since: Duration,
}

impl KillLedger {
    /// Victims and nameless kills to remember for what may come later.
    pub(super) const REMEMBERED: usize = 256;
    /// Pids are used again, but not so soon.
    pub(super) const SAME_VICTIM: Duration = Duration::from_secs(60);
    /// The log's reader has seen both lines of a victim that is counted again.
    pub(super) const SAME_GROUP: Duration = Duration::from_secs(300);

    /// A ledger for this boot that goes on from what was saved. A rise waits `patience` for its victim's name, and a name
    /// for its cgroup.
    ///
    /// What was saved in another boot counts for nothing but the numbers of records: counting then begins with
    /// [`begin_counts`](Self::begin_counts), and what the log holds until then is history.
    pub fn new(boot: BootId, saved: SavedLedger, patience: Duration) -> Self {
        let same = saved.boot == Some(boot);
        let next_id = saved.next_id.max(KillId(1));
        let saved = if same { saved } else { SavedLedger::default() };
        KillLedger {
            boot,
            patience,
            next_id,
            node: NodeAccount::resumed(saved.node_told, saved.node_rise),
            cgroups: saved.cgroups.iter().map(|&(inode, told)| (inode, CgroupAccount::told_to(told))).collect(),
            gone: HashSet::new(),
            unplaced: VecDeque::new(),
            marked: VecDeque::new(),
            recent: VecDeque::new(),
            unnamed: VecDeque::new(),
            // An earlier run may have left it so.
            loose: same,
            counts_begun: same,
            begun_unsaved: false,
            position: LogPosition::new(saved.read_through, saved.told_beyond),
            dirty: HashSet::new(),
            forgotten: Vec::new(),
        }
    }

    /// Whether counting has begun, now or in an earlier run in this boot.
    pub fn counts(&self) -> bool {
        self.counts_begun
    }

    /// By how much the machine's count rose since counting began, as far as it is told: the sum of what all records of this
    /// boot [counted](KillRecord::counted).
    pub fn rise(&self) -> u64 {
        self.node.rise
    }

    /// Remembers a record of an earlier run in this boot: what the log still tells can complete it.
    pub fn remember(&mut self, record: &KillRecord) {
        if record.boot != self.boot {
            return;
        }
        if record.identity != Identity::Exact {
            let (cgroup, since) = (record.cgroup.clone(), record.since_boot);
            self.remember_unnamed(Unnamed { id: record.id, cgroup, count: record.count, since });
        }
        if let Some(victim) = &record.victim {
            let Victim { pid, .. } = *victim;
            let KillRecord { since_boot, id, history, .. } = *record;
            self.remember_victim(Recent { pid, since_boot, id, history, cgroup: None, cgroup_certain: false });
        }
    }

    /// Takes the counter of a cgroup before counting begins: these kills are history.
    pub fn begin_cgroup(&mut self, cgroup: CgroupInode, kills: u64) {
        self.cgroups.insert(cgroup, CgroupAccount::told_to(kills));
        self.dirty.insert(cgroup);
    }

    /// Begins to count, from the machine's count of kills as it is now; `None` where this kernel has none.
    /// To be called after the cgroups' counters were taken and the log was read to its end.
    pub fn begin_counts(&mut self, kills: Option<u64>) {
        self.node = NodeAccount::resumed(kills, 0);
        self.counts_begun = true;
        self.begun_unsaved = true;
    }

    /// Takes the counter of a cgroup. One that was not there before starts from zero.
    pub fn count(&mut self, cgroup: CgroupInode, path: &CgroupPath, kills: u64, now: Duration) {
        match self.cgroups.get_mut(&cgroup) {
            Some(account) => account.see(path, kills, now),
            // Most cgroups never lose a process: they need no account.
            None if kills == 0 => {}
            None => {
                let mut account = CgroupAccount::told_to(0);
                account.see(path, kills, now);
                self.cgroups.insert(cgroup, account);
            }
        }
    }

    /// Takes the machine's count of kills. It must have been read after what is named from now on was printed.
    pub fn count_node(&mut self, kills: u64, now: Duration) {
        self.node.see(kills, now);
    }

    /// Whether the machine's count, as last taken, has no room for one more kill: it has to be read again before the next
    /// victim is named.
    pub fn wants_node_count(&self) -> bool {
        self.room() == Some(0)
    }

    /// Takes a victim that the kernel's log named, and tells the kill at once if its cgroup is known.
    ///
    /// A line that was dealt with before, by this run or an earlier one, tells nothing. Nor does one for which the
    /// machine's count has no room: it is of a kill from before counting began, or the name of one that was told without.
    pub fn name(&mut self, sighting: Sighting, now: Duration) -> Vec<Told> {
        let Sighting { victim, place, place_certain, first_process } = sighting;
        let place = place.map(|place| self.find_gone(place));
        if self.position.is_done(victim.sequence) {
            return Vec::new();
        }
        let is_other = |named: &Named| named.identity != Identity::Likely || named.victim.pid != victim.pid;
        self.marked.retain(is_other);
        self.unplaced.retain(is_other);
        if victim.repeat
            && let Some(told) = self.count_again(&victim, place.as_ref())
        {
            self.position.done(victim.sequence);
            return told;
        }
        let sequence = Some(victim.sequence);
        let identity = Identity::Exact;
        let named = Named { victim, sequence, identity, first_process, place, place_certain, repeats: 0, since: now };
        if !self.counts_begun {
            return vec![self.tell_history(named)];
        }
        let told_as_likely = self.recent(&named.victim, Self::SAME_VICTIM).map(|recent| recent.id);
        if let Some(index) = self.unnamed.iter().position(|unnamed| Some(unnamed.id) == told_as_likely) {
            return self.tell_instead(index, named);
        }
        if self.room() == Some(0) && !self.give_up_likely() {
            return self.tell_late(named);
        }
        match &named.place {
            Some(_) => vec![self.tell_named(named)],
            None => {
                self.unplaced.push_back(named);
                Vec::new()
            }
        }
    }

    /// Takes a likely victim: one that the kernel's tracepoint marked, which also marks processes that were ending anyway,
    /// or one that has vanished. This tells nothing by itself: it names a kill that the log does not name.
    pub fn mark(&mut self, sighting: Sighting, now: Duration) {
        let Sighting { victim, place, place_certain, first_process } = sighting;
        let place = place.map(|place| self.find_gone(place));
        let mut known = self.unplaced.iter().chain(&self.marked);
        let is_known = known.any(|named| named.victim.pid == victim.pid);
        if is_known || self.marked.len() >= Self::REMEMBERED || self.recent(&victim, Self::SAME_VICTIM).is_some() {
            return;
        }
        let identity = Identity::Likely;
        let named =
            Named { victim, sequence: None, identity, first_process, place, place_certain, repeats: 0, since: now };
        self.marked.push_back(named);
    }

    /// Deals with all lines of the kernel's log up to this one.
    pub fn log_read_to(&mut self, sequence: u64) {
        let first_waiting = self.unplaced.iter().filter_map(|named| named.sequence).min();
        self.position.advance(sequence, first_waiting);
    }

    /// Forgets a cgroup that is gone, once all that its counter showed is told.
    pub fn forget(&mut self, cgroup: CgroupInode) {
        match self.cgroups.get(&cgroup) {
            Some(account) if account.account.open() > 0 => {
                self.gone.insert(cgroup);
            }
            Some(_) => {
                self.cgroups.remove(&cgroup);
                self.forgotten.push(cgroup);
            }
            None => {}
        }
    }

    /// Forgets the cgroups that an earlier run knew and that are gone.
    pub fn forget_missing(&mut self, there: &HashSet<CgroupInode>) {
        let missing = self.cgroups.keys().filter(|inode| !there.contains(inode));
        for inode in missing.copied().collect::<Vec<_>>() {
            self.forget(inode);
        }
    }

    /// Whether something waits for `settle`.
    pub fn is_waiting(&self) -> bool {
        !self.unplaced.is_empty()
            || !self.marked.is_empty()
            || self.node.open().is_some_and(|open| open > 0)
            || self.cgroups.values().any(|cgroup| cgroup.account.open() > 0)
    }

    /// What has changed since last asked, with the records that tell of it: to be saved as a whole. `None` where nothing
    /// has.
    pub fn take_change(&mut self, records: Vec<KillRecord>) -> Option<LedgerChange> {
        let begun = std::mem::take(&mut self.begun_unsaved);
        if !begun && records.is_empty() && self.dirty.is_empty() && self.forgotten.is_empty() {
            return None;
        }
        let told = |inode: CgroupInode| self.cgroups.get(&inode).map(|cgroup| (inode, cgroup.account.told()));
        let counted = std::mem::take(&mut self.dirty).into_iter().filter_map(told).collect();
        let state = SavedLedger {
            boot: Some(self.boot),
            next_id: self.next_id,
            node_told: self.node.told(),
            node_rise: self.node.rise,
            cgroups: Vec::new(),
            read_through: self.position.through(),
            told_beyond: self.position.beyond(),
        };
        Some(LedgerChange { records, counted, forgotten: std::mem::take(&mut self.forgotten), state })
    }
}

impl Named {
    /// By how much the kernel's counters rose.
    pub(super) fn units(&self) -> u64 {
        self.repeats.saturating_add(1)
    }
}
