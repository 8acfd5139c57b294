//! The loop: scan all cgroups at each interval, and listen for kills all the time.
//!
//! A scan of thousands of cgroups takes long compared with a kill, so it is cut into steps and kills are looked for in
//! between.

use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reprieve_judgement::SavedLedger;
use reprieve_linux::{
    CgroupTree, DescriptorBudget, MemoryController, NodeReading, Problems, ScanSummary, raise_descriptor_limit,
    read_node, time_since_boot,
};
use reprieve_readings::Escaped;
use reprieve_report::{NodeFigures, Snapshot};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::AgentOptions;
use crate::containers::KnownCgroups;
use crate::journal::Journal;
use crate::keeper::Keeper;
use crate::kills::KillWatch;
use crate::node::Node;
use crate::problems::NamedProblems;
use crate::shared::Shared;
use crate::snapshot::cgroup_figures;

/// The watch over one node.
pub(crate) struct NodeWatch {
    interval: Duration,
    node: Node,
    kills: KillWatch,
    keeper: Keeper,
    shared: Shared,
    scans: u64,
}

impl NodeWatch {
    /// Cgroups read between two looks for kills: some 2 ms of work.
    const STEP: usize = 64;

    /// Finds the memory controller and opens whatever tells of kills.
    pub(crate) fn open(options: &AgentOptions, shared: Shared, journal: Journal, saved: SavedLedger) -> Result<Self> {
        raise_descriptor_limit();
        let mut named = NamedProblems::default();
        let mut problems = Problems::default();
        let controller = MemoryController::find(&options.roots, &mut problems)?;
        named.take(&problems);
        let directory = Escaped(controller.directory.as_os_str().as_bytes());
        tracing::info!(%directory, version = ?controller.version, "found memory cgroups");
        let tree = CgroupTree::open(&controller, DescriptorBudget::new(options.open_files))
            .context("can't open the memory cgroups")?;
        let mut node = Node { roots: options.roots.clone(), tree, known: KnownCgroups::default(), problems: named };
        // Before the first scan, so that no kill falls between what was counted then and what is listened to.
        let kills = KillWatch::open(&mut node, options, journal, saved);
        let keeper = Keeper::open(&options.eviction, options.interval, options.log_format, &mut node);
        Ok(NodeWatch { interval: options.interval, node, kills, keeper, shared, scans: 0 })
    }

    /// Watches until the other side of `end` is closed.
    pub(crate) fn run(mut self, end: &UnixStream) {
        let mut next = Instant::now();
        loop {
            self.scan();
            // A scan that came early moves the next one too.
            let now = Instant::now();
            next = (next + self.interval).clamp(now, now + self.interval);
            if self.listen_until(next, end).is_break() {
                return;
            }
        }
    }

    fn scan(&mut self) {
        let started = Instant::now();
        let began = time_since_boot();
        let summary = loop {
            match self.node.tree.scan_step(Self::STEP) {
                Some(summary) => break summary,
                None => self.kills.take(&mut self.node),
            }
        };
        self.take_scan(&summary, began);
        let mut problems = Problems::default();
        let reading = read_node(&self.node.roots, &mut problems);
        self.node.problems.take(&problems);
        self.keeper.take_scan(&mut self.node, &reading);
        self.scans += 1;
        self.publish(&reading, started.elapsed());
    }

    fn take_scan(&mut self, summary: &ScanSummary, began: Duration) {
        self.node.problems.take(&summary.problems);
        for (id, _) in &summary.removed {
            self.node.known.forget(*id);
        }
        let mut problems = Problems::default();
        self.node.known.learn(&self.node.tree, &self.node.roots, &mut problems);
        self.node.problems.take(&problems);
        self.kills.take_scan(summary, began, &mut self.node);
    }

    fn publish(&mut self, reading: &NodeReading, took: Duration) {
        let meminfo = reading.meminfo.unwrap_or_default();
        let lost = self.kills.lost_records();
        let cgroups = cgroup_figures(&self.node.tree, &self.node.known, reading);
        self.shared.publish(Snapshot {
            eviction: Some(self.keeper.figures(&cgroups, &self.node)),
            cgroups,
            kills: self.kills.series(&self.node),
            ledger: self.kills.ledger_figures(),
            node: NodeFigures {
                total: meminfo.total,
                free: meminfo.free,
                available: meminfo.available,
                oom_kills: reading.oom_kills,
                pressure: reading.pressure,
                reported: self.kills.reported(),
                scan_seconds: took.as_secs_f64(),
                scans: self.scans,
                cgroups: self.node.tree.len(),
                problems: self.node.problems.count(),
                kernel_log_readable: self.kills.reads_kernel_log(),
                kernel_log_overruns: lost.overruns,
                kernel_log_lost_records: lost.records,
            },
        });
    }

    /// Listens for kills until it is time for the next scan, or kills want one. Breaks at the end of all.
    fn listen_until(&mut self, next: Instant, end: &UnixStream) -> ControlFlow<()> {
        loop {
            let left = next.saturating_duration_since(Instant::now());
            if left.is_zero() || self.kills.wants_scan() || self.keeper.wants_scan(&mut self.node) {
                return ControlFlow::Continue(());
            }
            let wait = self.kills.patience().map_or(left, |patience| patience.min(left)).min(self.keeper.patience());
            let mut waited_for = self.kills.poll_fds();
            waited_for.push(PollFd::new(end, PollFlags::IN));
            let happened = poll(&mut waited_for, Some(&timespec(wait)));
            if waited_for.last().is_some_and(|end| !end.revents().is_empty()) {
                return ControlFlow::Break(());
            }
            match happened {
                Ok(_) | Err(Errno::INTR) => self.kills.take(&mut self.node),
                Err(errno) => {
                    self.node.problems.take_one(format!("poll: {errno}: kills are noticed by the next scan only"));
                    std::thread::sleep(left);
                }
            }
        }
    }
}

fn timespec(duration: Duration) -> Timespec {
    // A whole second more than fits is no different from a year.
    Timespec { tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX), tv_nsec: duration.subsec_nanos().into() }
}
