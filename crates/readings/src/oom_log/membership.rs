//! Whether a line is one of a report.
//!
//! Order of the lines by version: `oom_kill_process` and `dump_header` in mm/oom_kill.c.

use super::draft::{Draft, GROUP_PAUSE, Section, Step};
use super::line::LogLine;
use super::report::{LogTime, OomPanic};
use crate::kernel_log::kill_line::KillLine;
use crate::kernel_log::line::Line;
use crate::{CgroupPath, OomScope};

impl Draft {
    /// Whether a report can begin with the line, where those before it are missing.
    pub(super) fn begins_with(line: &LogLine<'_>) -> bool {
        match line {
            LogLine::Kill(line) => !matches!(line, Line::Trace { .. } | Line::ResultOfLimit { .. }),
            LogLine::StatsOf { .. } | LogLine::Header(_) | LogLine::Row(_) | LogLine::Panic(_) => true,
            _ => false,
        }
    }

    /// Whether the line, printed at `time`, can be one of this report.
    pub(super) fn accepts(&self, line: &LogLine<'_>, time: &LogTime) -> bool {
        let report = &self.report;
        let is_dump = self.step == Step::Dump;
        match line {
            LogLine::Kill(line) => self.accepts_kill_line(line, time),
            LogLine::Cpuset { .. } => is_dump && report.cpuset.is_none(),
            LogLine::OtherUsage { .. } => is_dump,
            LogLine::StatsOf { .. } => is_dump && report.tasks.is_none(),
            LogLine::Stat { .. } => is_dump && self.section == Section::Stats,
            LogLine::MemoryInfo => is_dump && report.memory_info.is_none() && report.memory.is_none(),
            LogLine::Pages(_) if self.section == Section::Stats => is_dump,
            LogLine::Pages(_) | LogLine::Zone { .. } | LogLine::Total { .. } | LogLine::Swap { .. } => {
                is_dump && report.memory_info.is_some()
            }
            LogLine::Slabs => is_dump,
            LogLine::Slab { .. } => is_dump && self.section == Section::Slabs,
            LogLine::Header(_) => is_dump && report.tasks.as_ref().is_none_or(|tasks| tasks.rows.is_empty()),
            LogLine::Row(_) => is_dump,
            LogLine::Reaped(_) | LogLine::Unreaped(_) => true,
            LogLine::Panic(panic) => is_dump || (report.no_killable && *panic == OomPanic::NoKillable),
            LogLine::Version(_) => false,
        }
    }

    fn accepts_kill_line(&self, line: &Line<'_>, time: &LogTime) -> bool {
        let report = &self.report;
        let is_dump = self.step == Step::Dump;
        match line {
            Line::Invoked(_) => false,
            Line::Trace { comm, .. } => {
                is_dump && report.trigger.as_ref().is_some_and(|trigger| comm.starts_with(&trigger.name))
            }
            Line::TaskIn { .. } => is_dump && report.task_memcg.is_none() && report.memory.is_none(),
            Line::ResultOfLimit { .. } => is_dump && report.oom_memcg.is_none(),
            Line::Usage { .. } => is_dump && report.memory.is_none(),
            Line::Summary(_) => is_dump && self.cut_summary.is_none(),
            // 5.0 announces after its summary.
            Line::Announced { .. } => self.step != Step::Outcome && report.announced.is_none(),
            Line::Killed(kill) => self.accepts_kill(kill, time),
            Line::AlreadyExiting { .. } => true,
            Line::NoKillable => is_dump,
            // A log can have the same lines twice.
            Line::Group(path) => {
                !is_dump && report.oom_group.as_ref().is_none_or(|group| *group == CgroupPath::new(path))
            }
        }
    }

    fn accepts_kill(&self, kill: &KillLine<'_>, time: &LogTime) -> bool {
        let is_other_scope = self.report.memory.is_some() && kill.scope == Some(OomScope::Global);
        match self.step {
            Step::Outcome => {
                let is_group = self.report.oom_group.is_some()
                    && time.since(&self.last_time).is_none_or(|pause| pause <= GROUP_PAUSE);
                is_group || self.has_victim(kill.pid)
            }
            _ => !is_other_scope && self.accepts_cut_kill(kill.pid),
        }
    }

    pub(super) fn accepts_cut_kill(&self, pid: u32) -> bool {
        let report = &self.report;
        let is_chosen = report.chosen.as_ref().is_none_or(|chosen| chosen.pid == pid);
        // An announced process can be spared for a child of it, so the pid tells nothing there.
        self.step != Step::Outcome && (is_chosen || report.announced.is_some())
    }

    /// Whether the summary names this process.
    pub(super) fn chose(&self, pid: u32) -> bool {
        self.report.chosen.as_ref().is_some_and(|chosen| chosen.pid == pid)
    }

    pub(super) fn has_victim(&self, pid: u32) -> bool {
        self.report.victims.iter().any(|victim| victim.pid == pid)
    }

    pub(super) fn has_victim_called(&self, name: &[u8]) -> bool {
        self.report.victims.iter().any(|victim| victim.name.as_deref() == Some(name))
    }
}
