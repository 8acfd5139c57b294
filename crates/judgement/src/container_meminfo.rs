//! What `/proc/meminfo` would say if it spoke of a container and not of the machine.
//!
//! Its lines are told by the level with the smallest limit, because that is what the container runs against: `MemTotal`
//! is that limit and the rest is what is charged there. Where no limit binds, the machine's own lines are the truth. A
//! line that the cgroup doesn't tell stays the machine's, and is not in the answer.
//!
//! The lines hold together as the kernel's do: `MemFree` ≤ `MemAvailable` ≤ `MemTotal`, each sum is the sum of its
//! parts, and nothing is larger than what holds it, however the statistics lag.

use reprieve_readings::{Bytes, CgroupMemory, Limit, Meminfo, MemoryStat, NodeMemory};

use crate::available::{Available, HiddenLimit, reclaimable_kernel_memory};

/// Judges the lines of `/proc/meminfo` for the cgroup with these `levels` (own first). Lines that nothing of the cgroup
/// tells are the machine's. All amounts are whole KiB, since the file knows no smaller ones.
pub fn judge_meminfo(
    levels: &[CgroupMemory],
    hidden: HiddenLimit,
    available: Option<&Available>,
    node: &NodeMemory,
) -> Meminfo {
    let host = &node.meminfo;
    let with_swap = Swap::judge(levels, available, host).applied_to(host);
    let (Some(bound), Some(available)) = (Bound::judge(levels, hidden, host), available) else { return with_swap };
    let total = whole_kib(bound.limit);
    let best = whole_kib(available.until_kill.estimate.best.min(bound.limit));
    let free = levels.iter().filter_map(free_of).chain(host.free).chain([bound.free]).min().unwrap_or_default();
    Meminfo {
        total: Some(total),
        available: Some(best),
        free: Some(whole_kib(free).min(best)),
        // Block devices and what holds file systems together are the machine's.
        buffers: host.buffers.map(|_| Bytes::ZERO),
        ..bound.charged(host).applied_to(&with_swap)
    }
}

/// The limit that makes the container's total, and what is charged against it.
struct Bound {
    limit: Bytes,
    free: Bytes,
    usage: Bytes,
    memory: CgroupMemory,
}

impl Bound {
    /// `None` where no limit is smaller than the machine, or nothing tells what is charged.
    fn judge(levels: &[CgroupMemory], hidden: HiddenLimit, host: &Meminfo) -> Option<Bound> {
        let visible = levels.iter().filter_map(|memory| Some((memory.max?.bytes()?, memory)));
        let beyond = hidden.limit().and_then(|limit| Some((limit, levels.last()?)));
        // Of equal limits the innermost is the container's own.
        let (limit, memory) = visible.chain(beyond).min_by_key(|(limit, _)| *limit)?;
        let limit = Limit::At(limit).below(host.total.unwrap_or(Bytes::new(u64::MAX))).bytes()?;
        let usage = memory.usage?;
        Some(Bound { limit, free: limit.saturating_sub(usage), usage, memory: *memory })
    }

    fn charged(&self, host: &Meminfo) -> Charged {
        Charged::new(&self.memory, self.usage.min(self.limit), host)
    }
}

/// What is free below a level's own limit.
fn free_of(memory: &CgroupMemory) -> Option<Bytes> {
    Some(memory.max?.bytes()?.saturating_sub(memory.usage?))
}

/// The lines that tell where the charged memory is. Each is cut to what is charged in all: statistics lag.
struct Charged {
    stat: MemoryStat,
    kernel: Kernel,
    mlocked: Option<Bytes>,
}

/// Kernel memory. v1 tells only the whole of it, which is taken for slab here, as nearly all of it is.
struct Kernel {
    reclaimable: Option<Bytes>,
    unreclaimable: Option<Bytes>,
}

impl Charged {
    fn new(memory: &CgroupMemory, usage: Bytes, host: &Meminfo) -> Self {
        let stat = memory.stat.unwrap_or_default().map(|bytes| whole_kib(bytes.min(usage)));
        let kernel = match (stat.slab_reclaimable, memory.kernel_usage) {
            (Some(_), _) | (None, None) => {
                Kernel { reclaimable: stat.slab_reclaimable, unreclaimable: stat.slab_unreclaimable }
            }
            (None, Some(kernel)) => {
                let kernel = whole_kib(kernel.min(usage));
                let reclaimable = whole_kib(reclaimable_kernel_memory(memory)).min(kernel);
                Kernel { reclaimable: Some(reclaimable), unreclaimable: Some(kernel.saturating_sub(reclaimable)) }
            }
        };
        // Locked pages are a part of what can't be reclaimed; how large a part only the machine tells.
        let mlocked = stat.unevictable.and_then(|unevictable| Some(unevictable.min(host.mlocked?)));
        Charged { stat, kernel, mlocked }
    }

    fn applied_to(&self, host: &Meminfo) -> Meminfo {
        let stat = &self.stat;
        let sum = |one: Option<Bytes>, other: Option<Bytes>| Some(one?.saturating_add(other?));
        let kernel = &self.kernel;
        // In a cgroup `file` includes the pages that are in swap too; the file's line doesn't.
        let cached = stat.file.map(|file| file.saturating_sub(stat.swapcached.unwrap_or_default()));
        Meminfo {
            cached: cached.or(host.cached),
            swap_cached: stat.swapcached.or(host.swap_cached),
            active: sum(stat.active_anon, stat.active_file).or(host.active),
            inactive: sum(stat.inactive_anon, stat.inactive_file).or(host.inactive),
            active_anon: stat.active_anon.or(host.active_anon),
            inactive_anon: stat.inactive_anon.or(host.inactive_anon),
            active_file: stat.active_file.or(host.active_file),
            inactive_file: stat.inactive_file.or(host.inactive_file),
            unevictable: stat.unevictable.or(host.unevictable),
            mlocked: self.mlocked.or(host.mlocked),
            zswap: stat.zswap.or(host.zswap),
            zswapped: stat.zswapped.or(host.zswapped),
            dirty: stat.file_dirty.or(host.dirty),
            writeback: stat.file_writeback.or(host.writeback),
            anon_pages: stat.anon.or(host.anon_pages),
            mapped: stat.file_mapped.or(host.mapped),
            shmem: stat.shmem.or(host.shmem),
            kernel_reclaimable: kernel.reclaimable.or(host.kernel_reclaimable),
            slab: sum(kernel.reclaimable, kernel.unreclaimable).or(host.slab),
            slab_reclaimable: kernel.reclaimable.or(host.slab_reclaimable),
            slab_unreclaimable: kernel.unreclaimable.or(host.slab_unreclaimable),
            kernel_stack: stat.kernel_stack.or(host.kernel_stack),
            page_tables: stat.pagetables.or(host.page_tables),
            secondary_page_tables: stat.sec_pagetables.or(host.secondary_page_tables),
            anon_huge_pages: stat.anon_thp.or(host.anon_huge_pages),
            shmem_huge_pages: stat.shmem_thp.or(host.shmem_huge_pages),
            file_huge_pages: stat.file_thp.or(host.file_huge_pages),
            ..*host
        }
    }
}

/// Swap as far as the container may have it.
struct Swap {
    total: Option<Bytes>,
    free: Option<Bytes>,
}

impl Swap {
    fn judge(levels: &[CgroupMemory], available: Option<&Available>, host: &Meminfo) -> Swap {
        let total = levels.iter().filter_map(swap_limit).chain(host.swap_total).min();
        let free = available.and_then(|available| available.swap).or(host.swap_free);
        Swap { total, free: free.map(|free| free.min(total.unwrap_or(free))) }
    }

    /// A line that the machine doesn't have stays away.
    fn applied_to(&self, host: &Meminfo) -> Meminfo {
        Meminfo {
            swap_total: host.swap_total.and(self.total).map(whole_kib),
            swap_free: host.swap_free.and(self.free).map(whole_kib),
            ..*host
        }
    }
}

/// The limit on swap alone.
fn swap_limit(memory: &CgroupMemory) -> Option<Bytes> {
    match (memory.swap_max, memory.memory_and_swap_limit) {
        (Some(max), _) => max.bytes(),
        (None, Some(both)) => Some(both.bytes()?.saturating_sub(memory.max?.bytes()?)),
        (None, None) => None,
    }
}

fn whole_kib(bytes: Bytes) -> Bytes {
    Bytes::new(bytes.get() - bytes.get() % 1024)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::available::judge_available;

    use super::*;

    fn kib(kib: u64) -> Option<Bytes> {
        Some(Bytes::from_kib(kib))
    }

    fn host() -> NodeMemory {
        let meminfo = Meminfo {
            total: kib(1_000_000),
            free: kib(600_000),
            available: kib(800_000),
            buffers: kib(10_000),
            cached: kib(200_000),
            slab: kib(50_000),
            slab_reclaimable: kib(30_000),
            mlocked: kib(12),
            page_tables: kib(777),
            swap_total: kib(5_000),
            swap_free: kib(4_000),
            commit_limit: kib(1),
            ..Meminfo::default()
        };
        NodeMemory { meminfo, counting_error: Bytes::ZERO }
    }

    fn container() -> CgroupMemory {
        let stat = MemoryStat {
            anon: kib(20_000),
            file: kib(16_000),
            swapcached: kib(100),
            shmem: kib(1_000),
            active_file: kib(5_000),
            inactive_file: kib(10_000),
            active_anon: kib(15_000),
            inactive_anon: kib(6_000),
            unevictable: kib(40),
            slab_reclaimable: Some(Bytes::new(2_500_000)),
            slab_unreclaimable: Some(Bytes::new(500_000)),
            pagetables: kib(60),
            ..MemoryStat::default()
        };
        CgroupMemory {
            max: Some(Limit::At(Bytes::from_kib(100_000))),
            usage: kib(40_000),
            stat: Some(stat),
            ..CgroupMemory::default()
        }
    }

    fn judge(levels: &[CgroupMemory], node: &NodeMemory) -> Meminfo {
        let available = judge_available(levels, HiddenLimit::None, node);
        judge_meminfo(levels, HiddenLimit::None, available.as_ref(), node)
    }

    #[test]
    fn a_container_sees_its_limit_and_what_is_charged_to_it() {
        let view = judge(&[container()], &host());
        assert_eq!((view.total, view.free), (kib(100_000), kib(60_000)));
        assert_eq!(view.available, Some(Bytes::from_kib(60_000 + 15_000 + 2_500_000 / 1024)));
        assert_eq!((view.buffers, view.cached, view.swap_cached), (kib(0), kib(15_900), kib(100)));
        assert_eq!((view.active, view.inactive), (kib(20_000), kib(16_000)));
        assert_eq!((view.slab_reclaimable, view.slab), (kib(2441), kib(2441 + 488)));
        assert_eq!(view.mlocked, kib(12), "no more than the machine has");
        assert_eq!((view.page_tables, view.commit_limit), (kib(60), kib(1)), "the second is the machine's alone");
    }

    #[test]
    fn without_a_limit_the_machine_s_lines_are_the_truth() {
        let unlimited = CgroupMemory { max: Some(Limit::Max), ..container() };
        assert_eq!(judge(&[unlimited], &host()), host().meminfo);
        let beyond = CgroupMemory { max: Some(Limit::At(Bytes::from_kib(1_000_001))), ..container() };
        assert_eq!(judge(&[beyond], &host()), host().meminfo);
        assert_eq!(judge(&[], &host()), host().meminfo);
    }

    #[test]
    fn a_fuller_level_above_leaves_less_free() {
        let pod = CgroupMemory { max: Some(Limit::At(Bytes::from_kib(110_000))), usage: kib(109_000), ..container() };
        let view = judge(&[container(), pod], &host());
        assert_eq!((view.total, view.free), (kib(100_000), kib(1_000)));
        assert_eq!(view.available, Some(Bytes::from_kib(1_000 + 15_000 + 2_500_000 / 1024)));
        assert_eq!(view.anon_pages, kib(20_000));
    }

    #[test]
    fn v1_takes_its_kernel_memory_for_slab() {
        let mut v1 = container();
        let stat = v1.stat.as_mut().unwrap();
        (stat.slab_reclaimable, stat.slab_unreclaimable, stat.pagetables) = (None, None, None);
        v1.kernel_usage = kib(3_000);
        let view = judge(&[v1], &host());
        assert_eq!(view.slab, kib(3_000));
        assert!(view.slab_reclaimable.unwrap() < Bytes::from_kib(3_000));
        assert_eq!(view.page_tables, host().meminfo.page_tables);
    }

    #[test]
    fn swap_is_what_the_limits_leave() {
        let limited =
            CgroupMemory { swap_max: Some(Limit::At(Bytes::from_kib(300))), swap_usage: kib(100), ..container() };
        let view = judge(&[limited], &host());
        assert_eq!((view.swap_total, view.swap_free), (kib(300), kib(200)));
        let mut without = host();
        without.meminfo.swap_total = None;
        assert_eq!(judge(&[limited], &without).swap_total, None, "no line that the machine lacks");
    }

    proptest! {
        #[test]
        fn the_lines_hold_together(
            limit in 0..2_000_000_u64, usage in 0..2_000_000_u64, parts in prop::array::uniform9(0..3_000_000_u64),
            kernel in prop::option::of(0..100_000_u64), host_free in 0..800_000_u64,
        ) {
            let kib = |kib: u64| Some(Bytes::new(kib * 1000));
            let [anon, file, active_file, inactive_file, active_anon, inactive_anon, slab, unslab, swapcached] = parts;
            let stat = MemoryStat {
                anon: kib(anon), file: kib(file), swapcached: kib(swapcached),
                active_file: kib(active_file), inactive_file: kib(inactive_file),
                active_anon: kib(active_anon), inactive_anon: kib(inactive_anon),
                slab_reclaimable: kernel.is_none().then(|| Bytes::new(slab)),
                slab_unreclaimable: kernel.is_none().then(|| Bytes::new(unslab)),
                ..MemoryStat::default()
            };
            let memory = CgroupMemory {
                max: Some(Limit::At(Bytes::from_kib(limit))), usage: Some(Bytes::from_kib(usage)), stat: Some(stat),
                kernel_usage: kernel.map(Bytes::from_kib), ..CgroupMemory::default()
            };
            let mut node = host();
            node.meminfo.free = Some(Bytes::from_kib(host_free));
            let view = judge(&[memory], &node);
            prop_assert!(view.free <= view.available && view.available <= view.total);
            if view.total < node.meminfo.total {
                let sum = |one: Option<Bytes>, other: Option<Bytes>| Some(one.unwrap().saturating_add(other.unwrap()));
                prop_assert_eq!(view.active, sum(view.active_anon, view.active_file));
                prop_assert_eq!(view.inactive, sum(view.inactive_anon, view.inactive_file));
                prop_assert_eq!(view.slab, sum(view.slab_reclaimable, view.slab_unreclaimable));
                for line in [view.cached, view.anon_pages, view.active_file, view.slab_reclaimable] {
                    prop_assert!(line <= view.total && line.unwrap().get().is_multiple_of(1024));
                }
            }
        }
    }
}
