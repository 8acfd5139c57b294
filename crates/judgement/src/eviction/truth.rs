//! How wrong the kubelet is: what could be had of that which it calls used.

use reprieve_readings::{Bytes, CgroupMemory, Meminfo};

use super::observation::Observation;
use crate::available::reclaimable_kernel_memory;

/// What of the kubelet's working set is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeTruth {
    /// What can be had without swapping: the kernel's `MemAvailable` for the node; of the pods' cgroup what is free
    /// below its limit and what can be reclaimed, but no more than the node has.
    pub available: Bytes,
    /// Active page cache, which the kubelet counts as used: tmpfs and mlocked pages are not in it.
    pub active_file: Bytes,
    /// The part of the page cache that must be written before it can be freed.
    pub unclean: Bytes,
    /// Dentries, inodes and the like, which the kubelet counts as used on v1, and passes over on v2's root.
    pub slab_reclaimable: Bytes,
}

impl NodeTruth {
    /// By how much the kubelet is wrong: positive where more is available than it believes.
    pub fn error(&self, observation: &Observation) -> i128 {
        i128::from(self.available.get()) - i128::from(observation.available.get())
    }
}

/// Judges what the node really has available.
pub(super) fn judge_node_truth(root: &CgroupMemory, observation: &Observation, meminfo: &Meminfo) -> NodeTruth {
    let slab_reclaimable = meminfo.kernel_reclaimable.or(meminfo.slab_reclaimable).unwrap_or_default();
    judge_truth(root, observation, slab_reclaimable, |by_sum| meminfo.available.unwrap_or(by_sum))
}

/// Judges what all pods' cgroup really has available: no more than the node has.
pub(super) fn judge_pods_truth(kubepods: &CgroupMemory, observation: &Observation, meminfo: &Meminfo) -> NodeTruth {
    let slab_reclaimable = reclaimable_kernel_memory(kubepods);
    let of_node = meminfo.available.unwrap_or(Bytes::new(u64::MAX));
    judge_truth(kubepods, observation, slab_reclaimable, |by_sum| by_sum.min(of_node))
}

fn judge_truth(
    memory: &CgroupMemory,
    observation: &Observation,
    slab_reclaimable: Bytes,
    correct: impl FnOnce(Bytes) -> Bytes,
) -> NodeTruth {
    let stat = memory.stat.unwrap_or_default();
    let active_file = stat.active_file.unwrap_or_default();
    // Of its own count the kubelet has taken the inactive cache off already.
    let by_sum = observation.available.saturating_add(active_file).saturating_add(slab_reclaimable);
    let available = correct(by_sum).min(observation.capacity);
    NodeTruth { available, active_file, unclean: stat.unclean(), slab_reclaimable }
}

#[cfg(test)]
mod tests {
    use reprieve_readings::MemoryStat;

    use super::*;

    #[test]
    fn the_error_has_a_sign() {
        let mib = Bytes::from_mib;
        let observation =
            Observation { usage: mib(900), working_set: mib(800), available: mib(200), capacity: mib(1000) };
        let stat = MemoryStat { active_file: Some(mib(500)), slab_reclaimable: Some(mib(10)), ..MemoryStat::default() };
        let memory = CgroupMemory { usage: Some(mib(900)), stat: Some(stat), ..CgroupMemory::default() };
        let meminfo = Meminfo { available: Some(mib(800)), ..Meminfo::default() };
        let pods = judge_pods_truth(&memory, &observation, &meminfo);
        assert_eq!(pods.available, mib(710));
        assert_eq!(pods.error(&observation), 510 << 20);
        let meminfo = Meminfo { available: Some(mib(150)), ..Meminfo::default() };
        let node = judge_node_truth(&memory, &observation, &meminfo);
        assert_eq!(node.error(&observation), -(50 << 20), "v2's root leaves out what the kernel itself uses");
        assert_eq!(judge_pods_truth(&memory, &observation, &meminfo).available, mib(150), "the node has no more");
    }
}
