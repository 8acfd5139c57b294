//! What the kubelet believes to be available: of the node, and of the cgroup that holds all pods.

use reprieve_readings::{Bytes, CgroupMemory, CgroupVersion, Limit, Meminfo};

/// One of the kubelet's observations of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Observation {
    /// `usageBytes`.
    pub usage: Bytes,
    /// `workingSetBytes`: usage without inactive page cache.
    pub working_set: Bytes,
    /// `availableBytes`: what is left by its count.
    pub available: Bytes,
    /// All there is: shares are taken of it.
    pub capacity: Bytes,
}

/// How a kubelet takes the usage of a v2 node, whose root cgroup has no `memory.current`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NodeUsage {
    /// `anon` + `file` of the root's `memory.stat` (`rootStatsFromMeminfo`, cgroups/fs2/memory.go; kubelet 1.36).
    #[default]
    AnonAndFile,
    /// `MemTotal` − `MemFree`, as runc's library did it before (kubelet 1.28 has runc 1.1.7).
    TotalMinusFree,
}

/// The signal `memory.available`: `MemTotal` less the working set of the root cgroup.
///
/// `None` where a figure that it takes is not known: nothing is guessed.
pub fn judge_node(
    root: &CgroupMemory,
    version: CgroupVersion,
    meminfo: &Meminfo,
    node_usage: NodeUsage,
) -> Option<Observation> {
    let capacity = meminfo.total?;
    let stat = root.stat?;
    let usage = match (version, node_usage) {
        (CgroupVersion::V1, _) => root.usage?,
        (CgroupVersion::V2, NodeUsage::AnonAndFile) => stat.anon?.saturating_add(stat.file?),
        (CgroupVersion::V2, NodeUsage::TotalMinusFree) => capacity.saturating_sub(meminfo.free?),
    };
    let working_set = usage.saturating_sub(stat.inactive_file?);
    Some(Observation { usage, working_set, available: capacity.saturating_sub(working_set), capacity })
}

/// The signal `allocatableMemory.available`: the limit of the cgroup of all pods less its working set. `None` where that
/// has no limit: the kubelet has no such signal then.
///
/// cAdvisor takes limits above 2^62 for none (`isMemoryUnlimited`, pkg/kubelet/stats/helper.go).
pub fn judge_allocatable(kubepods: &CgroupMemory) -> Option<Observation> {
    let limit = kubepods.max.and_then(Limit::bytes).filter(|limit| limit.get() <= 1 << 62)?;
    let working_set = kubepods.working_set()?;
    let available = limit.saturating_sub(working_set);
    // The kubelet adds the two up again, so a working set above the limit makes its capacity larger.
    Some(Observation {
        usage: kubepods.usage?,
        working_set,
        available,
        capacity: available.saturating_add(working_set),
    })
}

#[cfg(test)]
mod tests {
    use reprieve_readings::MemoryStat;

    use super::*;

    fn mib(mib: u64) -> Bytes {
        Bytes::from_mib(mib)
    }

    fn root(usage: Option<Bytes>) -> CgroupMemory {
        let stat = MemoryStat {
            anon: Some(mib(100)),
            file: Some(mib(600)),
            inactive_file: Some(mib(200)),
            active_file: Some(mib(400)),
            ..MemoryStat::default()
        };
        CgroupMemory { usage, stat: Some(stat), ..CgroupMemory::default() }
    }

    #[test]
    fn active_cache_counts_as_used() {
        let meminfo = Meminfo { total: Some(mib(1000)), free: Some(mib(250)), ..Meminfo::default() };
        let judge = |usage, version, rule| judge_node(&root(usage), version, &meminfo, rule).map(|seen| seen.available);
        assert_eq!(judge(Some(mib(720)), CgroupVersion::V1, NodeUsage::AnonAndFile), Some(mib(480)));
        assert_eq!(judge(None, CgroupVersion::V2, NodeUsage::AnonAndFile), Some(mib(500)));
        assert_eq!(judge(None, CgroupVersion::V2, NodeUsage::TotalMinusFree), Some(mib(450)));
        assert_eq!(judge(None, CgroupVersion::V1, NodeUsage::AnonAndFile), None, "no guess");
    }

    #[test]
    fn pods_without_a_limit_have_no_signal() {
        let with = |max| judge_allocatable(&CgroupMemory { max, ..root(Some(mib(700))) });
        assert_eq!(with(None), None);
        assert_eq!(with(Some(Limit::Max)), None);
        assert_eq!(with(Some(Limit::At(Bytes::new((1 << 62) + 1)))), None);
        assert_eq!(with(Some(Limit::At(mib(800)))).map(|seen| seen.available), Some(mib(300)));
        let over = with(Some(Limit::At(mib(400)))).unwrap();
        assert_eq!((over.available, over.capacity), (Bytes::ZERO, mib(500)));
    }
}
