//! Listening for kills: the kernel's log, its marks and the counters go in, records and log lines come out.
//!
//! Which kills there were is for the ledger in `judgement` to say; this gathers what it needs, at once, because a dying
//! process can be looked at for some milliseconds only.

use std::collections::HashSet;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use reprieve_judgement::{KillLedger, Progress, SavedLedger};
use reprieve_linux::{
    Cgroup, CgroupId, EventsWatch, NodeKillCounter, Problems, ScanSummary, in_first_pid_namespace, read_boot_id,
    time_since_boot,
};
use reprieve_readings::{BootId, CgroupInode, CgroupVersion, OomVictim};
use reprieve_report::{KillCounts, KillSeries, LedgerFigures};
use rustix::event::{PollFd, PollFlags};

use crate::AgentOptions;
use crate::journal::Journal;
use crate::kill_book::KillBook;
use crate::kill_log::{KillLog, LostRecords};
use crate::kill_marks::KillMarks;
use crate::node::Node;
use crate::processes::Processes;
use crate::witnesses::{self, Witnesses};

/// Everything that tells of kills.
pub(crate) struct KillWatch {
    log: KillLog,
    witnesses: Witnesses,
    events: Option<EventsWatch>,
    node_counter: NodeKillCounter,
    ledger: KillLedger,
    book: KillBook,
    scanned_before: bool,
    scan_began: Option<Duration>,
    swept: Option<Instant>,
}

impl KillWatch {
    /// How long a counted kill waits for its name, which the kernel prints right after it counts; and where the log can't
    /// be read, how long a victim may take to die before it is looked at who survived.
    const PATIENCE: Duration = Duration::from_secs(1);

    /// Victims to deal with before it is time to look at something else.
    const VICTIMS_AT_ONCE: usize = 100;

    /// Times that victims are taken before counting begins: no log holds more of them.
    const HISTORY_READS: usize = 1000;

    /// From one look at all counters to the next, while kills wait: a look takes about a millisecond.
    const SWEEP_PAUSE: Duration = Duration::from_millis(20);

    /// Looks for a moment in which no kill is under way, before counting begins.
    const QUIET_LOOKS: usize = 20;
    const QUIET_PAUSE: Duration = Duration::from_millis(5);

    /// Opens what tells of kills, and says once what can't be seen and what would change that.
    pub(crate) fn open(node: &mut Node, options: &AgentOptions, journal: Journal, saved: SavedLedger) -> Self {
        let mut problems = Problems::default();
        let boot = read_boot_id(&node.roots, &mut problems);
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
        // Without a boot id, history would be told again by each run.
        let mut log = KillLog::open(boot.is_some());
        log.read(&mut node.problems);
        let boot = boot.unwrap_or_else(unlike_any_other);
        let mut ledger = KillLedger::new(boot, saved, Self::PATIENCE);
        let mut book = KillBook::new(boot, options.log_format, pids_are_global, journal);
        book.read_journal(node, |record| ledger.remember(record));
        KillWatch {
            log,
            witnesses: Witnesses {
                marks: KillMarks::open(&node.roots, options.trace),
                processes: Processes::new(&node.roots, options.command_lines),
                pids_are_global,
            },
            events,
            node_counter,
            ledger,
            book,
            scanned_before: false,
            scan_began: None,
            swept: None,
        }
    }

    /// What to wait for.
    pub(crate) fn poll_fds(&self) -> Vec<PollFd<'_>> {
        let events = self.events.iter().map(|events| PollFd::new(events, PollFlags::IN));
        self.log.poll_fds().chain(self.witnesses.marks.poll_fds()).chain(events).collect()
    }

    /// How long at most to wait: victims must be dealt with, and whatever waits for a match be looked at again.
    pub(crate) fn patience(&self) -> Option<Duration> {
        if self.log.has_victims() {
            return Some(Duration::ZERO);
        }
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
            traced: self.witnesses.marks.are_traced(),
            trace_lost: self.witnesses.marks.lost(),
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

    /// What was overwritten of the kernel's log before it was read.
    pub(crate) fn lost_records(&self) -> LostRecords {
        self.log.lost()
    }

    /// Takes what has happened, without waiting, and reports the kills among it.
    pub(crate) fn take(&mut self, node: &mut Node) {
        if !self.scanned_before {
            // The first scan must tell first what was counted so far, and which process is where. Meanwhile the log must
            // not be overwritten.
            self.log.read(&mut node.problems);
            return;
        }
        self.take_events(node);
        self.log.read(&mut node.problems);
        self.witnesses.mark_victims(&mut self.ledger, node);
        let log_read = self.take_log(node);
        self.settle(log_read, node);
    }

    /// Takes the counters of all cgroups after a scan that began at `began`, and watches the new ones.
    pub(crate) fn take_scan(&mut self, summary: &ScanSummary, began: Duration, node: &mut Node) {
        // A cgroup of v1 that was renamed is another one by its path, and the same by its inode.
        let there: HashSet<CgroupInode> = match summary.removed.is_empty() && self.scanned_before {
            true => HashSet::new(),
            false => node.tree.iter().map(Cgroup::inode).collect(),
        };
        if !self.scanned_before {
            self.ledger.forget_missing(&there);
        }
        for (id, inode) in &summary.removed {
            if !there.contains(inode) {
                self.ledger.forget(*inode);
                self.witnesses.processes.table.forget(*inode, time_since_boot());
            }
            if let Some(events) = &mut self.events {
                events.remove(*id);
            }
        }
        if self.ledger.counts() {
            self.count_all(node);
            // Kills in cgroups that are gone, whose lines were lost, show here only.
            self.count_node(node);
        } else {
            self.begin(node);
        }
        self.scanned_before = true;
        self.scan_began = Some(began);
        for id in &summary.appeared {
            self.watch(*id, node);
        }
        self.witnesses.processes.look(&self.ledger, node);
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
        self.witnesses.mark_victims(&mut self.ledger, node);
        for _ in 0..Self::HISTORY_READS {
            if self.take_log(node) {
                break;
            }
        }
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

    /// Takes the victims that the kernel's log names, but not without end: they may die as fast as we look at them. Says
    /// whether that was all.
    fn take_log(&mut self, node: &mut Node) -> bool {
        for _ in 0..Self::VICTIMS_AT_ONCE {
            match self.log.next_victim(&mut node.problems) {
                Some(victim) => self.take_victim(victim, node),
                None => break,
            }
        }
        if let Some(sequence) = self.log.done_to() {
            self.ledger.log_read_to(sequence);
        }
        self.log.is_done()
    }

    fn take_victim(&mut self, victim: OomVictim, node: &mut Node) {
        let sighting = match self.ledger.counts() {
            true => self.witnesses.sight_named(victim, &mut self.ledger, node),
            false => witnesses::history(victim),
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
        self.book.take(told, node, &self.witnesses.processes);
    }

    fn settle(&mut self, log_read: bool, node: &mut Node) {
        if self.ledger.is_waiting() {
            if self.swept.is_none_or(|swept| swept.elapsed() >= Self::SWEEP_PAUSE) {
                self.swept = Some(Instant::now());
                node.tree.refresh_kill_counters();
                self.count_all(node);
            }
            self.witnesses.mark_vanished(&mut self.ledger, node);
            // Last: what it counts beyond all others is told as a kill of which nothing else is known.
            self.count_node(node);
            let progress = Progress { log_read, scan_began: self.scan_began };
            let told = self.ledger.settle(progress, time_since_boot());
            self.book.take(told, node, &self.witnesses.processes);
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

/// Without a boot id nothing of another run can be known to be of this boot: each run stands for itself.
fn unlike_any_other() -> BootId {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    BootId(now.as_nanos() << 32 | u128::from(std::process::id()))
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
