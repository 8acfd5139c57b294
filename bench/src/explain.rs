//! Reading a large log: `reprieve explain` beside `grep -c`, which looks for one word and nothing else.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::statistics::Sample;
use crate::table::Table;
use crate::{print_section, progress};

/// As large as the log is at least.
const SIZE: u64 = 1 << 30;

/// Arguments of `explain`.
#[derive(Args)]
pub(crate) struct Options {
    /// The program `reprieve`
    reprieve: PathBuf,
    /// A log with a report, which comes again from time to time
    report: PathBuf,
    /// Rounds
    #[arg(long, default_value_t = 15)]
    rounds: usize,
}

/// Measures and prints the section.
pub(crate) fn run(options: &Options) -> Result<()> {
    let directory = tempfile::Builder::new().prefix("reprieve-bench-").tempdir_in("/var/tmp")?;
    let log = directory.path().join("kern.log");
    progress("writing a log of 1 GiB");
    let reports = write_log(&log, &options.report)?;
    let mut grep = Vec::new();
    let mut explain = Vec::new();
    let mut resident = 0;
    for round in 0..=options.rounds {
        let first = run_one(Command::new("grep").args(["-c", "Killed process"]).arg(&log))?;
        let second = run_one(Command::new(&options.reprieve).args(["explain", "--json"]).arg(&log))?;
        // The first round brings the log into the page cache.
        if round > 0 {
            grep.push(first.0.as_secs_f64());
            explain.push(second.0.as_secs_f64());
            resident = resident.max(second.1);
        }
    }
    let ratio = Sample::new(explain.iter().zip(&grep).map(|(explain, grep)| explain / grep).collect())?;
    let mut table = Table::new(&["reading 1 GiB of log", "seconds", "quartiles", "ratio"]);
    for (name, times, ratio) in
        [("grep -c 'Killed process'", grep, 1.0), ("reprieve explain --json", explain, ratio.median())]
    {
        let times = Sample::new(times)?;
        let quartiles = format!("{:.2} to {:.2}", times.quantile(0.25), times.quantile(0.75));
        table.row(vec![name.to_owned(), format!("{:.2}", times.median()), quartiles, format!("{ratio:.2}")]);
    }
    let note = format!(
        "Medians of {} alternating rounds, wall time; ratio: in the same round, median. The log is in the page cache, \
         holds {reports} reports, and else lines of drivers, audit and file systems. Resident memory of explain at \
         most: {:.1} MiB.",
        options.rounds,
        resident as f64 / 1024.0
    );
    print_section("Reading a log: wall time", &table, &[note])
}

/// Writes the log; returns how many reports it has.
fn write_log(path: &Path, report: &Path) -> Result<u64> {
    let report = std::fs::read(report).with_context(|| format!("{} could not be read", report.display()))?;
    let mut block = Vec::new();
    for number in 0..20_000_u32 {
        let time = f64::from(number) / 100.0;
        match number % 3 {
            0 => writeln!(block, "[{time:12.6}] usb 1-1: new high-speed USB device number {number} using xhci_hcd")?,
            1 => writeln!(
                block,
                "[{time:12.6}] audit: type=1400 audit(1700000000.{number}:42): apparmor=\"ALLOWED\" operation=\"open\""
            )?,
            _ => writeln!(block, "[{time:12.6}] EXT4-fs (sda{number}): mounted filesystem with ordered data mode.")?,
        }
    }
    let mut log = BufWriter::new(File::create(path)?);
    let mut written = 0;
    let mut reports = 0;
    for round in 0_u64.. {
        if written >= SIZE {
            break;
        }
        log.write_all(&block)?;
        written += block.len() as u64;
        if round % 100 == 50 {
            log.write_all(&report)?;
            written += report.len() as u64;
            reports += 1;
        }
    }
    log.flush()?;
    Ok(reports)
}

/// Runs a program to its end: how long it took, and its largest resident memory in KiB as seen meanwhile.
fn run_one(command: &mut Command) -> Result<(Duration, u64)> {
    // A pipe, into which what these print fits whole: grep stops at the first match if it sees /dev/null.
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let started = Instant::now();
    let mut process = command.spawn().with_context(|| format!("{command:?} did not start"))?;
    let mut resident = 0;
    let status = loop {
        resident = read_peak(process.id()).unwrap_or(0).max(resident);
        match process.try_wait()? {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    if !status.success() {
        bail!("{command:?} failed");
    }
    Ok((started.elapsed(), resident))
}

fn read_peak(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.parse().ok())
}
