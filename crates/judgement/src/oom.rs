//! What does a report of the OOM killer mean?
//!
//! Which limit was hit, why the kernel took that process, who really used the memory, and what to do about it. The log
//! tells less than one would like, so each answer says how sure it is: [`Certainty`].

mod advice;
mod choice;
mod kind;
mod memory;
#[cfg(test)]
mod tests;

use reprieve_readings::{Bytes, OomLogReport, TaskRow};

pub use advice::OomAdvice;
pub use choice::{Candidate, Ranking, WhyVictim};
pub use kind::OomKindFinding;
pub use memory::{MainUser, MemoryPart, MemoryUse, Part};

use crate::{FirstProcess, OomKind};

/// How sure an answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Certainty {
    /// It is likely, by what is usual.
    Guess,
    /// The log says so.
    Certain,
}

/// What a report means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OomExplanation {
    /// Whose memory had run out, and by which limit.
    pub kind: OomKindFinding,
    /// How large a page is: the log counts processes in pages.
    pub page_size: Bytes,
    /// Whether the log tells the page size; otherwise it is taken to be 4 KiB.
    pub page_size_certainty: Certainty,
    /// The processes that could have been killed, by what the kernel goes by. `None` without a table of processes.
    pub ranking: Option<Ranking>,
    /// Where the memory was. `None` where the log doesn't tell.
    pub memory: Option<MemoryUse>,
    /// Who used most of it.
    pub main_user: MainUser,
    /// What became of the first process of the container. The log never says it outright.
    pub first_process: FirstProcess,
    /// What to do, the most useful first.
    pub advice: Vec<OomAdvice>,
}

/// Explains a report.
pub fn judge_oom(report: &OomLogReport) -> OomExplanation {
    let kind = kind::judge_kind(report);
    let (page_size, page_size_certainty) = judge_page_size(report);
    let ranking = choice::judge_ranking(report, kind.kind, page_size);
    let memory = memory::judge_memory(report, page_size);
    let main_user = memory::judge_main_user(memory.as_ref(), ranking.as_ref());
    let first_process = judge_first_process(report, kind.kind);
    let mut explanation = OomExplanation {
        kind,
        page_size,
        page_size_certainty,
        ranking,
        memory,
        main_user,
        first_process,
        advice: Vec::new(),
    };
    explanation.advice = advice::judge_advice(report, &explanation);
    explanation
}

/// The page size, by the free blocks of the machine, or by a victim that is in the table too: its size is printed in KiB
/// in one place and in pages in the other.
fn judge_page_size(report: &OomLogReport) -> (Bytes, Certainty) {
    const USUAL: Bytes = Bytes::from_kib(4);
    let of_machine = report.memory_info.as_ref().and_then(|info| info.page_size());
    let of_victim = || {
        let rows = &report.tasks.as_ref()?.rows;
        report.victims.iter().find_map(|victim| {
            let row = rows.iter().find(|row| row.pid == victim.pid || row.tgid == victim.pid)?;
            let (bytes, pages) = (victim.total_vm?.get(), row.total_vm.filter(|pages| *pages > 0)?);
            let size = bytes / pages;
            (bytes % pages == 0 && size.is_power_of_two() && (4096..=65_536).contains(&size)).then(|| Bytes::new(size))
        })
    };
    of_machine.or_else(of_victim).map_or((USUAL, Certainty::Guess), |size| (size, Certainty::Certain))
}

/// The first process of a container is mostly the one with the lowest pid in the table, which then holds only the
/// container's processes. With pods and machines the table holds those of many.
fn judge_first_process(report: &OomLogReport, kind: OomKind) -> FirstProcess {
    if report.oom_group.is_some() {
        return FirstProcess::Killed;
    }
    let rows = report.tasks.as_ref().map(|table| table.rows.as_slice()).unwrap_or_default();
    let first: Option<&TaskRow> = rows.iter().min_by_key(|row| row.tgid);
    match first {
        Some(first) if kind == OomKind::ContainerLimit && !report.victims.is_empty() => {
            let is_victim = report.victims.iter().any(|victim| victim.pid == first.tgid || victim.pid == first.pid);
            if is_victim { FirstProcess::Killed } else { FirstProcess::Survived }
        }
        _ => FirstProcess::Unknown,
    }
}
