//! Who saw a victim: the process table of the machine, while the victim is in it; else the kernel's tracepoints and the
//! agent's own table of processes, which know where it was made, moved or seen last.

use reprieve_judgement::{FirstProcess, KillLedger, Place, SeenProcess, Sighting, TaskCgroup};
use reprieve_linux::{Cgroup, time_since_boot};
use reprieve_readings::{CgroupInode, CgroupPath, CgroupVersion, MarkVictim, OomVictim};

use crate::aftermath;
use crate::kill_marks::{self, KillMarks};
use crate::node::Node;
use crate::processes::Processes;

/// What tells of victims beside the kernel's log.
pub(crate) struct Witnesses {
    pub(crate) marks: KillMarks,
    pub(crate) processes: Processes,
    // Only then are the pids of the log those of /proc.
    pub(crate) pids_are_global: bool,
}

impl Witnesses {
    /// Looks at a victim's cgroup, and what is left there. To be called before anything else: some milliseconds later it may
    /// be gone.
    fn sight(&self, victim: OomVictim, node: &mut Node) -> Sighting {
        let found = self.cgroup_of(&victim, node);
        let path = found.as_ref().map(|(path, _)| path);
        let id = path.or(victim.oom_group.as_ref()).and_then(|path| node.tree.look_up(path));
        let first_process = match id {
            Some(id) if self.pids_are_global => {
                let seen = self.seen(&victim).map(|(.., process)| process.id.start_time);
                aftermath::first_process(&victim, seen, id, node)
            }
            _ => FirstProcess::Unknown,
        };
        let place = found.map(|(path, known)| {
            // Another cgroup may have the path by now.
            let there = node.tree.find(&path).map(Cgroup::inode);
            Place { path, inode: there.filter(|there| known.is_none_or(|known| known == *there)) }
        });
        Sighting { victim, place_certain: place.is_some(), place, first_process }
    }

    /// Looks at a victim that the log named, after whatever the kernel told of it before: it marks before it prints.
    pub(crate) fn sight_named(&mut self, victim: OomVictim, ledger: &mut KillLedger, node: &mut Node) -> Sighting {
        if victim.report.task_memcg.is_none() && self.marks.cgroup_of(victim.pid).is_none() {
            self.mark_victims(ledger, node);
        }
        self.sight(victim, node)
    }

    /// Tells the ledger whom the kernel has marked: its log may not name them.
    pub(crate) fn mark_victims(&mut self, ledger: &mut KillLedger, node: &mut Node) {
        let table = |task: u32| {
            let (inode, path, _) = self.processes.table.find(task)?;
            Some(TaskCgroup { path: path.clone(), inode: Some(inode) })
        };
        let marked = self.marks.take(&node.roots, table, &mut node.problems);
        let now = time_since_boot();
        for victim in marked {
            let sighting = self.sight(victim, node);
            ledger.mark(sighting, now);
        }
    }

    /// Tells the ledger who has vanished from cgroups in which kills wait for a name.
    pub(crate) fn mark_vanished(&self, ledger: &mut KillLedger, node: &mut Node) {
        if !self.pids_are_global {
            return;
        }
        let now = time_since_boot();
        for waiting in ledger.nameless(now) {
            for process in self.processes.likely_victims(waiting.cgroup, waiting.kills, node) {
                let Some((inode, path, _)) = self.processes.table.find(process.id.pid) else { continue };
                let place = Some(Place { path: path.clone(), inode: Some(inode) });
                let mark = MarkVictim::new(process.id.pid, Some(process.name));
                let victim = kill_marks::victim(mark, now);
                let first_process = FirstProcess::Unknown;
                // It was killed when its kill was counted.
                ledger.mark(Sighting { victim, place, place_certain: true, first_process }, waiting.since);
            }
        }
    }

    /// The victim's cgroup, and its inode where that is known: by the kernel's report; by the process table, where the
    /// rate limit swallowed that; by where its process was made or seen; or by the cgroup that dies as a whole, if none is
    /// inside it.
    fn cgroup_of(&self, victim: &OomVictim, node: &mut Node) -> Option<(CgroupPath, Option<CgroupInode>)> {
        if let Some(cgroup) = &victim.report.task_memcg {
            return Some((cgroup.clone(), None));
        }
        let listed = self.pids_are_global.then(|| node.memory_cgroup_of(victim.pid)).flatten();
        // v1 books a process that has ended to the root. v2 marks a cgroup that is gone. A cgroup outside of our namespace
        // has no name that others would know.
        let useless = |cgroup: &CgroupPath| {
            (node.tree.version() == CgroupVersion::V1 && cgroup.is_root())
                || cgroup.as_bytes().ends_with(b" (deleted)")
                || cgroup.leaves_namespace()
        };
        let listed = listed.filter(|cgroup| !useless(cgroup)).map(|cgroup| (cgroup, None));
        listed.or_else(|| self.seen_in(victim)).or_else(|| {
            let dying = node.tree.look_up(victim.oom_group.as_ref()?)?;
            let childless = node.tree.get(dying).filter(|cgroup| cgroup.children().is_empty());
            childless.map(|cgroup| (cgroup.path().clone(), Some(cgroup.inode())))
        })
    }

    /// Where the victim's process was made, moved or seen.
    fn seen_in(&self, victim: &OomVictim) -> Option<(CgroupPath, Option<CgroupInode>)> {
        if let Some(TaskCgroup { path, inode }) = self.marks.cgroup_of(victim.pid) {
            return Some((path.clone(), *inode));
        }
        self.seen(victim).map(|(inode, path, _)| (path.clone(), Some(inode)))
    }

    /// The victim as the table knows it. The pid may be another's by now.
    fn seen(&self, victim: &OomVictim) -> Option<(CgroupInode, &CgroupPath, &SeenProcess)> {
        let seen = self.processes.table.find(victim.pid);
        seen.filter(|(.., process)| self.pids_are_global && process.name == victim.name)
    }
}

/// A kill from before counting began: nothing of it can be looked at any more.
pub(crate) fn history(victim: OomVictim) -> Sighting {
    let place = victim.report.task_memcg.clone().map(|path| Place { path, inode: None });
    Sighting { victim, place_certain: place.is_some(), place, first_process: FirstProcess::Unknown }
}
