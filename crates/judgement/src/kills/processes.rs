//! Who was where: the processes of each cgroup as last seen, for kills that the kernel does not name or place.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use reprieve_readings::{CgroupInode, CgroupPath, ProcessId};

/// A process as last seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenProcess {
    /// Which process.
    pub id: ProcessId,
    /// Its name.
    pub name: Vec<u8>,
    /// Its memory in RAM, in pages.
    pub resident_pages: u64,
    /// Its arguments, once they were read.
    pub command_line: Option<Vec<u8>>,
}

/// The processes of all cgroups as last seen. Those of cgroups that are gone are kept for a while: a kill may be told
/// after its cgroup was removed.
#[derive(Debug, Default)]
pub struct ProcessTable {
    cgroups: HashMap<CgroupInode, Members>,
    of_pid: HashMap<u32, CgroupInode>,
    gone: VecDeque<(Duration, CgroupInode)>,
}

#[derive(Debug)]
struct Members {
    path: CgroupPath,
    processes: Vec<SeenProcess>,
}

impl ProcessTable {
    /// How long the processes of a cgroup that is gone are kept.
    const KEEP_GONE: Duration = Duration::from_secs(60);
    /// How many cgroups that are gone are kept at most.
    const MOST_GONE: usize = 512;

    /// Takes the processes that a cgroup has now. What was known of one that is still there is kept.
    pub fn see(&mut self, cgroup: CgroupInode, path: &CgroupPath, mut processes: Vec<SeenProcess>) {
        let before = self.cgroups.remove(&cgroup).map(|members| members.processes).unwrap_or_default();
        self.unlist(cgroup, &before);
        for process in &mut processes {
            if let Some(old) = before.iter().find(|old| old.id == process.id) {
                process.command_line = process.command_line.take().or_else(|| old.command_line.clone());
            }
            self.of_pid.insert(process.id.pid, cgroup);
        }
        if !processes.is_empty() {
            self.cgroups.insert(cgroup, Members { path: path.clone(), processes });
        }
    }

    /// Takes the arguments of a process, unless it is not known any more.
    pub fn see_command_line(&mut self, id: ProcessId, command_line: Vec<u8>) {
        let cgroup = self.of_pid.get(&id.pid).and_then(|cgroup| self.cgroups.get_mut(cgroup));
        let processes = cgroup.into_iter().flat_map(|members| &mut members.processes);
        if let Some(process) = processes.into_iter().find(|process| process.id == id) {
            process.command_line = Some(command_line);
        }
    }

    /// A process as last seen, and its cgroup.
    pub fn find(&self, pid: u32) -> Option<(CgroupInode, &CgroupPath, &SeenProcess)> {
        let cgroup = *self.of_pid.get(&pid)?;
        let members = self.cgroups.get(&cgroup)?;
        let process = members.processes.iter().find(|process| process.id.pid == pid)?;
        Some((cgroup, &members.path, process))
    }

    /// The path of a cgroup in which processes were seen.
    pub fn path(&self, cgroup: CgroupInode) -> Option<&CgroupPath> {
        self.cgroups.get(&cgroup).map(|members| &members.path)
    }

    /// The processes of a cgroup as last seen.
    pub fn members(&self, cgroup: CgroupInode) -> &[SeenProcess] {
        self.cgroups.get(&cgroup).map(|members| members.processes.as_slice()).unwrap_or_default()
    }

    /// Takes note that a cgroup is gone, and forgets those that went long ago.
    pub fn forget(&mut self, cgroup: CgroupInode, now: Duration) {
        self.gone.push_back((now, cgroup));
        let is_old = |&mut (since, _): &mut (Duration, CgroupInode)| now.saturating_sub(since) > Self::KEEP_GONE;
        while self.gone.len() > Self::MOST_GONE || self.gone.front_mut().is_some_and(is_old) {
            let Some((_, old)) = self.gone.pop_front() else { return };
            let processes = self.cgroups.remove(&old).map(|members| members.processes).unwrap_or_default();
            self.unlist(old, &processes);
        }
    }

    fn unlist(&mut self, cgroup: CgroupInode, processes: &[SeenProcess]) {
        for process in processes {
            if self.of_pid.get(&process.id.pid) == Some(&cgroup) {
                self.of_pid.remove(&process.id.pid);
            }
        }
    }
}

/// Of the processes of a cgroup as last seen, the likely victims of `count` kills there: the largest of those that have
/// vanished, as the kernel would have chosen.
///
/// A process that was small has often ended by itself. So whoever is named must have been half as large as the largest,
/// and together they must have filled half of what the cgroup may use, in pages: else whoever filled it came or grew since.
pub fn judge_likely_victims(
    seen: &[SeenProcess],
    count: u64,
    full: u64,
    mut has_vanished: impl FnMut(&SeenProcess) -> bool,
) -> Vec<SeenProcess> {
    let all: u64 = seen.iter().map(|process| process.resident_pages).sum();
    let largest = seen.iter().map(|process| process.resident_pages).max().unwrap_or(0);
    if all < full / 2 {
        return Vec::new();
    }
    let is_large = |process: &&SeenProcess| process.resident_pages >= largest / 2;
    let mut vanished: Vec<_> = seen.iter().filter(is_large).filter(|process| has_vanished(process)).cloned().collect();
    vanished.sort_by_key(|process| (std::cmp::Reverse(process.resident_pages), process.id.pid));
    vanished.truncate(usize::try_from(count).unwrap_or(usize::MAX));
    vanished
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: CgroupInode = CgroupInode(1);
    const B: CgroupInode = CgroupInode(2);

    fn process(pid: u32, resident_pages: u64) -> SeenProcess {
        let id = ProcessId { pid, start_time: 5 };
        SeenProcess { id, name: b"x".to_vec(), resident_pages, command_line: None }
    }

    fn see(table: &mut ProcessTable, cgroup: CgroupInode, pids: &[u32]) {
        let path = CgroupPath::new(format!("/{}", cgroup.0).as_bytes());
        table.see(cgroup, &path, pids.iter().map(|&pid| process(pid, 1)).collect());
    }

    #[test]
    fn a_process_is_found_where_it_was_seen_last() {
        let mut table = ProcessTable::default();
        see(&mut table, A, &[1, 2]);
        see(&mut table, B, &[2]);
        see(&mut table, A, &[1]);
        assert_eq!(table.find(2).map(|(cgroup, ..)| cgroup), Some(B), "it has moved");
        see(&mut table, B, &[]);
        assert!(table.find(2).is_none());
        assert_eq!(table.find(1).map(|(_, path, _)| path.to_string()), Some("/1".into()));
    }

    #[test]
    fn arguments_stay_with_the_process_and_not_with_its_pid() {
        let mut table = ProcessTable::default();
        see(&mut table, A, &[1]);
        table.see_command_line(process(1, 1).id, b"sleep 1".to_vec());
        see(&mut table, A, &[1]);
        assert_eq!(table.find(1).unwrap().2.command_line.as_deref(), Some(&b"sleep 1"[..]));
        let later = SeenProcess { id: ProcessId { pid: 1, start_time: 9 }, ..process(1, 1) };
        table.see(A, &CgroupPath::root(), vec![later]);
        assert_eq!(table.find(1).unwrap().2.command_line, None);
    }

    #[test]
    fn those_of_cgroups_that_are_gone_are_kept_for_a_while() {
        let mut table = ProcessTable::default();
        see(&mut table, A, &[1]);
        table.forget(A, Duration::from_secs(0));
        table.forget(B, Duration::from_secs(60));
        assert!(table.find(1).is_some());
        table.forget(B, Duration::from_secs(61));
        assert!(table.find(1).is_none() && table.of_pid.is_empty());
    }

    #[test]
    fn the_largest_are_the_likely_victims() {
        let seen = [process(1, 10), process(2, 30), process(3, 20), process(4, 30)];
        let judge = |count, full| {
            let likely = judge_likely_victims(&seen, count, full, |process| process.id.pid != 4);
            likely.iter().map(|process| process.id.pid).collect::<Vec<_>>()
        };
        assert_eq!([judge(1, 90), judge(2, 90), judge(9, 180)], [vec![2], vec![2, 3], vec![2, 3]]);
        assert_eq!(judge(9, 200), [0; 0], "they left most of it to somebody else");
    }
}
