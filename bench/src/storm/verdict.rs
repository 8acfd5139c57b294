//! The tables: what was killed, and what each source told of it.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Result, ensure};
use reprieve_readings::CgroupVersion;

use super::Options;
use super::containers::Victim;
use super::disturbance::Disturbed;
use super::ledger::{Ledger, Record};
use super::peer::Lines;
use crate::program::durable_median;
use crate::table::Table;

/// All that is known of a storm.
pub(crate) struct Verdict {
    pub(crate) victims: Vec<Victim>,
    /// The number of the line in the kernel's log that names the victim, as far as the bench itself could read it.
    pub(crate) sequences: HashMap<u32, u64>,
    pub(crate) took: Duration,
    /// By how much the machine's count rose.
    pub(crate) rise: u64,
    /// By how much the ledger's did.
    pub(crate) counted: u64,
    pub(crate) ledger: Ledger,
    pub(crate) lines: Lines,
    pub(crate) disturbed: Disturbed,
}

/// How well the victims of some part of the storm were told.
#[derive(Default)]
struct Told {
    victims: usize,
    exact: usize,
    likely: usize,
    placed: usize,
    certain: usize,
    wrong: usize,
    more_than_once: usize,
    killed_line: usize,
    summary_line: usize,
}

impl Verdict {
    pub(crate) fn print(&self, options: &Options, version: CgroupVersion) -> Result<()> {
        let mut records: HashMap<u32, Vec<&Record>> = HashMap::new();
        for record in self.ledger.0.iter().filter(|record| !record.history) {
            if let Some(pid) = record.pid {
                records.entry(pid).or_default().push(record);
            }
        }
        let lines = self.disturbed.agent.lost();
        let is_lost = |victim: &&Victim| self.sequences.get(&victim.pid).is_some_and(|&line| lines.contains(line));
        let lost = self.told(self.victims.iter().filter(is_lost), &records);
        let read = self.told(self.victims.iter().filter(|victim| !is_lost(victim)), &records);

        let mut table = Table::new(&["what was told", "log read", "log overwritten"]);
        let mut row = |what: &str, count: fn(&Told) -> usize| {
            let cell = |told: &Told| format!("{} ({:.1} %)", count(told), percent(count(told), told.victims));
            table.row(vec![what.to_owned(), cell(&read), cell(&lost)]);
        };
        row("killed", |told| told.victims);
        row("reprieve: the process", |told| told.exact + told.likely);
        row("… of these only likely", |told| told.likely);
        row("reprieve: the process in its cgroup", |told| told.placed);
        row("… of these certainly", |told| told.certain);
        row("reprieve: in a wrong cgroup, and certainly", |told| told.wrong);
        row("reprieve: told more than once", |told| told.more_than_once);
        row("dmesg: the process (`Killed process`)", |told| told.killed_line);
        row("dmesg: the process in its cgroup (`oom-kill:`)", |told| told.summary_line);
        let title = format!("A storm: {} kills over {} containers", self.victims.len(), options.cgroups);
        crate::print_section(&title, &table, &self.notes(version)?)?;
        ensure!(self.rise == self.counted, "the ledger does not add up: {} of {}", self.counted, self.rise);
        ensure!(read.more_than_once + lost.more_than_once == 0, "some kills are told more than once");
        Ok(())
    }

    fn told<'a>(&self, victims: impl Iterator<Item = &'a Victim>, records: &HashMap<u32, Vec<&Record>>) -> Told {
        let mut told = Told::default();
        for victim in victims {
            told.victims += 1;
            told.killed_line += usize::from(self.lines.killed.contains(&victim.pid));
            told.summary_line += usize::from(self.lines.summary.contains(&victim.pid));
            let Some([record, again @ ..]) = records.get(&victim.pid).map(Vec::as_slice) else { continue };
            told.more_than_once += usize::from(!again.is_empty());
            told.exact += usize::from(record.identity == "exact");
            told.likely += usize::from(record.identity == "likely");
            let is_right = record.cgroup.as_ref() == Some(&victim.cgroup);
            told.placed += usize::from(is_right);
            told.certain += usize::from(is_right && record.cgroup_certain);
            told.wrong += usize::from(!is_right && record.cgroup_certain);
        }
        told
    }

    fn notes(&self, version: CgroupVersion) -> Result<Vec<String>> {
        let interface = match version {
            CgroupVersion::V1 => "cgroup v1",
            CgroupVersion::V2 => "cgroup v2",
        };
        let agent = &self.disturbed.agent;
        let durable = durable_median(agent.address())?;
        Ok(vec![
            format!(
                "{interface}: the storm took {:.1} s. The machine's count rose by {}, the ledger's by {}. The agent was \
                 killed {} times, and once stopped while the log was overwritten; it says that lines of the log were lost to \
                 it {} times. The bench itself read the lines of {} kills.",
                self.took.as_secs_f64(),
                self.rise,
                self.counted,
                self.disturbed.restarts,
                agent.lost().overruns(),
                self.victims.iter().filter(|victim| self.sequences.contains_key(&victim.pid)).count(),
            ),
            format!(
                "The agent's resident memory was {:.1} MiB at most; from telling a kill to its durable record it took \
                 {durable} (median of the last run).",
                agent.peak_kib()? as f64 / 1024.0,
            ),
        ])
    }
}

fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 * 100.0 / whole as f64 }
}
