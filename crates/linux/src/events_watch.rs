//! Being told when a cgroup's `memory.events` changes (v2). v1 has no such notice that works without writing.
//!
//! The kernel signals a change of the file by inotify (`cgroup_file_notify`, kernel/cgroup/cgroup.c), at most once in
//! 10 ms a file, and never loses the last one.

use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use crate::error::ReadError;
use crate::tree::{Cgroup, CgroupId};

/// Watches the event counters of many cgroups.
#[derive(Debug)]
pub struct EventsWatch {
    queue: OwnedFd,
    cgroups: HashMap<i32, CgroupId>,
    watches: HashMap<CgroupId, i32>,
}

/// What the queue held.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Cgroups whose counters changed, each once.
    pub cgroups: Vec<CgroupId>,
    /// The queue overflowed: any other cgroup's may have changed too.
    pub overflowed: bool,
}

impl EventsWatch {
    /// Makes an empty watch.
    pub fn new() -> Result<Self, Errno> {
        let queue = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(EventsWatch { queue, cgroups: HashMap::new(), watches: HashMap::new() })
    }

    /// Watches a cgroup's counters: its own where the kernel has them apart, else the subtree's.
    /// A cgroup that has neither (the root) or is gone is left alone.
    pub fn add(&mut self, cgroup: &Cgroup) -> Result<(), ReadError> {
        for name in ["memory.events.local", "memory.events"] {
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

    /// Stops watching a cgroup that is gone. The kernel doesn't do so by itself: the watch would hold the removed file.
    pub fn remove(&mut self, cgroup: CgroupId) {
        if let Some(watch) = self.watches.remove(&cgroup) {
            self.cgroups.remove(&watch);
            // It fails only if the kernel has dropped the watch already.
            let _ = inotify::remove_watch(&self.queue, watch);
        }
    }

    /// Takes what the queue holds, without waiting.
    pub fn changes(&mut self) -> Result<Changes, Errno> {
        let mut changes = Changes::default();
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.queue, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => changes.overflowed = true,
                // Also meets the notice that a watch has ended, whose cgroup is then unknown here.
                Ok(event) => changes.cgroups.extend(self.cgroups.get(&event.wd())),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        changes.cgroups.sort_unstable();
        changes.cgroups.dedup();
        Ok(changes)
    }
}

impl AsFd for EventsWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.queue.as_fd()
    }
}
