//! `reprieve free`: the memory of the calling process's cgroup.

use std::io::{self, Write};

use anyhow::Result;
use reprieve_judgement::judge_available;
use reprieve_linux::{MemoryController, Problems, Roots, read_levels, read_node};
use reprieve_readings::{Bytes, CgroupMemory, Meminfo, Placement};
use reprieve_report::{FreeReport, free_json, free_table};

use crate::arguments::FreeArguments;

pub(crate) fn run(arguments: &FreeArguments) -> Result<()> {
    let roots = Roots::from(&arguments.roots);
    let mut problems = Problems::default();
    let controller = MemoryController::find(&roots, &mut problems)?;
    let levels = read_levels(&controller, &mut problems)?;
    let node = read_node(&roots, &mut problems).meminfo.unwrap_or_default();
    for problem in problems.first() {
        crate::complain(&problem.to_string());
    }
    let own = levels.first().copied().unwrap_or_default();
    let report = FreeReport {
        cgroup: controller.own,
        assumed: controller.placement == Placement::Assumed,
        limit: smallest_limit(&levels, &node),
        usage: own.usage,
        reclaimable: own.stat.and_then(|stat| stat.reclaimable()),
        available: judge_available(&levels, &node),
    };
    let text = if arguments.json { free_json(&report) + "\n" } else { free_table(&report) };
    Ok(io::stdout().write_all(text.as_bytes())?)
}

/// The smallest limit of all levels, of those that only v1 tells of (hidden by a namespace), or the machine's memory.
fn smallest_limit(levels: &[CgroupMemory], node: &Meminfo) -> Option<Bytes> {
    let visible = levels.iter().filter_map(|level| level.max?.bytes());
    let hidden = levels.iter().filter_map(|level| level.stat?.hierarchical_limit?.bytes());
    visible.chain(hidden).chain(node.total).min()
}
