//! Which lines of the kernel's log belong to an OOM report, and what each of them tells.
//!
//! Only lines that a kill needs are read here. A line is known by how it begins, so that others cost a few compared
//! bytes; the exception begins with a process's name, of at most 15 bytes.

use super::kill_line::KillLine;
use super::text::{kilobytes, process_id, rsplit_once, split_once};
use super::victim::{OomScope, OomTrigger};
use crate::{Bytes, Limit, parse};

#[derive(Debug)]
pub(crate) enum Line<'a> {
    /// `NAME invoked oom-killer: gfp_mask=…`: a report begins.
    Invoked(OomTrigger),
    /// `CPU: N [UID: N ]PID: N Comm: NAME …`: who the trigger is. Not only in OOM reports.
    Trace { cpu: Option<u32>, pid: u32, comm: &'a [u8] },
    /// `Task in PATH[ killed as a result of limit of PATH]`, up to Linux 4.20.
    TaskIn { task_memcg: &'a [u8], oom_memcg: Option<&'a [u8]> },
    /// ` killed as a result of limit of PATH` as a record of its own, Linux 3.15 to 3.18.
    ResultOfLimit { oom_memcg: &'a [u8] },
    /// `memory: usage NkB, limit NkB, failcnt N`.
    Usage { usage: Bytes, limit: Limit, failcnt: u64 },
    /// What follows `oom-kill:`.
    Summary(&'a [u8]),
    /// `Kill process N (NAME) score N or sacrifice child`, up to Linux 5.0: the victim, or a relative of it.
    Announced { scope: OomScope, who: &'a [u8] },
    /// `Killed process …`.
    Killed(KillLine<'a>),
    /// `OOM victim N (NAME) is already exiting. Skip killing the task`, Linux 5.9 and later: the kill that isn't.
    AlreadyExiting { scope: OomScope, who: &'a [u8] },
    /// `Out of memory and no killable processes...`: the report ends without a kill.
    NoKillable,
    /// `Tasks in PATH are going to be killed due to memory.oom.group set`, Linux 4.19 and later.
    Group(&'a [u8]),
}

const INVOKED: &[u8] = b" invoked oom-killer: gfp_mask=";
const TASK_IN: &[u8] = b"Task in ";
const RESULT_OF_LIMIT: &[u8] = b" killed as a result of limit of ";
const USAGE: &[u8] = b"memory: usage ";
const SUMMARY: &[u8] = b"oom-kill:";
const KILLED: &[u8] = b"Killed process ";
const GROUP: &[u8] = b"Tasks in ";
const TRACE: &[u8] = b"CPU: ";
const NO_KILLABLE: &[u8] = b"Out of memory and no killable processes";

/// What stands before the colon of a kill line, and what it tells. A kill by SysRq has no words of its own.
const MESSAGES: [(&[u8], OomScope); 3] = [
    (b"Memory cgroup out of memory: ", OomScope::MemoryCgroup),
    (b"Out of memory: ", OomScope::Global),
    (b"Out of memory (oom_kill_allocating_task): ", OomScope::Global),
];

/// No name of a process is longer (`TASK_COMM_LEN` − 1, include/linux/sched.h).
const NAME_MAX: usize = 15;

/// Whether a message can be one of the lines, by its first bytes. The message may still be escaped.
pub(crate) fn may_matter(message: &[u8]) -> bool {
    const MESSAGE_BEGINS: [&[u8]; 2] = [b"Memory cgroup out of memory: ", b"Out of memory"];
    const BEGINS: [&[u8]; 7] = [KILLED, SUMMARY, USAGE, GROUP, TASK_IN, RESULT_OF_LIMIT, TRACE];
    MESSAGE_BEGINS.iter().chain(&BEGINS).any(|begin| message.starts_with(begin))
        || split_invoked(message, 4 * NAME_MAX).is_some()
}

impl<'a> Line<'a> {
    /// Whether a report can begin with this line, where those before it are missing.
    pub(crate) fn begins_report(&self) -> bool {
        !matches!(self, Line::Trace { .. } | Line::AlreadyExiting { .. } | Line::NoKillable)
    }

    pub(crate) fn parse(message: &'a [u8]) -> Option<Self> {
        if let Some((name, rest)) = split_invoked(message, NAME_MAX) {
            return Some(Line::Invoked(trigger(name, rest)));
        }
        if message.starts_with(NO_KILLABLE) {
            return Some(Line::NoKillable);
        }
        for (begin, scope) in MESSAGES {
            if let Some(rest) = message.strip_prefix(begin) {
                return verdict(scope, rest);
            }
        }
        let after = |begin: &[u8]| message.strip_prefix(begin);
        if let Some(rest) = after(KILLED) {
            KillLine::parse(None, rest).map(Line::Killed)
        } else if let Some(rest) = after(SUMMARY) {
            Some(Line::Summary(rest))
        } else if let Some(rest) = after(USAGE) {
            usage(rest)
        } else if let Some(rest) = after(GROUP) {
            rest.strip_suffix(b" are going to be killed due to memory.oom.group set").map(Line::Group)
        } else if let Some(rest) = after(TASK_IN) {
            task_in(rest)
        } else if let Some(oom_memcg) = after(RESULT_OF_LIMIT) {
            oom_memcg.starts_with(b"/").then_some(Line::ResultOfLimit { oom_memcg })
        } else {
            trace(after(TRACE)?)
        }
    }
}

fn split_invoked(message: &[u8], name_max: usize) -> Option<(&[u8], &[u8])> {
    let head = message.get(..name_max + INVOKED.len()).unwrap_or(message);
    let (name, _) = split_once(head, INVOKED)?;
    Some((name, message.get(name.len() + INVOKED.len()..)?))
}

fn trigger(name: &[u8], rest: &[u8]) -> OomTrigger {
    let gfp = rest.split(|&byte| byte == b',').next().unwrap_or(rest);
    OomTrigger {
        name: name.to_vec(),
        pid: None,
        gfp: gfp.to_vec(),
        order: signed_after(rest, b" order="),
        oom_score_adj: signed_after(rest, b" oom_score_adj="),
    }
}

/// The number behind `key`, up to a comma or the end.
fn signed_after<T: std::str::FromStr>(text: &[u8], key: &[u8]) -> Option<T> {
    let (_, value) = split_once(text, key)?;
    let digits = value.split(|&byte| byte == b',').next()?;
    std::str::from_utf8(digits).ok()?.trim_ascii_end().parse().ok()
}

fn verdict(scope: OomScope, rest: &[u8]) -> Option<Line<'_>> {
    if let Some(rest) = rest.strip_prefix(KILLED) {
        KillLine::parse(Some(scope), rest).map(Line::Killed)
    } else if let Some(who) = rest.strip_prefix(b"Kill process ") {
        Some(Line::Announced { scope, who })
    } else {
        rest.strip_prefix(b"OOM victim ").map(|who| Line::AlreadyExiting { scope, who })
    }
}

fn usage(rest: &[u8]) -> Option<Line<'_>> {
    let (usage, limit, failcnt) = limit_use(rest)?;
    Some(Line::Usage { usage, limit, failcnt })
}

/// `NkB, limit NkB, failcnt N`, which is what follows `usage `.
pub(crate) fn limit_use(rest: &[u8]) -> Option<(Bytes, Limit, u64)> {
    let (usage, rest) = split_once(rest, b", limit ")?;
    let (limit, failcnt) = split_once(rest, b", failcnt ")?;
    Some((kilobytes(usage)?, limit_of(kilobytes(limit)?), parse::decimal(failcnt)?))
}

/// "No limit" is 18014398509481983kB in 3.13, 9007199254740991kB up to 3.18, then 2^53 kB less one page. Pages have at
/// most 64 KiB.
fn limit_of(limit: Bytes) -> Limit {
    const UNLIMITED: Bytes = Bytes::from_kib((1 << 53) - 64);
    if limit >= UNLIMITED { Limit::Max } else { Limit::At(limit) }
}

fn task_in(rest: &[u8]) -> Option<Line<'_>> {
    let (task_memcg, oom_memcg) = match rsplit_once(rest, RESULT_OF_LIMIT) {
        Some((task_memcg, oom_memcg)) => (task_memcg, Some(oom_memcg)),
        None => (rest, None),
    };
    rest.starts_with(b"/").then_some(Line::TaskIn { task_memcg, oom_memcg })
}

fn trace(rest: &[u8]) -> Option<Line<'_>> {
    let (numbers, comm) = split_once(rest, b" Comm: ")?;
    let (before_pid, pid) = split_once(numbers, b" PID: ")?;
    let cpu = before_pid.split(|&byte| byte == b' ').next().and_then(process_id);
    Some(Line::Trace { cpu, pid: process_id(pid)?, comm })
}
