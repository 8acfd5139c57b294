//! `cargo xtask evict`: the experiments of docs/eviction.md, on this machine and inside virtual machines with cgroup v2.
//!
//! The package `reprieve-evict` does them; here it is built, taken to where it is to run, and its lines are put together.
//! Tables go to stdout and all else to stderr.

mod guest;

use crate::{process, vm::Kernel, workspace};
use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand, ValueEnum};
use std::{path::PathBuf, process::Command};

/// Arguments of `cargo xtask evict`.
#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    experiment: Experiment,
}

#[derive(Subcommand)]
enum Experiment {
    /// A workload beside a stand-in for the kubelet, without and with the cache keeper
    Keep {
        #[command(flatten)]
        machines: Machines,
        /// How long with the keeper, in seconds
        #[arg(long, default_value_t = 600)]
        seconds: u64,
        /// Rounds of short runs without and with it, to compare the throughput
        #[arg(long, default_value_t = 3)]
        rounds: u32,
    },
    /// Each means to take page cache out of a working set
    Means {
        #[command(flatten)]
        machines: Machines,
    },
    /// Record the series of fixtures/forecast anew, on this machine
    Record {
        /// Scenarios to record; all of them if none is named
        #[arg(value_name = "SCENARIO")]
        scenarios: Vec<String>,
    },
    /// Hold the forecast against these series
    Replay,
}

#[derive(Args)]
struct Machines {
    /// Machines to run on; all of them if none is named
    #[arg(value_name = "MACHINE")]
    machines: Vec<Machine>,
}

impl Machines {
    fn all(&self) -> &[Machine] {
        if self.machines.is_empty() { Machine::value_variants() } else { &self.machines }
    }
}

/// Where to run.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum Machine {
    /// This one; on cgroup v1 a cgroup with a limit plays the node
    Host,
    /// Linux 6.1 with cgroup v2
    #[value(name = "v2-6.1")]
    V2Old,
    /// Linux 6.1 with the multi-generational LRU switched on
    #[value(name = "v2-6.1-lru-gen")]
    V2OldGenerations,
    /// Linux 6.12 with the multi-generational LRU switched off
    #[value(name = "v2-6.12-lists")]
    V2Lists,
    /// Linux 6.12 as Debian has it, with the multi-generational LRU
    #[value(name = "v2-6.12")]
    V2New,
}

impl Machine {
    fn label(self) -> &'static str {
        match self {
            Machine::Host => "this machine",
            Machine::V2Old => "v2, 6.1",
            Machine::V2OldGenerations => "v2, 6.1, lru_gen on",
            Machine::V2Lists => "v2, 6.12, lru_gen off",
            Machine::V2New => "v2, 6.12",
        }
    }

    /// The kernel, and whether the multi-generational LRU is to be on. `None` for this machine.
    fn guest(self) -> Option<(Kernel, bool)> {
        match self {
            Machine::Host => None,
            Machine::V2Old => Some((Kernel::V6_1, false)),
            Machine::V2OldGenerations => Some((Kernel::V6_1, true)),
            Machine::V2Lists => Some((Kernel::V6_12, false)),
            Machine::V2New => Some((Kernel::V6_12, true)),
        }
    }
}

/// Does what was asked.
pub(crate) fn run(options: &Options) -> Result<()> {
    let series = workspace::root().join("fixtures").join("forecast").display().to_string();
    match &options.experiment {
        Experiment::Replay => here(&["replay", &series]),
        Experiment::Record { scenarios } => {
            ensure_root()?;
            let arguments: Vec<&str> =
                ["record", series.as_str()].into_iter().chain(scenarios.iter().map(String::as_str)).collect();
            here(&arguments)
        }
        Experiment::Means { machines } => {
            println!(
                "| kernel | file | means | working set removed | freed | acts | time | still in memory | hot file's speed | refaults |"
            );
            println!("|---|---|---|---|---|---|---|---|---|---|");
            machines.all().iter().try_for_each(|machine| means(*machine))
        }
        Experiment::Keep { machines, seconds, rounds } => {
            machines.all().iter().try_for_each(|machine| keep(*machine, *seconds, *rounds))
        }
    }
}

fn means(machine: Machine) -> Result<()> {
    let arguments = |mib: &'static str| ["means", "--label", machine.label(), "--mib", mib];
    match machine.guest() {
        None => {
            ensure_root()?;
            here(&arguments("256"))?;
            let mapped: Vec<&str> = arguments("256").into_iter().chain(["--mmap"]).collect();
            here(&mapped)
        }
        Some((kernel, generations)) => {
            let mapped: Vec<&str> = arguments("128").into_iter().chain(["--mmap"]).collect();
            guest::run(kernel, generations, &[("read", &arguments("128")), ("mapped", &mapped)])
        }
    }
}

fn keep(machine: Machine, seconds: u64, rounds: u32) -> Result<()> {
    println!("{}:", machine.label());
    let (seconds, rounds) = (seconds.to_string(), rounds.to_string());
    match machine.guest() {
        None => {
            ensure_root()?;
            let program = built("reprieve-cli", "reprieve", true)?.display().to_string();
            here(&["keep", "--reprieve", &program, "--seconds", &seconds, "--rounds", &rounds])
        }
        Some((kernel, generations)) => {
            // The guest's disk is small, and a file must not come again while it would count as missed.
            let mut arguments = vec!["keep", "--seconds", &seconds, "--rounds", &rounds];
            arguments.extend(["--files", "44", "--rate", "60"]);
            // With generations, cache that is only read does not count as active: what is mapped does.
            arguments.extend(generations.then_some("--mmap"));
            guest::run(kernel, generations, &[("keep", &arguments)])
        }
    }
}

fn here(arguments: &[&str]) -> Result<()> {
    process::run(Command::new(built("reprieve-evict", "reprieve-evict", false)?).args(arguments))
}

/// Builds a program, as it is released if it is to be measured, and says where it is.
fn built(package: &str, name: &str, release: bool) -> Result<PathBuf> {
    let mut cargo = workspace::cargo(&["build", "--locked", "--package", package]);
    process::run(cargo.args(release.then_some("--release")))?;
    let path = workspace::target().join(if release { "release" } else { "debug" }).join(name);
    ensure!(path.is_file(), "cargo made no {}", path.display());
    Ok(path)
}

fn ensure_root() -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "this makes memory cgroups, which takes root; use sudo");
    Ok(())
}

/// For `guest`: the program of a package among those built.
fn find<'a>(executables: &'a [crate::static_build::Executable], package: &str) -> Result<&'a PathBuf> {
    let found = executables.iter().find(|executable| executable.package == package && !executable.is_test);
    Ok(&found.with_context(|| format!("cargo built no {package}"))?.path)
}
