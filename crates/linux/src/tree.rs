//! All memory cgroups that can be seen, read again and again.
//!
//! Directories and files stay open between scans. Cgroups come and go while a scan runs: that is normal, and no problem.
//! A scan can be cut into steps, so that whoever scans can listen for kills in between.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound;

use reprieve_readings::{CgroupInode, CgroupPath, CgroupVersion, MemoryFile};

use rustix::io::Errno;

use crate::cgroup::Which;
pub use crate::cgroup::{Cgroup, CgroupId};
use crate::controller::MemoryController;
use crate::descriptors::DescriptorBudget;
use crate::error::{Problems, ReadError};
use crate::file::Buffer;

/// The tree of memory cgroups.
pub struct CgroupTree {
    files: &'static [MemoryFile],
    version: CgroupVersion,
    // Ids grow from parent to child, so this order is top-down and a scan that makes its way through it meets the
    // cgroups that it has just found.
    cgroups: BTreeMap<CgroupId, Cgroup>,
    by_path: HashMap<CgroupPath, CgroupId>,
    top: CgroupId,
    next_id: u64,
    budget: DescriptorBudget,
    buffer: Buffer,
    scans: u64,
    pass: Pass,
}

/// Where the current scan stands.
#[derive(Default)]
struct Pass {
    last_read: Option<CgroupId>,
    listed_again: HashSet<CgroupId>,
    summary: ScanSummary,
}

/// What one scan met.
#[derive(Debug, Default)]
pub struct ScanSummary {
    /// Cgroups that are new since the scan before.
    pub appeared: Vec<CgroupId>,
    /// Cgroups that are gone.
    pub removed: Vec<(CgroupId, CgroupInode)>,
    /// What could not be read.
    pub problems: Problems,
}

impl CgroupTree {
    /// Scans from one reading of a cgroup's slow files to the next. A third to a half of the files are slow: to read them
    /// each time would cost a quarter more, and to keep them open as much memory again.
    const SLOW_PACE: u64 = 16;

    /// Opens the topmost cgroup that `controller` shows. The first scan finds the others.
    pub fn open(controller: &MemoryController, budget: DescriptorBudget) -> Result<Self, ReadError> {
        let files = MemoryFile::all(controller.version);
        let top = CgroupId(0);
        let cgroup = Cgroup::open_top(top, controller.top.clone(), &controller.directory, files)?;
        let mut tree = CgroupTree {
            files,
            version: controller.version,
            cgroups: BTreeMap::new(),
            by_path: HashMap::new(),
            top,
            next_id: 1,
            budget,
            buffer: Buffer::new(),
            scans: 0,
            pass: Pass::default(),
        };
        tree.insert(cgroup);
        Ok(tree)
    }

    /// The interface that the cgroups' files speak.
    pub fn version(&self) -> CgroupVersion {
        self.version
    }

    /// The topmost cgroup that can be seen.
    pub fn top(&self) -> CgroupId {
        self.top
    }

    /// All cgroups, each after its parent.
    pub fn iter(&self) -> impl Iterator<Item = &Cgroup> {
        self.cgroups.values()
    }

    /// How many cgroups there are.
    pub fn len(&self) -> usize {
        self.cgroups.len()
    }

    /// Whether there is no cgroup. The topmost never goes, so there always is one.
    pub fn is_empty(&self) -> bool {
        self.cgroups.is_empty()
    }

    /// A cgroup, unless it is gone.
    pub fn get(&self, id: CgroupId) -> Option<&Cgroup> {
        self.cgroups.get(&id)
    }

    /// The cgroup that has this path now.
    pub fn find(&self, path: &CgroupPath) -> Option<&Cgroup> {
        self.get(*self.by_path.get(path)?)
    }

    /// A cgroup and all those inside it, each after its parent.
    pub fn subtree(&self, id: CgroupId) -> Vec<&Cgroup> {
        let mut found: Vec<&Cgroup> = self.get(id).into_iter().collect();
        let mut next = 0;
        while let Some(cgroup) = found.get(next).copied() {
            found.extend(cgroup.children.iter().filter_map(|&child| self.get(child)));
            next += 1;
        }
        found
    }

    /// The cgroup that has this path now, looked for in the directories themselves if it is not known yet. The scan that
    /// is under way or comes next reports whatever is found so as new.
    pub fn look_up(&mut self, path: &CgroupPath) -> Option<CgroupId> {
        let inside = path.below(self.cgroups.get(&self.top)?.path())?.to_vec();
        let mut id = self.top;
        for name in inside.split(|&byte| byte == b'/').filter(|name| !name.is_empty()) {
            let next = self.get(id)?.path().child(name);
            if !self.by_path.contains_key(&next) {
                self.list(id);
            }
            id = *self.by_path.get(&next)?;
        }
        Some(id)
    }

    /// Reads one cgroup now, outside of any scan. `false` where it is gone, which the next scan will notice.
    pub fn refresh(&mut self, id: CgroupId, problems: &mut Problems) -> bool {
        self.read(id, Which::All, problems)
    }

    /// Reads of one cgroup now only what tells of a kill. `false` where it is gone.
    pub fn refresh_after_kill(&mut self, id: CgroupId, problems: &mut Problems) -> bool {
        self.read(id, Which::Kill, problems)
    }

    fn read(&mut self, id: CgroupId, which: Which, problems: &mut Problems) -> bool {
        let Some(cgroup) = self.cgroups.get_mut(&id) else { return false };
        cgroup.read_files(which, self.files, &mut self.buffer, &mut self.budget, problems).is_ok()
    }

    /// Reads of one cgroup only how many of its processes were killed. (v2's notices come for other counters too, a
    /// hundred times a second where a cgroup is at its limit.)
    pub fn refresh_kill_counter(&mut self, id: CgroupId) {
        if let Some(cgroup) = self.cgroups.get_mut(&id) {
            cgroup.read_kill_counter(self.files, &mut self.buffer, &mut self.budget);
        }
    }

    /// Reads of every cgroup known so far only how many of its processes were killed: a tenth of a scan.
    pub fn refresh_kill_counters(&mut self) {
        for cgroup in self.cgroups.values_mut() {
            cgroup.read_kill_counter(self.files, &mut self.buffer, &mut self.budget);
        }
    }

    /// Reads every cgroup once.
    pub fn scan(&mut self) -> ScanSummary {
        loop {
            if let Some(summary) = self.scan_step(usize::MAX) {
                return summary;
            }
        }
    }

    /// Goes on with the scan for at most `most` cgroups, beginning a new one where none is under way.
    /// Returns the summary once every cgroup was read.
    pub fn scan_step(&mut self, most: usize) -> Option<ScanSummary> {
        for _ in 0..most {
            let after = self.pass.last_read.map_or(Bound::Unbounded, Bound::Excluded);
            let Some((&id, _)) = self.cgroups.range((after, Bound::Unbounded)).next() else {
                self.scans += 1;
                return Some(std::mem::take(&mut self.pass).summary);
            };
            self.pass.last_read = Some(id);
            self.visit(id);
        }
        None
    }

    /// Reads one cgroup and, where its directories have changed, lists it.
    fn visit(&mut self, id: CgroupId) {
        let Some(cgroup) = self.cgroups.get_mut(&id) else { return };
        // Each cgroup's turn for its slow files comes in another scan, so that every scan takes equally long.
        let which = if (id.0 + self.scans).is_multiple_of(Self::SLOW_PACE) { Which::All } else { Which::Fast };
        let problems = &mut self.pass.summary.problems;
        let read = cgroup.read_files(which, self.files, &mut self.buffer, &mut self.budget, problems);
        if read.is_err() || cgroup.memory.usage.is_none() {
            // Gone, or the memory controller was switched off or is not yet on for it. (v2's root never tells its usage.)
            let open = cgroup.forget_files();
            self.budget.give_back_files(open);
            if !self.is_there(id) {
                return self.remove_and_list_parent(id);
            }
        }
        if self.cgroups.get_mut(&id).is_some_and(Cgroup::needs_listing) {
            self.list(id);
        }
    }

    fn is_there(&self, id: CgroupId) -> bool {
        let Some(cgroup) = self.cgroups.get(&id) else { return false };
        // The topmost has no parent to ask, and can't be removed while it is mounted.
        cgroup.parent.is_none_or(|parent| self.cgroups.get(&parent).is_some_and(|parent| cgroup.is_inside(parent)))
    }

    /// Takes a cgroup that is gone out of the tree, and looks at once whether another has its place. Only once a scan
    /// for each parent: somebody who makes and removes cgroups without end must not keep the scan from ending.
    fn remove_and_list_parent(&mut self, id: CgroupId) {
        let parent = self.cgroups.get(&id).and_then(|cgroup| cgroup.parent);
        self.remove(id);
        let Some(parent) = parent else { return };
        if self.pass.listed_again.insert(parent) {
            self.list(parent);
        } else if let Some(parent) = self.cgroups.get_mut(&parent) {
            parent.list_again();
        }
    }

    /// Brings the children of a cgroup up to date.
    fn list(&mut self, id: CgroupId) {
        let Some(cgroup) = self.cgroups.get(&id) else { return };
        let mut known: HashMap<&[u8], CgroupId> = HashMap::with_capacity(cgroup.children.len());
        for child in cgroup.children.iter().filter_map(|&child| self.get(child)) {
            known.insert(child.path.names().next_back().unwrap_or_default(), child.id);
        }
        let mut new = Vec::new();
        let listed = cgroup.for_each_directory(|name| {
            if known.remove(name).is_none() {
                new.push(name.to_vec());
            }
        });
        let gone: Vec<CgroupId> = known.into_values().collect();
        if let Err(errno) = listed {
            // Half a listing proves nothing about those that it did not name.
            let path = cgroup.file("");
            self.pass.summary.problems.push(ReadError::io(path, errno));
            return self.list_again(id);
        }
        for child in gone {
            self.remove(child);
        }
        for name in new {
            self.open_child(id, &name);
        }
    }

    fn open_child(&mut self, parent: CgroupId, name: &[u8]) {
        let Some(cgroup) = self.cgroups.get(&parent) else { return };
        let opened = if self.budget.take_directory() {
            let child = cgroup.open_child(CgroupId(self.next_id), name, self.files);
            child.inspect_err(|_| self.budget.give_back_directory())
        } else {
            Err(Errno::MFILE)
        };
        match opened {
            Ok(child) => {
                self.next_id += 1;
                self.pass.summary.appeared.push(child.id);
                self.insert(child);
            }
            // Removed since it was listed.
            Err(Errno::NOENT | Errno::NODEV) => {}
            Err(errno) => {
                let path = cgroup.file(&String::from_utf8_lossy(name));
                self.pass.summary.problems.push(ReadError::io(path, errno));
                self.list_again(parent);
            }
        }
    }

    fn list_again(&mut self, id: CgroupId) {
        if let Some(cgroup) = self.cgroups.get_mut(&id) {
            cgroup.list_again();
        }
    }

    fn insert(&mut self, cgroup: Cgroup) {
        if let Some(parent) = cgroup.parent.and_then(|parent| self.cgroups.get_mut(&parent)) {
            parent.children.push(cgroup.id);
        }
        self.by_path.insert(cgroup.path.clone(), cgroup.id);
        self.cgroups.insert(cgroup.id, cgroup);
    }

    /// Takes a cgroup and all inside it out of the tree.
    fn remove(&mut self, id: CgroupId) {
        if let Some(parent) = self.cgroups.get(&id).and_then(|cgroup| cgroup.parent)
            && let Some(parent) = self.cgroups.get_mut(&parent)
        {
            parent.children.retain(|&child| child != id);
        }
        let mut going = vec![id];
        while let Some(id) = going.pop() {
            let Some(mut cgroup) = self.cgroups.remove(&id) else { continue };
            self.budget.give_back_files(cgroup.forget_files());
            self.budget.give_back_directory();
            going.append(&mut cgroup.children);
            if self.by_path.get(&cgroup.path) == Some(&id) {
                self.by_path.remove(&cgroup.path);
            }
            self.pass.summary.removed.push((id, cgroup.inode()));
        }
    }
}
