//! From the tree as last scanned to the figures that are published.

use std::collections::HashMap;
use std::sync::Arc;

use reprieve_judgement::judge_within;
use reprieve_linux::{CgroupId, CgroupTree, NodeReading};
use reprieve_readings::{Bytes, Meminfo, NodeMemory};
use reprieve_report::{CgroupFigures, Trouble};

use crate::containers::KnownCgroups;

/// The figures of every cgroup that has any.
pub(crate) fn cgroup_figures(tree: &CgroupTree, known: &KnownCgroups, node: &NodeReading) -> Vec<CgroupFigures> {
    let meminfo = node.meminfo.unwrap_or_default();
    // Only the best guesses are published, which don't depend on the counting error.
    let node = NodeMemory { meminfo, counting_error: Bytes::ZERO };
    let mut available: HashMap<CgroupId, Option<Bytes>> = HashMap::with_capacity(tree.len());
    let mut all = Vec::with_capacity(tree.len());
    // Parents come before their children, so what holds a cgroup has been judged when its turn comes.
    for cgroup in tree.iter() {
        let outer = cgroup.parent().map_or(node.meminfo.available, |parent| available.get(&parent).copied().flatten());
        let left = judge_within(outer, cgroup.memory(), &node);
        available.insert(cgroup.id(), left);
        let memory = cgroup.memory();
        let Some(known) = known.get(cgroup.id()) else { continue };
        if memory.usage.is_none() && memory.stat.is_none() {
            // The memory controller is not enabled for it.
            continue;
        }
        all.push(CgroupFigures {
            labels: Arc::clone(&known.labels),
            limit: limit(memory.max, &meminfo),
            usage: memory.usage,
            working_set: memory.working_set(),
            reclaimable: memory.stat.and_then(|stat| stat.reclaimable()),
            available: left,
            oom_kills: memory.oom_kills(),
            trouble: Trouble::of(memory),
        });
    }
    all
}

/// A limit that the machine can't reach is none.
fn limit(max: Option<reprieve_readings::Limit>, meminfo: &Meminfo) -> Option<Bytes> {
    max?.below(meminfo.total.unwrap_or(Bytes::new(u64::MAX))).bytes()
}
