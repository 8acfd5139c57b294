//! Listening for kills: the kernel's log and the counters' notices go in, log lines come out.
//!
//! Which kills there were is for the ledger in `judgement` to say; this gathers what it needs, at once, because a dying
//! process can be looked at for some milliseconds only.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use reprieve_judgement::{FirstProcess, Kill, KillLedger, Place};
use reprieve_linux::{Cgroup, CgroupId, EventsWatch, KmsgEvent, KmsgReader, ScanSummary, in_first_pid_namespace};
use reprieve_readings::{CgroupInode, CgroupPath, CgroupVersion, KmsgRecord, OomKillReader, OomVictim};
use reprieve_report::KillCounts;
use rustix::event::{PollFd, PollFlags};

use crate::aftermath;
use crate::log::{self, LogFormat};
use crate::node::Node;

/// Everything that tells of kills.
pub(crate) struct KillWatch {
    format: LogFormat,
    kmsg: Option<KmsgReader>,
    events: Option<EventsWatch>,
    reader: OomKillReader,
    ledger: KillLedger,
    // Only then are the pids of the log those of /proc.
    pids_are_global: bool,
    clock: Instant,
    scanned_before: bool,
    reported: KillCounts,
    overruns: u64,
    // A victim was named whose cgroup the counters must tell: they have risen, for the kernel counts before it prints.
    place_wanted: bool,
}

/// What a read of the kernel's log gave.
enum Read {
    Victim(Box<OomVictim>),
    Other,
    Nothing,
}

impl KillWatch {
    /// How long a counted kill waits for its name, which the kernel prints right after it counts; and where the log can't
    /// be read, how long a victim may take to die before it is looked at who survived.
    const PATIENCE: Duration = Duration::from_secs(1);

    /// Records of the kernel's log to take before it is time to look at something else.
    const RECORDS_AT_ONCE: usize = 1000;

    /// Opens what tells of kills, and says once what can't be seen and what would change that.
    pub(crate) fn open(node: &Node, format: LogFormat) -> Self {
        let kmsg = open_kmsg();
        let events = open_events(node);
        let pids_are_global = in_first_pid_namespace(&node.roots);
        if !pids_are_global {
            tracing::warn!(
                "the agent runs in a pid namespace of its own: whether a container's first process survived a kill will \
                 be unknown; share the host's (Kubernetes: hostPID: true)"
            );
        }
        KillWatch {
            format,
            kmsg,
            events,
            reader: OomKillReader::new(),
            ledger: KillLedger::new(Self::PATIENCE),
            pids_are_global,
            clock: Instant::now(),
            scanned_before: false,
            reported: KillCounts::default(),
            overruns: 0,
            place_wanted: false,
        }
    }

    /// What to wait for.
    pub(crate) fn poll_fds(&self) -> Vec<PollFd<'_>> {
        let kmsg = self.kmsg.iter().map(|kmsg| PollFd::new(kmsg, PollFlags::IN));
        let events = self.events.iter().map(|events| PollFd::new(events, PollFlags::IN));
        kmsg.chain(events).collect()
    }

    /// How long at most to wait: whatever waits for a match must be looked at again.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.ledger.is_waiting().then_some(Self::PATIENCE / 10)
    }

    /// Kills reported so far.
    pub(crate) fn reported(&self) -> KillCounts {
        self.reported
    }

    /// Whether victims can be named.
    pub(crate) fn reads_kernel_log(&self) -> bool {
        self.kmsg.is_some()
    }

    /// Times the kernel's log was overwritten before it was read.
    pub(crate) fn overruns(&self) -> u64 {
        self.overruns
    }

    /// Takes what has happened, without waiting, and reports the kills among it.
    pub(crate) fn take(&mut self, node: &mut Node) {
        self.take_counters(node);
        self.take_kernel_log(node);
        if std::mem::take(&mut self.place_wanted) && self.scanned_before {
            node.tree.refresh_kill_counters();
            self.count_all(node);
        }
        self.settle(node);
    }

    /// Takes the counters of all cgroups after a scan, and watches the new ones.
    pub(crate) fn take_scan(&mut self, summary: &ScanSummary, node: &mut Node) {
        // A cgroup of v1 that was renamed is another one by its path, and the same by its inode.
        let there: HashSet<CgroupInode> = match summary.removed.is_empty() {
            true => HashSet::new(),
            false => node.tree.iter().map(Cgroup::inode).collect(),
        };
        for (id, inode) in &summary.removed {
            if !there.contains(inode) {
                self.ledger.forget(*inode);
            }
            if let Some(events) = &mut self.events {
                events.remove(*id);
            }
        }
        self.count_all(node);
        for id in &summary.appeared {
            self.watch(*id, node);
        }
        self.settle(node);
    }

    /// Takes the counters of all cgroups as last read. The first time, they are history.
    fn count_all(&mut self, node: &Node) {
        let now = self.clock.elapsed();
        for cgroup in node.tree.iter() {
            let Some(kills) = cgroup.memory().oom_kills() else { continue };
            if self.scanned_before {
                self.ledger.count(cgroup.inode(), cgroup.path(), kills, now);
            } else {
                self.ledger.begin(cgroup.inode(), kills);
            }
        }
        self.scanned_before = true;
    }

    fn watch(&mut self, id: CgroupId, node: &mut Node) {
        if let (Some(events), Some(cgroup)) = (&mut self.events, node.tree.get(id))
            && let Err(error) = events.add(cgroup)
        {
            node.problems.take_one(format!("{error}: kills there are noticed by the next scan only"));
        }
    }

    fn take_counters(&mut self, node: &mut Node) {
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

    /// Takes a cgroup's counter as read. Before the first scan is done there is nothing to compare it with.
    fn take_counter(&mut self, id: CgroupId, node: &Node) {
        if let Some(cgroup) = node.tree.get(id).filter(|_| self.scanned_before)
            && let Some(kills) = cgroup.memory().oom_kills()
        {
            self.ledger.count(cgroup.inode(), cgroup.path(), kills, self.clock.elapsed());
        }
    }

    /// Takes what the kernel's log holds, but not without end: somebody may be writing as fast as we read.
    fn take_kernel_log(&mut self, node: &mut Node) {
        for _ in 0..Self::RECORDS_AT_ONCE {
            match self.read_record(node) {
                Read::Victim(victim) => self.take_victim(*victim, node),
                Read::Other => {}
                Read::Nothing => return,
            }
        }
    }

    fn read_record(&mut self, node: &mut Node) -> Read {
        let Some(kmsg) = &mut self.kmsg else { return Read::Nothing };
        match kmsg.next_event() {
            Ok(KmsgEvent::Empty) => return Read::Nothing,
            Ok(KmsgEvent::Record(record)) => match KmsgRecord::parse(record) {
                Ok(record) => {
                    return self.reader.feed(&record).map_or(Read::Other, |victim| Read::Victim(Box::new(victim)));
                }
                Err(error) => node.problems.take_one(format!("/dev/kmsg: {error}")),
            },
            Ok(KmsgEvent::Overrun) => {
                self.overruns += 1;
                node.problems.take_one("/dev/kmsg: records were overwritten before they were read".into());
            }
            Err(error) => {
                node.problems.take_one(format!("/dev/kmsg: {error}: victims can't be named any more"));
                self.kmsg = None;
            }
        }
        Read::Other
    }

    fn take_victim(&mut self, victim: OomVictim, node: &mut Node) {
        // First of all, before it is gone.
        let process = aftermath::victim_process(&victim, node);
        let cgroup = self.cgroup_of(&victim, node);
        self.place_wanted |= cgroup.is_none();
        let id = cgroup.as_ref().or(victim.oom_group.as_ref()).and_then(|path| node.tree.look_up(path));
        let first_process = match id {
            Some(id) if self.pids_are_global => aftermath::first_process(&victim, process, id, node),
            _ => FirstProcess::Unknown,
        };
        let place = cgroup.map(|path| {
            let inode = node.tree.find(&path).map(Cgroup::inode);
            Place { path, inode }
        });
        let kill = self.ledger.name(victim, place, first_process, self.clock.elapsed());
        if let Some(id) = id {
            self.take_counter(id, node);
        }
        if let Some(kill) = kill {
            self.report(kill, node);
        }
    }

    /// The victim's cgroup: by the kernel's report; by the process table, where the rate limit swallowed that; or by the
    /// cgroup that dies as a whole, if none is inside it.
    fn cgroup_of(&self, victim: &OomVictim, node: &mut Node) -> Option<CgroupPath> {
        if let Some(cgroup) = &victim.report.task_memcg {
            return Some(cgroup.clone());
        }
        let listed = self.pids_are_global.then(|| node.memory_cgroup_of(victim.pid)).flatten();
        // v1 books a process that has ended to the root. v2 marks a cgroup that is gone. A cgroup outside of our namespace
        // has no name that others would know.
        let useless = |cgroup: &CgroupPath| {
            (node.tree.version() == CgroupVersion::V1 && cgroup.is_root())
                || cgroup.as_bytes().ends_with(b" (deleted)")
                || cgroup.leaves_namespace()
        };
        listed.filter(|cgroup| !useless(cgroup)).or_else(|| {
            let dying = node.tree.look_up(victim.oom_group.as_ref()?)?;
            node.tree.get(dying).filter(|cgroup| cgroup.children().is_empty()).map(|cgroup| cgroup.path().clone())
        })
    }

    fn settle(&mut self, node: &mut Node) {
        for kill in self.ledger.settle(self.clock.elapsed()) {
            self.report(kill, node);
        }
    }

    fn report(&mut self, mut kill: Kill, node: &mut Node) {
        if kill.first_process == FirstProcess::Unknown && self.pids_are_global {
            // Nothing was known of its cgroup when the log named it, or the log named nobody.
            kill.first_process = aftermath::first_process_later(&kill, node);
        }
        let seen = match kill.first_process {
            FirstProcess::Survived => &mut self.reported.invisible,
            FirstProcess::Killed => &mut self.reported.visible,
            FirstProcess::Unknown => &mut self.reported.unknown,
        };
        *seen += kill.count;
        log::kill(&aftermath::report(kill, node), self.format);
    }
}

fn open_kmsg() -> Option<KmsgReader> {
    match KmsgReader::open_at_end(Path::new("/dev/kmsg")) {
        Ok(kmsg) => Some(kmsg),
        Err(error) => {
            tracing::warn!("kills are counted but victims can't be named: can't read /dev/kmsg: {error}");
            None
        }
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
