//! A report that is under way.
//!
//! A report comes in steps (dump, choice, outcome), and a line of an earlier step, or one that the report has already,
//! begins another report.

use std::time::Duration;

use super::joiner::Message;
use super::line::{LogLine, Part, UsageOf, invoked_name, named, release};
use super::memory::LimitUse;
use super::report::{AnnouncedVictim, KilledProcess, LogTime, Missing, NamedProcess, OomLogReport, OomPanic};
use super::summary::Places;
use super::tasks::{self, TaskTable};
use crate::kernel_log::kill_line::KillLine;
use crate::kernel_log::line::Line;
use crate::kernel_log::text::{rsplit_once, split_once};
use crate::parse::decimal;
use crate::{CgroupPath, OomScope, OomTrigger, PrintkCaller};

#[derive(Debug)]
pub(super) struct Draft {
    pub(super) report: OomLogReport,
    /// Whether the same task has begun another: then only the reaper's lines are taken.
    pub(super) is_superseded: bool,
    /// Whether a line of it was cut.
    pub(super) is_cut: bool,
    /// Whether the trace of calls leads through a memory cgroup.
    pub(super) is_memcg: bool,
    /// A summary that another's line has cut in two, up to the cut.
    pub(super) cut_summary: Option<Vec<u8>>,
    /// The summary, for when the victim's name is known.
    summary_text: Vec<u8>,
    pub(super) step: Step,
    pub(super) section: Section,
    pub(super) last_time: LogTime,
    /// How many lines were printed since the last of its own.
    idle: u32,
    idle_too_long: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    Dump,
    Choice,
    Outcome,
}

/// What lines mean that don't say it themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Section {
    None,
    Stats,
    MemoryInfo,
    Slabs,
}

/// So many lines of others may come between lines of a report, and after its outcome.
const LINES_BETWEEN: u32 = 4096;
const LINES_AFTER: u32 = 256;
/// So much time may pass between lines of a report.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);
/// The lines of a group kill follow each other closely: see the agent's reader.
pub(super) const GROUP_PAUSE: Duration = Duration::from_secs(5);
/// No record of the kernel is longer.
const LONGEST_SUMMARY: usize = 8192;
/// So many victims are kept of a group, and as many of other lists.
const MOST_PROCESSES: usize = 2048;

impl Draft {
    pub(super) fn new(message: &Message, kernel: Option<Vec<u8>>) -> Self {
        let report = OomLogReport {
            line: message.number,
            time: message.origin.time.clone(),
            caller: message.origin.caller,
            kernel,
            ..OomLogReport::default()
        };
        Draft {
            last_time: report.time.clone(),
            report,
            is_superseded: false,
            is_cut: false,
            is_memcg: false,
            cut_summary: None,
            summary_text: Vec::new(),
            step: Step::Dump,
            section: Section::None,
            idle: 0,
            idle_too_long: false,
        }
    }

    pub(super) fn caller(&self) -> Option<PrintkCaller> {
        self.report.caller
    }

    /// Lets it see that something was printed.
    pub(super) fn pass(&mut self, time: &LogTime) {
        self.idle = self.idle.saturating_add(1);
        let limit = if self.step == Step::Outcome { LINES_AFTER } else { LINES_BETWEEN };
        let is_long_ago = time.since(&self.last_time).is_some_and(|pause| pause > LONGEST_PAUSE);
        self.idle_too_long |= self.idle > limit || is_long_ago;
        self.is_superseded |= self.idle_too_long;
    }

    pub(super) fn has_ended(&self) -> bool {
        self.idle_too_long
    }

    /// Takes a line that it accepts.
    pub(super) fn take(&mut self, line: LogLine<'_>, time: &LogTime) {
        self.idle = 0;
        self.last_time = time.clone();
        match line {
            LogLine::Kill(line) => self.take_kill_line(line, time),
            LogLine::Cpuset { cpuset, mems_allowed } => {
                self.report.cpuset = Some(cpuset.to_vec());
                self.report.mems_allowed = Some(mems_allowed.to_vec());
            }
            LogLine::OtherUsage { of, usage, limit, failcnt } => {
                let field = match of {
                    UsageOf::Swap => &mut self.report.swap,
                    UsageOf::MemoryAndSwap => &mut self.report.memory_and_swap,
                    UsageOf::Kmem => &mut self.report.kmem,
                };
                field.get_or_insert(LimitUse { usage, limit, failcnt });
            }
            LogLine::Header(header) => {
                let columns = tasks::parse_columns(header);
                self.report.tasks = Some(TaskTable { columns, ..TaskTable::default() });
            }
            LogLine::Row(row) => self.report.tasks.get_or_insert_default().add(row),
            LogLine::Reaped(reaped) => push_bounded(&mut self.report.reaped, reaped),
            LogLine::Unreaped(process) => push_bounded(&mut self.report.unreaped, process),
            LogLine::Panic(panic) => {
                self.report.panic = Some(panic);
                self.report.no_killable |= panic == OomPanic::NoKillable;
                self.step = Step::Outcome;
            }
            line => self.take_memory(line),
        }
    }

    fn take_kill_line(&mut self, line: Line<'_>, time: &LogTime) {
        match line {
            Line::Invoked(trigger) => self.begin(trigger),
            Line::Trace { cpu, pid, comm } => self.take_trace(cpu, pid, comm),
            Line::TaskIn { task_memcg, oom_memcg } => {
                self.report.task_memcg = Some(CgroupPath::new(task_memcg.trim_ascii_end()));
                self.take_limit_of(oom_memcg);
            }
            Line::ResultOfLimit { oom_memcg } => self.take_limit_of(Some(oom_memcg)),
            Line::Usage { usage, limit, failcnt } => {
                self.report.memory = Some(LimitUse { usage, limit, failcnt });
            }
            Line::Summary(rest) => self.take_summary(rest),
            Line::Announced { scope, who } => self.announce(scope, who),
            Line::Killed(kill) => self.take_kill(&kill, time),
            Line::AlreadyExiting { scope, who } => {
                self.report.scope = Some(scope);
                if let Some(process) = named(who) {
                    push_bounded(&mut self.report.already_exiting, process);
                }
                self.step = Step::Outcome;
            }
            Line::NoKillable => {
                self.report.no_killable = true;
                self.step = Step::Outcome;
            }
            Line::Group(path) => {
                self.report.oom_group = Some(CgroupPath::new(path));
                self.step = Step::Outcome;
            }
        }
    }

    fn begin(&mut self, mut trigger: OomTrigger) {
        if let Some(PrintkCaller::Task(pid)) = self.report.caller {
            trigger.pid = Some(pid);
        }
        self.report.trigger = Some(trigger);
    }

    fn take_trace(&mut self, cpu: Option<u32>, pid: u32, comm: &[u8]) {
        self.report.cpu = cpu;
        if let Some(release) = release(comm) {
            self.report.kernel = Some(release.to_vec());
        }
        if let Some(trigger) = &mut self.report.trigger {
            trigger.pid.get_or_insert(pid);
        }
    }

    /// A line that was cut at the right leaves a path that is the beginning of the victim's, but no cgroup above it.
    fn take_limit_of(&mut self, oom_memcg: Option<&[u8]>) {
        let path = oom_memcg.map(|path| CgroupPath::new(path.trim_ascii_end()));
        let task_memcg = self.report.task_memcg.as_ref();
        let is_cut = path.as_ref().zip(task_memcg).is_some_and(|(path, task_memcg)| {
            task_memcg.as_bytes().starts_with(path.as_bytes()) && task_memcg.below(path).is_none()
        });
        self.is_cut |= is_cut;
        self.report.scope.get_or_insert(OomScope::MemoryCgroup);
        self.report.oom_memcg = path.filter(|_| !is_cut);
    }

    fn take_summary(&mut self, rest: &[u8]) {
        let places = Places::parse(rest);
        let report = &mut self.report;
        report.scope = report.scope.or(places.scope);
        report.constraint = places.constraint;
        report.constraint_text = places.constraint_text.map(<[u8]>::to_vec);
        report.nodemask = places.nodemask.map(<[u8]>::to_vec);
        report.cpuset = report.cpuset.take().or(places.cpuset.map(<[u8]>::to_vec));
        report.mems_allowed = report.mems_allowed.take().or(places.mems_allowed.map(<[u8]>::to_vec));
        report.oom_memcg = places.oom_memcg.map(CgroupPath::new);
        report.task_memcg = places.task_memcg(None).map(CgroupPath::new);
        report.chosen = places.chosen();
        self.cut_summary = report.chosen.is_none().then(|| rest.to_vec());
        if self.cut_summary.is_none() {
            self.step = Step::Choice;
            self.summary_text = rest.to_vec();
        }
    }

    /// Takes a text that is no line: the rest of a summary goes on with a comma or within a path.
    pub(super) fn take_piece(&mut self, piece: &[u8]) {
        let goes_on = piece.starts_with(b",") || piece.starts_with(b"/");
        if let Some(mut summary) = self.cut_summary.take_if(|_| goes_on && self.step == Step::Dump)
            && summary.len() + piece.len() <= LONGEST_SUMMARY
        {
            summary.extend_from_slice(piece);
            self.take_summary(&summary);
        }
    }

    fn announce(&mut self, scope: OomScope, who: &[u8]) {
        self.report.scope = Some(scope);
        self.step = Step::Choice;
        let Some((pid, rest)) = split_once(who, b" (") else { return };
        let Some(pid) = decimal(pid).and_then(|pid| u32::try_from(pid).ok()) else { return };
        let (name, tail) = rsplit_once(rest, b") score ").unwrap_or((rest, b""));
        let score = split_once(tail, b" ").and_then(|(score, _)| decimal(score));
        self.report.announced = Some(AnnouncedVictim { pid, name: name.to_vec(), score });
    }

    fn take_kill(&mut self, kill: &KillLine<'_>, time: &LogTime) {
        self.report.scope = kill.scope.or(self.report.scope);
        let sizes = &kill.sizes;
        self.add_victim(KilledProcess {
            time: time.clone(),
            pid: kill.pid,
            name: Some(kill.name.to_vec()),
            uid: kill.uid,
            total_vm: sizes.total_vm,
            anon_rss: sizes.anon_rss,
            file_rss: sizes.file_rss,
            shmem_rss: sizes.shmem_rss,
            pgtables: sizes.pgtables,
            oom_score_adj: sizes.oom_score_adj,
            lines: 1,
        });
    }

    pub(super) fn take_cut_kill(&mut self, process: NamedProcess, message: &[u8], time: &LogTime) {
        self.idle = 0;
        self.is_cut = true;
        if message.starts_with(b"Memory cgroup out of memory") {
            self.report.scope = Some(OomScope::MemoryCgroup);
        } else if message.starts_with(b"Out of memory") {
            self.report.scope = Some(OomScope::Global);
        }
        let NamedProcess { pid, name } = process;
        self.add_victim(KilledProcess { time: time.clone(), pid, name, lines: 1, ..KilledProcess::default() });
    }

    fn add_victim(&mut self, mut victim: KilledProcess) {
        if self.step != Step::Outcome {
            self.step = Step::Outcome;
            let places = Places::parse(&self.summary_text);
            if let Some(path) = victim.name.as_deref().and_then(|name| places.task_memcg(Some(name))) {
                self.report.task_memcg = Some(CgroupPath::new(path));
            }
            victim.uid = victim.uid.or_else(|| places.uid_of(victim.pid));
        }
        let report = &mut self.report;
        if let Some(known) = report.victims.iter_mut().find(|known| known.pid == victim.pid) {
            known.lines += 1;
            known.name = known.name.take().or(victim.name);
        } else if report.victims.len() < MOST_PROCESSES {
            report.victims.push(victim);
        } else {
            report.victims_left_out += 1;
        }
    }

    pub(super) fn take_cut_invocation(&mut self, message: &[u8]) {
        self.is_cut = true;
        match Line::parse(message) {
            Some(Line::Invoked(trigger)) => self.begin(trigger),
            _ => {
                if let Some(name) = invoked_name(message) {
                    self.begin(OomTrigger {
                        name: name.to_vec(),
                        pid: None,
                        gfp: Vec::new(),
                        order: None,
                        oom_score_adj: None,
                    });
                }
            }
        }
    }

    /// Takes a line that was cut, of which nothing can be trusted but that it was there.
    pub(super) fn take_cut_line(&mut self, part: Part, _message: &[u8]) {
        if self.step == Step::Dump {
            self.idle = 0;
            self.is_cut = true;
            if part == Part::Header {
                self.report.tasks.get_or_insert_default();
            }
        }
    }

    /// Ends it, and says what is missing.
    pub(super) fn finish(mut self) -> OomLogReport {
        if let Some(tasks) = &mut self.report.tasks {
            tasks.drop_the_lightest();
        }
        let report = &self.report;
        let is_global =
            report.memory_info.is_some() || matches!(report.panic, Some(OomPanic::SystemWide | OomPanic::NoKillable));
        let scope = report.scope.or_else(|| {
            let is_memcg = self.is_memcg || report.memory.is_some() || !report.stats.is_empty();
            if is_memcg { Some(OomScope::MemoryCgroup) } else { is_global.then_some(OomScope::Global) }
        });
        let has_outcome = !report.victims.is_empty()
            || !report.already_exiting.is_empty()
            || report.no_killable
            || report.panic.is_some();
        // From 5.1 on the word that kills names no score before, and a summary comes before it.
        let has_no_summary = report.announced.is_none()
            && report.victims.iter().any(|victim| victim.oom_score_adj.is_some())
            && report.chosen.is_none();
        let missing = [
            (Missing::Beginning, report.trigger.is_none()),
            (Missing::Memory, report.memory.is_none() && report.memory_info.is_none()),
            (Missing::Tasks, report.tasks.is_none()),
            (Missing::Summary, has_no_summary),
            (Missing::Outcome, !has_outcome),
            (Missing::RestOfLine, self.is_cut),
        ];
        let missing = missing.into_iter().filter(|(_, is_missing)| *is_missing).map(|(what, _)| what).collect();
        OomLogReport { scope, missing, ..self.report }
    }
}

pub(super) fn push_bounded<T>(list: &mut Vec<T>, value: T) {
    if list.len() < MOST_PROCESSES {
        list.push(value);
    }
}
