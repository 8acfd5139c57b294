//! `reprieve free`: the memory of the calling process's container.

use std::io::{self, Write};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use reprieve::{Consequence, Headroom, Memory, Placement, Roots, pod_limit_from_environment};
use reprieve_report::{FreeBound, FreeCgroup, FreeReport, free_explanation, free_json, free_line, free_table};

use crate::arguments::{FreeArguments, Repeat, RootArguments};

pub(crate) fn run(arguments: &FreeArguments) -> Result<()> {
    let mut memory = read_memory(&arguments.roots)?;
    let mut output = io::stdout().lock();
    let (times, interval) = match arguments.repeat() {
        Repeat::Once => (1, Duration::ZERO),
        Repeat::Forever(interval) => (u64::MAX, interval),
        Repeat::Times(times, interval) => (times, interval),
    };
    for time in 1..=times {
        print(&mut output, arguments, &memory)?;
        // procps ends each table but the last with an empty line, and only the last of its single lines that way.
        if !arguments.json && (time < times || arguments.line()) {
            writeln!(output)?;
        }
        output.flush()?;
        if time < times {
            thread::sleep(interval);
            memory.refresh();
        }
    }
    Ok(())
}

/// Reads the memory of the calling process's container, and says on stderr what could not be read.
pub(crate) fn read_memory(roots: &RootArguments) -> Result<Memory> {
    let memory = Memory::below(&Roots::from(roots), pod_limit_from_environment()?)?;
    for problem in memory.problems().first() {
        crate::complain(&problem.to_string());
    }
    if memory.version().is_none() {
        crate::complain("no memory cgroup could be read: what follows is the machine's memory");
    }
    Ok(memory)
}

fn print(output: &mut impl Write, arguments: &FreeArguments, memory: &Memory) -> io::Result<()> {
    if arguments.json {
        return writeln!(output, "{}", free_json(&report(memory)));
    }
    if arguments.line() {
        return output.write_all(free_line(&memory.meminfo(), arguments.table().scale).as_bytes());
    }
    output.write_all(free_table(&memory.meminfo(), &arguments.table()).as_bytes())?;
    if arguments.explain {
        write!(output, "\n{}", free_explanation(&report(memory)))?;
    }
    Ok(())
}

fn report(memory: &Memory) -> FreeReport {
    let available = memory.available();
    let own = memory.levels().first().copied().unwrap_or_default();
    let cgroup = memory.cgroup(0).cloned().zip(memory.version()).map(|(path, version)| FreeCgroup {
        path,
        version,
        assumed: memory.placement() == Some(Placement::Assumed),
        memory: own,
    });
    let bound = |headroom: Option<Headroom>, consequence| {
        headroom.map_or_else(FreeBound::default, |Headroom { binding, .. }| FreeBound {
            limit: memory.bound(binding, consequence),
            file: memory.bound_file(binding, consequence),
        })
    };
    FreeReport {
        container: memory.meminfo(),
        node: *memory.node(),
        cgroup,
        limit: memory.limit(),
        available,
        kill_bound: bound(available.map(|available| available.until_kill), Consequence::Kill),
        throttle_bound: bound(available.and_then(|available| available.until_throttle), Consequence::Throttle),
    }
}
