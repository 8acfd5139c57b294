//! What the ledger told: made into records, logged, counted, and kept until they are saved.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reprieve_judgement::{FirstProcess, Identity, Kill, KillId, KillRecord, Told};
use reprieve_readings::BootId;
use reprieve_report::KillCounts;

use crate::aftermath;
use crate::log::{self, LogFormat};
use crate::node::Node;
use crate::processes::Processes;

/// The records of this run.
pub(crate) struct KillBook {
    boot: BootId,
    format: LogFormat,
    // The latest: what the ledger tells of them later changes them.
    recent: VecDeque<KillRecord>,
    unsaved: Vec<KillRecord>,
    reported: KillCounts,
    pids_are_global: bool,
}

impl KillBook {
    /// As many as the ledger remembers.
    const RECENT: usize = 256;

    /// A book that knows the latest records of earlier runs.
    pub(crate) fn new(boot: BootId, format: LogFormat, pids_are_global: bool, recent: Vec<KillRecord>) -> Self {
        KillBook {
            boot,
            format,
            recent: recent.into(),
            unsaved: Vec::new(),
            reported: KillCounts::default(),
            pids_are_global,
        }
    }

    /// Kills told so far by this run.
    pub(crate) fn reported(&self) -> KillCounts {
        self.reported
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
        let record = aftermath::record(kill, self.boot, now(), node, &processes.table);
        if !record.history {
            if let Some(old) = self.recent.iter().find(|old| old.id == record.id) {
                let told_before = self.reported.of(old.visibility());
                *told_before = told_before.saturating_sub(old.count);
            }
            *self.reported.of(record.visibility()) += record.count;
            log::kill(&record, self.format);
        }
        self.recent.retain(|old| old.id != record.id);
        if self.recent.len() >= Self::RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(record.clone());
        self.unsaved.push(record);
    }

    fn change(&mut self, id: KillId, change: impl FnOnce(&mut KillRecord), node: &mut Node) {
        let Some(record) = self.recent.iter_mut().find(|record| record.id == id) else {
            return node.problems.take_one(format!("record {} changed and is not remembered: please report it", id.0));
        };
        let before = record.count;
        change(record);
        let told = self.reported.of(record.visibility());
        *told = told.saturating_sub(before - record.count);
        self.unsaved.push(record.clone());
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
