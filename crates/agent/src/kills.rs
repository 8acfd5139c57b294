//! Listening for kills: the kernel's log, its marks and the counters go in, records and log lines come out.
//!
//! Which kills there were is for the ledger in `judgement` to say; this gathers what it needs, at once, because a dying
//! process can be looked at for some milliseconds only.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use reprieve_judgement::{FirstProcess, KillLedger, Place, Progress, SavedLedger, Sighting, TaskCgroup};
use reprieve_linux::{
    Cgroup, CgroupId, EventsWatch, NodeKillCounter, Problems, ScanSummary, in_first_pid_namespace, read_boot_id,
    time_since_boot,
};
use reprieve_readings::{BootId, Bytes, CgroupInode, CgroupPath, CgroupVersion, OomReport, OomVictim};
use reprieve_report::{KillCounts, KillSeries, LedgerFigures};
use rustix::event::{PollFd, PollFlags};

use crate::AgentOptions;
use crate::aftermath;
use crate::journal::Journal;
use crate::kill_book::KillBook;
use crate::kill_log::{KillLog, LogRead};
use crate::kill_marks::{self, KillMarks};
use crate::node::Node;
use crate::processes::Processes;

/// Everything that tells of kills.
pub(crate) struct KillWatch {
    log: KillLog,
    marks: KillMarks,
    events: Option<EventsWatch>,
    node_counter: NodeKillCounter,
    processes: Processes,
    ledger: KillLedger,
    book: KillBook,
    // Only then are the pids of the log those of /proc.
    pids_are_global: bool,
    scanned_before: bool,
    scan_began: Option<Duration>,
    swept: Option<Instant>,
}

impl KillWatch {
    /// How long a counted kill waits for its name, which the kernel prints right after it counts; and where the log can't
    /// be read, how long a victim may take to die before it is looked at who survived.
    const PATIENCE: Duration = Duration::from_secs(1);

    /// Records of the kernel's log to take before it is time to look at something else.
    const RECORDS_AT_ONCE: usize = 1000;

    /// From one look at all counters to the next, while kills wait: a look takes about a millisecond.
    const SWEEP_PAUSE: Duration = Duration::from_millis(20);

    /// Looks for a moment in which no kill is under way, before counting begins.
    const QUIET_LOOKS: usize = 20;
    const QUIET_PAUSE: Duration = Duration::from_millis(5);

    /// Opens what tells of kills, and says once what can't be seen and what would change that.
    pub(crate) fn open(node: &mut Node, options: &AgentOptions, journal: Journal, saved: SavedLedger) -> Self {
        let mut problems = Problems::default();
        // Without it nothing of another run can be known to be of this boot: then each run stands for itself.
        let boot = read_boot_id(&node.roots, &mut problems).unwrap_or(BootId(0));
        let node_counter = NodeKillCounter::open(&node.roots, &mut problems);
        node.problems.take(&problems);
        let events = open_events(node);
        let pids_are_global = in_first_pid_namespace(&node.roots);
        if !pids_are_global {
            tracing::warn!(
                "the agent runs in a pid namespace of its own: whether a container's first process survived a kill will \
                 be unknown; share the host's (Kubernetes: hostPID: true)"
            );
        }
        let mut ledger = KillLedger::new(boot, saved, Self::PATIENCE);
        let mut book = KillBook::new(boot, options.log_format, pids_are_global, journal);
        book.read_journal(node, |record| ledger.remember(record));
        KillWatch {
            log: KillLog::open(),
            marks: KillMarks::open(&node.roots, options.trace),
            events,
            node_counter,
            processes: Processes::new(&node.roots, options.command_lines),
            ledger,
            book,
            pids_are_global,
            scanned_before: false,
            scan_began: None,
            swept: None,
        }
    }

    /// What to wait for.
    pub(crate) fn poll_fds(&self) -> Vec<PollFd<'_>> {
        let events = self.events.iter().map(|events| PollFd::new(events, PollFlags::IN));
        self.log.poll_fds().chain(self.marks.poll_fds()).chain(events).collect()
    }

    /// How long at most to wait: whatever waits for a match must be looked at again.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.ledger.is_waiting().then_some(Self::PATIENCE / 10)
    }

    /// Whether kills wait for a scan that finds the cgroup they were in.
    pub(crate) fn wants_scan(&self) -> bool {
        self.scanned_before && self.ledger.wants_scan(time_since_boot())
    }

    /// How the ledger stands.
    pub(crate) fn ledger_figures(&self) -> LedgerFigures {
        LedgerFigures {
            told: self.ledger.rise(),
            traced: self.marks.are_traced(),
            trace_lost: self.marks.lost(),
            ..self.book.figures()
        }
    }

    /// The kills of each place.
    pub(crate) fn series(&mut self, node: &Node) -> Vec<KillSeries> {
        self.book.series(node)
    }

    /// Kills reported so far.
    pub(crate) fn reported(&self) -> KillCounts {
        self.book.reported()
    }

    /// Whether victims can be named.
    pub(crate) fn reads_kernel_log(&self) -> bool {
        self.log.is_readable()
    }

    /// Times the kernel's log was overwritten before it was read.
    pub(crate) fn overruns(&self) -> u64 {
        self.log.overruns()
    }

    /// Takes what has happened, without waiting, and reports the kills among it.
    pub(crate) fn take(&mut self, node: &mut Node) {
        if !self.ledger.counts() {
            // The first scan must tell first what was counted so far.
            return;
        }
        self.take_events(node);
        self.take_marks(node);
        let log_read = self.take_log(node);
        self.settle(log_read, node);
    }

    /// Takes the counters of all cgroups after a scan that began at `began`, and watches the new ones.
    pub(crate) fn take_scan(&mut self, summary: &ScanSummary, began: Duration, node: &mut Node) {
        // A cgroup of v1 that was renamed is another one by its path, and the same by its inode.
        let there: HashSet<CgroupInode> = match summary.removed.is_empty() {
            true => HashSet::new(),
            false => node.tree.iter().map(Cgroup::inode).collect(),
        };
        for (id, inode) in &summary.removed {
            if !there.contains(inode) {
                self.ledger.forget(*inode);
                self.processes.table.forget(*inode, time_since_boot());
            }
            if let Some(events) = &mut self.events {
                events.remove(*id);
            }
        }
        if self.ledger.counts() {
            self.count_all(node);
        } else {
            self.begin(node);
        }
        self.scanned_before = true;
        self.scan_began = Some(began);
        for id in &summary.appeared {
            self.watch(*id, node);
        }
        self.processes.look(node);
        self.take(node);
    }

    /// Begins to count. What the log holds so far is history; so that no line of it is of a kill that is counted after, a
    /// moment is waited for in which none comes.
    fn begin(&mut self, node: &mut Node) {
        for cgroup in node.tree.iter() {
            if let Some(kills) = cgroup.memory().oom_kills().filter(|kills| *kills > 0) {
                self.ledger.begin_cgroup(cgroup.inode(), kills);
            }
        }
        self.take_marks(node);
        while !self.take_log(node) {}
        let mut kills = self.read_node_count(node);
        for _ in 0..Self::QUIET_LOOKS {
            std::thread::sleep(Self::QUIET_PAUSE);
            let quiet = self.take_log(node);
            let before = std::mem::replace(&mut kills, self.read_node_count(node));
            if quiet && before == kills {
                break;
            }
        }
        self.ledger.begin_counts(kills);
        self.save();
    }

    /// Takes the counters of all cgroups as last read.
    fn count_all(&mut self, node: &Node) {
        let now = time_since_boot();
        for cgroup in node.tree.iter() {
            if let Some(kills) = cgroup.memory().oom_kills() {
                self.ledger.count(cgroup.inode(), cgroup.path(), kills, now);
            }
        }
    }

    fn watch(&mut self, id: CgroupId, node: &mut Node) {
        if let (Some(events), Some(cgroup)) = (&mut self.events, node.tree.get(id))
            && let Err(error) = events.add(cgroup)
        {
            node.problems.take_one(format!("{error}: kills there are noticed by the next scan only"));
        }
    }

    fn take_events(&mut self, node: &mut Node) {
        let Some(events) = &mut self.events else { return };
        match events.changes() {
            Ok(changed) => {
                for id in changed {
                    node.tree.refresh_kill_counter(id);
                    self.take_counter(id, node);
                }
            }
            Err(errno) => node.problems.take_one(format!("inotify: {errno}: kills are noticed by the next scan only")),
        }
    }

    fn take_counter(&mut self, id: CgroupId, node: &Node) {
        if let Some(cgroup) = node.tree.get(id)
            && let Some(kills) = cgroup.memory().oom_kills()
        {
            self.ledger.count(cgroup.inode(), cgroup.path(), kills, time_since_boot());
        }
    }

    /// Takes the victims that the kernel marked: the log may not name them.
    fn take_marks(&mut self, node: &mut Node) {
        let table = |task: u32| {
            let (inode, path, _) = self.processes.table.find(task)?;
            Some(TaskCgroup { path: path.clone(), inode: Some(inode) })
        };
        let marked = self.marks.take(&node.roots, table, &mut node.problems);
        let now = time_since_boot();
        for mark in marked {
            let victim = kill_marks::victim(mark, now);
            let sighting = self.sight(victim, node);
            self.ledger.mark(sighting, now);
        }
    }

    /// Takes what the kernel's log holds, but not without end: somebody may be writing as fast as we read. Says whether
    /// that was all.
    fn take_log(&mut self, node: &mut Node) -> bool {
        let mut all = false;
        for _ in 0..Self::RECORDS_AT_ONCE {
            match self.log.read(&mut node.problems) {
                LogRead::Victim(victim) => self.take_victim(*victim, node),
                LogRead::Other => {}
                LogRead::Nothing => {
                    all = true;
                    break;
                }
            }
        }
        if let Some(sequence) = self.log.read_to() {
            self.ledger.log_read_to(sequence);
        }
        all
    }

    fn take_victim(&mut self, victim: OomVictim, node: &mut Node) {
        let sighting = match self.ledger.counts() {
            true => self.sight(victim, node),
            false => history(victim),
        };
        if self.ledger.wants_node_count() {
            self.count_node(node);
        }
        let inode = sighting.place.as_ref().and_then(|place| place.inode);
        let path = sighting.place.as_ref().filter(|_| inode.is_some()).map(|place| place.path.clone());
        let told = self.ledger.name(sighting, time_since_boot());
        if let Some(id) = path.and_then(|path| node.tree.find(&path)).map(Cgroup::id) {
            self.take_counter(id, node);
        }
        self.book.take(told, node, &self.processes);
    }

    /// Looks at a victim and its cgroup. To be called before anything else: some milliseconds later it is gone.
    fn sight(&mut self, victim: OomVictim, node: &mut Node) -> Sighting {
        let process = aftermath::victim_process(&victim, node);
        let found = self.cgroup_of(&victim, node);
        let path = found.as_ref().map(|(path, _)| path);
        let id = path.or(victim.oom_group.as_ref()).and_then(|path| node.tree.look_up(path));
        let first_process = match id {
            Some(id) if self.pids_are_global => aftermath::first_process(&victim, process, id, node),
            _ => FirstProcess::Unknown,
        };
        let place = found.map(|(path, known)| {
            // Another cgroup may have the path by now.
            let there = node.tree.find(&path).map(Cgroup::inode);
            Place { path, inode: there.filter(|there| known.is_none_or(|known| known == *there)) }
        });
        Sighting { victim, place_certain: place.is_some(), place, first_process }
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
        let (inode, path, process) = self.processes.table.find(victim.pid)?;
        // The pid may be another's by now.
        (self.pids_are_global && process.name == victim.name).then(|| (path.clone(), Some(inode)))
    }

    /// Marks whoever has vanished from cgroups in which kills wait for a name.
    fn mark_vanished(&mut self, node: &mut Node) {
        if !self.pids_are_global {
            return;
        }
        let now = time_since_boot();
        for (inode, count) in self.ledger.nameless(now) {
            for process in self.processes.likely_victims(inode, count, node) {
                let Some((_, path, _)) = self.processes.table.find(process.id.pid) else { continue };
                let place = Some(Place { path: path.clone(), inode: Some(inode) });
                let victim = vanished(process.id.pid, process.name, now);
                let first_process = FirstProcess::Unknown;
                self.ledger.mark(
                    Sighting { victim, place, place_certain: true, first_process },
                    now.saturating_sub(Self::PATIENCE / 2),
                );
            }
        }
    }

    fn settle(&mut self, log_read: bool, node: &mut Node) {
        if self.ledger.is_waiting() {
            if self.swept.is_none_or(|swept| swept.elapsed() >= Self::SWEEP_PAUSE) {
                self.swept = Some(Instant::now());
                node.tree.refresh_kill_counters();
                self.count_all(node);
            }
            self.mark_vanished(node);
            // Last: what it counts beyond all others is told as a kill of which nothing else is known.
            self.count_node(node);
            let progress = Progress { log_read, scan_began: self.scan_began };
            let told = self.ledger.settle(progress, time_since_boot());
            self.book.take(told, node, &self.processes);
        }
        self.save();
    }

    fn count_node(&mut self, node: &mut Node) {
        if let Some(kills) = self.read_node_count(node) {
            self.ledger.count_node(kills, time_since_boot());
        }
    }

    fn read_node_count(&mut self, node: &mut Node) -> Option<u64> {
        let mut problems = Problems::default();
        let kills = self.node_counter.read(&mut problems);
        node.problems.take(&problems);
        kills
    }

    fn save(&mut self) {
        if let Some(change) = self.ledger.take_change(self.book.take_unsaved()) {
            self.book.save(change);
        }
    }
}

/// A kill from before counting began: nothing of it can be looked at any more.
fn history(victim: OomVictim) -> Sighting {
    let place = victim.report.task_memcg.clone().map(|path| Place { path, inode: None });
    Sighting { victim, place_certain: place.is_some(), place, first_process: FirstProcess::Unknown }
}

/// A process that has vanished, in the form in which the log would tell of a victim.
fn vanished(pid: u32, name: Vec<u8>, since_boot: Duration) -> OomVictim {
    let none: Option<Bytes> = None;
    OomVictim {
        sequence: 0,
        since_boot,
        pid,
        name,
        uid: None,
        total_vm: none,
        anon_rss: none,
        file_rss: none,
        shmem_rss: none,
        pgtables: none,
        oom_score_adj: None,
        scope: None,
        oom_group: None,
        repeat: false,
        report: OomReport::default(),
    }
}

/// v1 has no notice that works without writing: there, the kernel's log and the scans tell.
fn open_events(node: &Node) -> Option<EventsWatch> {
    if node.tree.version() == CgroupVersion::V1 {
        return None;
    }
    EventsWatch::new()
        .inspect_err(|errno| tracing::warn!("can't watch memory.events: inotify: {errno}: the scans tell of kills"))
        .ok()
}
