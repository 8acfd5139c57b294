//! The measurements of `cargo xtask bench`, which builds this program, calls it once a section, and puts the sections
//! together. docs/bench.md says what each measures and how to read it.
//!
//! A section goes to stdout as a Markdown table; progress and errors go to stderr, each line beginning with `bench: `,
//! because in a virtual machine both come through one port. Nothing here judges a time: it only shows them.

mod agent;
mod container;
mod explain;
mod init;
mod kills;
mod place;
mod population;
mod program;
mod scan;
mod statistics;
mod storm;
mod table;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::table::{Table, wrap};

/// Measures what Reprieve costs, beside its peers
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    section: Section,
}

#[derive(Subcommand)]
enum Section {
    /// CPU time of one scan of all cgroups
    Scan(scan::Options),
    /// Memory and CPU time of a running agent, and of an answer to a scraper
    Agent(agent::Options),
    /// Cost of a look at one container's own memory
    Container(container::Options),
    /// Time for a large log
    Explain(explain::Options),
    /// Memory, start and orphans of first processes
    Init(init::Options),
    /// Makes orphans (used by `init`)
    #[command(hide = true)]
    MakeOrphans,
    /// Looks from inside the container (used by `container`)
    #[command(hide = true)]
    Look(container::worker::Options),
    /// Time from the kernel's record of a kill to the agent's log line
    Kills(kills::Options),
    /// Many kills at once, and who accounts for all of them
    Storm(storm::Options),
    /// Reads all cgroups below a directory whenever it is told to (used by `scan`)
    #[command(hide = true)]
    Read(scan::worker::Options),
    /// Removes the cgroups below a directory once stdin ends (used by all)
    #[command(hide = true)]
    RemoveWhenOrphaned {
        /// The topmost of the cgroups
        directory: PathBuf,
    },
}

fn main() -> ExitCode {
    let result = match Arguments::parse().section {
        Section::Scan(options) => scan::run(&options),
        Section::Agent(options) => agent::run(&options),
        Section::Container(options) => container::run(&options),
        Section::Explain(options) => explain::run(&options),
        Section::Init(options) => init::run(&options),
        Section::MakeOrphans => init::make_orphans(),
        Section::Look(options) => container::worker::run(&options),
        Section::Kills(options) => kills::run(&options),
        Section::Storm(options) => storm::run(&options),
        Section::Read(options) => scan::worker::run(&options),
        Section::RemoveWhenOrphaned { directory } => place::remove_when_orphaned(&directory),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            progress(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Says on stderr what is being done.
fn progress(what: &str) {
    for line in what.lines() {
        eprintln!("bench: {line}");
    }
}

/// Prints a finished section.
fn print_section(title: &str, table: &Table, notes: &[String]) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "### {title}\n\n{table}")?;
    for note in notes {
        writeln!(stdout, "{}", wrap(note))?;
    }
    Ok(stdout.flush()?)
}
