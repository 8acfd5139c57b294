//! `cargo xtask calibrate`: whether what Reprieve says is available can really be had. docs/calibration.md tells how to
//! read its tables.
//!
//! The package `reprieve-calibrate` does the runs, on this machine and inside virtual machines with cgroup v2, and prints
//! a row for each. Here the rows are put together and handed back to the same program, which prints the tables and says
//! whether the figures are reached. The tables go to stdout and all else to stderr.

mod guest;

use crate::{process, vm::Kernel, workspace};
use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use std::{fs, path::PathBuf, process::Command};

/// Arguments of `cargo xtask calibrate`.
#[derive(Args)]
pub(crate) struct Options {
    /// Machines to run on; all of them if none is named
    #[arg(value_name = "MACHINE")]
    machines: Vec<Machine>,
    /// Only the scenarios whose name contains this
    #[arg(long, default_value = "")]
    only: String,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Machine {
    /// This one, whatever its memory controller speaks
    Host,
    /// A virtual machine with Linux 6.1 and cgroup v2
    #[value(name = "v2-6.1")]
    V2Old,
    /// A virtual machine with Linux 6.12 and cgroup v2
    #[value(name = "v2-6.12")]
    V2New,
}

/// Does the runs, prints the tables, and fails where the figures are missed.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "calibrating makes memory cgroups, which takes root; use sudo");
    let tables = crate::bench::take_stdout()?;
    process::run(&mut workspace::cargo(&["build", "--release", "--locked", "--package", "reprieve-calibrate"]))?;
    let program = workspace::target().join("release").join("reprieve-calibrate");
    let machines = if options.machines.is_empty() { Machine::value_variants() } else { &options.machines };
    let rows = machines
        .iter()
        .map(|&machine| match machine {
            Machine::Host => process::read_output(Command::new(&program).args(["run", "--only", &options.only])),
            Machine::V2Old => guest::run(Kernel::V6_1, &options.only),
            Machine::V2New => guest::run(Kernel::V6_12, &options.only),
        })
        .collect::<Result<String>>()?;
    let path = keep(&rows)?;
    let status = Command::new(&program).arg("report").arg(&path).stdout(tables).status();
    ensure!(
        status.context("the report did not start")?.success(),
        "a figure was missed; the rows are {}",
        path.display()
    );
    Ok(())
}

/// The rows of the last call stay, for whoever wants to look at a single run.
fn keep(rows: &str) -> Result<PathBuf> {
    let path = workspace::target().join("calibrate.rows");
    fs::write(&path, rows).with_context(|| format!("{} could not be written", path.display()))?;
    Ok(path)
}
