//! `reprieve meminfo`: `/proc/meminfo` as the calling process's container should see it.

use std::io::{self, Write};

use anyhow::{Context, Result};
use reprieve::{Problems, Roots};
use reprieve_linux::read_meminfo_text;
use reprieve_report::meminfo_text;

use crate::arguments::MeminfoArguments;
use crate::commands::free::read_memory;

pub(crate) fn run(arguments: &MeminfoArguments) -> Result<()> {
    let memory = read_memory(&arguments.roots)?;
    let mut problems = Problems::default();
    let machine = read_meminfo_text(&Roots::from(&arguments.roots), &mut problems);
    let problem = || problems.first().first().map(ToString::to_string).unwrap_or_default();
    let machine = machine.with_context(|| format!("there is no meminfo to go by: {}", problem()))?;
    Ok(io::stdout().write_all(&meminfo_text(&machine, &memory.meminfo()))?)
}
