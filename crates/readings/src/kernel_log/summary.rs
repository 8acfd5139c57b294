//! The summary of a report, the line `oom-kill:` (Linux 5.0 and later, el8 240 and later).
//!
//! `constraint=C,nodemask=N[,cpuset=NAME,mems_allowed=LIST][,oom_memcg=PATH|,global_oom],task_memcg=PATH,task=NAME,
//! pid=N,uid=N`. NAMEs and PATHs are strangers' and may hold any of these words.

use super::text::{process_id, rsplit_once, split_once, user_id};
use super::victim::Constraint;
use crate::CgroupPath;

#[derive(Debug)]
pub(crate) struct Summary {
    pub(crate) constraint: Option<Constraint>,
    pub(crate) pid: u32,
    pub(crate) uid: Option<u32>,
    pub(crate) oom_memcg: Option<CgroupPath>,
    /// `PATH,task=NAME`. The kill line, which tells the name, settles where the path ends.
    task: Option<Box<[u8]>>,
}

impl Summary {
    /// `rest` is what follows `oom-kill:`. `None` also where the line was cut or split before its end.
    pub(crate) fn parse(rest: &[u8]) -> Option<Self> {
        let (rest, uid) = rsplit_once(rest, b",uid=")?;
        let (rest, pid) = rsplit_once(rest, b",pid=")?;
        let (constraint, places) = split_once(rest.strip_prefix(b"constraint=")?, b",")?;
        let (oom_memcg, task) = memcgs(places);
        Some(Summary {
            constraint: parse_constraint(constraint),
            pid: process_id(pid)?,
            uid: user_id(uid),
            oom_memcg,
            task: task.map(Box::from),
        })
    }

    /// The cgroup whose limit was hit and that of the victim, which is called `name`.
    pub(crate) fn memcgs(&self, name: &[u8]) -> (Option<CgroupPath>, Option<CgroupPath>) {
        let task_memcg = self.task.as_deref().and_then(|task| path_before(task, name));
        (self.oom_memcg.clone(), task_memcg.map(CgroupPath::new))
    }
}

/// A cpuset's name holds no slash, so the first of these words with a path behind them is the kernel's own.
fn memcgs(places: &[u8]) -> (Option<CgroupPath>, Option<&[u8]>) {
    let in_memcg = split_once(places, b",oom_memcg=/");
    let global = split_once(places, b",global_oom,task_memcg=/");
    match (in_memcg, global) {
        (Some((before, after)), global) if global.is_none_or(|(other, _)| before.len() < other.len()) => {
            match split_once(after, b",task_memcg=/") {
                Some((oom_memcg, task)) => (Some(CgroupPath::new(oom_memcg)), Some(task)),
                None => (None, None),
            }
        }
        (_, Some((_, task))) => (None, Some(task)),
        _ => (None, None),
    }
}

/// The process can change its name between the two lines; then the last `,task=` is the likeliest end.
fn path_before<'a>(task: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let exact = task.strip_suffix(name).and_then(|rest| rest.strip_suffix(b",task="));
    exact.or_else(|| rsplit_once(task, b",task=").map(|(path, _)| path))
}

pub(crate) fn parse_constraint(name: &[u8]) -> Option<Constraint> {
    match name {
        b"CONSTRAINT_NONE" => Some(Constraint::None),
        b"CONSTRAINT_CPUSET" => Some(Constraint::Cpuset),
        b"CONSTRAINT_MEMORY_POLICY" => Some(Constraint::MemoryPolicy),
        b"CONSTRAINT_MEMCG" => Some(Constraint::MemoryCgroup),
        _ => None,
    }
}
