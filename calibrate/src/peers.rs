//! What others answer to the same question, on the same readings.
//!
//! Each formula is that of the project's source, with its quirks: where a subtraction has no clamp there, it wraps here.
//! What they read but is never set in these runs is left out: the soft limit of v1 (libuv) and RLIMIT_AS (.NET).

use reprieve_readings::{Bytes, CgroupMemory, CgroupVersion, Limit};

use crate::reading::Reading;

/// A formula and whose it is.
pub(crate) struct Peer {
    /// The project.
    pub(crate) name: &'static str,
    /// Whether it looks at `memory.high`, and so says something about being slowed down.
    pub(crate) knows_high: bool,
    /// Its answer in bytes, or `None` where it has none.
    pub(crate) answer: fn(&Reading) -> Option<u64>,
}

/// All of them, in the order of the tables.
pub(crate) const PEERS: [Peer; 6] = [
    Peer { name: "lxcfs", knows_high: false, answer: lxcfs },
    Peer { name: "libuv", knows_high: true, answer: libuv },
    Peer { name: "OpenJDK", knows_high: false, answer: openjdk },
    Peer { name: ".NET", knows_high: false, answer: dotnet },
    Peer { name: "kubelet", knows_high: false, answer: kubelet },
    Peer { name: "sysinfo", knows_high: false, answer: sysinfo },
];

/// lxcfs, src/proc_fuse.c, `proc_meminfo_read`, the line `MemAvailable`: the smallest limit of all levels, the cgroup's
/// own usage and cache, in KiB and without any clamp. Read at commit 24f8bae0, which still adds the whole cache, tmpfs
/// included; that later versions add the file lists and slab instead is taken from procps' library/cgmeminfo.c, which
/// follows them.
fn lxcfs(reading: &Reading) -> Option<u64> {
    let own = reading.levels.first()?;
    let limit = smallest(&reading.levels).into_iter().chain(reading.node.meminfo.total).min()?;
    let stat = own.stat?;
    let slab = stat.slab_reclaimable.unwrap_or_default();
    let cache = stat.active_file?.get().wrapping_add(stat.inactive_file?.get()).wrapping_add(slab.get());
    let kib = (limit.get() / 1024).wrapping_sub(own.usage?.get() / 1024).wrapping_add(cache / 1024);
    Some(kib.wrapping_mul(1024))
}

/// libuv, src/unix/linux.c (commit 012029ab), `uv_get_available_memory`: the cgroup's own limit or `memory.high`, less its usage;
/// the machine's `MemAvailable` where that limit is larger than the machine.
fn libuv(reading: &Reading) -> Option<u64> {
    let own = reading.levels.first()?;
    let limits = [own.max, own.high].into_iter().flatten().filter_map(Limit::bytes);
    match limits.min() {
        Some(limit) if limit <= reading.node.meminfo.total? => Some(limit.saturating_sub(own.usage?).get()),
        _ => host_available(reading),
    }
}

/// OpenJDK (24 and later), src/hotspot/os/linux/os_linux.cpp, `available_memory_in_container`, and cgroupUtil_linux.cpp,
/// `adjust_controller`: limit less usage, both of the level with the smallest limit below the machine's memory, the
/// innermost of equals; else `MemAvailable`.
fn openjdk(reading: &Reading) -> Option<u64> {
    let total = reading.node.meminfo.total?;
    let limits = reading.levels.iter().filter_map(|level| Some((level.max?.bytes()?, level)));
    match limits.filter(|(limit, _)| *limit < total).min_by_key(|(limit, _)| *limit) {
        Some((limit, level)) => Some(limit.saturating_sub(level.usage?).get()),
        None => host_available(reading),
    }
}

/// .NET, src/coreclr/gc/unix/cgroup.cpp (commit 0204545b), `GetCGroupMemoryUsage`, and gcenv.unix.cpp, `GetMemoryStatus`: the smallest
/// limit of all levels and the machine, less the cgroup's own usage without inactive cache, which has no clamp.
fn dotnet(reading: &Reading) -> Option<u64> {
    let own = reading.levels.first()?;
    let Some(limit) = smallest(&reading.levels) else { return host_available(reading) };
    let limit = limit.min(reading.node.meminfo.total?).get();
    let used = own.usage?.get().wrapping_sub(own.stat?.inactive_file?.get());
    Some(limit.saturating_sub(used))
}

/// Kubernetes (since KubeletPSI), pkg/kubelet/stats/helper.go, `cadvisorInfoToContainerCPUAndMemoryStats`, `AvailableBytes`: the
/// cgroup's own limit less its working set, without a clamp; no answer without a limit.
fn kubelet(reading: &Reading) -> Option<u64> {
    let own = reading.levels.first()?;
    let limit = own.max?.bytes()?;
    Some(limit.get().wrapping_sub(own.working_set()?.get()))
}

/// The crate sysinfo 0.38.4, src/unix/linux/system.rs, `CGroupLimits::new`, `free_memory`: the cgroup's own limit or the
/// machine's memory, less its usage.
fn sysinfo(reading: &Reading) -> Option<u64> {
    let own = reading.levels.first()?;
    let total = reading.node.meminfo.total?;
    let limit = own.max.and_then(Limit::bytes).unwrap_or(total).min(total);
    Some(limit.saturating_sub(own.usage?).get())
}

fn host_available(reading: &Reading) -> Option<u64> {
    reading.node.meminfo.available.map(Bytes::get)
}

/// The smallest limit that is visible. v1 repeats it in `hierarchical_memory_limit`, where .NET finds it.
fn smallest(levels: &[CgroupMemory]) -> Option<Bytes> {
    levels.iter().filter_map(|level| level.max?.bytes()).min()
}

/// The version as the tables call it.
pub(crate) fn version_name(version: CgroupVersion) -> &'static str {
    match version {
        CgroupVersion::V1 => "v1",
        CgroupVersion::V2 => "v2",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reprieve_readings::{Meminfo, MemoryStat, NodeMemory};

    const MIB: u64 = 1 << 20;

    fn level(max: Option<u64>, usage: u64) -> CgroupMemory {
        let stat = MemoryStat {
            active_file: Some(Bytes::from_mib(20)),
            inactive_file: Some(Bytes::from_mib(10)),
            slab_reclaimable: Some(Bytes::from_mib(3)),
            ..MemoryStat::default()
        };
        let max = max.map_or(Limit::Max, |mib| Limit::At(Bytes::from_mib(mib)));
        CgroupMemory {
            max: Some(max),
            usage: Some(Bytes::from_mib(usage)),
            stat: Some(stat),
            ..CgroupMemory::default()
        }
    }

    /// What each answers, in MiB.
    fn answers(levels: &[CgroupMemory]) -> Vec<Option<u64>> {
        let total = Some(Bytes::from_mib(1000));
        let meminfo = Meminfo { total, available: Some(Bytes::from_mib(700)), ..Meminfo::default() };
        let node = NodeMemory { meminfo, counting_error: Bytes::ZERO };
        let reading = Reading { version: CgroupVersion::V2, levels: levels.to_vec(), node, on_processors: None };
        PEERS.iter().map(|peer| (peer.answer)(&reading).map(|bytes| bytes / MIB)).collect()
    }

    #[test]
    fn one_level() {
        let expected = [40 + 33, 40, 40, 40 + 10, 40 + 10, 40];
        assert_eq!(answers(&[level(Some(100), 60)]), expected.map(Some));
    }

    #[test]
    fn the_smaller_limit_is_above() {
        let expected = [80 - 60 + 33, 40, 80 - 75, 80 - 60 + 10, 40 + 10, 40];
        assert_eq!(answers(&[level(Some(100), 60), level(Some(80), 75)]), expected.map(Some));
    }

    #[test]
    fn without_a_limit_the_machine_is_asked() {
        let expected = [Some(1000 - 60 + 33), Some(700), Some(700), Some(700), None, Some(940)];
        assert_eq!(answers(&[level(None, 60)]), expected);
        let larger = [1000 - 60 + 33, 700, 700, 1000 - 60 + 10, 2000 - 60 + 10, 940];
        assert_eq!(answers(&[level(Some(2000), 60)]), larger.map(Some));
    }

    #[test]
    fn what_is_not_clamped_wraps() {
        let mut over = level(Some(100), 160);
        over.stat = over.stat.map(|stat| MemoryStat { slab_reclaimable: None, ..stat });
        let found = answers(&[over]);
        assert_eq!(found[0], Some((1 << 44) - 30), "{found:?}");
        assert_eq!(found[1..4], [Some(0); 3]);
        assert!(found[4] > Some(1 << 40));
    }

    #[test]
    fn memory_high_counts_for_libuv_alone() {
        let mut own = level(Some(100), 60);
        own.high = Some(Limit::At(Bytes::from_mib(70)));
        assert_eq!(answers(&[own])[1], Some(10));
        assert_eq!(answers(&[own])[5], Some(40));
    }
}
