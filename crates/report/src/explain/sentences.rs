//! The sentences that explain a report. Names are strangers': they are escaped here.

use reprieve_judgement::{Certainty, FirstProcess, MainUser, OomKind, Part, WhyVictim};
use reprieve_readings::{Bytes, Escaped, KilledProcess, Limit, LogTime, Missing, OomLogReport, OomPanic};

use super::ExplainedReport;

/// A name, or that it is missing.
pub(super) fn name(name: Option<&[u8]>) -> String {
    name.map_or_else(|| "a process whose name is cut off".to_owned(), |name| Escaped(name).to_string())
}

/// When it happened, as exactly as the log tells.
pub(super) fn time(time: &LogTime) -> Option<String> {
    let since_boot = time.since_boot.map(|time| format!("{:.3} s after boot", time.as_secs_f64()));
    time.text.as_deref().map(|text| Escaped(text).to_string()).or(since_boot)
}

/// What happened, to whom, and why, in one sentence or two.
pub(super) fn what_happened(explained: &ExplainedReport<'_>) -> String {
    let report = explained.report;
    let cause = cause(explained);
    let Some((first, others)) = report.victims.split_first() else {
        return format!("{} {cause}", outcome_without_victim(report));
    };
    let count = others.len() as u64 + report.victims_left_out;
    let others = match count {
        0 => String::new(),
        1 => " and 1 more process".to_owned(),
        count => format!(" and {count} more processes"),
    };
    let group = if report.oom_group.is_some() { ", the whole cgroup, as memory.oom.group wants it" } else { "" };
    format!("The kernel killed {}{others}{group}: {cause}", victim(first))
}

fn victim(victim: &KilledProcess) -> String {
    let uid = victim.uid.map(|uid| format!(", uid {uid}")).unwrap_or_default();
    format!("{} (pid {}{uid})", name(victim.name.as_deref()), victim.pid)
}

fn outcome_without_victim(report: &OomLogReport) -> String {
    let outcome = match report.panic {
        Some(OomPanic::Compulsory | OomPanic::SystemWide) => "The kernel panicked, as vm.panic_on_oom wants it:",
        Some(OomPanic::NoKillable) => "The kernel found nobody to kill and panicked:",
        None if report.no_killable => "The kernel found nobody to kill:",
        None if !report.already_exiting.is_empty() => "The kernel killed nobody, since its choice was exiting already:",
        None => return chosen(report),
    };
    outcome.to_owned()
}

/// Who was to be killed, where the kill itself is not in the log.
fn chosen(report: &OomLogReport) -> String {
    let chosen = report.chosen.as_ref().map(|chosen| (name(chosen.name.as_deref()), chosen.pid));
    let announced = || report.announced.as_ref().map(|chosen| (name(Some(&chosen.name)), chosen.pid));
    match chosen.or_else(announced) {
        Some((name, pid)) => {
            format!("The kernel had chosen {name} (pid {pid}), and the log does not tell of the kill:")
        }
        None => "The log does not tell who was killed:".to_owned(),
    }
}

fn cause(explained: &ExplainedReport<'_>) -> String {
    let report = explained.report;
    let finding = &explained.explanation.kind;
    let limit = report.memory.map(|memory| memory.limit);
    let limit = match limit {
        Some(Limit::At(limit)) if !finding.with_swap => format!(" of {limit}"),
        _ => String::new(),
    };
    let limit = if finding.with_swap { " on memory and swap together".to_owned() } else { limit };
    let whose = match finding.kind {
        OomKind::ContainerLimit => format!("its container reached the limit{limit}"),
        OomKind::PodLimit => format!("its pod reached the limit{limit}, all containers together"),
        OomKind::AncestorLimit => format!("a cgroup above its own reached the limit{limit}"),
        OomKind::CgroupLimit => format!("its cgroup reached the limit{limit}"),
        OomKind::Node => "the machine was out of memory".to_owned(),
        OomKind::Cpuset => "the memory nodes that its cpuset allows were full".to_owned(),
        OomKind::MemoryPolicy => "the memory nodes that its memory policy allows were full".to_owned(),
        OomKind::SysRq => "somebody asked for it by SysRq (f)".to_owned(),
        OomKind::Unknown => "the log does not tell whose memory had run out".to_owned(),
    };
    let guess =
        if finding.certainty == Certainty::Guess && finding.kind != OomKind::Unknown { " (probably)" } else { "" };
    format!("{whose}{guess}.")
}

/// Why the kernel took that process.
pub(super) fn why_victim(explained: &ExplainedReport<'_>) -> Option<String> {
    let ranking = explained.explanation.ranking.as_ref()?;
    let victim = ranking.candidates.iter().find(|candidate| candidate.victim)?;
    let name = Escaped(&victim.name);
    let adjustment = victim.oom_score_adj.unwrap_or(0);
    Some(match ranking.why {
        WhyVictim::Largest if ranking.candidates.len() == 1 => format!("{name} was the only process to choose from."),
        WhyVictim::Largest => format!("{name} had the most memory of all {} processes.", ranking.candidates.len()),
        WhyVictim::Adjusted => {
            format!("{name} had not the most memory, but an oom_score_adj of {adjustment}, which made it the first.")
        }
        WhyVictim::Allocating => format!("{name} had asked for the memory, and vm.oom_kill_allocating_task is set."),
        WhyVictim::NotHighest => format!(
            "By the numbers in the log {name} was not the first choice: a child may have been taken for its parent, or \
             memory changed meanwhile."
        ),
        WhyVictim::Unknown => return None,
    })
}

/// Who really used the memory.
pub(super) fn main_user(user: &MainUser) -> Option<String> {
    Some(match user {
        MainUser::Process { pid, name, resident } => {
            format!("Most of the memory was that of {} (pid {pid}): {resident}.", Escaped(name))
        }
        MainUser::Processes { name, count, resident } => format!(
            "Most of the memory was that of {count} processes called {}: {resident} together, what they share counted \
             for each.",
            Escaped(name)
        ),
        MainUser::SharedMemory { bytes } => {
            format!("{bytes} were files in tmpfs or shared memory. They belong to no process, so no kill frees them.")
        }
        MainUser::UnreclaimableSlab { bytes } => format!("{bytes} were objects of the kernel that can't be freed."),
        MainUser::PageTables { bytes } => format!("{bytes} were page tables."),
        MainUser::Unclear => return None,
    })
}

/// What became of the first process of the container.
pub(super) fn first_process(first: FirstProcess, is_group: bool) -> Option<&'static str> {
    match first {
        FirstProcess::Killed if is_group => None,
        FirstProcess::Killed => Some("The victim was probably the container's first process, so the container ended."),
        FirstProcess::Survived => Some(
            "The container's first process probably survived: Kubernetes then reports nothing, and the container goes on \
             without the victim.",
        ),
        FirstProcess::Unknown => None,
    }
}

/// What a part of the memory is called.
pub(super) fn part(part: Part) -> &'static str {
    match part {
        Part::Anonymous => "programs",
        Part::SharedMemory => "tmpfs and shared memory",
        Part::PageCache => "page cache",
        Part::SlabReclaimable => "kernel, can be freed",
        Part::SlabUnreclaimable => "kernel, can't be freed",
        Part::PageTables => "page tables",
        Part::KernelStacks => "kernel stacks",
        Part::Kernel => "kernel",
        Part::Free => "free",
    }
}

/// What the log lacks, as a phrase.
pub(super) fn missing(missing: Missing) -> &'static str {
    match missing {
        Missing::Beginning => "its beginning",
        Missing::Memory => "where the memory was",
        Missing::Tasks => "the table of processes",
        Missing::Summary => "the line oom-kill:",
        Missing::Outcome => "how it ended",
        Missing::RestOfLine => "the rest of a line",
    }
}

/// What was used of what was allowed.
pub(super) fn usage(report: &OomLogReport) -> Option<String> {
    let memory = report.memory?;
    let limit = match memory.limit {
        Limit::At(limit) => format!("of {limit}"),
        Limit::Max => "without a limit".to_owned(),
    };
    Some(format!("{} {limit}, {} times at the limit", memory.usage, memory.failcnt))
}

/// Adds up amounts of a process for the chart.
pub(super) fn share(bytes: Bytes, of: Bytes) -> f64 {
    if of == Bytes::ZERO { 0.0 } else { (bytes.get() as f64 / of.get() as f64).min(1.0) }
}
