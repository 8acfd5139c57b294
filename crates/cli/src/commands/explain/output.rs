//! Printing what is found, as it is found.

use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use reprieve_judgement::judge_oom;
use reprieve_readings::{LogTime, OomLogEvent, OomLogReport};
use reprieve_report::{ExplainedReport, explained_json, explained_markdown, explained_screen, other_kill_line};

use crate::arguments::{ExplainArguments, ExplainFormat};
use crate::exit_code::ExitCode;

pub(super) struct Output {
    format: ExplainFormat,
    since: Option<Duration>,
    /// When the machine booted, where the log is this machine's own.
    boot: Option<Duration>,
    source: Option<Vec<u8>>,
    found: u64,
    others: u64,
    failed: Option<io::Error>,
}

impl Output {
    pub(super) fn new(arguments: &ExplainArguments) -> Self {
        let now = SystemTime::now();
        Output {
            format: arguments.format(),
            since: arguments.since.map(|since| since.since_epoch(now)),
            boot: None,
            source: None,
            found: 0,
            others: 0,
            failed: None,
        }
    }

    /// Another file begins.
    pub(super) fn begin_source(&mut self, file: &Path, several: bool) {
        self.source = several.then(|| file.as_os_str().as_bytes().to_vec());
    }

    /// This machine's kernel log begins: its clock can be told.
    pub(super) fn begin_kernel(&mut self) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.boot = Some(now.saturating_sub(reprieve_linux::time_since_boot()));
    }

    /// Prints an event, unless it is too old.
    pub(super) fn tell(&mut self, event: OomLogEvent) {
        let text = match event {
            OomLogEvent::Report(report) if self.is_wanted(&report.time) => self.report(&report),
            OomLogEvent::OtherKill(kill) if self.is_wanted(&kill.time) => {
                self.others += 1;
                crate::complain(&other_kill_line(&kill));
                return;
            }
            OomLogEvent::Report(_) | OomLogEvent::OtherKill(_) => return,
        };
        let mut stdout = io::stdout().lock();
        if let Err(error) = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
            self.failed.get_or_insert(error);
        }
    }

    fn report(&mut self, report: &OomLogReport) -> String {
        self.found += 1;
        let explanation = judge_oom(report);
        let source = self.source.as_deref();
        let explained = ExplainedReport { number: self.found, source, report, explanation: &explanation };
        let between = if self.found > 1 { "\n" } else { "" };
        match self.format {
            ExplainFormat::Screen => format!("{between}{}", explained_screen(&explained)),
            ExplainFormat::Json => explained_json(&explained) + "\n",
            ExplainFormat::Markdown => format!("{between}{}", explained_markdown(&explained)),
        }
    }

    /// Whether it is new enough. What has no time that can be told is.
    fn is_wanted(&self, time: &LogTime) -> bool {
        let by_boot = || Some(self.boot?.saturating_add(time.since_boot?));
        match (self.since, time.since_epoch.or_else(by_boot)) {
            (Some(since), Some(time)) => time >= since,
            (None, _) | (_, None) => true,
        }
    }

    /// Fails where nothing can be printed any more.
    pub(super) fn check(&mut self) -> Result<()> {
        self.failed.take().map_or(Ok(()), |error| Err(error.into()))
    }

    /// Says on stderr if nothing was found.
    pub(super) fn finish(&self) -> ExitCode {
        if self.found > 0 {
            return ExitCode::Success;
        }
        let others = if self.others > 0 { "; the kills above were others' doing" } else { "" };
        crate::complain(&format!("no report of the kernel's OOM killer found{others}"));
        ExitCode::NothingFound
    }
}
