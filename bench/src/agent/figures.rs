//! The table of the agent's section: a row for each figure, a column for each server.

use crate::agent::scrape::Cost;
use crate::agent::usage::Memory;
use crate::table::Table;

/// What one server costs.
pub(crate) struct Figures {
    /// The column's heading.
    pub(crate) heading: String,
    /// Cgroups that it reads, by its own word.
    pub(crate) seen: Option<u64>,
    /// CPU time without requests, in percent of one core.
    pub(crate) idle_percent: f64,
    /// Its memory before the first scrape.
    pub(crate) before: Memory,
    /// Kernel memory charged to its cgroup before the first scrape.
    pub(crate) kernel: Option<u64>,
    /// Its memory after the last scrape.
    pub(crate) after: Memory,
    /// Its answers: in the text format, and in OpenMetrics if it speaks that.
    pub(crate) answers: Vec<Cost>,
}

/// A row's name, what it says of a server, and what was measured of cAdvisor.
type Row = (&'static str, fn(&Figures) -> Option<String>, &'static str);

const ROWS: &[Row] = &[
    ("cgroups that it reads", |figures| figures.seen.map(|seen| seen.to_string()), "500"),
    ("resident before a scrape, MiB", |figures| Some(mebibytes(figures.before.resident)), "80 to 134"),
    ("  its proportional part (Pss)", |figures| Some(mebibytes(figures.before.proportional)), ""),
    ("  its private part", |figures| Some(mebibytes(figures.before.private)), ""),
    ("resident after the scrapes", |figures| Some(mebibytes(figures.after.resident)), ""),
    ("resident at its peak (VmHWM)", |figures| Some(mebibytes(figures.after.peak)), ""),
    ("kernel memory charged to it", |figures| figures.kernel.map(mebibytes), ""),
    ("idle CPU, % of a core", |figures| Some(format!("{:.3}", figures.idle_percent)), "9.4"),
    ("text answer: size, KiB", |figures| figures.answers.first().map(size), "8200"),
    ("  CPU, ms, median", |figures| figures.answers.first().map(cpu), ""),
    ("  CPU, ms, 95th percentile", |figures| figures.answers.first().map(cpu_95), ""),
    ("  latency, ms, median", |figures| figures.answers.first().map(latency), "450"),
    ("OpenMetrics answer: size, KiB", |figures| figures.answers.get(1).map(size), ""),
    ("  CPU, ms, median", |figures| figures.answers.get(1).map(cpu), ""),
    ("  latency, ms, median", |figures| figures.answers.get(1).map(latency), ""),
];

/// Puts the servers side by side, and cAdvisor's quoted figures at the end.
pub(crate) fn table(columns: &[Figures]) -> Table {
    let mut headings = vec!["reprieve agent at n cgroups"];
    headings.extend(columns.iter().map(|column| column.heading.as_str()));
    headings.push("cAdvisor");
    let mut table = Table::new(&headings);
    for (name, figure, quoted) in ROWS {
        let mut cells = vec![(*name).to_owned()];
        cells.extend(columns.iter().map(|column| figure(column).unwrap_or_default()));
        cells.push((*quoted).to_owned());
        table.row(cells);
    }
    table
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / f64::from(1 << 20))
}

fn size(cost: &Cost) -> String {
    format!("{:.0}", cost.size as f64 / 1024.0)
}

fn cpu(cost: &Cost) -> String {
    format!("{:.2}", cost.cpu.median())
}

fn cpu_95(cost: &Cost) -> String {
    format!("{:.2}", cost.cpu.quantile(0.95))
}

fn latency(cost: &Cost) -> String {
    format!("{:.2}", cost.latency.median())
}
