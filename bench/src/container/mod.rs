//! What a look at one container's own memory costs: `Memory::refresh` beside bare preads of the files that it needs, and
//! `reprieve free` beside procps' `free`, from start to exit.
//!
//! Both are measured by a process inside a container of a pod, each with a limit of its own ([`worker`]). The two
//! contestants take turns, and the ratio is taken round by round.

pub(crate) mod worker;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use reprieve_readings::CgroupVersion;

use crate::place::{Place, command_in};
use crate::statistics::Sample;
use crate::table::Table;
use crate::{print_section, progress};

/// Arguments of `container`.
#[derive(Args)]
pub(crate) struct Options {
    /// The program `reprieve`; without it only the library is measured
    #[arg(long)]
    reprieve: Option<PathBuf>,
    /// Rounds of each comparison
    #[arg(long, default_value_t = 400)]
    rounds: usize,
}

/// Measures and prints the section.
pub(crate) fn run(options: &Options) -> Result<()> {
    let place = Place::open()?;
    place.cgroup("kubepods")?;
    let pod = place.cgroup("kubepods/pod")?;
    let container = place.cgroup("kubepods/pod/container")?;
    place.lab().limit(&pod, 512 << 20)?;
    place.lab().limit(&container, 256 << 20)?;

    progress("a container's own memory");
    let own = std::env::current_exe().context("the bench's own program was not found")?;
    let mut command = command_in(&container, own);
    command.args(["look", "--rounds"]).arg(options.rounds.to_string());
    if let Some(reprieve) = &options.reprieve {
        command.arg("--reprieve").arg(reprieve);
    }
    let output = command.output().context("the process in the container did not start")?;
    ensure!(output.status.success(), "it failed: {}", String::from_utf8_lossy(&output.stderr));

    let mut table = Table::new(&["a look at one container's memory", "median µs", "quartiles", "ratio"]);
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        add_rows(&mut table, line)?;
    }
    let note = format!(
        "Medians of {} alternating rounds; ratio: to the first of the two in the same round, median. The container lies \
         in a pod; both have limits. Refresh: CPU time of the thread, of 20 refreshes each with its judgement, divided \
         by 20. free: wall time from before the fork until the process is reaped, output to /dev/null.",
        options.rounds
    );
    let version = if place.version() == CgroupVersion::V1 { "v1" } else { "v2" };
    print_section(&format!("A container's own memory, cgroup {version}: time"), &table, &[note])
}

/// A line is `NAME<tab>NAME<tab>NANOSECONDS,NANOSECONDS …`.
fn add_rows(table: &mut Table, line: &str) -> Result<()> {
    let mut parts = line.split('\t');
    let names = [parts.next().unwrap_or_default(), parts.next().unwrap_or_default()];
    let pair = |text: &str| {
        let (first, second) = text.split_once(',')?;
        Some((first.parse().ok()?, second.parse().ok()?))
    };
    let rounds: Option<Vec<(f64, f64)>> = parts.next().unwrap_or_default().split(' ').map(pair).collect();
    let rounds = rounds.with_context(|| format!("the process in the container said {line:?}"))?;
    let ratio = Sample::new(rounds.iter().map(|(first, second)| second / first).collect())?;
    let first = Sample::new(rounds.iter().map(|(first, _)| first / 1000.0).collect())?;
    let second = Sample::new(rounds.iter().map(|(_, second)| second / 1000.0).collect())?;
    for (name, times, ratio) in [(names[0], first, 1.0), (names[1], second, ratio.median())] {
        let quartiles = format!("{:.1} to {:.1}", times.quantile(0.25), times.quantile(0.75));
        table.row(vec![name.to_owned(), format!("{:.1}", times.median()), quartiles, format!("{ratio:.2}")]);
    }
    Ok(())
}
