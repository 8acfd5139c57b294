//! Why that process: the kernel kills by a score, and this computes the score as the kernel does.
//!
//! `oom_badness` (mm/oom_kill.c, Linux 6.18): pages in RAM and in swap and of page tables, plus `oom_score_adj`
//! thousandths of the memory that is allowed. −1000 is never killed. Before 4.17 root's processes got 3 % off, which is
//! left out here: the log does not tell the version surely.

use reprieve_readings::{Bytes, Limit, OomLogReport, TaskRow};

use crate::OomKind;

/// The processes that could have been killed, the highest score first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ranking {
    /// All that the table has.
    pub candidates: Vec<Candidate>,
    /// Why the kernel took the one it took.
    pub why: WhyVictim,
}

/// A process that could have been killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Its pid.
    pub pid: u32,
    /// Its name, as it chose it itself.
    pub name: Vec<u8>,
    /// Its memory in RAM.
    pub resident: Bytes,
    /// Its memory in swap.
    pub swap: Bytes,
    /// Its page tables.
    pub page_tables: Bytes,
    /// How much its owner wanted it killed. `None` where the table doesn't say.
    pub oom_score_adj: Option<i16>,
    /// What the kernel goes by, in bytes. `None` if it is never killed, or the memory allowed is unknown and
    /// `oom_score_adj` is not 0.
    pub badness: Option<i128>,
    /// Whether it was killed.
    pub victim: bool,
}

/// Why the kernel took the first victim.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WhyVictim {
    /// It had the most memory, and its score was the highest.
    Largest,
    /// It had not the most memory, but a higher `oom_score_adj` than what had more.
    Adjusted,
    /// The process that had asked for memory was killed, as `vm.oom_kill_allocating_task` wants it.
    Allocating,
    /// It is not the process with the highest score. A child was taken in place of its parent (up to Linux 4.20), the
    /// memory changed meanwhile, or the log leaves something out.
    NotHighest,
    /// There was no victim, or it is not in the table.
    Unknown,
}

/// Ranks the processes of the table. `None` without one.
pub(super) fn judge_ranking(report: &OomLogReport, kind: OomKind, page_size: Bytes) -> Option<Ranking> {
    let rows = &report.tasks.as_ref()?.rows;
    let allowed = allowed_memory(report, kind, page_size);
    let is_victim = |row: &TaskRow| report.victims.iter().any(|victim| victim.pid == row.tgid || victim.pid == row.pid);
    let mut candidates: Vec<Candidate> =
        rows.iter().map(|row| Candidate::new(row, allowed, page_size, is_victim(row))).collect();
    candidates.sort_by_key(|candidate| std::cmp::Reverse((candidate.badness, candidate.memory())));
    let why = why(&candidates, report);
    Some(Ranking { candidates, why })
}

impl Candidate {
    fn new(row: &TaskRow, allowed: Option<Bytes>, page_size: Bytes, victim: bool) -> Self {
        let pages = |count: Option<u64>| Bytes::new(count.unwrap_or(0).saturating_mul(page_size.get()));
        let page_tables = row.pgtables.unwrap_or_else(|| pages(row.pgtable_pages));
        let mut candidate = Candidate {
            pid: row.tgid,
            name: row.name.clone(),
            resident: pages(row.rss),
            swap: pages(row.swapents),
            page_tables,
            oom_score_adj: row.oom_score_adj,
            badness: None,
            victim,
        };
        candidate.badness = candidate.judge_badness(allowed);
        candidate
    }

    /// Memory in RAM, in swap and of page tables.
    pub fn memory(&self) -> Bytes {
        self.resident.saturating_add(self.swap).saturating_add(self.page_tables)
    }

    fn judge_badness(&self, allowed: Option<Bytes>) -> Option<i128> {
        let memory = i128::from(self.memory().get());
        match (self.oom_score_adj.unwrap_or(0), allowed) {
            (-1000, _) => None,
            (0, _) => Some(memory),
            (adjustment, Some(allowed)) => Some(memory + i128::from(adjustment) * i128::from(allowed.get()) / 1000),
            (_, None) => None,
        }
    }
}

/// The memory that a score is a part of: the limit with its swap, or the machine's RAM and swap.
fn allowed_memory(report: &OomLogReport, kind: OomKind, page_size: Bytes) -> Option<Bytes> {
    if kind.is_cgroup() {
        let memory = report.memory.and_then(|memory| memory.limit.bytes());
        let both = report.memory_and_swap.and_then(|both| both.limit.bytes());
        let swap = report.swap.map_or(Some(Bytes::ZERO), |swap| Limit::bytes(swap.limit));
        return both.or_else(|| Some(memory?.saturating_add(swap.unwrap_or_default())));
    }
    let info = report.memory_info.as_ref()?;
    let pages = info.ram?.saturating_sub(info.reserved.unwrap_or(0));
    let ram = Bytes::new(pages.saturating_mul(page_size.get()));
    Some(ram.saturating_add(info.swap_total.unwrap_or_default()))
}

fn why(candidates: &[Candidate], report: &OomLogReport) -> WhyVictim {
    let Some(victim) = candidates.iter().find(|candidate| candidate.victim) else { return WhyVictim::Unknown };
    let more_memory = |other: &&Candidate| other.memory() > victim.memory();
    let higher = |other: &&Candidate| other.badness > victim.badness && !other.victim;
    if report.trigger.as_ref().is_some_and(|trigger| trigger.pid == Some(victim.pid))
        && candidates.iter().any(|other| higher(&other))
    {
        WhyVictim::Allocating
    } else if victim.badness.is_some() && candidates.iter().any(|other| higher(&other)) {
        WhyVictim::NotHighest
    } else if candidates.iter().filter(|other| !other.victim).any(|other| more_memory(&other)) {
        WhyVictim::Adjusted
    } else {
        WhyVictim::Largest
    }
}
