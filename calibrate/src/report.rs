//! The tables, and whether the figures are reached.

use std::fmt::{self, Write as _};

use crate::others::OTHERS;
use crate::peers::PEERS;
use crate::row::{End, Row};
use crate::table::Table;

/// How far off the best guess may be, in percent of the limit…
const TOLERATED: f64 = 5.0;
/// …in so many percent of all runs.
const SHARE: f64 = 95.0;
/// By how much a peer may be nearer, in percent of the limit: page tables, and the kernel's counts, which it keeps in
/// batches for each processor.
const NOISE: f64 = 0.5;

/// Where the best guess can't be good, and why. Only the range is checked there.
const KNOWN: [Known; 5] = [
    Known {
        kernel: "",
        version: "v1",
        scenario: "pipes and threads",
        reason: "v1 does not tell which of the kernel's memory can be freed, so all of it is taken for caches that can",
    },
    Known {
        kernel: "",
        version: "",
        scenario: "many dentries",
        reason: "they are freed after an RCU grace period only, and the kernel sometimes kills before that is over",
    },
    Known {
        kernel: "",
        version: "v2",
        scenario: "dirty cache",
        reason: "v2 does not wait for the disk: it kills after some retries, and no file tells how fast the disk is",
    },
    Known {
        kernel: "",
        version: "v2",
        scenario: "pod's limit, protected sibling",
        reason: "the sibling's `memory.min` keeps its cache, which is seen neither from the cgroup nor from the pod",
    },
    Known {
        kernel: "6.1.",
        version: "v2",
        scenario: "swap, limited, huge pages",
        reason: "Linux 6.1 kills while split huge pages are in memory and in swap at once (`swapcached`); 6.12 does not",
    },
];

struct Known {
    /// What the kernel's release begins with.
    kernel: &'static str,
    /// What the interface's version begins with.
    version: &'static str,
    /// What the scenario's name begins with.
    scenario: &'static str,
    reason: &'static str,
}

impl Known {
    fn covers(&self, row: &Row) -> bool {
        let here = row.version.starts_with(self.version) && row.kernel.starts_with(self.kernel);
        here && row.scenario.starts_with(self.scenario)
    }
}

/// All rows, to be shown as Markdown.
#[derive(Debug)]
pub struct Report<'a>(pub &'a [Row]);

/// What is missed, one line each.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Figures that are not reached.
    pub missed: Vec<String>,
}

/// The rows of one scenario on one machine.
struct Group<'a> {
    version: &'a str,
    kernel: &'a str,
    scenario: &'a str,
    rows: Vec<&'a Row>,
}

impl Row {
    /// How far an answer is from what was had, in percent of the limit.
    fn error(&self, answer: u64) -> f64 {
        answer.abs_diff(self.obtained) as f64 / self.limit as f64 * 100.0
    }

    fn our_error(&self) -> f64 {
        self.error(self.best)
    }

    fn in_range(&self) -> bool {
        self.low <= self.obtained && self.obtained <= self.high
    }

    /// Whether no reading tells what decides in this scenario, so that only the range can be asked for.
    pub fn known(&self) -> bool {
        KNOWN.iter().any(|known| known.covers(self))
    }

    fn peer_error(&self, name: &str) -> Option<f64> {
        self.peers.get(name).copied().flatten().map(|answer| self.error(answer))
    }

    /// One line that says all of a run that missed a figure.
    fn told(&self) -> String {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        format!(
            "{} {}, {}, limit {:.0} MiB: had {:.2} MiB, said {:.2} to {:.2}, best {:.2}",
            self.version,
            self.kernel,
            self.scenario,
            mib(self.limit),
            mib(self.obtained),
            mib(self.low),
            mib(self.high),
            mib(self.best)
        )
    }
}

impl Report<'_> {
    /// Holds the rows against the figures.
    pub fn verdict(&self) -> Verdict {
        let mut missed = Vec::new();
        for row in self.0 {
            if !row.in_range() {
                missed.push(format!("out of the range: {}", row.told()));
            }
            for peer in PEERS.iter().filter(|_| !row.known()) {
                if row.peer_error(peer.name).is_some_and(|error| row.our_error() > error + NOISE) {
                    missed.push(format!("{} is nearer: {}", peer.name, row.told()));
                }
            }
        }
        let near = near_percent(self.0.iter().filter(|row| !row.known()));
        if near < SHARE {
            missed.push(format!("the best guess is within {TOLERATED} % in {near:.1} % of the runs only"));
        }
        Verdict { missed }
    }

    fn groups(&self) -> Vec<Group<'_>> {
        let mut groups: Vec<Group> = Vec::new();
        for row in self.0 {
            let same = |group: &&mut Group| {
                group.version == row.version && group.kernel == row.kernel && group.scenario == row.scenario
            };
            match groups.iter_mut().find(same) {
                Some(group) => group.rows.push(row),
                None => groups.push(Group {
                    version: &row.version,
                    kernel: &row.kernel,
                    scenario: &row.scenario,
                    rows: vec![row],
                }),
            }
        }
        groups
    }

    fn summary(&self) -> Table {
        let mut table = Table::new(&["all runs", "median", "95 % within", "worst", "off by more than 5 %"]);
        let mut add = |name: &str, errors: Vec<f64>| {
            let beyond = errors.iter().filter(|error| **error > TOLERATED).count();
            let beyond = format!("{beyond} of {}", errors.len());
            let shown = |share| percent(quantile(&errors, share));
            table.row(vec![name.to_owned(), shown(0.5), shown(0.95), shown(1.0), beyond]);
        };
        add("Reprieve, best", self.0.iter().map(Row::our_error).collect());
        for other in &OTHERS {
            let rows = self.0.iter().filter(|row| row.end != End::Slowed);
            let errors = rows.filter_map(|row| other.answer(row).map(|answer| row.error(answer))).collect();
            add(&format!("  {}", other.name), errors);
        }
        for peer in &PEERS {
            add(peer.name, self.0.iter().filter_map(|row| row.peer_error(peer.name)).collect());
        }
        table
    }
}

impl Group<'_> {
    fn cells(&self) -> Vec<String> {
        let errors: Vec<f64> = self.rows.iter().map(|row| row.our_error()).collect();
        let had: Vec<f64> = self.rows.iter().map(|row| row.obtained as f64 / row.limit as f64 * 100.0).collect();
        let held = self.rows.iter().filter(|row| row.in_range()).count();
        let killed = self.rows.iter().filter(|row| row.end != End::Stalled).count();
        let mark = if self.rows.iter().any(|row| row.known()) { " *" } else { "" };
        let mut name = format!("{}{mark}", self.scenario);
        if killed < self.rows.len() {
            let _ = write!(name, " ({} stalled)", self.rows.len() - killed);
        }
        let runs = self.rows.len();
        let mut cells = vec![name, runs.to_string(), percent(quantile(&had, 0.5)), format!("{held} of {runs}")];
        cells.extend([0.5, 1.0].map(|share| percent(quantile(&errors, share))));
        cells.extend(PEERS.iter().map(|peer| {
            let errors: Vec<f64> = self.rows.iter().filter_map(|row| row.peer_error(peer.name)).collect();
            percent(quantile(&errors, 0.5))
        }));
        cells
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut tables: Vec<(String, Table)> = Vec::new();
        for group in self.groups() {
            let title = format!("Linux {}, cgroup {}", group.kernel, group.version);
            if tables.last().is_none_or(|(last, _)| *last != title) {
                let mut headings = vec!["scenario", "runs", "had", "in range", "best", "worst"];
                headings.extend(PEERS.iter().map(|peer| peer.name));
                tables.push((title, Table::new(&headings)));
            }
            if let Some((_, table)) = tables.last_mut() {
                table.row(group.cells());
            }
        }
        for (title, table) in tables {
            writeln!(f, "#### {title}\n\n{table}")?;
        }
        writeln!(f, "#### All machines\n\n{}", self.summary())?;
        let in_range = self.0.iter().filter(|row| row.in_range()).count();
        let runs = self.0.len();
        writeln!(f, "- The range held in {in_range} of {runs} runs.")?;
        let near = near_percent(self.0.iter());
        writeln!(f, "- The best guess was within {TOLERATED} % of the limit in {near:.1} % of them.")?;
        let others = near_percent(self.0.iter().filter(|row| !row.known()));
        writeln!(f, "- Without those where it is known why it can't be (marked *), in {others:.1} %:")?;
        for known in KNOWN {
            let version = if known.version.is_empty() { "" } else { ", " };
            writeln!(f, "  - {}{version}{}: {}.", known.scenario, known.version, known.reason)?;
        }
        Ok(())
    }
}

/// How many of the rows have a best guess that is near enough, in percent; of no rows none.
fn near_percent<'a>(rows: impl Iterator<Item = &'a Row>) -> f64 {
    let (near, all) =
        rows.fold((0_u32, 0_u32), |(near, all), row| (near + u32::from(row.our_error() <= TOLERATED), all + 1));
    f64::from(near) / f64::from(all.max(1)) * 100.0
}

/// The value that so large a share of all does not exceed; of none there is none.
fn quantile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied()
}

fn percent(value: Option<f64>) -> String {
    match value {
        // Only an unsigned subtraction that went below zero gets there.
        Some(value) if value > 1e6 => "wraps".to_owned(),
        Some(value) => format!("{value:.1}"),
        None => "–".to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::row::NodeRow;

    const MIB: u64 = 1 << 20;

    pub(crate) fn row(scenario: &str, (low, best, high): (u64, u64, u64), obtained: u64, lxcfs: Option<u64>) -> Row {
        Row {
            scenario: scenario.into(),
            version: "v1".into(),
            kernel: "6.18".into(),
            limit: 100 * MIB,
            levels: Vec::new(),
            node: NodeRow::default(),
            low: low * MIB,
            best: best * MIB,
            high: high * MIB,
            swap: 0,
            peers: [("lxcfs".to_owned(), lxcfs.map(|mib| mib.wrapping_mul(MIB)))].into(),
            obtained: obtained * MIB,
            end: End::Killed,
            seconds: 1.0,
        }
    }

    #[test]
    fn good_rows_miss_nothing() {
        let rows = [row("cache", (50, 90, 95), 89, Some(50)), row("cache", (50, 90, 95), 90, None)];
        assert_eq!(Report(&rows).verdict().missed, [""; 0]);
        let text = Report(&rows).to_string();
        let line = text.lines().find(|line| line.starts_with("| cache ")).unwrap();
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        assert_eq!(cells[1..8], ["cache", "2", "89.0", "2 of 2", "0.0", "1.0", "39.0"], "{text}");
    }

    #[test]
    fn each_figure_that_is_missed_is_told() {
        let missed = |row: Row| Report(&[row]).verdict().missed.join("\n");
        assert!(missed(row("cache", (50, 90, 95), 96, None)).contains("out of the range"));
        assert!(missed(row("cache", (50, 90, 95), 49, None)).contains("out of the range"));
        assert!(missed(row("cache", (50, 90, 95), 88, Some(88))).contains("lxcfs is nearer"));
        assert!(missed(row("cache", (50, 90, 95), 84, None)).contains("0.0 % of the runs"));
        assert!(!Report(&[]).verdict().missed.is_empty(), "no runs prove nothing");
    }

    #[test]
    fn where_the_best_guess_can_t_be_good_the_range_still_must() {
        let known = row("pipes and threads", (50, 90, 95), 88, Some(88));
        let good = row("cache", (50, 90, 95), 89, None);
        assert_eq!(Report(&[known, good]).verdict().missed, [""; 0]);
        let out = row("pipes and threads", (50, 90, 95), 40, Some(40));
        assert!(Report(&[out]).verdict().missed[0].contains("out of the range"));
    }

    #[test]
    fn what_wrapped_is_shown_so() {
        assert_eq!(percent(Some(1.7e13)), "wraps");
        assert_eq!((percent(Some(99.94)), percent(None)), ("99.9".into(), "–".into()));
    }

    #[test]
    fn quantiles_are_values_that_were_there() {
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 0.5), Some(2.0));
        assert_eq!(quantile(&[3.0, 1.0, 2.0], 1.0), Some(3.0));
        assert_eq!(quantile(&[1.0, 2.0], 0.5), Some(1.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
