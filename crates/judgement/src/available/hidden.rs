//! What may bound a cgroup beyond all that can be seen.
//!
//! Inside a cgroup namespace the levels above are invisible. v1 gives a smaller limit up there away in
//! `hierarchical_memory_limit`; v2 does not, so there may be one unless whoever started the container tells.

use reprieve_readings::{Bytes, CgroupMemory, CgroupVersion, Limit};

/// A limit above the topmost level that can be seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HiddenLimit {
    /// There is none that is smaller than what can be seen.
    None,
    /// There may be one: v2 hides it from a cgroup namespace.
    Possible,
    /// The kernel says that there is one, and how large (v1).
    Proven(Bytes),
    /// We were told of one, such as a pod's.
    Told(Bytes),
}

impl HiddenLimit {
    /// The limit, where it is known.
    pub fn limit(self) -> Option<Bytes> {
        match self {
            HiddenLimit::None | HiddenLimit::Possible => None,
            HiddenLimit::Proven(limit) | HiddenLimit::Told(limit) => Some(limit),
        }
    }
}

/// Judges what is hidden above these `levels` (own first, topmost last). `told` is a limit that the one who started the
/// container told of; it counts where it is smaller than all that can be seen.
pub fn judge_hidden(version: CgroupVersion, levels: &[CgroupMemory], told: Option<Bytes>) -> HiddenLimit {
    let smallest = levels.iter().filter_map(|level| level.max.and_then(Limit::bytes)).min();
    let tightens = |limit: &Bytes| smallest.is_none_or(|smallest| *limit < smallest);
    // Any level tells; the innermost tells of all above it.
    let hierarchical = levels.iter().find_map(|level| level.stat?.hierarchical_limit);
    let proven = hierarchical.and_then(Limit::bytes).filter(tightens);
    let top_is_root = levels.last().is_none_or(|top| top.usage.is_none());
    match (proven, told) {
        (Some(proven), Some(told)) if told < proven => HiddenLimit::Told(told),
        (Some(proven), _) => HiddenLimit::Proven(proven),
        (None, Some(told)) if tightens(&told) => HiddenLimit::Told(told),
        (None, Some(_)) => HiddenLimit::None,
        // The root of v2 has no memory.current; a topmost level that has one is not the root.
        (None, None) if version == CgroupVersion::V2 && !top_is_root => HiddenLimit::Possible,
        (None, None) => HiddenLimit::None,
    }
}
