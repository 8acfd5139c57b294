//! `cargo xtask bench [ROW…]`: what Reprieve costs beside its peers, as tables. docs/bench.md tells how to read them.
//!
//! The measuring is done by the package `reprieve-bench`, one call of its program for each row; here programs are
//! built and fetched, and the rows put together. A time is never judged here: on a machine that others use it says
//! nothing by itself. The tables go to stdout and all else to stderr, so `cargo xtask bench >file` keeps the tables.

mod guest;
mod machine;
mod programs;

use crate::{process, workspace};
use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use programs::Programs;
use std::{fs::File, io::Write, os::fd::AsFd, process::Command};

/// The report that the large log holds, of 7 processes in a pod.
const REPORT: &str = "fixtures/oom/corpus/094-sles-5.14-harvester-cpu1-kvm-full.log";

/// Arguments of `cargo xtask bench`.
#[derive(Args)]
pub(crate) struct Options {
    /// Rows to measure; all of them if none is named
    #[arg(value_name = "ROW")]
    rows: Vec<Row>,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Row {
    /// CPU time of a scan on this machine
    Scan,
    /// CPU time of a scan on cgroup v2, in a virtual machine
    ScanV2,
    /// Memory, idle CPU time and answers of the agent
    Agent,
    /// Cost of a look at one container's own memory
    Container,
    /// The same on cgroup v2, in a virtual machine
    ContainerV2,
    /// Time for a large log
    Explain,
    /// Memory, start and orphans of first processes
    Init,
    /// Time from the kernel's record of a kill to the agent's log line
    Kills,
}

/// Measures the rows and prints their tables.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "the bench makes memory cgroups, which takes root; run it with sudo");
    let mut tables = take_stdout()?;
    let rows = if options.rows.is_empty() { Row::value_variants() } else { &options.rows };
    let load = machine::load()?;
    let programs = Programs::get(rows.contains(&Row::Agent))?;
    writeln!(tables, "{}\n{}\n", machine::describe(&load)?, programs.versions()?)?;
    for &row in rows {
        let before = machine::others_percent()?;
        let table = measure(row, &programs).with_context(|| format!("the row {} failed", name(row)))?;
        let after = machine::others_percent()?;
        let others = format!("CPU time in use by others just before: {before:.0} %, just after: {after:.0} %.");
        writeln!(tables, "{}\n{others}\n", table.trim_end())?;
        tables.flush()?;
    }
    Ok(())
}

fn measure(row: Row, programs: &Programs) -> Result<String> {
    eprintln!("bench: {}", name(row));
    let mut bench = Command::new(&programs.bench);
    match row {
        Row::Scan => bench.arg("scan"),
        Row::ScanV2 => return guest::scan(),
        Row::Agent => {
            let exporter = programs.node_exporter.iter();
            bench.arg("agent").arg(&programs.reprieve);
            bench.args(exporter.flat_map(|path| [std::ffi::OsStr::new("--node-exporter"), path.as_os_str()]))
        }
        Row::ContainerV2 => return guest::container(),
        Row::Container => bench.arg("container").arg("--reprieve").arg(&programs.reprieve),
        Row::Explain => bench.arg("explain").arg(&programs.reprieve).arg(workspace::root().join(REPORT)),
        Row::Init => bench.arg("init").arg(crate::inits::reprieve_init()?).args(crate::inits::peers()?),
        Row::Kills => bench.arg("kills").arg(&programs.reprieve),
    };
    process::read_output(&mut bench)
}

fn name(row: Row) -> String {
    row.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}

/// Keeps stdout for the tables: from now on whatever else is printed, here or by a program that is called, goes to
/// stderr.
pub(crate) fn take_stdout() -> Result<File> {
    let stdout = std::io::stdout().as_fd().try_clone_to_owned().context("stdout could not be kept")?;
    rustix::stdio::dup2_stdout(std::io::stderr()).context("progress could not be sent to stderr")?;
    Ok(File::from(stdout))
}
