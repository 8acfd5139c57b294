//! What the agent remembers of each cgroup between scans: whose it is, and which process was its first.

use std::collections::HashMap;
use std::sync::Arc;

use reprieve_linux::{Cgroup, CgroupId, CgroupTree, Problems, ReadError, Roots, process_stat};
use reprieve_readings::{CgroupPath, Owner, ProcessId};
use reprieve_report::CgroupLabels;

/// What is known of one cgroup for as long as it exists.
#[derive(Debug)]
pub(crate) struct KnownCgroup {
    pub(crate) owner: Owner,
    pub(crate) labels: Arc<CgroupLabels>,
    first_process: Option<ProcessId>,
    scans: u32,
}

/// What is known of all cgroups.
#[derive(Debug, Default)]
pub(crate) struct KnownCgroups(HashMap<CgroupId, KnownCgroup>);

impl KnownCgroups {
    pub(crate) fn get(&self, id: CgroupId) -> Option<&KnownCgroup> {
        self.0.get(&id)
    }

    pub(crate) fn first_process(&self, id: CgroupId) -> Option<ProcessId> {
        self.get(id)?.first_process
    }

    /// Remembers the oldest process that is left, where the first had ended before: it stands for the first from then on.
    pub(crate) fn remember(&mut self, id: CgroupId, first: ProcessId) {
        if let Some(known) = self.0.get_mut(&id) {
            known.first_process = Some(first);
        }
    }

    pub(crate) fn forget(&mut self, id: CgroupId) {
        self.0.remove(&id);
    }

    /// Learns of new cgroups, and looks for first processes that are not known yet.
    pub(crate) fn learn(&mut self, tree: &CgroupTree, roots: &Roots, problems: &mut Problems) {
        for cgroup in tree.iter() {
            let known = self.0.entry(cgroup.id()).or_insert_with(|| KnownCgroup::new(cgroup.path()));
            known.scans = known.scans.saturating_add(1);
            // A runtime makes the cgroup first and puts the process in later. Looking again after 1, 2, 4, 8 … scans
            // finds it soon, and costs nothing for the cgroups that stay empty.
            if known.first_process.is_none() && known.scans.is_power_of_two() && known.has_first_process(cgroup) {
                known.first_process = problems.keep(oldest_process(&tree.subtree(cgroup.id()), None, roots)).flatten();
            }
        }
    }
}

impl KnownCgroup {
    /// How many scans have met it.
    pub(crate) fn scans(&self) -> u32 {
        self.scans
    }

    fn new(path: &CgroupPath) -> Self {
        let owner = Owner::of(path);
        let labels = Arc::new(CgroupLabels::new(path, &owner));
        KnownCgroup { owner, labels, first_process: None, scans: 0 }
    }

    /// Whether a first process means something here: in a container's own cgroup, and outside of containers in one that
    /// only holds processes. A pod or slice has none.
    fn has_first_process(&self, cgroup: &Cgroup) -> bool {
        match &self.owner.container_root {
            Some(root) => root == cgroup.path(),
            None => cgroup.children().is_empty(),
        }
    }
}

/// The process of these cgroups that has run longest, one apart. Processes that end meanwhile are normal; one that can't
/// be looked at leaves the question open.
pub(crate) fn oldest_process(
    cgroups: &[&Cgroup],
    apart: Option<u32>,
    roots: &Roots,
) -> Result<Option<ProcessId>, ReadError> {
    let mut oldest: Option<ProcessId> = None;
    for cgroup in cgroups {
        for pid in cgroup.processes()?.into_iter().filter(|&pid| apart != Some(pid)) {
            let running = process_stat(roots, pid)?.filter(|stat| !stat.ended).map(|stat| stat.id);
            oldest = oldest.into_iter().chain(running).min_by_key(|id| (id.start_time, id.pid));
        }
    }
    Ok(oldest)
}
