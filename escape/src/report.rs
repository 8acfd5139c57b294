//! The tables of how the trials ended.

use std::collections::BTreeMap;
use std::fmt;

use reprieve_lab::Version;

use crate::leak::Kind;
use crate::trial::{Init, Outcome, Trial};

/// How many ended in which way.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    graceful: u32,
    killed: u32,
    survived: u32,
}

impl Count {
    fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Graceful => self.graceful += 1,
            Outcome::Killed => self.killed += 1,
            Outcome::Survived => self.survived += 1,
        }
    }

    fn plus(self, other: Count) -> Count {
        Count {
            graceful: self.graceful + other.graceful,
            killed: self.killed + other.killed,
            survived: self.survived + other.survived,
        }
    }
}

/// Of those that would have been killed: how many were not. Then those that nothing happened to.
impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let doomed = self.graceful + self.killed;
        let survived = self.survived;
        match (doomed, survived) {
            (0, _) => write!(f, "{survived} lived on"),
            (_, 0) => write!(f, "{} of {doomed}", self.graceful),
            _ => write!(f, "{} of {doomed}, {survived} lived on", self.graceful),
        }
    }
}

type Case = (Kind, bool, bool);

/// What all trials so far came to.
#[derive(Debug)]
pub(crate) struct Report {
    version: Version,
    limit: u64,
    counts: BTreeMap<(Init, u32, Case), Count>,
}

impl Report {
    pub(crate) fn new(version: Version, limit: u64) -> Self {
        Report { version, limit, counts: BTreeMap::new() }
    }

    pub(crate) fn add(&mut self, trial: &Trial, outcome: Outcome) {
        let case = (trial.kind, trial.workers > 0, trial.cache);
        self.counts.entry((trial.init.clone(), trial.rate, case)).or_default().add(outcome);
    }

    fn sum(&self, wanted: impl Fn(&Init, u32, Case) -> bool) -> Count {
        let counts = self.counts.iter().filter(|((init, rate, case), _)| wanted(init, *rate, *case));
        counts.fold(Count::default(), |sum, (_, count)| sum.plus(*count))
    }

    fn inits(&self) -> Vec<&Init> {
        let mut inits: Vec<&Init> = self.counts.keys().map(|(init, _, _)| init).collect();
        inits.dedup();
        inits
    }

    fn rates(&self) -> Vec<u32> {
        let mut rates: Vec<u32> = self.counts.keys().map(|(_, rate, _)| *rate).filter(|&rate| rate > 0).collect();
        rates.sort_unstable();
        rates.dedup();
        rates
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version = match self.version {
            Version::V1 => "v1",
            Version::V2 => "v2",
        };
        writeln!(f, "#### Ended gracefully before a kill, cgroup {version}, limit {} MiB\n", self.limit)?;
        let inits = self.inits();
        let heading = |f: &mut fmt::Formatter<'_>, first: &str, columns: &[String]| {
            write!(f, "| {first:<25} |")?;
            columns.iter().try_for_each(|column| write!(f, " {column:>13} |"))?;
            write!(f, "\n|{:-<27}|", "")?;
            columns.iter().try_for_each(|_| write!(f, "{:->14}:|", ""))?;
            writeln!(f)
        };
        let names: Vec<String> = inits.iter().map(|init| init.name().to_owned()).collect();
        heading(f, "leak, of the limit", &names)?;
        for rate in self.rates() {
            write!(f, "| {:<25} |", format!("{rate} % a second"))?;
            for init in &inits {
                let lost = |kind| kind != Kind::Mapped && kind != Kind::CacheOnly;
                let count = self.sum(|of, at, (kind, _, _)| of == *init && at == rate && lost(kind));
                write!(f, " {:>13} |", count.to_string())?;
            }
            writeln!(f)?;
        }
        write!(f, "| {:<25} |", "warned, cache only")?;
        for init in &inits {
            let count = self.sum(|of, _, (kind, _, _)| of == *init && kind == Kind::CacheOnly);
            let all = count.graceful + count.killed + count.survived;
            write!(f, " {:>13} |", format!("{} of {all}", count.graceful + count.killed))?;
        }
        writeln!(f, "\n")?;
        let rates = self.rates();
        let columns: Vec<String> = rates.iter().map(|rate| format!("{rate} %/s")).collect();
        heading(f, "reprieve-init", &columns)?;
        for kind in [Kind::Anonymous, Kind::Tmpfs, Kind::Mapped] {
            for (workers, cache) in [(false, false), (false, true), (true, false), (true, true)] {
                let what = match kind {
                    Kind::Anonymous => "anonymous",
                    Kind::Tmpfs => "tmpfs",
                    Kind::Mapped | Kind::CacheOnly => "mapped",
                };
                let name =
                    format!("{what}{}{}", if workers { ", workers" } else { "" }, if cache { ", cache" } else { "" });
                write!(f, "| {name:<25} |")?;
                for &rate in &rates {
                    let case = (kind, workers, cache);
                    let ours = |of: &Init| matches!(of, Init::Reprieve(_));
                    let count = self.sum(|of, at, this| ours(of) && at == rate && this == case);
                    write!(f, " {:>13} |", count.to_string())?;
                }
                writeln!(f)?;
            }
        }
        Ok(())
    }
}
