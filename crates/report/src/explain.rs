//! What `reprieve explain` says of a report of the OOM killer: a screen for people, JSON for programs, Markdown for a
//! post-mortem. All three say the same sentences.

mod advice;
mod chart;
mod json;
mod markdown;
mod screen;
mod sentences;

use reprieve_judgement::OomExplanation;
use reprieve_readings::OomLogReport;

pub(crate) use chart::wrap;
pub use json::explained_json;
pub use markdown::explained_markdown;
pub use screen::{explained_screen, other_kill_line};

/// A report with what it means.
#[derive(Debug)]
pub struct ExplainedReport<'a> {
    /// Which report it is, from 1 on.
    pub number: u64,
    /// Where it is from: the file's name as the user gave it, `-`, or the kernel's log. `None` if there is but one.
    pub source: Option<&'a [u8]>,
    /// What the log tells.
    pub report: &'a OomLogReport,
    /// What that means.
    pub explanation: &'a OomExplanation,
}
