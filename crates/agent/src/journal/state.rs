//! What the journal's threads share: changes on their way, who follows, and how it does.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use reprieve_judgement::{KillId, KillRecord, LedgerChange, SavedLedger};
use reprieve_readings::CgroupInode;
use reprieve_store::Reader;

use super::JournalHealth;
use super::pending::{Batch, Pending, ROOM};

/// A record as it was told, and its number in the order of telling, from 1 on. A record told again because more is known
/// has the id that it had, and another number.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) number: u64,
    pub(crate) record: Arc<KillRecord>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pending: Pending,
    in_flight: Option<Arc<Batch>>,
    // The counters as they stand, should a fresh store need them all.
    counters: BTreeMap<CgroupInode, u64>,
    // Of which cgroups the store may have a counter.
    stored_counters: BTreeSet<CgroupInode>,
    // What the ledger's numbers are behind the store's, where the store was opened too late to tell it.
    behind: Behind,
    // The number of the next record after what was written last.
    written_next: Option<KillId>,
    // The ledger's state as it was given last.
    latest: Option<SavedLedger>,
    // What the ledger began with, until it did.
    saved: SavedLedger,
    begun: bool,
    told: u64,
    delays: VecDeque<Duration>,
    followers: Vec<(u64, SyncSender<Told>)>,
    followers_ever: u64,
    pub(super) reader: Option<Reader>,
    pub(super) health: JournalHealth,
    pub(super) closing: bool,
}

/// By how much numbers of a ledger that began without the saved state are too small.
#[derive(Debug, Clone, Copy, Default)]
struct Behind {
    ids: u64,
    node_rise: u64,
}

impl Behind {
    fn apply(self, state: &mut SavedLedger) {
        state.next_id.0 = state.next_id.0.saturating_add(self.ids);
        state.node_rise = state.node_rise.saturating_add(self.node_rise);
    }
}

impl State {
    /// Delays to keep.
    const DELAYS: usize = 1000;

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty() && self.in_flight.is_none()
    }

    pub(super) fn has_work(&self) -> bool {
        !self.pending.is_empty()
    }

    pub(super) fn told(&self) -> u64 {
        self.told
    }

    pub(super) fn take(&mut self, mut change: LedgerChange, at: Instant) {
        self.catch_up(&mut change);
        self.tell(&change.records);
        for (inode, told) in &change.counted {
            self.counters.insert(*inode, *told);
        }
        for inode in &change.forgotten {
            self.counters.remove(inode);
        }
        self.latest = Some(change.state.clone());
        self.pending.add(change, &self.stored_counters, at);
        self.health.dropped_records += self.pending.fit(ROOM, self.in_flight.as_deref());
    }

    fn catch_up(&self, change: &mut LedgerChange) {
        let higher = |id: &mut KillId| id.0 = id.0.saturating_add(self.behind.ids);
        change.records.iter_mut().for_each(|record| higher(&mut record.id));
        self.behind.apply(&mut change.state);
    }

    fn tell(&mut self, records: &[KillRecord]) {
        if self.followers.is_empty() {
            self.told += records.len() as u64;
            return;
        }
        for record in records {
            self.told += 1;
            let told = Told { number: self.told, record: Arc::new(record.clone()) };
            // Who has gone, or lags too far behind, gets no more.
            self.followers.retain(|(_, follower)| follower.try_send(told.clone()).is_ok());
        }
    }

    pub(super) fn add_follower(&mut self, teller: SyncSender<Told>) -> u64 {
        self.followers_ever += 1;
        self.followers.push((self.followers_ever, teller));
        self.followers_ever
    }

    pub(super) fn remove_follower(&mut self, number: u64) {
        self.followers.retain(|(follower, _)| *follower != number);
    }

    /// What is to be written next.
    pub(super) fn begin_batch(&mut self) -> Option<Arc<Batch>> {
        let batch = Arc::new(self.pending.take()?);
        // Whether or not it gets there: it may.
        self.stored_counters.extend(batch.change.counted.iter().map(|(inode, _)| inode));
        self.in_flight = Some(Arc::clone(&batch));
        Some(batch)
    }

    pub(super) fn batch_is_durable(&mut self, now: Instant) {
        self.health.problem = None;
        self.health.stored = true;
        let Some(batch) = self.in_flight.take() else { return };
        for inode in &batch.change.forgotten {
            self.stored_counters.remove(inode);
        }
        self.written_next = Some(batch.change.state.next_id);
        self.health.durable_changes += batch.changes;
        self.delays.extend(batch.made_at.iter().map(|&made_at| now.saturating_duration_since(made_at)));
        while self.delays.len() > Self::DELAYS {
            self.delays.pop_front();
        }
    }

    pub(super) fn batch_failed(&mut self, problem: String) {
        self.health.problem = Some(problem);
        self.health.stored = false;
        self.health.failed_writes += 1;
        if let Some(batch) = self.in_flight.take() {
            let batch = Arc::try_unwrap(batch).unwrap_or_else(|shared| Batch {
                change: shared.change.clone(),
                bytes: shared.bytes,
                changes: shared.changes,
                made_at: shared.made_at.clone(),
            });
            self.pending.put_back(batch, &self.stored_counters);
            self.health.dropped_records += self.pending.fit(ROOM, None);
        }
    }

    /// Whether the ledger has begun, or may: it is known what was saved, or that this can't be known.
    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// It can't be known what was saved.
    pub(super) fn begin_without_saved(&mut self) {
        self.begun = true;
    }

    /// What the ledger begins with.
    pub(super) fn begin(&mut self) -> SavedLedger {
        self.begun = true;
        std::mem::take(&mut self.saved)
    }

    /// A store was opened that has this.
    pub(super) fn enter_store(&mut self, saved: &SavedLedger) {
        self.stored_counters = saved.cgroups.iter().map(|(inode, _)| *inode).collect();
        if !self.begun {
            self.counters = saved.cgroups.iter().copied().collect();
            self.written_next = Some(saved.next_id);
            self.saved = saved.clone();
            self.begun = true;
            return;
        }
        if let Some(state) = self.latest.clone().filter(|_| self.pending.is_empty()) {
            self.pending.add(LedgerChange { state, ..LedgerChange::default() }, &self.stored_counters, Instant::now());
        }
        let empty = saved.boot.is_none();
        if !empty && Some(saved.next_id) != self.written_next {
            self.continue_from(saved);
        }
        self.pending.count_all(&self.counters);
    }

    /// The store has more than the ledger knew when it began: no number is to be given twice, and no counter to be lost.
    fn continue_from(&mut self, saved: &SavedLedger) {
        let first = self.pending.records().keys().next().copied();
        let first = first.or(self.latest.as_ref().map(|state| state.next_id)).unwrap_or_default();
        let mut further = Behind { ids: saved.next_id.0.saturating_sub(first.0.max(1)), node_rise: 0 };
        if self.latest.as_ref().is_none_or(|state| state.boot == saved.boot) {
            further.node_rise = saved.node_rise;
            for (inode, told) in &saved.cgroups {
                self.counters.entry(*inode).or_insert(*told);
            }
        }
        self.pending.renumber(further.ids);
        for state in self.pending.state_mut().into_iter().chain(&mut self.latest) {
            further.apply(state);
        }
        self.behind.ids = self.behind.ids.saturating_add(further.ids);
        self.behind.node_rise = self.behind.node_rise.saturating_add(further.node_rise);
    }

    /// Records in memory with a number above `after`, the first `most`.
    pub(super) fn held_after(&self, after: KillId, most: usize) -> Vec<KillRecord> {
        let mut held = BTreeMap::new();
        if let Some(batch) = &self.in_flight {
            held.extend(batch.records_after(after).take(most).map(|record| (record.id, record)));
        }
        let above = (std::ops::Bound::Excluded(after), std::ops::Bound::Unbounded);
        held.extend(self.pending.records().range(above).take(most).map(|(id, record)| (*id, record)));
        held.into_values().take(most).cloned().collect()
    }

    pub(super) fn health(&self) -> JournalHealth {
        let (records, changes) =
            self.in_flight.as_ref().map_or((0, 0), |batch| (batch.change.records.len(), batch.changes));
        JournalHealth {
            held_records: self.pending.records().len() + records,
            queued_changes: self.pending.changes() + changes,
            recent_delays: self.delays.iter().copied().collect(),
            ..self.health.clone()
        }
    }
}
