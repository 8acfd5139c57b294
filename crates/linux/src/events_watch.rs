//! Being told when a cgroup's `memory.events` changes (v2). v1 has no such notice that works without writing.
//!
//! The kernel signals a change of the file by inotify (`cgroup_file_notify`, kernel/cgroup/cgroup.c), at most once in
//! 10 ms a file, and never loses the last one.

use std::collections::BTreeMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use crate::error::ReadError;
use crate::tree::{Cgroup, CgroupId};

/// Watches the event counters of many cgroups.
#[derive(Debug)]
pub struct EventsWatch {
    queue: OwnedFd,
    cgroups: BTreeMap<i32, CgroupId>,
    watches: BTreeMap<CgroupId, i32>,
}

impl EventsWatch {
    /// Makes an empty watch.
    pub fn new() -> Result<Self, Errno> {
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(EventsWatch { queue, cgroups: BTreeMap::new(), watches: BTreeMap::new() })
    }

    /// Watches a cgroup's counters: its own where the kernel has them apart, else the subtree's.
    /// A cgroup that has neither (the root) or is gone is left alone.
    pub fn add(&mut self, cgroup: &Cgroup) -> Result<(), ReadError> {
        self.add_first(cgroup, &["memory.events.local", "memory.events"])
    }

    /// Watches the counters of a cgroup and all inside it.
    pub(crate) fn add_subtree(&mut self, cgroup: &Cgroup) -> Result<(), ReadError> {
        self.add_first(cgroup, &["memory.events"])
    }

    fn add_first(&mut self, cgroup: &Cgroup, names: &[&str]) -> Result<(), ReadError> {
        for &name in names {
            match inotify::add_watch(&self.queue, cgroup.file_by_descriptor(name), WatchFlags::MODIFY) {
                Ok(watch) => {
                    self.cgroups.insert(watch, cgroup.id());
                    self.watches.insert(cgroup.id(), watch);
                    return Ok(());
                }
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(ReadError::io(cgroup.file(name), errno)),
            }
        }
        Ok(())
    }

    /// Waits until a counter changes, but no longer than `time`; forgets which.
    ///
    /// # Errors
    /// The kernel can't be asked.
    pub fn wait(&mut self, time: Duration) -> Result<(), Errno> {
        let timeout = Timespec::try_from(time).map_err(|_| Errno::INVAL)?;
        let mut descriptors = [PollFd::new(&self.queue, PollFlags::IN)];
        match rustix::event::poll(&mut descriptors, Some(&timeout)) {
            // A signal only shortens the wait.
            Ok(0) | Err(Errno::INTR) => Ok(()),
            Ok(_) => self.changes().map(drop),
            Err(errno) => Err(errno),
        }
    }

    /// Stops watching a cgroup that is gone. The kernel doesn't do so by itself: the watch would hold the removed file.
    pub fn remove(&mut self, cgroup: CgroupId) {
        if let Some(watch) = self.watches.remove(&cgroup) {
            self.cgroups.remove(&watch);
            // It fails only if the kernel has dropped the watch already.
            let _ = inotify::remove_watch(&self.queue, watch);
        }
    }

    /// The cgroups whose counters changed since last asked, each once, without waiting. If the queue overflowed some are
    /// missing, and the next scan finds them.
    pub fn changes(&mut self) -> Result<Vec<CgroupId>, Errno> {
        let mut changed = Vec::new();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.queue, &mut buffer);
        loop {
            match reader.next() {
                // Also meets the notices of an overflow, and that a watch has ended, whose cgroup is then unknown here.
                Ok(event) => changed.extend(self.cgroups.get(&event.wd())),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        changed.sort_unstable();
        changed.dedup();
        Ok(changed)
    }
}

impl AsFd for EventsWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}
