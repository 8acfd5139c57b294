//! Putting together who had told of which kill, and how long after the kernel.

use std::collections::HashMap;

use anyhow::Result;

use crate::kills::clock::LogClock;
use crate::kills::listen::{KillRecord, Told};
use crate::print_section;
use crate::statistics::Sample;
use crate::table::Table;

/// Everything that was seen of the kills.
pub(crate) struct Verdict {
    /// The kernel's records.
    pub(crate) kills: Vec<KillRecord>,
    /// The agent's lines.
    pub(crate) agent: Vec<Told>,
    /// dmesg's lines.
    pub(crate) dmesg: Vec<Told>,
    /// The clock of the records.
    pub(crate) clock: LogClock,
    /// Idle cgroups beside those of the victims.
    pub(crate) cgroups: usize,
    /// How long it took from the agent's line to a durable record.
    pub(crate) durable: String,
}

impl Verdict {
    /// Prints the section.
    pub(crate) fn print(&self) -> Result<()> {
        let agent = first_arrivals(&self.agent);
        let dmesg = first_arrivals(&self.dmesg);
        let mut table = Table::new(&["from the kernel's record to", "told", "median ms", "99 % ms", "worst ms"]);
        let all = |_: &KillRecord| true;
        self.add_row(&mut table, "the agent's log line", all, |kill| agent.get(&kill.pid).copied());
        self.add_row(
            &mut table,
            "  kills with a full report",
            |kill| kill.with_report,
            |kill| agent.get(&kill.pid).copied(),
        );
        self.add_row(
            &mut table,
            "  kills named in one line only",
            |kill| !kill.with_report,
            |kill| agent.get(&kill.pid).copied(),
        );
        self.add_row(&mut table, "dmesg --follow-new", all, |kill| dmesg.get(&kill.pid).copied());
        self.add_row(&mut table, "a bare poll and read of /dev/kmsg", all, |kill| Some(kill.read));
        let reports = self.kills.iter().filter(|kill| kill.with_report).count();
        let note = format!(
            "{} real kills, about 16 in 5 s, among {} idle cgroups; the kernel printed a full report of {reports} (it \
             allows 10 in 5 s). Times end at the bench's end of the pipe. Error of the two clocks' comparison: at most \
             {:.3} ms. From telling a kill to its durable record it took {} more (median).",
            self.kills.len(),
            self.cgroups,
            self.clock.error() / 1e3,
            self.durable
        );
        print_section("From the kernel's record of a kill to the log line", &table, &[note])
    }

    fn add_row(
        &self,
        table: &mut Table,
        name: &str,
        wanted: impl Fn(&KillRecord) -> bool,
        arrival: impl Fn(&KillRecord) -> Option<f64>,
    ) {
        let kills: Vec<&KillRecord> = self.kills.iter().filter(|kill| wanted(kill)).collect();
        let delay = |kill: &&KillRecord| Some((arrival(kill)? - self.clock.monotonic(kill.logged)) / 1e3);
        let delays = Sample::new(kills.iter().filter_map(delay).collect());
        let told = delays.as_ref().map_or(0, Sample::len);
        let figure =
            |pick: fn(&Sample) -> f64| delays.as_ref().map_or(String::new(), |all| format!("{:.3}", pick(all)));
        table.row(vec![
            name.to_owned(),
            format!("{told} of {}", kills.len()),
            figure(Sample::median),
            figure(|sample| sample.quantile(0.99)),
            figure(Sample::worst),
        ]);
    }
}

fn first_arrivals(told: &[Told]) -> HashMap<u32, f64> {
    let mut first = HashMap::new();
    for line in told {
        first.entry(line.pid).or_insert(line.at);
    }
    first
}
