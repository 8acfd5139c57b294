//! Reads kills out of the stream of the kernel's records.
//!
//! It keeps a few begun reports, one for each task that prints one; without `CONFIG_PRINTK_CALLER` there is one in all.
//! Since Linux 4.2 that is enough, as the kernel prints one report at a time (`oom_lock`, mm/oom_kill.c). Memory is
//! bounded: few reports, and no part of one is longer than a record of the kernel's can be.

use super::kill_line::KillLine;
use super::kmsg::KmsgRecord;
use super::line::{self, Line};
use super::pending::{Pending, Told};
use super::victim::OomVictim;

/// Finds the OOM killer's victims in the kernel's log.
///
/// Feed it every record in order, also those of no interest: a gap in their numbers makes it forget the reports that it
/// has begun, for their ends may be lost.
#[derive(Debug, Default)]
pub struct OomKillReader {
    pending: Vec<Pending>,
    last_sequence: Option<u64>,
}

impl OomKillReader {
    /// As many reports as can be under way at once before the oldest is forgotten.
    const MOST_PENDING: usize = 8;
    /// No record of the kernel is longer (`PRINTK_MESSAGE_MAX` and `CONSOLE_EXT_LOG_MAX`, Linux 3.10 to 6.19).
    const LONGEST_MESSAGE: usize = 8192;

    /// A reader that knows of no report yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next record. Gives a victim where the record is the line of a kill, by the kernel's own word.
    ///
    /// In a group kill (`memory.oom.group`) there is one value a line, and two for the first victim: see
    /// [`OomVictim::repeat`].
    pub fn feed(&mut self, record: &KmsgRecord<'_>) -> Option<OomVictim> {
        let last = self.last_sequence.replace(record.sequence);
        if last.is_some_and(|last| last.checked_add(1) != Some(record.sequence)) {
            self.pending.clear();
        }
        let escaped = record.escaped_message();
        if !record.is_from_kernel() || escaped.len() > Self::LONGEST_MESSAGE {
            return None;
        }
        if record.continuation {
            self.continue_line(record);
        }
        if !line::may_matter(escaped) {
            return None;
        }
        let message = record.message();
        let line = Line::parse(&message)?;
        let pending = self.report_of(&line, record)?;
        pending.last_line = record.since_boot;
        match line {
            Line::Killed(kill) => Some(victim(record, &kill, pending.kill(&kill))),
            line => {
                pending.take(line);
                None
            }
        }
    }

    fn continue_line(&mut self, record: &KmsgRecord<'_>) {
        if let Some(pending) = self.pending.iter_mut().find(|pending| pending.caller == record.caller) {
            pending.take_piece(&record.message(), Self::LONGEST_MESSAGE);
        }
    }

    /// The report that the line is part of. A line of no report begun so far begins one, if it is of the kind.
    fn report_of(&mut self, line: &Line<'_>, record: &KmsgRecord<'_>) -> Option<&mut Pending> {
        let now = record.since_boot;
        if let Some(index) = self.pending.iter().position(|pending| pending.caller == record.caller) {
            let known = self.pending.get(index)?;
            if known.accepts(line) && !known.is_over(now) {
                return self.pending.get_mut(index);
            }
            self.pending.swap_remove(index);
        }
        if !line.begins_report() {
            return None;
        }
        if self.pending.len() >= Self::MOST_PENDING {
            let oldest = self.pending.iter().enumerate().min_by_key(|(_, pending)| pending.last_line)?.0;
            self.pending.swap_remove(oldest);
        }
        self.pending.push(Pending::new(record.caller, now));
        self.pending.last_mut()
    }
}

fn victim(record: &KmsgRecord<'_>, kill: &KillLine<'_>, told: Told) -> OomVictim {
    OomVictim {
        sequence: record.sequence,
        since_boot: record.since_boot,
        pid: kill.pid,
        name: kill.name.to_vec(),
        uid: told.uid,
        total_vm: kill.sizes.total_vm,
        anon_rss: kill.sizes.anon_rss,
        file_rss: kill.sizes.file_rss,
        shmem_rss: kill.sizes.shmem_rss,
        pgtables: kill.sizes.pgtables,
        oom_score_adj: kill.sizes.oom_score_adj,
        scope: told.scope,
        oom_group: told.oom_group,
        repeat: told.repeat,
        report: told.report,
    }
}
