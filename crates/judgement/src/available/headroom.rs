//! What one limit leaves: certainly, most likely, and at most.
//!
//! What is free is the limit less the usage. Beyond that the kernel reclaims before it kills, and by experiment
//! (docs/calibration.md) it goes on until nothing is left to reclaim: page cache, used or not, mapped or not, dirty or
//! not, and the dentries and inodes that hang on it. So the best guess counts all of them. What is certain counts only
//! what is free, and the cgroup's own clean cache that nobody has mapped or used lately. The rest can be held back by
//! somebody who keeps using it, by a disk that is slow to take dirty pages (v2 kills before it has), or by another
//! cgroup's `memory.min`.
//!
//! Every subtraction is clamped: usage can exceed a limit, and statistics lag.

use reprieve_readings::{Bytes, CgroupMemory, Limit, Meminfo, MemoryStat, NodeMemory};

/// An amount that can't be known exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Estimate {
    /// At least this much, unless others take it first.
    pub low: Bytes,
    /// Most likely this much.
    pub best: Bytes,
    /// At most this much, unless others give something back.
    pub high: Bytes,
}

impl Estimate {
    /// An estimate in which each number is the smaller of both.
    pub fn min(self, other: Estimate) -> Estimate {
        Estimate { low: self.low.min(other.low), best: self.best.min(other.best), high: self.high.min(other.high) }
    }
}

/// What can be reclaimed of a level's usage.
struct Reclaimable {
    /// Clean page cache that nobody has mapped or used lately.
    easily: Bytes,
    likely: Bytes,
    at_most: Bytes,
}

/// Whose memory a level counts.
#[derive(Debug, Clone, Copy)]
pub(super) enum Whose {
    /// The cgroup's own.
    Own,
    /// That of other cgroups too. Of the cache that is easily reclaimed this much is the cgroup's own; the rest others
    /// may protect.
    Shared { own: Bytes },
}

/// What a level leaves below `limit`. `None` where it has no limit that the machine could reach, or its usage is unknown.
pub(super) fn of_level(memory: &CgroupMemory, limit: Limit, whose: Whose, node: &NodeMemory) -> Option<Estimate> {
    // Each processor charges ahead for some cgroups at once (NR_MEMCG_STOCK, mm/memcontrol.c; one until Linux 6.15).
    const CHARGED_AHEAD: u64 = 7;
    let (own, charged_ahead) = match whose {
        Whose::Own => (Bytes::new(u64::MAX), 1),
        Whose::Shared { own } => (own, CHARGED_AHEAD),
    };
    let limit = limit.below(node.meminfo.total.unwrap_or(Bytes::new(u64::MAX))).bytes()?;
    let usage = memory.usage?;
    let reclaimable = judge_reclaimable(memory, usage);
    // Usage can be above the limit, as it often is above `memory.high`: that has to be reclaimed first.
    let left = |reclaimable| limit.saturating_sub(usage.saturating_sub(reclaimable));
    let charged_ahead = Bytes::new(node.counting_error.get().saturating_mul(charged_ahead));
    let high = left(reclaimable.at_most.saturating_add(charged_ahead.max(unexplained(memory, usage))));
    let best = left(reclaimable.likely);
    let low = less_overhead(left(reclaimable.easily.min(own)), 128).saturating_sub(node.counting_error);
    Some(Estimate { low, best, high })
}

/// The same of a limit above `top`, the topmost level that can be seen. Others may use any part of it.
pub(super) fn of_hidden(top: &CgroupMemory, limit: Bytes, node: &NodeMemory) -> Option<Estimate> {
    of_level(top, Limit::At(limit), Whose::Shared { own: Bytes::ZERO }, node)
        .map(|estimate| Estimate { low: Bytes::ZERO, ..estimate })
}

/// What the machine leaves. The kernel's own `MemAvailable` keeps back what it needs to work smoothly; driven to the
/// end, it gives more than that.
///
/// Nor does it count the free pages that each processor keeps for itself. Since Linux 6.7 those can be an eighth of the
/// machine in all, just after a large process has ended (`MIN_PERCPU_PAGELIST_HIGH_FRACTION`, mm/page_alloc.c).
pub(super) fn of_node(meminfo: &Meminfo) -> Option<Estimate> {
    let total = meminfo.total.unwrap_or(Bytes::new(u64::MAX));
    let best = meminfo.available?.min(total);
    let kernel = meminfo.kernel_reclaimable.or(meminfo.slab_reclaimable);
    let kept_by_processors = meminfo.total.map(|total| Bytes::new(total.get() / 8));
    let not_free = [meminfo.active_file, meminfo.inactive_file, kernel, kept_by_processors];
    let not_free: Bytes = not_free.into_iter().flatten().sum();
    let high = meminfo.free.map_or(best, |free| free.saturating_add(not_free)).min(total).max(best);
    Some(Estimate { low: less_overhead(best, 64), best, high })
}

/// Memory is not had without some for the kernel: a page table takes one page of 512, and what keeps account of the
/// reclaiming some more. One part of so many is enough for it.
fn less_overhead(bytes: Bytes, part: u64) -> Bytes {
    Bytes::new(bytes.get() - bytes.get() / part)
}

/// Clean page cache that was not used lately. Mapped pages may be used unseen: only reclaim looks whether they were.
pub(super) fn easily_reclaimed(memory: &CgroupMemory) -> Bytes {
    let stat = memory.stat.unwrap_or_default();
    let inactive = stat.inactive_file.unwrap_or_default().min(memory.usage.unwrap_or_default());
    inactive.saturating_sub(stat.unclean()).saturating_sub(stat.file_mapped.unwrap_or_default())
}

fn judge_reclaimable(memory: &CgroupMemory, usage: Bytes) -> Reclaimable {
    let Some(stat) = &memory.stat else {
        return Reclaimable { easily: Bytes::ZERO, likely: Bytes::ZERO, at_most: usage };
    };
    let file = stat.file_lists().unwrap_or_default();
    let (slab_likely, slab_at_most) = judge_slab(memory, stat);
    // What can be reclaimed is part of what is used: more would be a lagging statistic.
    let within_usage = |bytes: Bytes| bytes.min(usage);
    Reclaimable {
        easily: easily_reclaimed(memory),
        likely: within_usage(file.saturating_add(slab_likely)),
        at_most: within_usage(file.saturating_add(slab_at_most)),
    }
}

/// What is used, but not told as anything: it may be cache. Seen on Linux 6.12: 12 MiB of page cache were charged, and
/// `memory.stat` told of none. The kernel collects what each processor counted after two seconds at the latest
/// (`flush_memcg_stats_dwork`, mm/memcontrol.c). Zero where not all that is used is told (v1, and before Linux 5.18).
fn unexplained(memory: &CgroupMemory, usage: Bytes) -> Bytes {
    let Some((stat, kernel)) = memory.stat.and_then(|stat| Some((stat, stat.kernel?))) else { return Bytes::ZERO };
    let told = [Some(kernel), stat.anon, stat.file, stat.zswap, stat.hugetlb];
    usage.saturating_sub(told.into_iter().flatten().sum())
}

/// Kernel memory that most likely can be freed.
pub(crate) fn reclaimable_kernel_memory(memory: &CgroupMemory) -> Bytes {
    memory.stat.map(|stat| judge_slab(memory, &stat).0).unwrap_or_default()
}

/// Kernel objects that can be freed: most likely, and at most.
///
/// v2 counts them. v1 has only the whole of the kernel's memory, which includes page tables and stacks. Of a large amount
/// most is dentries, inodes and what keeps account of cached pages, all of which go with the cache.
fn judge_slab(memory: &CgroupMemory, stat: &MemoryStat) -> (Bytes, Bytes) {
    match (stat.slab_reclaimable, memory.kernel_usage) {
        (Some(slab), _) => (slab, slab),
        (None, Some(kernel)) => {
            let page_tables = stat.anon.unwrap_or_default().saturating_add(stat.file_mapped.unwrap_or_default());
            (kernel.saturating_sub(Bytes::new(page_tables.get() / 512)), kernel)
        }
        (None, None) => (Bytes::ZERO, Bytes::ZERO),
    }
}
