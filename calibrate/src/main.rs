//! The program behind `cargo xtask calibrate`; see the library.

use std::io::{Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, ExitCode, Stdio};

use anyhow::{Context, Result, ensure};
use clap::{Parser, Subcommand};
use reprieve_calibrate::{Place, Program, ROW_PREFIX, Report, Row, Scenario, progress, work};
use reprieve_lab::{Lab, Version};

/// Fills memory until the kernel kills, and compares what was had with what was said to be available
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Does the runs of this machine, and prints a row for each
    Run(Options),
    /// Prints the tables of these rows, and fails where the figures are missed
    Report {
        /// Files with rows; other lines are passed over
        files: Vec<PathBuf>,
    },
    /// Removes the cgroups below a directory once stdin ends (used by `run`)
    #[command(hide = true)]
    RemoveWhenOrphaned {
        /// The topmost of the cgroups
        directory: PathBuf,
    },
    /// What runs inside the cgroups
    #[command(hide = true)]
    Work {
        #[command(subcommand)]
        work: work::Work,
    },
}

#[derive(clap::Args)]
struct Options {
    /// The limits, in MiB
    #[arg(long, value_delimiter = ',', default_values_t = [64, 256, 1024])]
    limits: Vec<u64>,
    /// How many times each
    #[arg(long, default_value_t = 3)]
    repetitions: u32,
    /// Only the scenarios whose name contains this
    #[arg(long, default_value = "")]
    only: String,
    /// There is swap: those that need it are wanted
    #[arg(long)]
    swap: bool,
    /// Fill the whole machine, and nothing else
    #[arg(long)]
    machine: bool,
    /// Where files may be made, on a disk
    #[arg(long, default_value = "/var/tmp")]
    files: PathBuf,
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(options) => run(&options),
        Command::Report { files } => report(&files),
        Command::RemoveWhenOrphaned { directory } => remove_when_orphaned(&directory),
        Command::Work { work } => work::run(&work),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<()> {
    let program = Program(std::env::current_exe()?);
    let lab = Lab::open("calibrate")?.context("it needs root and a memory cgroup hierarchy that it may write to")?;
    let janitor = Janitor::start(&program, lab.directory())?;
    // What is declared last is dropped first: the janitor must find the cgroups gone.
    let (_janitor, lab) = (janitor, lab);
    let wanted = |scenario: &&Scenario| {
        let possible = match scenario.place {
            Place::Any => !options.machine,
            Place::V2 => !options.machine && lab.version() == Version::V2,
            Place::Swap => !options.machine && options.swap,
            Place::Machine => options.machine,
        };
        possible && scenario.name.contains(&options.only)
    };
    for scenario in Scenario::ALL.iter().filter(wanted) {
        for limit in &options.limits {
            for _ in 0..options.repetitions {
                let rows = reprieve_calibrate::run(&lab, &program, &options.files, scenario, limit << 20)
                    .with_context(|| format!("{}, {limit} MiB", scenario.name))?;
                for row in rows {
                    let error = (row.best as f64 - row.obtained as f64) / row.limit as f64 * 100.0;
                    progress(&format!(
                        "{}, {limit} MiB: {:.1} MiB had, best off by {error:.2} %, {:?} after {:.1} s",
                        row.scenario,
                        row.obtained as f64 / f64::from(1 << 20),
                        row.end,
                        row.seconds
                    ));
                    writeln!(std::io::stdout(), "{ROW_PREFIX}{}", serde_json::to_string(&row)?)?;
                }
            }
        }
    }
    Ok(())
}

/// Removes the cgroups also where nothing is dropped: at Ctrl-C and SIGKILL. It waits on a pipe whose other end only this
/// process holds. The workers end by themselves then, for the same reason.
struct Janitor(Child);

impl Janitor {
    fn start(program: &Program, directory: &Path) -> Result<Self> {
        let mut janitor = process::Command::new(&program.0);
        janitor.arg("remove-when-orphaned").arg(directory).stdin(Stdio::piped()).process_group(0);
        janitor.spawn().map(Janitor).context("the process that cleans up did not start")
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It says itself if it could not clean up.
        let _ = self.0.wait();
    }
}

fn remove_when_orphaned(directory: &Path) -> Result<()> {
    std::io::stdin().read_to_end(&mut Vec::new())?;
    if directory.exists() {
        reprieve_lab::remove_tree(directory)
            .with_context(|| format!("{} is left behind; remove it with rmdir", directory.display()))?;
    }
    Ok(())
}

fn report(files: &[PathBuf]) -> Result<()> {
    let mut rows: Vec<Row> = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file).with_context(|| format!("{} could not be read", file.display()))?;
        for line in text.lines().filter_map(|line| line.strip_prefix(ROW_PREFIX)) {
            rows.push(serde_json::from_str(line).with_context(|| format!("not a row: {line}"))?);
        }
    }
    let report = Report(&rows);
    write!(std::io::stdout(), "{report}")?;
    let missed = report.verdict().missed;
    missed.iter().for_each(|line| progress(line));
    ensure!(missed.is_empty(), "{} times a figure was missed", missed.len());
    Ok(())
}
