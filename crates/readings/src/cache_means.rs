//! The ways to take page cache out of a cgroup's working set.

use std::fmt;

/// A way to take page cache out of the working set, the gentlest first.
///
/// The kubelet subtracts inactive page cache, so a page that moves from the active to the inactive list stays in memory
/// and stops to count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CacheMeans {
    /// A new generation of the multi-generational LRU: what was not used since counts as inactive. Frees nothing.
    Age,
    /// DAMON's scheme `lru_deprio` on what is not being used. Frees nothing.
    Deprioritise,
    /// v2's `memory.reclaim` (Linux 5.19).
    Reclaim,
    /// v1's `memory.force_empty`, cut short as soon as enough is gone.
    ForceEmptyStep,
    /// v1's `memory.force_empty`: all of the cgroup's cache at once.
    ForceEmpty,
}

impl CacheMeans {
    /// All of them, the gentlest first.
    pub const ALL: [CacheMeans; 5] = [
        CacheMeans::Age,
        CacheMeans::Deprioritise,
        CacheMeans::Reclaim,
        CacheMeans::ForceEmptyStep,
        CacheMeans::ForceEmpty,
    ];

    /// Whether it frees a little at a time, from the cold end of the lists, and makes inactive on the way what is active.
    pub const fn is_stepwise(self) -> bool {
        matches!(self, CacheMeans::Reclaim | CacheMeans::ForceEmptyStep)
    }

    /// The name in logs, labels and JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            CacheMeans::Age => "lru_gen",
            CacheMeans::Deprioritise => "damon_lru_deprio",
            CacheMeans::Reclaim => "memory.reclaim",
            CacheMeans::ForceEmptyStep => "memory.force_empty_step",
            CacheMeans::ForceEmpty => "memory.force_empty",
        }
    }
}

impl fmt::Display for CacheMeans {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
