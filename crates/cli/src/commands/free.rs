//! `reprieve free`: the memory of the calling process's cgroup.

use std::io::{self, Write};

use anyhow::Result;
use reprieve_judgement::{judge_available, judge_hidden, judge_limit};
use reprieve_linux::{Levels, MemoryController, Problems, Roots, read_node_memory};
use reprieve_readings::Placement;
use reprieve_report::{FreeReport, free_json, free_table};

use crate::arguments::FreeArguments;

pub(crate) fn run(arguments: &FreeArguments) -> Result<()> {
    let roots = Roots::from(&arguments.roots);
    let mut problems = Problems::default();
    let controller = MemoryController::find(&roots, &mut problems)?;
    let mut levels = Levels::open(&controller, &mut problems)?;
    levels.read(&mut problems);
    let node = read_node_memory(&roots, &mut problems);
    let memory = levels.memory();
    let hidden = judge_hidden(controller.version, &memory, None);
    for problem in problems.first() {
        crate::complain(&problem.to_string());
    }
    let own = levels.own();
    let report = FreeReport {
        cgroup: controller.own,
        assumed: controller.placement == Placement::Assumed,
        limit: judge_limit(&memory, hidden, &node),
        usage: own.usage,
        reclaimable: own.stat.and_then(|stat| stat.reclaimable()),
        available: judge_available(&memory, hidden, &node),
    };
    let text = if arguments.json { free_json(&report) + "\n" } else { free_table(&report) };
    Ok(io::stdout().write_all(text.as_bytes())?)
}
