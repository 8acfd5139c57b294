//! `cargo xtask escape [MACHINE…]`: how many leaking programs end gracefully before the kernel kills them, with no init,
//! under tini, beside earlyoom, and under reprieve-init. docs/init.md tells how to read its tables, which go to stdout.

use crate::{
    containers, inits, process, static_build,
    vm::{self, GuestCommand, Kernel, VmRun},
    workspace,
};
use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use std::{io::Write, path::PathBuf, process::Command, time::Duration};

/// Arguments of `cargo xtask escape`.
#[derive(Args)]
pub(crate) struct Options {
    /// Machines to run on; all of them if none is named
    #[arg(value_name = "MACHINE")]
    machines: Vec<Machine>,
    /// How many times each case under reprieve-init
    #[arg(long, default_value_t = 13)]
    repetitions: u32,
    /// How many times each case under the others
    #[arg(long, default_value_t = 3)]
    others: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
enum Machine {
    /// This one, whatever its memory controller speaks
    Host,
    /// A virtual machine with Linux 6.12 and cgroup v2, emulated: fewer trials, two at a time, of ours and without an init
    #[value(name = "v2-6.12")]
    V2,
}

/// Does the trials and prints the tables.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "the trials make memory cgroups, which takes root; use sudo");
    let mut tables = crate::bench::take_stdout()?;
    let machines = if options.machines.is_empty() { Machine::value_variants() } else { &options.machines };
    for machine in machines {
        let table = match machine {
            Machine::Host => on_host(options)?,
            Machine::V2 => in_guest()?,
        };
        writeln!(tables, "{}\n", table.trim_end())?;
        tables.flush()?;
    }
    Ok(())
}

fn programs() -> Result<Vec<PathBuf>> {
    Ok(vec![inits::reprieve_init()?, inits::tini()?, inits::earlyoom()?])
}

fn arguments(programs: &[PathBuf], repetitions: u32, others: u32) -> Vec<String> {
    let mut words = vec!["run".to_owned()];
    for (flag, path) in ["--reprieve-init", "--tini", "--earlyoom"].iter().zip(programs) {
        words.extend([(*flag).to_owned(), path.to_string_lossy().into_owned()]);
    }
    let numbers = ["--repetitions".to_owned(), repetitions.to_string(), "--others".to_owned(), others.to_string()];
    words.extend(numbers);
    words
}

fn on_host(options: &Options) -> Result<String> {
    process::run(&mut workspace::cargo(&["build", "--release", "--locked", "--package", "reprieve-escape"]))?;
    let program = workspace::target().join("release").join("reprieve-escape");
    process::read_output(Command::new(program).args(arguments(&programs()?, options.repetitions, options.others)))
}

fn in_guest() -> Result<String> {
    let executables = static_build::build("build", &["--release", "--package", "reprieve-escape"])?;
    let escape = executables.into_iter().next().context("cargo built no reprieve-escape")?.path;
    // No others than ours, so that it is done in ten minutes: without an init the machine shows that it kills.
    let programs = vec![inits::reprieve_init()?];
    let mut words = vec![escape.to_string_lossy().into_owned()];
    words.extend(arguments(&programs, 2, 1));
    words.extend(["--parallel", "2", "--tmpfs", "/tmp", "--rates", "5,20"].map(str::to_owned));
    let mut files: Vec<PathBuf> = containers::files()?.into_iter().collect();
    files.extend(containers::with_libraries(&programs)?);
    files.push(escape);
    let boot = VmRun {
        kernel: Kernel::V6_12,
        memory: "2G".to_owned(),
        files,
        commands: vec![GuestCommand { name: "escape".to_owned(), words }],
        timeout: Duration::from_secs(900),
    };
    let results = vm::run(&boot)?;
    let result = results.commands.into_iter().next().context("the virtual machine brought nothing back")?;
    ensure!(result.status == Some(0), "the trials inside the virtual machine failed; their message stands above");
    let lines = result.output.lines().filter(|line| !line.starts_with("escape: "));
    let table: Vec<&str> = lines.skip_while(|line| !line.starts_with('#')).collect();
    Ok(table.join("\n").replace("cgroup v2,", "cgroup v2 (emulated machine, Linux 6.12),"))
}
