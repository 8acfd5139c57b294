//! Which memory cgroup did a task belong to, going by who was moved and who was made?
//!
//! The kernel tells of a move and of a fork as they happen, so this knows of a process that was made, killed and gone
//! between two looks at the process table. It knows the latest tasks only; whatever is older is in that table.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use reprieve_readings::{CgroupInode, CgroupPath, ForkKind, TraceEventKind};

/// A cgroup as a task came into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskCgroup {
    /// Its path.
    pub path: CgroupPath,
    /// Its inode, which tells it from an earlier or later one of that path.
    pub inode: Option<CgroupInode>,
}

/// The cgroups of the latest tasks. Ids are those that the events have: of threads, in the first pid namespace.
#[derive(Debug)]
pub struct Lineage {
    most: usize,
    tasks: HashMap<u32, Task>,
    /// The tasks as they came, oldest first, each with its number. A number that its task no longer has is void.
    order: VecDeque<(u32, u64)>,
    number: u64,
    /// The cgroup that was named last: a runtime moves many tasks into one.
    last: Option<Arc<TaskCgroup>>,
}

#[derive(Debug)]
struct Task {
    number: u64,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    In(Arc<TaskCgroup>),
    /// A thread: memory is charged to the cgroup of its process, in which it moves along without an event of its own.
    ThreadOf(u32),
}

impl Default for Lineage {
    fn default() -> Self {
        Lineage::new(Self::MOST)
    }
}

impl Lineage {
    /// As many tasks as are known by default. They take up to 2 MiB, and their paths.
    pub const MOST: usize = 16_384;

    /// Knows no task yet, and never more than `most`.
    pub fn new(most: usize) -> Self {
        Lineage { most, tasks: HashMap::new(), order: VecDeque::new(), number: 0, last: None }
    }

    /// Takes an event, in the order of their times. `table` is asked for the cgroup of a thread id that was not heard of:
    /// `/proc/ID/cgroup` has it for threads too. Events of other kinds change nothing.
    pub fn note(&mut self, event: TraceEventKind, table: impl FnOnce(u32) -> Option<TaskCgroup>) {
        match event {
            TraceEventKind::CgroupAttach { pid, path, inode, .. } => self.attach(pid, TaskCgroup { path, inode }),
            TraceEventKind::Fork { parent, child, kind } => self.fork(parent, child, kind, table),
            TraceEventKind::MarkVictim(_) => {}
        }
    }

    /// The cgroup that memory of a task is charged to, if the task is among the latest.
    pub fn cgroup_of(&self, task: u32) -> Option<&TaskCgroup> {
        self.shared_cgroup_of(task).map(|cgroup| &**cgroup)
    }

    /// How many tasks are known.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    fn attach(&mut self, task: u32, cgroup: TaskCgroup) {
        let known = self.last.take().filter(|last| **last == cgroup);
        let cgroup = known.unwrap_or_else(|| Arc::new(cgroup));
        self.last = Some(Arc::clone(&cgroup));
        self.put(task, Place::In(cgroup));
    }

    fn fork(&mut self, parent: u32, child: u32, kind: ForkKind, table: impl FnOnce(u32) -> Option<TaskCgroup>) {
        let place = match (kind, self.tasks.get(&parent).map(|task| &task.place)) {
            (ForkKind::Thread, Some(Place::ThreadOf(first))) => Some(Place::ThreadOf(*first)),
            (ForkKind::Thread, Some(Place::In(_))) => Some(Place::ThreadOf(parent)),
            // Its process is not known, and may be moved without a word of this thread: it is asked for when it forks.
            (ForkKind::Thread, None) => None,
            (ForkKind::Process, _) => {
                let known = self.shared_cgroup_of(parent).map(Arc::clone);
                known.or_else(|| table(parent).map(Arc::new)).map(Place::In)
            }
            (ForkKind::IntoCgroup, _) => table(child).map(|cgroup| Place::In(Arc::new(cgroup))),
        };
        match place {
            Some(place) => self.put(child, place),
            // Whoever had this id before is gone.
            None => drop(self.tasks.remove(&child)),
        }
    }

    fn shared_cgroup_of(&self, task: u32) -> Option<&Arc<TaskCgroup>> {
        match &self.tasks.get(&task)?.place {
            Place::In(cgroup) => Some(cgroup),
            Place::ThreadOf(first) => match &self.tasks.get(first)?.place {
                Place::In(cgroup) => Some(cgroup),
                // The id was given to a thread of another process meanwhile.
                Place::ThreadOf(_) => None,
            },
        }
    }

    fn put(&mut self, task: u32, place: Place) {
        self.number += 1;
        self.tasks.insert(task, Task { number: self.number, place });
        self.order.push_back((task, self.number));
        while self.tasks.len() > self.most
            && let Some((oldest, number)) = self.order.pop_front()
        {
            if self.is_current(oldest, number) {
                self.tasks.remove(&oldest);
            }
        }
        // Void ones are swept out when they are the most, so that each is met once or twice.
        if self.order.len() > 2 * self.most {
            let tasks = &self.tasks;
            self.order.retain(|(task, number)| tasks.get(task).is_some_and(|known| known.number == *number));
        }
    }

    fn is_current(&self, task: u32, number: u64) -> bool {
        self.tasks.get(&task).is_some_and(|known| known.number == number)
    }
}

#[cfg(test)]
mod tests;
