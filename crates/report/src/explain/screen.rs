//! The screen: some sentences, the largest processes, where the memory was, and what to do.

use std::fmt::Write;

use reprieve_judgement::{Candidate, Certainty};
use reprieve_readings::{Bytes, Escaped, OtherKill, OtherKiller};

use super::chart::{bar, cut, wrap};
use super::{ExplainedReport, advice, sentences};

/// So many processes are shown.
const PROCESSES: usize = 10;

/// A report as a screen of text, at most 80 columns wide but for long paths.
pub fn explained_screen(explained: &ExplainedReport<'_>) -> String {
    let mut text = heading(explained);
    text += &wrap("", &sentences::what_happened(explained));
    text += &place(explained);
    let found = explained.explanation;
    let told = [
        sentences::why_victim(explained),
        sentences::main_user(&found.main_user),
        sentences::first_process(found.first_process, explained.report.oom_group.is_some()).map(str::to_owned),
    ];
    for sentence in told.into_iter().flatten() {
        text += &wrap("", &sentence);
    }
    text += &processes(explained);
    text += &memory(explained);
    if !found.advice.is_empty() {
        text += "\nWhat to do\n";
        for piece in &found.advice {
            text += &wrap("- ", &advice::sentence(piece));
        }
    }
    text + &missing(explained)
}

fn heading(explained: &ExplainedReport<'_>) -> String {
    let report = explained.report;
    let mut heading = format!("OOM report {}", explained.number);
    if let Some(time) = sentences::time(&report.time) {
        heading += &format!(", {time}");
    }
    match explained.source {
        Some(source) => heading += &format!(", {} line {}", Escaped(source), report.line),
        None => heading += &format!(", line {}", report.line),
    }
    let underline = "=".repeat(heading.chars().count().min(super::chart::WIDTH));
    format!("{heading}\n{underline}\n")
}

fn place(explained: &ExplainedReport<'_>) -> String {
    let report = explained.report;
    let owner = &explained.explanation.kind.owner;
    let rows = [
        ("container", owner.container.as_ref().map(ToString::to_string)),
        ("pod", owner.pod.as_ref().map(ToString::to_string)),
        ("victim's cgroup", report.task_memcg.as_ref().map(ToString::to_string)),
        ("limit's cgroup", report.oom_memcg.as_ref().map(ToString::to_string)),
        ("used", sentences::usage(report)),
        ("asked for by", report.trigger.as_ref().map(trigger)),
        ("kernel", report.kernel.as_deref().map(|kernel| Escaped(kernel).to_string())),
    ];
    let mut text = String::from("\n");
    for (name, value) in rows.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        // Writing to a String can't fail.
        let _ = writeln!(text, "  {name:<16} {value}");
    }
    if text.len() > 1 { text + "\n" } else { text }
}

fn trigger(trigger: &reprieve_readings::OomTrigger) -> String {
    let pid = trigger.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
    let order = trigger.order.map(|order| format!(", order {order}")).unwrap_or_default();
    format!("{}{pid}, {}{order}", Escaped(&trigger.name), Escaped(&trigger.gfp))
}

fn processes(explained: &ExplainedReport<'_>) -> String {
    let Some(ranking) = &explained.explanation.ranking else { return String::new() };
    let guess = match explained.explanation.page_size_certainty {
        Certainty::Certain => "",
        Certainty::Guess => ", if pages have 4 KiB",
    };
    let mut text = format!("\nThe first in the kernel's order, of {}{guess}\n", ranking.candidates.len());
    let largest = ranking.candidates.iter().map(Candidate::memory).max().unwrap_or_default();
    let shown = ranking.candidates.iter().enumerate().filter(|(index, one)| *index < PROCESSES || one.victim);
    for (_, one) in shown.take(2 * PROCESSES) {
        let killed = if one.victim { " killed" } else { "" };
        let adjustment = match one.oom_score_adj {
            None | Some(0) => String::new(),
            Some(adjustment) => format!(" adj {adjustment}"),
        };
        let name = cut(&Escaped(&one.name).to_string(), 16);
        let bar = bar(sentences::share(one.memory(), largest), 22);
        let line = format!("  {name:<16} {:>8} {:>10} {bar}{killed}{adjustment}", one.pid, one.memory());
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn memory(explained: &ExplainedReport<'_>) -> String {
    let Some(memory) = &explained.explanation.memory else { return String::new() };
    let mut text = format!("\nWhere the memory was, of {}\n", memory.total);
    for part in memory.parts.iter().filter(|part| part.bytes > Bytes::ZERO) {
        let name = sentences::part(part.part);
        let line = format!("  {name:<25} {:>10} {}", part.bytes, bar(sentences::share(part.bytes, memory.total), 22));
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn missing(explained: &ExplainedReport<'_>) -> String {
    if explained.report.missing.is_empty() {
        return String::new();
    }
    let missing: Vec<&str> = explained.report.missing.iter().map(|missing| sentences::missing(*missing)).collect();
    format!("\n{}", wrap("", &format!("The log lacks: {}.", missing.join(", "))))
}

/// One line on a kill that was not the kernel's OOM killer's.
pub fn other_kill_line(kill: &OtherKill) -> String {
    let killer = match kill.killer {
        OtherKiller::SystemdOomd => "systemd-oomd",
        OtherKiller::Earlyoom => "earlyoom",
        OtherKiller::LowMemoryKiller => "Android's lowmemorykiller",
    };
    let message = cut(&Escaped(&kill.message).to_string(), 200);
    format!("line {}: a kill by {killer}, not by the kernel's OOM killer: {message}", kill.line)
}
