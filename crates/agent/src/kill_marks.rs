//! The kernel's tracepoints as the agent follows them: which victims were marked, and which cgroup each task came from.

use reprieve_judgement::{Lineage, TaskCgroup};
use reprieve_linux::{KillTrace, Roots, memory_cgroup_of, memory_hierarchy_id, time_asleep};
use reprieve_readings::{MarkVictim, OomReport, OomVictim, TraceEventKind};
use rustix::event::{PollFd, PollFlags};

use crate::problems::NamedProblems;

/// Follows the tracepoints, where they are to be had.
pub(crate) struct KillMarks {
    trace: Option<KillTrace>,
    lineage: Lineage,
    lost: u64,
}

impl KillMarks {
    /// Opens the tracepoints, unless told not to. The agent can do without: it says so once.
    pub(crate) fn open(roots: &Roots, wanted: bool) -> Self {
        let trace = wanted.then(|| {
            let hierarchy = memory_hierarchy_id(roots).map_err(|error| error.to_string())?;
            KillTrace::open(roots, hierarchy).map_err(|error| error.to_string())
        });
        let trace = match trace {
            Some(Ok(trace)) => Some(trace),
            Some(Err(error)) => {
                tracing::info!("in a storm of kills some will be told without their cgroup: no tracepoints: {error}");
                None
            }
            None => None,
        };
        KillMarks { trace, lineage: Lineage::default(), lost: 0 }
    }

    pub(crate) fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.trace.iter().map(|trace| PollFd::new(trace, PollFlags::IN))
    }

    /// Whether there are tracepoints.
    pub(crate) fn are_traced(&self) -> bool {
        self.trace.is_some()
    }

    /// Events that the kernel overwrote before they were read.
    pub(crate) fn lost(&self) -> u64 {
        self.lost
    }

    /// The victims that were marked since last asked. Who was made and moved is taken first, so that
    /// [`cgroup_of`](Self::cgroup_of) knows them; `table` tells the cgroup of tasks from before.
    pub(crate) fn take(
        &mut self,
        roots: &Roots,
        table: impl Fn(u32) -> Option<TaskCgroup>,
        problems: &mut NamedProblems,
    ) -> Vec<OomVictim> {
        let mut victims = Vec::new();
        let asleep = time_asleep();
        let Some(trace) = &mut self.trace else { return victims };
        let marked = trace.victims(|event| {
            if let TraceEventKind::MarkVictim(victim) = event.kind {
                victims.push(self::victim(victim, event.time.saturating_sub(asleep)));
            }
        });
        let lineage = &mut self.lineage;
        let descent = trace.lineage(|event| {
            lineage.note(event.kind, |task| table(task).or_else(|| listed(roots, task)));
        });
        for drain in [marked, descent] {
            self.lost += drain.lost.counted + drain.lost.gaps;
            problems.take(&drain.problems);
            if drain.unreadable > 0 {
                problems.take_one("tracefs: events that make no sense: the kernel may be too new".into());
            }
        }
        victims
    }

    /// The cgroup of a task that was made or moved lately.
    pub(crate) fn cgroup_of(&self, pid: u32) -> Option<&TaskCgroup> {
        self.lineage.cgroup_of(pid)
    }
}

/// The cgroup of a task by the process table, unless it has ended.
fn listed(roots: &Roots, task: u32) -> Option<TaskCgroup> {
    let path = memory_cgroup_of(roots, task).ok().flatten().filter(|path| !path.is_root())?;
    Some(TaskCgroup { path, inode: None })
}

/// What the kernel's mark tells of a victim, in the form in which its log would.
pub(crate) fn victim(mark: MarkVictim, since_boot: std::time::Duration) -> OomVictim {
    OomVictim {
        sequence: 0,
        since_boot,
        pid: mark.pid,
        name: mark.name.unwrap_or_default(),
        uid: mark.uid,
        total_vm: mark.total_vm,
        anon_rss: mark.anon_rss,
        file_rss: mark.file_rss,
        shmem_rss: mark.shmem_rss,
        pgtables: mark.pgtables,
        oom_score_adj: mark.oom_score_adj,
        scope: None,
        oom_group: None,
        repeat: false,
        report: OomReport::default(),
    }
}
