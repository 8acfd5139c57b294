//! The flags of `reprieve free`: those of procps' `free` with the same meaning, and some of our own.

use std::time::Duration;

use clap::{ArgAction, Args};
use reprieve_report::{Scale, TableOptions, Unit};

use super::RootArguments;

pub(super) const EXAMPLES: &str = "\
Examples:
  reprieve free -h
  reprieve free --explain             # what binds, how sure, what is hidden
  reprieve free --json | jq .available_bytes
  reprieve free -s 5 -c 12            # every 5 seconds, for a minute

Environment: REPRIEVE_POD_LIMIT tells a limit that can't be seen from inside the
  container (cgroup v2): an amount such as 512Mi, or a file that holds one.
Exit codes: 0 done; 2 nothing tells of memory here (one line on stderr).";

const UNITS: &str = "Units";
const ROWS: &str = "Rows and columns";

/// Flags of `reprieve free`.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct FreeArguments {
    /// Add what binds, how sure the numbers are, and what is hidden
    #[arg(long, conflicts_with_all = ["json", "line"])]
    pub(crate) explain: bool,
    /// Print one JSON object, with amounts in bytes
    #[arg(long, conflicts_with_all = ["line", "lohi", "total", "committed", "wide"])]
    pub(crate) json: bool,
    #[command(flatten)]
    units: UnitArguments,
    #[command(flatten)]
    rows: RowArguments,
    /// Print again every N seconds
    #[arg(short, long, value_name = "N", value_parser = parse_seconds)]
    seconds: Option<Duration>,
    /// Print N times, one second apart or as --seconds says
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    #[command(flatten)]
    pub(crate) roots: RootArguments,
    /// Print help
    #[arg(long, action = ArgAction::Help)]
    help: Option<bool>,
}

#[derive(Debug, Args)]
struct UnitArguments {
    #[command(flatten)]
    unit: OneUnit,
    /// Pick the unit for each amount
    #[arg(short, long, help_heading = UNITS)]
    human: bool,
    /// Use powers of 1000, not 1024
    #[arg(long, help_heading = UNITS)]
    si: bool,
}

#[derive(Debug, Args)]
#[group(multiple = false)]
struct OneUnit {
    /// Bytes
    #[arg(short, long, help_heading = UNITS)]
    bytes: bool,
    /// Kilobytes
    #[arg(long, help_heading = UNITS)]
    kilo: bool,
    /// Megabytes
    #[arg(long, help_heading = UNITS)]
    mega: bool,
    /// Gigabytes
    #[arg(long, help_heading = UNITS)]
    giga: bool,
    /// Terabytes
    #[arg(long, help_heading = UNITS)]
    tera: bool,
    /// Petabytes
    #[arg(long, help_heading = UNITS)]
    peta: bool,
    /// Kibibytes, the default
    #[arg(short, long, help_heading = UNITS)]
    kibi: bool,
    /// Mebibytes
    #[arg(short, long, help_heading = UNITS)]
    mebi: bool,
    /// Gibibytes
    #[arg(short, long, help_heading = UNITS)]
    gibi: bool,
    /// Tebibytes
    #[arg(long, help_heading = UNITS)]
    tebi: bool,
    /// Pebibytes
    #[arg(long, help_heading = UNITS)]
    pebi: bool,
}

#[derive(Debug, Args)]
struct RowArguments {
    /// Low and high memory
    #[arg(short, long, help_heading = ROWS)]
    lohi: bool,
    /// Everything on a single line
    #[arg(short = 'L', long, help_heading = ROWS)]
    line: bool,
    /// The sum of memory and swap
    #[arg(short, long, help_heading = ROWS)]
    total: bool,
    /// Committed memory and its limit, of the whole machine
    #[arg(short = 'v', long, help_heading = ROWS)]
    committed: bool,
    /// Buffers and cache in two columns
    #[arg(short, long, help_heading = ROWS)]
    wide: bool,
}

/// How often to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeat {
    Once,
    Forever(Duration),
    Times(u64, Duration),
}

impl FreeArguments {
    pub(crate) fn table(&self) -> TableOptions {
        let RowArguments { lohi, total, committed, wide, .. } = self.rows;
        TableOptions { scale: self.units.scale(), wide, low_and_high: lohi, total, committed }
    }

    /// Whether to print everything on one line.
    pub(crate) fn line(&self) -> bool {
        self.rows.line
    }

    pub(crate) fn repeat(&self) -> Repeat {
        let interval = self.seconds.unwrap_or(Duration::from_secs(1));
        match (self.count, self.seconds) {
            (Some(count), _) => Repeat::Times(count, interval),
            (None, Some(_)) => Repeat::Forever(interval),
            (None, None) => Repeat::Once,
        }
    }
}

impl UnitArguments {
    fn scale(&self) -> Scale {
        let OneUnit { bytes, kilo, mega, giga, tera, peta, kibi, mebi, gibi, tebi, pebi } = self.unit;
        let decimal = [kilo, mega, giga, tera, peta];
        let binary = [kibi, mebi, gibi, tebi, pebi];
        let power = |flags: [bool; 5]| (1..).zip(flags).find_map(|(power, set)| set.then_some(Unit::Power(power)));
        let chosen =
            power(decimal).or_else(|| power(binary)).unwrap_or(if bytes { Unit::Bytes } else { Unit::Default });
        Scale { unit: if self.human { Unit::Human } else { chosen }, si: self.si || decimal.contains(&true) }
    }
}

/// Seconds as procps takes them: a number above zero, fractions allowed.
fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "must be a number of seconds".to_owned())?;
    let duration = Duration::try_from_secs_f64(seconds).ok().filter(|duration| *duration >= Duration::from_micros(1));
    duration.ok_or_else(|| "must be more than zero".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Arguments, Command};
    use super::*;

    fn parse(flags: &[&str]) -> Result<FreeArguments, clap::Error> {
        let words = ["reprieve", "free"].iter().chain(flags);
        match Arguments::try_parse_from(words)?.command {
            Command::Free(arguments) => Ok(arguments),
            other => panic!("{other:?}"),
        }
    }

    fn scale(flags: &[&str]) -> (Unit, bool) {
        let scale = parse(flags).unwrap().table().scale;
        (scale.unit, scale.si)
    }

    #[test]
    fn units_are_those_of_procps() {
        assert_eq!(scale(&[]), (Unit::Default, false));
        assert_eq!(scale(&["-b"]), (Unit::Bytes, false));
        assert_eq!(scale(&["-k"]), (Unit::Power(1), false));
        assert_eq!(scale(&["--tebi"]), (Unit::Power(4), false));
        assert_eq!(scale(&["--peta"]), (Unit::Power(5), true));
        assert_eq!(scale(&["-m", "--si"]), (Unit::Power(2), true));
        assert_eq!(scale(&["-g", "-h"]), (Unit::Human, false));
        assert!(parse(&["-k", "-m"]).is_err(), "two units");
    }

    #[test]
    fn flags_can_be_put_together() {
        let table = parse(&["-hltvw"]).unwrap().table();
        assert!(table.low_and_high && table.total && table.committed && table.wide);
    }

    #[test]
    fn repeats_as_procps_does() {
        let second = Duration::from_secs(1);
        assert_eq!(parse(&[]).unwrap().repeat(), Repeat::Once);
        assert_eq!(parse(&["-c", "3"]).unwrap().repeat(), Repeat::Times(3, second));
        assert_eq!(parse(&["-s0.5"]).unwrap().repeat(), Repeat::Forever(second / 2));
        for wrong in [["-s", "0"], ["-s", "-1"], ["-s", "x"], ["-s", "1e99"], ["-s", "nan"], ["-c", "0"], ["-c", "-1"]]
        {
            assert!(parse(&wrong).is_err(), "{wrong:?}");
        }
    }
}
