//! A report as Markdown, for a post-mortem. Names and paths are strangers': they stand in code spans, where nothing acts.

use std::fmt::Write;

use reprieve_judgement::Candidate;
use reprieve_readings::{Bytes, Escaped};

use super::{ExplainedReport, advice, sentences};

/// So many processes are listed.
const PROCESSES: usize = 10;

/// A report as a section of Markdown.
pub fn explained_markdown(explained: &ExplainedReport<'_>) -> String {
    let report = explained.report;
    let found = explained.explanation;
    let time = sentences::time(&report.time).map(|time| format!(", {}", plain(&time))).unwrap_or_default();
    let mut text =
        format!("## OOM report {}{time}\n\n{}\n", explained.number, plain(&sentences::what_happened(explained)));
    let told = [
        sentences::why_victim(explained),
        sentences::main_user(&found.main_user),
        sentences::first_process(found.first_process, report.oom_group.is_some()).map(str::to_owned),
    ];
    for sentence in told.into_iter().flatten() {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{}", plain(&sentence));
    }
    text += &facts(explained);
    text += &processes(explained);
    text += &memory(explained);
    if !found.advice.is_empty() {
        text += "\n### What to do\n\n";
        for piece in &found.advice {
            let _ = writeln!(text, "- {}", plain(&advice::sentence(piece)));
        }
    }
    if !report.missing.is_empty() {
        let missing: Vec<&str> = report.missing.iter().map(|missing| sentences::missing(*missing)).collect();
        let _ = writeln!(text, "\nThe log lacks: {}.", missing.join(", "));
    }
    text
}

fn facts(explained: &ExplainedReport<'_>) -> String {
    let report = explained.report;
    let owner = &explained.explanation.kind.owner;
    let rows = [
        ("kind", Some(explained.explanation.kind.kind.as_str().to_owned())),
        ("container", owner.container.as_ref().map(ToString::to_string)),
        ("pod", owner.pod.as_ref().map(ToString::to_string)),
        ("victim's cgroup", report.task_memcg.as_ref().map(ToString::to_string)),
        ("limit's cgroup", report.oom_memcg.as_ref().map(ToString::to_string)),
        ("used", sentences::usage(report)),
        ("kernel", report.kernel.as_deref().map(|kernel| Escaped(kernel).to_string())),
    ];
    let mut text = String::from("\n| | |\n|---|---|\n");
    for (name, value) in rows.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))) {
        let _ = writeln!(text, "| {name} | {} |", code(value));
    }
    text
}

fn processes(explained: &ExplainedReport<'_>) -> String {
    let Some(ranking) = &explained.explanation.ranking else { return String::new() };
    let mut text =
        String::from("\n| process | pid | memory | in swap | oom_score_adj | |\n|---|--:|--:|--:|--:|---|\n");
    let shown = ranking.candidates.iter().enumerate().filter(|(index, one)| *index < PROCESSES || one.victim);
    for (_, one) in shown.take(2 * PROCESSES) {
        let Candidate { pid, swap, oom_score_adj, victim, .. } = one;
        let name = code(&Escaped(&one.name).to_string());
        let adjustment = oom_score_adj.map(|adjustment| adjustment.to_string()).unwrap_or_default();
        let killed = if *victim { "killed" } else { "" };
        let _ = writeln!(text, "| {name} | {pid} | {} | {swap} | {adjustment} | {killed} |", one.memory());
    }
    text
}

fn memory(explained: &ExplainedReport<'_>) -> String {
    let Some(memory) = &explained.explanation.memory else { return String::new() };
    let mut text = format!("\n| memory | of {} |\n|---|--:|\n", memory.total);
    for part in memory.parts.iter().filter(|part| part.bytes > Bytes::ZERO) {
        let _ = writeln!(text, "| {} | {} |", sentences::part(part.part), part.bytes);
    }
    text
}

/// A stranger's text as a code span within a table.
fn code(text: &str) -> String {
    format!("`{}`", text.replace('`', "'").replace('|', "¦"))
}

/// Text in which nothing acts: whatever means something to Markdown or HTML is escaped.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for character in text.chars() {
        if "\\`*_[]<>&|#~".contains(character) {
            plain.push('\\');
        }
        plain.push(character);
    }
    plain
}
