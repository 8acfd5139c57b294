//! Changes that are not durable yet, put together into one: a record told twice is kept once, a counter by its last value.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use reprieve_judgement::{KillId, KillRecord, LedgerChange, SavedLedger};
use reprieve_readings::{BootId, CgroupInode, CgroupPath};
use reprieve_store::Page;

/// How many records may wait in memory, and how much they may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

/// All that is known in memory only.
pub(super) const ROOM: Room = Room { records: 10_000, bytes: 6 * 1024 * 1024 };

/// Changes put together.
#[derive(Debug, Default)]
pub(super) struct Pending {
    records: BTreeMap<KillId, KillRecord>,
    bytes: usize,
    counted: BTreeMap<CgroupInode, u64>,
    forgotten: BTreeSet<CgroupInode>,
    state: Option<SavedLedger>,
    changes: u64,
    // When the newest of the changes were made: their number is bounded.
    made_at: VecDeque<Instant>,
}

/// What is on its way to the disk.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) change: LedgerChange,
    pub(super) bytes: usize,
    pub(super) changes: u64,
    pub(super) made_at: VecDeque<Instant>,
}

impl Pending {
    /// Moments of changes to keep.
    const MOMENTS: usize = 1000;

    pub(super) fn is_empty(&self) -> bool {
        self.state.is_none()
    }

    pub(super) fn records(&self) -> &BTreeMap<KillId, KillRecord> {
        &self.records
    }

    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// Adds a change. Of `stored` cgroups the store may have a counter: of others there is nothing to forget.
    pub(super) fn add(&mut self, change: LedgerChange, stored: &BTreeSet<CgroupInode>, at: Instant) {
        self.enter_boot(change.state.boot);
        for record in change.records {
            self.insert(record);
        }
        for (inode, told) in change.counted {
            self.forgotten.remove(&inode);
            self.counted.insert(inode, told);
        }
        for inode in change.forgotten {
            self.counted.remove(&inode);
            if stored.contains(&inode) {
                self.forgotten.insert(inode);
            }
        }
        self.state = Some(change.state);
        self.changes += 1;
        self.made_at.push_back(at);
        if self.made_at.len() > Self::MOMENTS {
            self.made_at.pop_front();
        }
    }

    /// Another boot numbers its cgroups anew.
    fn enter_boot(&mut self, boot: Option<BootId>) {
        if self.state.as_ref().is_some_and(|state| state.boot != boot) {
            self.counted.clear();
            self.forgotten.clear();
        }
    }

    fn insert(&mut self, record: KillRecord) {
        self.bytes += weight(&record);
        if let Some(before) = self.records.insert(record.id, record) {
            self.bytes -= weight(&before);
        }
    }

    /// Gives up the oldest records until the rest fits beside `taken`. Says how many.
    pub(super) fn fit(&mut self, room: Room, taken: Option<&Batch>) -> u64 {
        let (records, bytes) = taken.map_or((0, 0), |batch| (batch.change.records.len(), batch.bytes));
        let mut dropped = 0;
        while self.records.len() + records > room.records || self.bytes + bytes > room.bytes {
            let Some((_, oldest)) = self.records.pop_first() else { break };
            self.bytes -= weight(&oldest);
            dropped += 1;
        }
        dropped
    }

    /// Puts what could not be written back under what has come since.
    pub(super) fn put_back(&mut self, batch: Batch, stored: &BTreeSet<CgroupInode>) {
        let Batch { change, changes, made_at, .. } = batch;
        let newer = std::mem::take(self);
        self.add(change, stored, Instant::now());
        self.made_at = made_at;
        let Some(state) = newer.state else {
            self.changes = changes;
            return;
        };
        let counted = newer.counted.into_iter().collect();
        let forgotten = newer.forgotten.into_iter().collect();
        let records = newer.records.into_values().collect();
        self.add(LedgerChange { records, counted, forgotten, state }, stored, Instant::now());
        self.changes = changes + newer.changes;
        self.made_at.pop_back();
        self.made_at.extend(newer.made_at);
        while self.made_at.len() > Self::MOMENTS {
            self.made_at.pop_front();
        }
    }

    /// Has all counters written, to a store that has none or others.
    pub(super) fn count_all(&mut self, counters: &BTreeMap<CgroupInode, u64>) {
        self.counted.clone_from(counters);
    }

    /// Gives the records numbers that are higher by `shift`.
    pub(super) fn renumber(&mut self, shift: u64) {
        let records = std::mem::take(&mut self.records);
        self.records = records
            .into_values()
            .map(|mut record| {
                record.id.0 = record.id.0.saturating_add(shift);
                (record.id, record)
            })
            .collect();
    }

    pub(super) fn state_mut(&mut self) -> Option<&mut SavedLedger> {
        self.state.as_mut()
    }

    /// Takes all of it. `None` where there is nothing.
    pub(super) fn take(&mut self) -> Option<Batch> {
        let Pending { records, bytes, counted, forgotten, state, changes, made_at } = std::mem::take(self);
        let change = LedgerChange {
            records: records.into_values().collect(),
            counted: counted.into_iter().collect(),
            forgotten: forgotten.into_iter().collect(),
            state: state?,
        };
        Some(Batch { change, bytes, changes, made_at })
    }
}

impl Batch {
    /// The records with numbers above `after`.
    pub(super) fn records_after(&self, after: KillId) -> impl Iterator<Item = &KillRecord> {
        let records = &self.change.records;
        let begin = records.partition_point(|record| record.id <= after);
        records.iter().skip(begin)
    }
}

/// About how much memory a record takes.
fn weight(record: &KillRecord) -> usize {
    let path = |path: &Option<CgroupPath>| path.as_ref().map_or(0, |path| path.as_bytes().len());
    let victim = record.victim.as_ref();
    let victim = victim.map_or(0, |victim| victim.name.len() + victim.command_line.as_ref().map_or(0, Vec::len));
    let trigger = record.trigger.as_ref().map_or(0, |trigger| trigger.name.len() + trigger.gfp.len());
    let paths = path(&record.cgroup) + path(&record.whole_cgroup) + path(&record.limited_cgroup);
    size_of::<KillRecord>() + victim + trigger + paths
}

/// A page of the store together with what is in memory, which is newer.
pub(super) fn merge(stored: Page, held: Vec<KillRecord>, most: usize) -> Page {
    let Page { records, next, unreadable } = stored;
    let mut all: BTreeMap<KillId, KillRecord> = records.into_iter().map(|record| (record.id, record)).collect();
    let more_held = held.len() >= most;
    // Beyond the end of a page come others of the store first.
    let within = |record: &KillRecord| next.is_none_or(|end| record.id <= end);
    all.extend(held.into_iter().filter(within).map(|record| (record.id, record)));
    let excess = all.len().saturating_sub(most);
    let records: Vec<KillRecord> = all.into_values().take(most).collect();
    let last = records.last().map(|record| record.id);
    let next = if excess > 0 || (next.is_none() && more_held) { last } else { next };
    Page { records, next, unreadable }
}

#[cfg(test)]
mod tests;
