//! Experiments with evictions, run by `cargo xtask evict`; docs/eviction.md tells what came of them.
//!
//! `record` lets programs leak, breathe and rest below a limit and writes down what was left, and `replay` holds the
//! forecast against such series. `means` tries each way to take page cache out of a working set. `keep` runs a workload
//! beside a stand-in for the kubelet, without and with the cache keeper. `work` is what runs inside the cgroups.

mod keep;
mod means;
mod node;
mod record;
mod replay;
mod scenarios;
mod work;
mod worker;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Experiments with evictions
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Records series of what is left below a limit
    Record(record::Options),
    /// Holds the forecast against recorded series
    Replay(replay::Options),
    /// Tries each means against page cache, and prints a table
    Means(means::Options),
    /// Runs a workload beside a stand-in for the kubelet, without and with the cache keeper
    Keep(keep::Options),
    /// What runs inside the cgroups
    #[command(hide = true)]
    Work(work::Options),
    /// What `means` calls to write to memory.force_empty
    #[command(hide = true)]
    ForceEmptyWriter { parent: u32 },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Record(options) => record::run(&options),
        Command::Replay(options) => replay::run(&options),
        Command::Means(options) => means::run(&options),
        Command::Keep(options) => keep::run(&options),
        Command::Work(options) => work::run(&options),
        Command::ForceEmptyWriter { parent } => reprieve_linux::write_force_empty(parent).map_err(Into::into),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Says on stderr what goes on. If nobody can read that, so be it.
fn progress(what: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// Prints a line of a table.
fn print(line: &str) -> Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{line}")?;
    Ok(())
}
