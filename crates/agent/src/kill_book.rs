//! What the ledger told: made into records, logged, counted, and kept until they are saved.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reprieve_judgement::{FirstProcess, Identity, Kill, KillId, KillRecord, KillTotals, LedgerChange, Told};
use reprieve_linux::time_since_boot;
use reprieve_readings::BootId;
use reprieve_report::{KillCounts, KillSeries, LedgerFigures};

use crate::aftermath;
use crate::journal::Journal;
use crate::log::{self, LogFormat};
use crate::node::Node;
use crate::processes::Processes;

/// The records of this run.
pub(crate) struct KillBook {
    boot: BootId,
    format: LogFormat,
    journal: Journal,
    // The latest: what the ledger tells of them later changes them.
    recent: VecDeque<KillRecord>,
    unsaved: Vec<KillRecord>,
    totals: KillTotals,
    reported: KillCounts,
    identified: LedgerFigures,
    pids_are_global: bool,
}

impl KillBook {
    /// As many as the ledger remembers.
    const RECENT: usize = 256;
    /// Records of the journal that are read at once.
    const PAGE: usize = 256;

    pub(crate) fn new(boot: BootId, format: LogFormat, pids_are_global: bool, journal: Journal) -> Self {
        KillBook {
            boot,
            format,
            journal,
            recent: VecDeque::new(),
            unsaved: Vec::new(),
            totals: KillTotals::default(),
            reported: KillCounts::default(),
            identified: LedgerFigures::default(),
            pids_are_global,
        }
    }

    /// Takes the records of earlier runs, and shows the latest of them to `remember`.
    pub(crate) fn read_journal(&mut self, node: &mut Node, mut remember: impl FnMut(&KillRecord)) {
        let mut after = KillId(0);
        loop {
            let page = match self.journal.page(after, Self::PAGE) {
                Ok(page) => page.page,
                Err(error) => return node.problems.take_one(format!("kills of earlier runs can't be read: {error}")),
            };
            for record in page.records {
                // As old on the clock that does not jump as it is on the other.
                let age = now().saturating_sub(record.killed_at);
                self.totals.count(&record, time_since_boot().saturating_sub(age));
                self.keep(record);
            }
            match page.next {
                Some(next) => after = next,
                None => break,
            }
        }
        self.recent.iter().for_each(&mut remember);
    }

    /// Hands a change over to be saved.
    pub(crate) fn save(&mut self, change: LedgerChange) {
        self.journal.write(change);
    }

    /// Kills told so far by this run.
    pub(crate) fn reported(&self) -> KillCounts {
        self.reported
    }

    /// How well kills were told by this run, and how well they are kept.
    pub(crate) fn figures(&self) -> LedgerFigures {
        let mut health = self.journal.health();
        health.recent_delays.sort_unstable();
        let median = health.recent_delays.get(health.recent_delays.len() / 2);
        LedgerFigures {
            stored: health.stored,
            failed_writes: health.failed_writes,
            queued_changes: health.queued_changes,
            dropped_records: health.dropped_records,
            moved_aside: health.moved_aside,
            file_size: health.file_size,
            durable_median: median.map(Duration::as_secs_f64),
            ..self.identified.clone()
        }
    }

    /// Records that were made or changed since last asked.
    pub(crate) fn take_unsaved(&mut self) -> Vec<KillRecord> {
        std::mem::take(&mut self.unsaved)
    }

    /// Takes what the ledger told, and logs what is new. Kills from before counting began are not logged.
    pub(crate) fn take(&mut self, told: Vec<Told>, node: &mut Node, processes: &Processes) {
        for told in told {
            match told {
                Told::Kill(kill) => self.take_kill(*kill, node, processes),
                Told::CountedAgain(id) => self.change(id, count_again, node),
                Told::OneFewer(id) => self.change(id, |record| record.count = record.count.saturating_sub(1), node),
            }
        }
    }

    fn take_kill(&mut self, mut kill: Kill, node: &mut Node, processes: &Processes) {
        let is_unknown = kill.first_process == FirstProcess::Unknown;
        if is_unknown && self.pids_are_global && !kill.history {
            // Nothing was known of its cgroup when it was named, or nobody was named.
            kill.first_process = aftermath::first_process_later(&kill, node);
        }
        let killed_at = now().saturating_sub(time_since_boot().saturating_sub(kill.since_boot));
        let record = aftermath::record(kill, self.boot, killed_at, node, &processes.table);
        if !record.history {
            if let Some(old) = self.recent.iter().find(|old| old.id == record.id).cloned() {
                self.discount(&old);
            }
            self.count(&record);
            log::kill(&record, self.format);
        }
        self.totals.count(&record, time_since_boot());
        self.keep(record.clone());
        self.unsaved.push(record);
    }

    /// The kills of each place; those of places that are gone for long are forgotten.
    pub(crate) fn series(&mut self, node: &Node) -> Vec<KillSeries> {
        self.totals.forget(time_since_boot(), |cgroup| node.tree.find(cgroup).is_some());
        KillSeries::all(&self.totals)
    }

    fn keep(&mut self, record: KillRecord) {
        self.recent.retain(|old| old.id != record.id);
        if self.recent.len() >= Self::RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(record);
    }

    fn change(&mut self, id: KillId, change: impl FnOnce(&mut KillRecord), node: &mut Node) {
        let Some(record) = self.recent.iter_mut().find(|record| record.id == id) else {
            return node.problems.take_one(format!("record {} changed and is not remembered: please report it", id.0));
        };
        let before = record.clone();
        change(record);
        let after = record.clone();
        if !after.history {
            self.discount(&before);
            self.count(&after);
        }
        self.totals.count(&after, time_since_boot());
        self.unsaved.push(after);
    }

    fn count(&mut self, record: &KillRecord) {
        *self.reported.of(record.visibility()) += record.count;
        *self.identified.of(record.identity) += record.count;
    }

    /// Takes kills out of the counts that are told otherwise now.
    fn discount(&mut self, record: &KillRecord) {
        let reported = self.reported.of(record.visibility());
        *reported = reported.saturating_sub(record.count);
        let identified = self.identified.of(record.identity);
        *identified = identified.saturating_sub(record.count);
    }
}

fn count_again(record: &mut KillRecord) {
    record.repeats += 1;
    record.identity = Identity::Exact;
}

/// Since 1970.
fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
