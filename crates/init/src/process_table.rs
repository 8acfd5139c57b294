//! The processes of the container's cgroup: who may have been a kill's victim, and who is to be the next one's.
//!
//! The cgroup's list is read, and not all of `/proc`: containers may share a pid namespace.

use std::path::PathBuf;
use std::time::Duration;

use reprieve_judgement::Suspect;
use reprieve_linux::{is_dying, oom_score_adj, process_name, process_resident, read_small_file, set_oom_score_adj};
use reprieve_readings::{Bytes, parse_cgroup_procs};
use rustix::io::Errno;

use crate::main_program::TAKEN_FIRST;
use crate::options::VictimChoice;

/// More processes than these are not looked at: it would take too long while memory is short.
const MOST: usize = 1000;

/// The table, and how it was when last looked at in peace.
#[derive(Debug)]
pub(crate) struct ProcessTable {
    list: PathBuf,
    known: Vec<Suspect>,
    known_at: Option<Duration>,
}

impl ProcessTable {
    pub(crate) fn new(cgroup: Option<&std::path::Path>) -> Self {
        let list = cgroup.map(|directory| directory.join("cgroup.procs")).unwrap_or_default();
        ProcessTable { list, known: Vec::new(), known_at: None }
    }

    /// All processes but this one.
    fn pids(&self) -> impl Iterator<Item = u32> {
        let pids = read_small_file(&self.list).ok().and_then(|text| parse_cgroup_procs(&text).ok());
        let own = std::process::id();
        pids.unwrap_or_default().into_iter().filter(move |&pid| pid != own).take(MOST)
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

    /// Who is about to end by SIGKILL, or was ended by it and nobody let go of it.
    ///
    /// A process that has ended is in no cgroup's list any more. PID 1 finds it in its namespace, which is the
    /// container's; others only if they knew it before.
    pub(crate) fn dying(&self) -> Vec<Suspect> {
        let mut pids: Vec<u32> = self.pids().chain(self.known.iter().map(|known| known.pid)).collect();
        if std::process::id() == 1 {
            pids.extend(all_pids());
        }
        pids.sort_unstable();
        pids.dedup();
        // What it had in memory is known from before: it may have lost it by now.
        let before = |pid| self.known.iter().find(|known| known.pid == pid).and_then(|known| known.resident);
        let dying = pids.into_iter().filter(|&pid| is_dying(pid)).filter_map(suspect);
        dying.map(|now| Suspect { resident: before(now.pid).or(now.resident), ..now }).collect()
    }

    /// Who was there when it was last looked at, had at least this much in memory, and is no more. Processes come and go:
    /// a small one is hardly the one that was killed.
    pub(crate) fn gone(&self, least: Bytes) -> Vec<Suspect> {
        let large = self.known.iter().filter(|known| known.resident.is_some_and(|resident| resident >= least));
        large.filter(|known| process_name(known.pid).is_none()).copied().collect()
    }

    /// Has the kernel prefer the main process, or all others, as its next victim. Processes that were started since the
    /// last time inherited what their parent has.
    ///
    /// # Errors
    /// The first process that it could not be set for.
    pub(crate) fn choose_victims(&self, choice: VictimChoice, main: u32) -> Result<(), (u32, Errno)> {
        let usual = oom_score_adj(std::process::id()).unwrap_or(0);
        let mut failed = Ok(());
        for pid in self.pids().filter(|&pid| pid != main) {
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

fn suspect(pid: u32) -> Option<Suspect> {
    Some(Suspect { pid, name: process_name(pid)?, resident: process_resident(pid) })
}
