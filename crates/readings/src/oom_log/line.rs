//! Which lines belong to a report, and what each tells: those of [`crate::kernel_log::line`], which tell of kills, and
//! those that tell of memory.
//!
//! Some are told by their words, others (a statistic, a row) only by where they stand: what they mean is for the report
//! to say. A line that begins like one of a report but does not end like it is a [`Reading::Part`]: it was cut, or goes
//! on in the next line of the log.

use super::memory_line::{memory_line, stats_of};
use super::report::{NamedProcess, OomPanic, ReapedProcess};
use super::tasks::{self, TaskRow};
use crate::kernel_log::kill_line::KillLine;
use crate::kernel_log::line::{Line, limit_use};
use crate::kernel_log::summary::Summary;
use crate::kernel_log::text::{kilobytes, process_id, rsplit_once, split_once};
use crate::{Bytes, Limit};

/// How a text reads as a line of a report.
#[derive(Debug)]
pub(super) enum Reading<'a> {
    /// It is a line.
    Whole(LogLine<'a>),
    /// It begins like a line that `Part` tells, but lacks its end.
    Part(Part),
    /// It is none.
    Nothing,
}

/// Lines whose beginning is enough to know them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Invoked,
    TaskIn,
    Usage,
    Summary,
    Kill,
    Header,
    Row,
    Trace,
    Group,
    Reaped,
    /// Nothing but a prefix.
    Empty,
}

/// A line of a report.
#[derive(Debug)]
pub(super) enum LogLine<'a> {
    /// A line that the agent reads too. Its summaries end like summaries.
    Kill(Line<'a>),
    /// `NAME cpuset=NAME mems_allowed=LIST`, up to Linux 4.20.
    Cpuset { cpuset: &'a [u8], mems_allowed: &'a [u8] },
    /// `swap: usage …`, `memory+swap: usage …`, `kmem: usage …`.
    OtherUsage { of: UsageOf, usage: Bytes, limit: Limit, failcnt: u64 },
    /// `Memory cgroup stats for PATH:`, with the statistics behind it up to Linux 5.2.
    StatsOf { cgroup: &'a [u8], entries: &'a [u8] },
    /// `NAME N`, a line of memory.stat.
    Stat { name: &'a [u8], value: u64 },
    /// `Mem-Info:`
    MemoryInfo,
    /// `NAME:N NAME:N …`, of Mem-Info.
    Pages(&'a [u8]),
    /// `Node N ZONE free:NkB …` and `Node N ZONE: N*NkB …`.
    Zone { node: Option<u32>, name: &'a [u8], rest: &'a [u8], blocks: bool },
    /// `N pages RAM` and its like: the words and the number.
    Total { words: &'a [u8], number: u64 },
    /// `Free swap  = NkB`, `Total swap = NkB`.
    Swap { free: bool, size: Bytes },
    /// `Unreclaimable slab info:`
    Slabs,
    /// `NAME NKB NKB`.
    Slab { name: &'a [u8], used: Bytes, total: Bytes },
    /// The first row of the table of processes.
    Header(&'a [u8]),
    /// Another row of it.
    Row(TaskRow),
    /// `oom_reaper: reaped process …`
    Reaped(ReapedProcess),
    /// `oom_reaper: unable to reap pid:N (NAME)`
    Unreaped(NamedProcess),
    /// `Kernel panic - not syncing: …`, for want of memory.
    Panic(OomPanic),
    /// `Linux version RELEASE …`: a boot.
    Version(&'a [u8]),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum UsageOf {
    Swap,
    MemoryAndSwap,
    Kmem,
}

const PANIC: &[u8] = b"Kernel panic - not syncing: ";
const STATS_OF: &[u8] = b"Memory cgroup stats for ";
const NAME_MAX: usize = 15;

impl<'a> Reading<'a> {
    /// Reads a message. `columns` is how many numbers a row of the table has, where its header is known.
    pub(super) fn of(message: &'a [u8], columns: Option<&[Vec<u8>]>) -> Self {
        if message.is_empty() {
            return Reading::Part(Part::Empty);
        }
        if let Some(reading) = table_line(message, columns) {
            return reading;
        }
        let part = Part::begun_by(message);
        match Line::parse(message) {
            Some(line) if has_endless_name(&line) => return Reading::Nothing,
            Some(line) if is_whole(&line, message) => return Reading::Whole(LogLine::Kill(line)),
            _ => {}
        }
        if let Some(part) = part {
            let line = match part {
                Part::Usage => other_usage(message),
                Part::Reaped => other_line(message).filter(|_| !message.trim_ascii_end().ends_with(b",")),
                _ => None,
            };
            return line.map_or(Reading::Part(part), Reading::Whole);
        }
        memory_line(message).or_else(|| other_line(message)).map_or(Reading::Nothing, Reading::Whole)
    }

    /// Whether the line, though whole in one version, would go on in another.
    pub(super) fn may_go_on(&self) -> bool {
        match self {
            Reading::Whole(LogLine::Kill(Line::Killed(kill))) => {
                kill.scope.is_some() && kill.sizes.oom_score_adj.is_none()
            }
            _ => false,
        }
    }

    /// How much is understood, to choose between two ways to join pieces: more is better.
    pub(super) fn quality(&self, message: &[u8]) -> (u8, i32) {
        match self {
            Reading::Whole(LogLine::Kill(Line::Killed(kill))) => (2, kill_quality(kill, message)),
            Reading::Whole(LogLine::Kill(Line::Summary(rest))) => (2, summary_quality(rest)),
            Reading::Whole(LogLine::Header(header)) => (2, tasks::known_columns(header)),
            Reading::Whole(_) => (2, 0),
            Reading::Part(Part::Kill) => match Line::parse(message) {
                Some(Line::Killed(kill)) => (1, kill_quality(&kill, message)),
                _ => (1, 0),
            },
            Reading::Part(Part::Header) => (1, tasks::known_columns(message)),
            // A summary has no blanks, but for names.
            Reading::Part(Part::Summary) => (1, -blanks(message)),
            Reading::Part(_) => (1, 0),
            Reading::Nothing => (0, 0),
        }
    }
}

impl Part {
    fn begun_by(message: &[u8]) -> Option<Self> {
        let begins = |beginnings: &[&[u8]]| beginnings.iter().any(|begin| message.starts_with(begin));
        if begins(&[b"oom-kill:"]) {
            Some(Part::Summary)
        } else if begins(&[b"Killed process ", b"Memory cgroup out of memory", b"Out of memory: Kill"])
            || begins(&[b"Out of memory (oom_kill_allocating_task): "])
            || message == b"Killed process"
            || message == b"Out of memory:"
        {
            Some(Part::Kill)
        } else if begins(&[b"memory: usage", b"memory+swap: usage", b"swap: usage", b"kmem: usage"]) {
            Some(Part::Usage)
        } else if message == b"Task in" || (begins(&[b"Task in /"]) && rsplit_once(message, b" killed").is_some()) {
            Some(Part::TaskIn)
        } else if begins(&[b"Tasks in /"]) && split_once(message, b" are going").is_some() {
            Some(Part::Group)
        } else if begins(&[b"oom_reaper: reaped process "]) {
            Some(Part::Reaped)
        } else if begins(&[b"CPU: "]) && split_once(message, b" PID: ").is_some() {
            Some(Part::Trace)
        } else {
            invoked_name(message).map(|_| Part::Invoked)
        }
    }
}

/// The trigger's name, where the message begins to say that the OOM killer was invoked.
pub(super) fn invoked_name(message: &[u8]) -> Option<&[u8]> {
    const INVOKED: &[u8] = b" invoked";
    let head = message.get(..NAME_MAX + INVOKED.len()).unwrap_or(message);
    let (name, _) = rsplit_once(head, INVOKED)?;
    let rest = message.get(name.len() + INVOKED.len()..)?.trim_ascii();
    (rest.is_empty() || rest.starts_with(b"oom-killer")).then_some(name)
}

/// No name of a process is longer (`TASK_COMM_LEN` − 1), though a log may write a byte of it as `\xNN`.
pub(super) const LONGEST_NAME: usize = 60;

fn has_endless_name(line: &Line<'_>) -> bool {
    match line {
        Line::Killed(kill) => kill.name.len() > LONGEST_NAME,
        Line::Announced { who, .. } | Line::AlreadyExiting { who, .. } => who.len() > 2 * LONGEST_NAME,
        _ => false,
    }
}

/// Whether the line ends like its kind. The agent's parser takes what there is.
fn is_whole(line: &Line<'_>, message: &[u8]) -> bool {
    let message = message.trim_ascii_end();
    match line {
        Line::Invoked(trigger) => trigger.order.is_some() && trigger.oom_score_adj.is_some(),
        Line::Trace { comm, .. } => release(comm).is_some(),
        Line::TaskIn { oom_memcg: None, task_memcg } => rsplit_once(task_memcg, b" killed").is_none(),
        Line::Summary(rest) => Summary::parse(rest).is_some(),
        Line::Announced { who, .. } => who.ends_with(b"or sacrifice child"),
        Line::Killed(kill) => {
            let tail = rsplit_once(message, b"total-vm:").map_or(&b""[..], |(_, tail)| tail);
            let has_tail = split_once(tail, b"UID:").is_some() || split_once(tail, b"pgtables:").is_some();
            // The words that tell the scope came later than the shared memory.
            let last_size = if kill.scope.is_some() { kill.sizes.shmem_rss } else { kill.sizes.file_rss };
            !message.ends_with(b",")
                && last_size.is_some()
                && strange_fields(tail) == 0
                && (!has_tail || kill.sizes.oom_score_adj.is_some())
        }
        _ => true,
    }
}

fn kill_quality(kill: &KillLine<'_>, message: &[u8]) -> i32 {
    let sizes = &kill.sizes;
    let known = [sizes.total_vm, sizes.anon_rss, sizes.file_rss, sizes.shmem_rss, sizes.pgtables];
    let known = known.iter().flatten().count() + usize::from(kill.uid.is_some());
    let tail = rsplit_once(message, b"total-vm:").map_or(&b""[..], |(_, tail)| tail);
    i32::try_from(4 * known).unwrap_or(0) - i32::try_from(strange_fields(tail)).unwrap_or(0)
}

/// How many of the words behind `total-vm:` are no fields.
fn strange_fields(tail: &[u8]) -> usize {
    let words = tail.split(|&byte| byte == b' ').skip(1).filter(|word| !word.is_empty());
    words.filter(|word| !word.contains(&b':')).count()
}

fn summary_quality(rest: &[u8]) -> i32 {
    let has = |key: &[u8]| i32::from(split_once(rest, key).is_some());
    has(b",nodemask=")
        + has(b",cpuset=")
        + has(b",mems_allowed=")
        + has(b",task_memcg=/")
        + has(b",task=")
        + 2 * (has(b",oom_memcg=/") | has(b",global_oom,"))
        - blanks(rsplit_once(rest, b",task=").map_or(rest, |(places, _)| places))
}

fn blanks(text: &[u8]) -> i32 {
    i32::try_from(text.iter().filter(|&&byte| byte == b' ').count()).unwrap_or(i32::MAX / 2)
}

/// Whether the message is a function on the way to the OOM killer of a memory cgroup, in a trace of calls.
pub(super) fn is_memcg_call(message: &[u8]) -> bool {
    let call = rsplit_once(message, b">] ").map_or(message, |(_, call)| call);
    call.starts_with(b"mem_cgroup_out_of_memory+") || call.starts_with(b"mem_cgroup_oom_synchronize+")
}

/// The kernel's release in what follows `Comm: ` of a stack trace's head: `NAME Not tainted 6.1.0 #1`.
pub(super) fn release(comm: &[u8]) -> Option<&[u8]> {
    let rest = match (split_once(comm, b" Not tainted "), split_once(comm, b" Tainted: ")) {
        (Some((_, rest)), _) => rest,
        // The flags are single letters, and blanks where others would stand.
        (None, Some((_, rest))) => rest,
        (None, None) => return None,
    };
    let mut words = rest.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.find(|word| word.first().is_some_and(u8::is_ascii_digit) && word.contains(&b'.'))
}

fn table_line<'a>(message: &'a [u8], columns: Option<&[Vec<u8>]>) -> Option<Reading<'a>> {
    let message = message.trim_ascii();
    let rest = message.strip_prefix(b"[")?;
    let (pid, rest) = split_once(rest, b"]")?;
    if pid.trim_ascii() == b"pid" {
        let whole = rest.ends_with(b" name") && split_once(rest, b"oom_score_adj").is_some();
        return Some(if whole { Reading::Whole(LogLine::Header(rest)) } else { Reading::Part(Part::Header) });
    }
    let pid = process_id(pid.trim_ascii())?;
    match TaskRow::parse(pid, rest, columns) {
        Some(row) if !row.name.is_empty() => Some(Reading::Whole(LogLine::Row(row))),
        _ => Some(Reading::Part(Part::Row)),
    }
}

fn other_usage(message: &[u8]) -> Option<LogLine<'_>> {
    let (of, rest) = split_once(message, b": usage ")?;
    let of = match of {
        b"swap" => UsageOf::Swap,
        b"memory+swap" => UsageOf::MemoryAndSwap,
        b"kmem" => UsageOf::Kmem,
        _ => return None,
    };
    let (usage, limit, failcnt) = limit_use(rest.trim_ascii_end())?;
    Some(LogLine::OtherUsage { of, usage, limit, failcnt })
}

fn other_line(message: &[u8]) -> Option<LogLine<'_>> {
    if let Some(rest) = message.strip_prefix(PANIC) {
        return panic_line(rest);
    }
    if let Some(rest) = message.strip_prefix(b"oom_reaper: ") {
        return reaper_line(rest);
    }
    if let Some(rest) = message.strip_prefix(STATS_OF) {
        return stats_of(rest);
    }
    if let Some(rest) = message.strip_prefix(b"Linux version ") {
        return rest.split(|&byte| byte == b' ').next().map(LogLine::Version);
    }
    let (before, mems_allowed) = rsplit_once(message, b" mems_allowed=")?;
    let (_, cpuset) = split_once(before, b" cpuset=")?;
    Some(LogLine::Cpuset { cpuset, mems_allowed: mems_allowed.trim_ascii_end() })
}

fn panic_line(rest: &[u8]) -> Option<LogLine<'_>> {
    let panic = if rest.starts_with(b"Out of memory: compulsory panic_on_oom") {
        OomPanic::Compulsory
    } else if rest.starts_with(b"Out of memory: system-wide panic_on_oom")
        || rest.starts_with(b"out of memory. panic_on_oom is selected")
    {
        OomPanic::SystemWide
    } else if rest.starts_with(b"Out of memory and no killable processes")
        || rest.starts_with(b"System is deadlocked on memory")
    {
        OomPanic::NoKillable
    } else {
        return None;
    };
    Some(LogLine::Panic(panic))
}

fn reaper_line(rest: &[u8]) -> Option<LogLine<'_>> {
    if let Some(rest) = rest.strip_prefix(b"unable to reap pid:") {
        return named(rest).map(LogLine::Unreaped);
    }
    let rest = rest.strip_prefix(b"reaped process ")?;
    // 4.6 printed `process :N`.
    let rest = rest.strip_prefix(b":").unwrap_or(rest);
    let (who, sizes) = rsplit_once(rest, b"), now ")?;
    let (pid, name) = split_once(who, b" (").filter(|(_, name)| name.len() <= LONGEST_NAME)?;
    let mut reaped =
        ReapedProcess { pid: process_id(pid)?, name: name.to_vec(), anon_rss: None, file_rss: None, shmem_rss: None };
    for field in sizes.split(|&byte| byte == b' ').map(|field| field.strip_suffix(b",").unwrap_or(field)) {
        match split_once(field, b":") {
            Some((b"anon-rss", size)) => reaped.anon_rss = kilobytes(size),
            Some((b"file-rss", size)) => reaped.file_rss = kilobytes(size),
            Some((b"shmem-rss", size)) => reaped.shmem_rss = kilobytes(size),
            _ => {}
        }
    }
    Some(LogLine::Reaped(reaped))
}

/// `N (NAME)` and anything that has no `)` behind it.
pub(super) fn named(text: &[u8]) -> Option<NamedProcess> {
    let (pid, rest) = split_once(text, b" (")?;
    let name = rsplit_once(rest, b")").map(|(name, _)| name.to_vec());
    if name.as_ref().is_some_and(|name| name.len() > LONGEST_NAME) {
        return None;
    }
    Some(NamedProcess { pid: process_id(pid)?, name })
}
