//! The processes of the container's cgroup: who may have been a kill's victim, and who is to be the next one's.
//!
//! The cgroup's list is read, and not all of `/proc`: containers may share a pid namespace.

use std::time::Duration;

use reprieve::Memory;
use reprieve_judgement::Suspect;
use reprieve_linux::{ProcessList, is_dying, oom_score_adj, process_name, process_resident, set_oom_score_adj};
use reprieve_readings::Bytes;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};

use crate::main_program::TAKEN_FIRST;
use crate::options::VictimChoice;

/// More processes than these are not looked at: it would take too long while memory is short.
const MOST: usize = 1000;

/// The table, and how it was when last looked at in peace.
#[derive(Debug)]
pub(crate) struct ProcessTable {
    list: Option<ProcessList>,
    known: Vec<Suspect>,
    known_at: Option<Duration>,
    /// Whose oom_score_adj was looked at.
    chosen: Vec<u32>,
}

impl ProcessTable {
    pub(crate) fn new(memory: &Memory) -> Self {
        let list = memory.directory(0).zip(memory.version());
        let list = list.and_then(|(cgroup, version)| ProcessList::of(cgroup, version));
        ProcessTable { list, known: Vec::new(), known_at: None, chosen: Vec::new() }
    }

    /// All processes that run but this one.
    fn pids(&self) -> impl Iterator<Item = u32> {
        let pids = self.list.as_ref().map(ProcessList::pids).unwrap_or_default();
        let own = std::process::id();
        pids.into_iter().filter(move |&pid| pid != own).take(MOST)
    }

    /// Whether it was looked at less than this time ago.
    pub(crate) fn is_fresh(&self, now: Duration, fresh: Duration) -> bool {
        self.known_at.is_some_and(|at| now.saturating_sub(at) < fresh)
    }

    /// Who is there now.
    pub(crate) fn look(&self) -> Vec<Suspect> {
        let pids = self.pids();
        let mut seen = Vec::with_capacity(pids.size_hint().1.unwrap_or_default());
        seen.extend(pids.filter_map(suspect));
        seen
    }

    /// Remembers who was there, so that it can be told later who is gone.
    pub(crate) fn remember(&mut self, seen: Vec<Suspect>, now: Duration) {
        self.known = seen;
        self.known_at = Some(now);
    }

    /// Who was ended by SIGKILL, and nobody let go of it yet.
    ///
    /// A process that has ended is in no cgroup's list any more. PID 1 finds it in its namespace, which is the
    /// container's; others only if they knew it before. Who still has memory is not looked at closely: reading its
    /// `status` holds that memory for some microseconds, and if it ends in these, the kernel may take the next process,
    /// for want of what was not free yet.
    pub(crate) fn dying(&self) -> Vec<Suspect> {
        let running: Vec<u32> = self.pids().collect();
        let mut pids: Vec<u32> = self.known.iter().map(|known| known.pid).collect();
        if std::process::id() == 1 {
            pids.extend(all_pids());
        }
        pids.sort_unstable();
        pids.dedup();
        pids.retain(|pid| !running.contains(pid));
        let mut dying = Vec::new();
        for pid in pids {
            if process_resident(pid) == Some(Bytes::ZERO)
                && is_dying(pid)
                && let Some(name) = process_name(pid)
            {
                // What it had in memory is known from before.
                let before = self.known.iter().find(|known| known.pid == pid);
                dying.push(Suspect { pid, name, resident: before.and_then(|known| known.resident) });
            }
        }
        dying
    }

    /// Who was there when it was last looked at, had at least this much in memory, and is no more. Processes come and go:
    /// a small one is hardly the one that was killed.
    pub(crate) fn gone(&self, least: Bytes) -> Vec<Suspect> {
        let large = self.known.iter().filter(|known| known.resident.is_some_and(|resident| resident >= least));
        large.filter(|known| is_gone(known.pid)).copied().collect()
    }

    /// Has the kernel prefer the main process, or all others, as its next victim: those that were started since the last
    /// time, which inherited what their parent has, or `all` anew.
    ///
    /// # Errors
    /// The first process that it could not be set for.
    pub(crate) fn choose_victims(&mut self, choice: VictimChoice, main: u32, all: bool) -> Result<(), (u32, Errno)> {
        let usual = oom_score_adj(std::process::id()).unwrap_or(0);
        let now = self.pids().filter(|&pid| pid != main).collect();
        let before = std::mem::replace(&mut self.chosen, now);
        let mut failed = Ok(());
        for &pid in self.chosen.iter().filter(|pid| all || !before.contains(pid)) {
            let wanted = match (choice, oom_score_adj(pid)) {
                (VictimChoice::ProtectMain, Some(adj)) if adj < TAKEN_FIRST => TAKEN_FIRST,
                (VictimChoice::SacrificeMain, Some(TAKEN_FIRST)) if usual < TAKEN_FIRST => usual,
                _ => continue,
            };
            match set_oom_score_adj(pid, wanted) {
                // It has ended meanwhile.
                Ok(()) | Err(Errno::NOENT | Errno::SRCH) => {}
                Err(errno) => failed = failed.and(Err((pid, errno))),
            }
        }
        failed
    }
}

/// All processes of the namespace, as far as `/proc` shows them.
fn all_pids() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).take(MOST)
}

/// Asked without opening a file.
fn is_gone(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_none_or(|pid| test_kill_process(pid) == Err(Errno::SRCH))
}

fn suspect(pid: u32) -> Option<Suspect> {
    Some(Suspect { pid, name: process_name(pid)?, resident: process_resident(pid) })
}
