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
    /// The number with which it was made; 0 where that was not heard of.
    made: u64,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    In(Arc<TaskCgroup>),
    /// A thread of the process with this id: it moves along with that, without an event of its own.
    ThreadOf(u32),
    /// A process of an unknown parent. That it was made says that whoever had its id before is gone.
    Unknown,
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

    /// How many tasks were heard of.
    pub fn len(&self) -> usize {
        self.tasks.len()
    }

    /// Whether none was.
    pub fn is_empty(&self) -> bool {
        self.tasks.is_empty()
    }

    fn attach(&mut self, task: u32, cgroup: TaskCgroup) {
        let known = self.last.take().filter(|last| **last == cgroup);
        let cgroup = known.unwrap_or_else(|| Arc::new(cgroup));
        self.last = Some(Arc::clone(&cgroup));
        let made = self.tasks.get(&task).map_or(0, |known| known.made);
        self.put(task, made, Place::In(cgroup));
    }

    fn fork(&mut self, parent: u32, child: u32, kind: ForkKind, table: impl FnOnce(u32) -> Option<TaskCgroup>) {
        let cgroup = match kind {
            // Its process may not be known yet, and be moved later.
            ForkKind::Thread => return self.put(child, self.number + 1, Place::ThreadOf(self.process_of(parent))),
            ForkKind::Process => self.shared_cgroup_of(parent).map(Arc::clone).or_else(|| table(parent).map(Arc::new)),
            ForkKind::IntoCgroup => table(child).map(Arc::new),
        };
        self.put(child, self.number + 1, cgroup.map_or(Place::Unknown, Place::In));
    }

    /// The id of a task's process, as far as is known.
    fn process_of(&self, task: u32) -> u32 {
        match self.tasks.get(&task) {
            Some(Task { place: Place::ThreadOf(process), number, .. }) if !self.was_made_after(*process, *number) => {
                *process
            }
            _ => task,
        }
    }

    fn shared_cgroup_of(&self, task: u32) -> Option<&Arc<TaskCgroup>> {
        match &self.tasks.get(&self.process_of(task))?.place {
            Place::In(cgroup) => Some(cgroup),
            Place::ThreadOf(_) | Place::Unknown => None,
        }
    }

    /// Whether an id was given anew after this number: it is then no longer that of a process with older threads.
    fn was_made_after(&self, process: u32, number: u64) -> bool {
        self.tasks.get(&process).is_some_and(|task| task.made > number)
    }

    fn put(&mut self, task: u32, made: u64, place: Place) {
        self.number += 1;
        self.tasks.insert(task, Task { number: self.number, made, place });
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
