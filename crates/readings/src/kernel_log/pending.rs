//! A report that has begun: what its lines told so far, and which kills it tells of.
//!
//! A report comes in steps (dump, choice, kill), and a line of an earlier step begins another report. So what was said
//! of one kill can't stick to the next, even where the kernel never printed the end of the first. Order of the lines by
//! version: `oom_kill_process` and `dump_header` in mm/oom_kill.c.

use std::time::Duration;

use super::kill_line::KillLine;
use super::kmsg::PrintkCaller;
use super::line::Line;
use super::summary::Summary;
use super::victim::{OomReport, OomScope, OomTrigger};
use crate::CgroupPath;

#[derive(Debug)]
pub(super) struct Pending {
    pub(super) caller: Option<PrintkCaller>,
    pub(super) last_line: Duration,
    step: Step,
    report: OomReport,
    summary: Option<Summary>,
    /// A summary that another CPU's line has cut in two, up to the cut.
    cut_summary: Option<Vec<u8>>,
    announced: Option<OomScope>,
    group: Option<CgroupPath>,
    first_victim: Option<u32>,
    last_victim: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Dump,
    Choice,
    Kill,
}

/// What a report adds to its kill line.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) report: OomReport,
    pub(super) scope: Option<OomScope>,
    pub(super) uid: Option<u32>,
    pub(super) oom_group: Option<CgroupPath>,
    pub(super) repeat: bool,
}

/// The lines of a group kill follow each other closely, even on a slow serial console. After as long as the rate limit's
/// interval (`DEFAULT_RATELIMIT_INTERVAL`) the next kill comes with a report again. Sooner, in a storm, it can't be told
/// from one more of the group.
const GROUP_PAUSE: Duration = Duration::from_secs(5);

impl Pending {
    pub(super) fn new(caller: Option<PrintkCaller>, now: Duration) -> Self {
        Pending {
            caller,
            last_line: now,
            step: Step::Dump,
            report: OomReport::default(),
            summary: None,
            cut_summary: None,
            announced: None,
            group: None,
            first_victim: None,
            last_victim: None,
        }
    }

    /// Whether the line is one of this report; otherwise it begins another.
    pub(super) fn accepts(&self, line: &Line<'_>) -> bool {
        match line {
            Line::Invoked(_) | Line::NoKillable => false,
            Line::TaskIn { .. } | Line::ResultOfLimit { .. } | Line::Usage { .. } | Line::Summary(_) => {
                self.step == Step::Dump
            }
            // 5.0 announces after its summary.
            Line::Announced { .. } => self.step != Step::Kill && self.announced.is_none(),
            Line::Killed(kill) => self.owns(kill),
            Line::Trace { .. } | Line::AlreadyExiting { .. } | Line::Group(_) => true,
        }
    }

    fn owns(&self, kill: &KillLine<'_>) -> bool {
        match self.step {
            // el8 147 has no line between dump and kill. Later kernels always summarise.
            Step::Dump => kill.scope.is_some() && kill.sizes.oom_score_adj.is_none(),
            // An announced process can be spared for a child of it, so the pid tells nothing there.
            Step::Choice => {
                self.announced.is_some() || self.summary.as_ref().is_some_and(|summary| summary.pid == kill.pid)
            }
            Step::Kill => self.group.is_some(),
        }
    }

    /// Whether a group kill that began here is over.
    pub(super) fn is_over(&self, now: Duration) -> bool {
        self.step == Step::Kill && now.saturating_sub(self.last_line) > GROUP_PAUSE
    }

    /// Takes a line that it accepts, kill lines apart.
    pub(super) fn take(&mut self, line: Line<'_>) {
        match line {
            Line::Invoked(trigger) => self.begin(trigger),
            Line::Trace { pid, comm, .. } => self.name_trigger(pid, comm),
            Line::TaskIn { task_memcg, oom_memcg } => {
                self.report.task_memcg = Some(CgroupPath::new(task_memcg));
                self.report.oom_memcg = oom_memcg.map(CgroupPath::new);
            }
            Line::ResultOfLimit { oom_memcg } => self.report.oom_memcg = Some(CgroupPath::new(oom_memcg)),
            Line::Usage { usage, limit, failcnt } => {
                self.report.usage = Some(usage);
                self.report.limit = Some(limit);
                self.report.failcnt = Some(failcnt);
            }
            Line::Summary(rest) => self.read_summary(rest.to_vec()),
            Line::Announced { scope, .. } => {
                self.announced = Some(scope);
                self.step = Step::Choice;
            }
            Line::AlreadyExiting { .. } => self.reach_kill(&[]),
            Line::Group(path) => self.begin_group(CgroupPath::new(path)),
            Line::NoKillable | Line::Killed(_) => {}
        }
    }

    /// Takes a piece of a line that another CPU's line cut. Its pieces go on with a comma or within a path.
    pub(super) fn take_piece(&mut self, piece: &[u8], longest: usize) {
        let belongs = piece.starts_with(b",") || piece.starts_with(b"/");
        let Some(mut summary) = self.cut_summary.take().filter(|_| belongs && self.step == Step::Dump) else { return };
        summary.extend_from_slice(piece);
        if summary.len() <= longest {
            self.read_summary(summary);
        }
    }

    fn read_summary(&mut self, rest: Vec<u8>) {
        match Summary::parse(&rest) {
            Some(summary) => {
                self.report.constraint = summary.constraint;
                self.summary = Some(summary);
                self.step = Step::Choice;
            }
            None => self.cut_summary = Some(rest),
        }
    }

    fn begin(&mut self, mut trigger: OomTrigger) {
        if let Some(PrintkCaller::Task(pid)) = self.caller {
            trigger.pid = Some(pid);
        }
        self.report.trigger = Some(trigger);
    }

    fn name_trigger(&mut self, pid: u32, comm: &[u8]) {
        match &mut self.report.trigger {
            Some(trigger) if self.step == Step::Dump && comm.starts_with(&trigger.name) => {
                trigger.pid.get_or_insert(pid);
            }
            _ => {}
        }
    }

    fn begin_group(&mut self, path: CgroupPath) {
        if self.group.is_some() {
            // The kill taken for the last of the other group was the first of this one.
            let first_victim = self.last_victim;
            *self = Pending { announced: self.announced, first_victim, ..Pending::new(self.caller, self.last_line) };
        }
        self.reach_kill(&[]);
        self.group = Some(path);
    }

    fn reach_kill(&mut self, name: &[u8]) {
        if self.step == Step::Kill {
            return;
        }
        self.step = Step::Kill;
        if let Some(summary) = &self.summary {
            (self.report.oom_memcg, self.report.task_memcg) = summary.memcgs(name);
        }
        self.drop_imitated_memcgs();
    }

    /// The victim's cgroup lies in the one whose limit was hit. Where it seems not to, a name imitates the words around
    /// it, and neither is to be trusted: nobody must be able to have his kill booked to another's cgroup.
    fn drop_imitated_memcgs(&mut self) {
        let (oom_memcg, task_memcg) = (&self.report.oom_memcg, &self.report.task_memcg);
        if let (Some(oom_memcg), Some(task_memcg)) = (oom_memcg, task_memcg)
            && task_memcg.below(oom_memcg).is_none()
        {
            (self.report.oom_memcg, self.report.task_memcg) = (None, None);
        }
    }

    /// Takes a kill line that it accepts.
    pub(super) fn kill(&mut self, kill: &KillLine<'_>) -> Told {
        let repeat = self.first_victim == Some(kill.pid);
        if self.step != Step::Kill {
            self.reach_kill(kill.name);
            self.first_victim = Some(kill.pid);
        }
        self.last_victim = Some(kill.pid);
        let mut report = self.report.clone();
        if self.first_victim != Some(kill.pid) {
            report.task_memcg = None;
        }
        let summary = self.summary.as_ref().filter(|summary| summary.pid == kill.pid);
        Told {
            report,
            scope: kill.scope.or(self.announced),
            uid: kill.uid.or_else(|| summary.and_then(|summary| summary.uid)),
            oom_group: self.group.clone(),
            repeat,
        }
    }
}
