//! How much swap a cgroup may still use.
//!
//! v2 limits swap by itself (`memory.swap.max`); v1 limits memory and swap together (`memory.memsw.limit_in_bytes`), so
//! what is left to swap alone is the difference of the two limits less the difference of the two usages.

use reprieve_readings::{Bytes, CgroupMemory, Limit, Meminfo};

/// The swap that is left to a cgroup by its `levels` and by the machine. `None` where nothing tells.
pub(super) fn judge_swap(levels: &[CgroupMemory], node: &Meminfo) -> Option<Bytes> {
    levels.iter().filter_map(of_level).chain(node.swap_free).min()
}

fn of_level(memory: &CgroupMemory) -> Option<Bytes> {
    match (memory.swap_max, memory.memory_and_swap_limit) {
        (Some(max), _) => Some(max.bytes()?.saturating_sub(memory.swap_usage?)),
        (None, Some(both)) => {
            let memory_limit = memory.max.and_then(Limit::bytes)?;
            let swap_limit = both.bytes()?.saturating_sub(memory_limit);
            Some(swap_limit.saturating_sub(memory.memory_and_swap_usage?.saturating_sub(memory.usage?)))
        }
        (None, None) => None,
    }
}
