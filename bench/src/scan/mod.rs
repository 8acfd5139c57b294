//! The CPU time of one scan of all cgroups, beside a bare loop of `pread`s of the same files.
//!
//! Each reader is a process of its own ([`worker`]), so that all can keep as many files open as they like. In a round
//! each reads everything once, one after the other and in another order each time; what disturbs the machine for longer
//! than a moment then disturbs them alike, and the ratio is taken round by round.

#[cfg(feature = "cgroupfs")]
mod cgroupfs_reader;
mod preads;
mod race;
pub(crate) mod worker;

use std::path::Path;

use anyhow::Result;
use clap::Args;
use reprieve_readings::CgroupVersion;

use crate::place::Place;
use crate::population::populate;
use crate::scan::race::{Contestant, race};
use crate::scan::worker::Reader;
use crate::statistics::Sample;
use crate::table::Table;
use crate::{print_section, progress};

/// As many files as `reprieve agent` keeps open by default.
const DEFAULT_OPEN_FILES: usize = 8192;

/// Arguments of `scan`.
#[derive(Args)]
pub(crate) struct Options {
    /// Numbers of cgroups
    #[arg(long, value_delimiter = ',', default_value = "100,500,2000")]
    cgroups: Vec<usize>,
    /// Rounds for each of these numbers
    #[arg(long, value_delimiter = ',', default_value = "41,41,41")]
    rounds: Vec<usize>,
}

/// Measures and prints the section.
pub(crate) fn run(options: &Options) -> Result<()> {
    let place = Place::open()?;
    let version = place.version();
    let mut table = Table::new(&["cgroups, reader", "CPU ms", "quartiles", "ratio"]);
    for (&cgroups, &rounds) in options.cgroups.iter().zip(&options.rounds) {
        let name = format!("of-{cgroups}");
        progress(&format!("making {cgroups} cgroups"));
        let top = populate(&place, &name, cgroups)?;
        let mut contestants = start(&top, version)?;
        progress(&format!("{cgroups} cgroups: {rounds} rounds"));
        let times = race(&mut contestants, rounds)?;
        add_rows(&mut table, cgroups, &contestants, &times)?;
        drop(contestants);
        reprieve_lab::remove_tree(&top)?;
    }
    let rounds = options.rounds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let title =
        format!("One scan of all cgroups, cgroup {}: CPU time", if version == CgroupVersion::V1 { "v1" } else { "v2" });
    let note = format!(
        "Medians of {rounds} alternating rounds; ratio: to the bare preads of the same round, median. In brackets: \
         files kept open between scans. Bare: those that each scan reads, not those that one in sixteen reads."
    );
    print_section(&title, &table, &[note])
}

/// Starts the readers. The first is the one that the others are compared with.
fn start(top: &Path, version: CgroupVersion) -> Result<Vec<Contestant>> {
    let bare = Contestant::start(Reader::Preads, top, version, None)?;
    let default = Contestant::start(Reader::Scan, top, version, Some(DEFAULT_OPEN_FILES))?;
    // All the files that the bare loop opens, as long as the system allows to have twice as many open.
    let all = (default.open_files < bare.open_files)
        .then(|| Contestant::start(Reader::Scan, top, version, Some(bare.open_files)))
        .transpose()?;
    let mut contestants = vec![bare, default];
    contestants.extend(all);
    if cfg!(feature = "cgroupfs") && version == CgroupVersion::V2 {
        contestants.push(Contestant::start(Reader::Cgroupfs, top, version, None)?);
    }
    Ok(contestants)
}

fn add_rows(table: &mut Table, cgroups: usize, contestants: &[Contestant], times: &[Vec<f64>]) -> Result<()> {
    let Some(bare) = times.first() else { return Ok(()) };
    for (contestant, times) in contestants.iter().zip(times) {
        let ratio = Sample::new(times.iter().zip(bare).map(|(time, bare)| time / bare).collect())?;
        let time = Sample::new(times.clone())?;
        table.row(vec![
            format!("{cgroups}, {} ({})", contestant.reader.name(), contestant.open_files),
            format!("{:.2}", time.median()),
            format!("{:.2} to {:.2}", time.quantile(0.25), time.quantile(0.75)),
            format!("{:.2}", ratio.median()),
        ]);
    }
    Ok(())
}
