//! What the summary of a report (`oom-kill:…`, Linux 5.0) tells, the end of the line there or not.
//!
//! The agent's [`Summary`](crate::kernel_log::summary::Summary) gives nothing where a name imitates the words around it;
//! here, the likeliest is given. A name that may have lost its end is not.

use super::report::NamedProcess;
use crate::Constraint;
use crate::OomScope;
use crate::kernel_log::summary::parse_constraint;
use crate::kernel_log::text::{process_id, rsplit_once, split_once, user_id};

#[derive(Debug, Default)]
pub(super) struct Places<'a> {
    pub(super) constraint: Option<Constraint>,
    pub(super) constraint_text: Option<&'a [u8]>,
    pub(super) nodemask: Option<&'a [u8]>,
    pub(super) cpuset: Option<&'a [u8]>,
    pub(super) mems_allowed: Option<&'a [u8]>,
    pub(super) scope: Option<OomScope>,
    pub(super) oom_memcg: Option<&'a [u8]>,
    /// `PATH,task=NAME`, or as much of it as there is, with what the line had behind it if it was cut.
    task: Option<&'a [u8]>,
    /// Whether the line is whole.
    end: Option<End<'a>>,
}

#[derive(Debug, Clone, Copy)]
struct End<'a> {
    name: &'a [u8],
    pid: u32,
    uid: Option<u32>,
}

impl<'a> Places<'a> {
    /// `rest` is what follows `oom-kill:`.
    pub(super) fn parse(rest: &'a [u8]) -> Self {
        let (body, end) = end(rest);
        let mut places = Places { end, ..Places::default() };
        let Some((constraint, body)) = body.strip_prefix(b"constraint=").and_then(|body| split_once(body, b",")) else {
            return places;
        };
        places.constraint = parse_constraint(constraint);
        places.constraint_text = Some(constraint);
        let (words, memcgs) = places.split_at_memcgs(body);
        places.read_words(words, memcgs.is_some() || end.is_some());
        places.task = memcgs;
        places
    }

    /// The victim's cgroup. Its name tells where the path ends.
    pub(super) fn task_memcg(&self, name: Option<&[u8]>) -> Option<&'a [u8]> {
        let task = self.task?;
        let exact = name.and_then(|name| task.strip_suffix(name)?.strip_suffix(b",task="));
        // journalctl ends what it cuts with `>`; the comma was the path's end, most likely.
        let cut = || task.strip_suffix(b",>").filter(|_| self.end.is_none());
        let path = exact.or_else(|| rsplit_once(task, b",task=").map(|(path, _)| path)).or_else(cut);
        path.filter(|path| path.starts_with(b"/"))
    }

    /// Who was chosen.
    pub(super) fn chosen(&self) -> Option<NamedProcess> {
        self.end.map(|end| NamedProcess { pid: end.pid, name: Some(end.name.to_vec()) })
    }

    /// The user of the process, if it is the one chosen.
    pub(super) fn uid_of(&self, pid: u32) -> Option<u32> {
        self.end.filter(|end| end.pid == pid).and_then(|end| end.uid)
    }

    /// Splits before what tells whose memory it was, and takes that: words before, `PATH,task=NAME` after.
    fn split_at_memcgs(&mut self, body: &'a [u8]) -> (&'a [u8], Option<&'a [u8]>) {
        let in_memcg = split_once(body, b",oom_memcg=/");
        let global = split_once(body, b",global_oom");
        match (in_memcg, global) {
            (Some((words, after)), global) if global.is_none_or(|(other, _)| words.len() < other.len()) => {
                self.scope = Some(OomScope::MemoryCgroup);
                match split_once(after, b",task_memcg=") {
                    Some((_, task)) => {
                        let length = after.len() - task.len() - b",task_memcg=".len();
                        let from = words.len() + b",oom_memcg=".len();
                        self.oom_memcg = body.get(from..=from + length);
                        (words, Some(task))
                    }
                    None => (words, Some(b"")),
                }
            }
            (_, Some((words, after))) => {
                self.scope = Some(OomScope::Global);
                (words, Some(after.strip_prefix(b",task_memcg=").unwrap_or_default()))
            }
            _ => (rsplit_once(body, b",task=").map_or(body, |(words, _)| words), None),
        }
    }

    /// `nodemask=LIST,cpuset=NAME,mems_allowed=LIST`. The last may have lost its end.
    fn read_words(&mut self, words: &'a [u8], is_whole: bool) {
        let words = words.strip_prefix(b"nodemask=").unwrap_or(words);
        let (nodemask, rest) = match split_once(words, b",cpuset=") {
            Some((nodemask, rest)) => (Some(nodemask), Some(rest)),
            None => (Some(words).filter(|_| is_whole), None),
        };
        self.nodemask = nodemask.filter(|nodemask| *nodemask != b"(null)");
        if let Some((cpuset, mems_allowed)) = rest.and_then(|rest| rsplit_once(rest, b",mems_allowed=")) {
            self.cpuset = Some(cpuset);
            self.mems_allowed = Some(mems_allowed).filter(|_| is_whole);
        }
    }
}

/// `…,task=NAME,pid=N,uid=N`: what is before `,pid=`, and the end if it is there.
fn end(rest: &[u8]) -> (&[u8], Option<End<'_>>) {
    let whole = || {
        let (body, pid) = rsplit_once(rest.trim_ascii_end(), b",pid=")?;
        // A line that was cut may have lost a part of the word.
        let (pid, uid) = split_once(pid, b",u")?;
        let uid = uid.strip_prefix(b"id=").and_then(user_id);
        let (_, name) = rsplit_once(body, b",task=")?;
        Some((body, End { name, pid: process_id(pid)?, uid }))
    };
    match whole() {
        Some((body, end)) => (body, Some(end)),
        None => (rsplit_once(rest, b",pid=").map_or(rest, |(body, _)| body), None),
    }
}
