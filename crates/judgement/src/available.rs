//! How much memory may a cgroup still use before one of its processes is killed?
//!
//! Each level from the cgroup up to the root may have a limit, and the machine has an end. At a level with a limit, what
//! is free is the limit less the usage, and what can be reclaimed comes on top: clean page cache and reclaimable slab.
//! The tightest level decides. Every subtraction is clamped: usage can exceed a limit, and statistics lag.

use reprieve_readings::{Bytes, CgroupMemory, Limit, Meminfo};

/// How much is left, and what sets the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Available {
    /// Memory that can still be had.
    pub bytes: Bytes,
    /// What ends it.
    pub binding: Binding,
}

/// What bounds the memory of a cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Binding {
    /// The machine has no more (`MemAvailable`).
    Node,
    /// The limit of a cgroup: 0 for the innermost level, 1 for the one that holds it, and so on.
    Level(usize),
    /// The limit of a cgroup above all that can be seen, which only v1 tells of. What others use of it can't be told, so
    /// less may be left.
    Hidden,
}

/// Judges a cgroup by its `levels`, from itself up to the topmost that can be seen.
/// `None` where neither a level nor the machine tells.
pub fn judge_available<'a>(levels: impl IntoIterator<Item = &'a CgroupMemory>, node: &Meminfo) -> Option<Available> {
    let levels: Vec<&CgroupMemory> = levels.into_iter().collect();
    let bounds = levels
        .iter()
        .enumerate()
        .filter_map(|(level, memory)| Some((judge_level(memory, memory.max?, node)?, Binding::Level(level))));
    let hidden =
        levels.last().and_then(|top| Some((judge_level(top, top.stat?.hierarchical_limit?, node)?, Binding::Hidden)));
    // Of equal bounds the innermost is named.
    node.available
        .map(|bytes| (bytes, Binding::Node))
        .into_iter()
        .chain(bounds)
        .chain(hidden)
        .reduce(|tightest, bound| if bound.0 < tightest.0 { bound } else { tightest })
        .map(|(bytes, binding)| Available { bytes, binding })
}

/// Judges a cgroup by its own level and by what is available to the cgroup that holds it.
/// For whoever walks a whole tree from the top down; the topmost is held by the machine and its `MemAvailable`.
pub fn judge_within(outer: Option<Bytes>, memory: &CgroupMemory, node: &Meminfo) -> Option<Bytes> {
    match (outer, memory.max.and_then(|max| judge_level(memory, max, node))) {
        (Some(outer), Some(level)) => Some(outer.min(level)),
        (outer, level) => outer.or(level),
    }
}

/// What one level leaves: nothing is said where it has no limit that the machine could reach, or its usage is unknown.
fn judge_level(memory: &CgroupMemory, max: Limit, node: &Meminfo) -> Option<Bytes> {
    let limit = max.below(node.total.unwrap_or(Bytes::new(u64::MAX))).bytes()?;
    let usage = memory.usage?;
    let reclaimable = memory.stat.and_then(|stat| stat.reclaimable()).unwrap_or_default();
    // What can be reclaimed is part of what is used: more would be a lagging statistic.
    Some(limit.saturating_sub(usage).saturating_add(reclaimable.min(usage)).min(limit))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use reprieve_readings::MemoryStat;

    use super::*;

    fn level(limit: Limit, usage: u64, cache: u64) -> CgroupMemory {
        let stat = MemoryStat {
            active_file: Some(Bytes::new(cache)),
            inactive_file: Some(Bytes::ZERO),
            ..MemoryStat::default()
        };
        CgroupMemory { max: Some(limit), usage: Some(Bytes::new(usage)), stat: Some(stat), ..CgroupMemory::default() }
    }

    fn at(limit: u64, usage: u64, cache: u64) -> CgroupMemory {
        level(Limit::At(Bytes::new(limit)), usage, cache)
    }

    fn node(total: u64, available: u64) -> Meminfo {
        Meminfo { total: Some(Bytes::new(total)), available: Some(Bytes::new(available)), ..Meminfo::default() }
    }

    fn check(levels: &[CgroupMemory], node: Meminfo, bytes: u64, binding: Binding) {
        assert_eq!(judge_available(levels, &node), Some(Available { bytes: Bytes::new(bytes), binding }));
    }

    #[test]
    fn the_tightest_level_binds() {
        let wide = node(10_000, 9_000);
        check(&[at(1000, 400, 100)], wide, 700, Binding::Level(0));
        check(&[at(1000, 400, 100), at(1200, 1100, 0)], wide, 100, Binding::Level(1));
        check(&[at(1000, 400, 100)], node(10_000, 50), 50, Binding::Node);
        check(&[level(Limit::Max, 400, 100)], wide, 9_000, Binding::Node);
    }

    #[test]
    fn a_limit_that_the_machine_can_t_reach_does_not_bind() {
        check(&[at(20_000, 0, 0)], node(10_000, 9_000), 9_000, Binding::Node);
    }

    #[test]
    fn a_limit_hidden_above_the_topmost_level_binds() {
        let mut inner = at(1000, 400, 100);
        let mut top = level(Limit::Max, 500, 100);
        for memory in [&mut inner, &mut top] {
            memory.stat.as_mut().unwrap().hierarchical_limit = Some(Limit::At(Bytes::new(600)));
        }
        check(&[inner, top], node(10_000, 9_000), 200, Binding::Hidden);
        // Its own limit, which v1 repeats there, is no hidden one.
        inner.stat.as_mut().unwrap().hierarchical_limit = inner.max;
        check(&[inner], node(10_000, 9_000), 700, Binding::Level(0));
    }

    #[test]
    fn zero_is_a_limit_and_usage_may_exceed_it() {
        check(&[at(0, 4096, 0)], node(10_000, 9_000), 0, Binding::Level(0));
        check(&[at(100, 4096, 0)], node(10_000, 9_000), 0, Binding::Level(0));
    }

    #[test]
    fn nothing_known_is_nothing_said() {
        assert_eq!(judge_available(&[CgroupMemory::default()], &Meminfo::default()), None);
        let limit_only = CgroupMemory { usage: None, ..at(100, 0, 0) };
        assert_eq!(judge_available(&[limit_only], &Meminfo::default()), None);
    }

    proptest! {
        #[test]
        fn available_never_exceeds_any_limit(
            levels in prop::collection::vec((0..2000_u64, any::<u32>(), any::<u32>()), 0..6),
            total in 1..3000_u64,
        ) {
            let levels: Vec<_> = levels.iter().map(|&(l, u, c)| at(l, u.into(), c.into())).collect();
            let node = node(total, total);
            let found = judge_available(&levels, &node).unwrap().bytes;
            prop_assert!(found <= Bytes::new(total));
            for level in &levels {
                prop_assert!(Some(found) <= level.max.unwrap().bytes());
            }
            let top_down = levels.iter().rev().fold(node.available, |outer, level| judge_within(outer, level, &node));
            prop_assert_eq!(top_down, Some(found), "both ways of judging agree");
        }
    }
}
