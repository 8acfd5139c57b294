//! `cargo xtask storm`: many kills at once, with the agent killed and its log overwritten in the middle, and who accounts
//! for all of them. docs/kills.md tells how to read its table.
//!
//! The package `reprieve-bench` lets the storm happen, on this machine or inside a virtual machine with cgroup v2. The
//! table goes to stdout and all else to stderr. It fails where the ledger does not add up.

use crate::{
    containers, process, static_build,
    vm::{self, GuestCommand, Kernel, VmRun},
    workspace,
};
use anyhow::{Context, Result, ensure};
use clap::Args;
use std::{io::Write, path::PathBuf, process::Command, time::Duration};

/// Arguments of `cargo xtask storm`.
#[derive(Args)]
pub(crate) struct Options {
    /// In a virtual machine with this kernel and cgroup v2, instead of on this machine
    #[arg(long)]
    kernel: Option<Kernel>,
    /// Kills
    #[arg(long, default_value_t = 1000)]
    kills: usize,
    /// Containers in which they happen
    #[arg(long, default_value_t = 200)]
    cgroups: usize,
}

/// Lets the storm happen and prints the table.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "the storm makes memory cgroups, which takes root; run it with sudo");
    let mut tables = crate::bench::take_stdout()?;
    let table = match options.kernel {
        None => on_this_machine(options)?,
        Some(kernel) => in_guest(kernel, options)?,
    };
    Ok(tables.write_all(table.as_bytes())?)
}

fn on_this_machine(options: &Options) -> Result<String> {
    for package in ["reprieve-cli", "reprieve-bench"] {
        process::run(&mut workspace::cargo(&["build", "--release", "--locked", "--package", package]))?;
    }
    let release = workspace::target().join("release");
    let mut storm = Command::new(release.join("reprieve-bench"));
    process::read_output(storm.arg("storm").arg(release.join("reprieve")).args(amounts(options)))
}

fn in_guest(kernel: Kernel, options: &Options) -> Result<String> {
    let arguments = ["--release", "--package", "reprieve-cli", "--package", "reprieve-bench"];
    let executables = static_build::build("build", &arguments)?;
    let find = |package: &str| {
        let found = executables.iter().find(|executable| executable.package == package);
        found.map(|executable| executable.path.clone()).with_context(|| format!("cargo built no {package}"))
    };
    let (reprieve, bench) = (find("reprieve-cli")?, find("reprieve-bench")?);
    // The guest's own, of busybox, does not follow the log.
    let dmesg = containers::program("dmesg", "util-linux")?;
    let mut files = containers::with_libraries([&dmesg])?;
    let text = |path: &PathBuf| path.to_string_lossy().into_owned();
    let mut words = vec![text(&bench), "storm".into(), text(&reprieve), "--dmesg".into(), text(&dmesg)];
    words.extend(amounts(options));
    files.extend([reprieve, bench]);
    let boot = VmRun {
        kernel,
        memory: "2G".to_owned(),
        files: files.into_iter().collect(),
        commands: vec![GuestCommand { name: "storm".to_owned(), words }],
        timeout: Duration::from_secs(900),
    };
    let results = vm::run(&boot)?;
    let result = results.commands.into_iter().next().context("the virtual machine brought nothing back")?;
    ensure!(result.status == Some(0), "the storm inside the virtual machine failed; its message stands above");
    // Progress comes through the same port.
    let lines = result.output.lines().filter(|line| !line.starts_with("bench: "));
    let table: Vec<&str> = lines.skip_while(|line| !line.starts_with('#')).collect();
    Ok(table.join("\n").replace("cgroup v2:", &format!("cgroup v2 (emulated machine, Linux {kernel}):")) + "\n")
}

fn amounts(options: &Options) -> [String; 4] {
    ["--kills".into(), options.kills.to_string(), "--cgroups".into(), options.cgroups.to_string()]
}
