//! How many leaking programs end gracefully before the kernel kills them: without an init, and under tini, earlyoom and
//! reprieve-init. `cargo xtask escape` builds and fetches all of them and calls this; docs/init.md has its tables.
//!
//! `run` starts programs that leak (`leak`) in cgroups with a limit, each in a pid namespace of its own, and looks how
//! they end. A program has escaped if its own handler of SIGTERM ran to its end and the kernel killed nobody.

mod leak;
mod mapping;
mod report;
mod trial;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::thread;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use reprieve_lab::Lab;

use leak::{Kind, LeakOptions};
use report::Report;
use trial::{Init, Trial};

/// Counts the leaking programs that end gracefully before the kernel kills them
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs all trials on this machine and prints the tables
    Run(RunOptions),
    /// Leaks memory until it is told to end (used by `run`)
    #[command(hide = true)]
    Leak(LeakOptions),
}

#[derive(clap::Args)]
struct RunOptions {
    /// The program reprieve-init
    #[arg(long)]
    reprieve_init: PathBuf,
    /// The program tini
    #[arg(long)]
    tini: Option<PathBuf>,
    /// The program earlyoom
    #[arg(long)]
    earlyoom: Option<PathBuf>,
    /// The limit of each cgroup, in MiB
    #[arg(long, default_value_t = 64)]
    limit: u64,
    /// How many times each case under reprieve-init
    #[arg(long, default_value_t = 13)]
    repetitions: u32,
    /// How many times each case under the others
    #[arg(long, default_value_t = 3)]
    others: u32,
    /// How many at the same time
    #[arg(long, default_value_t = 16)]
    parallel: usize,
    /// A directory on a disk for files
    #[arg(long, default_value = "/var/tmp")]
    disk: PathBuf,
    /// A directory on a tmpfs
    #[arg(long, default_value = "/dev/shm")]
    tmpfs: PathBuf,
    /// Leaks of these percents of the limit a second
    #[arg(long, value_delimiter = ',', default_values_t = [1, 5, 20, 50])]
    rates: Vec<u32>,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Run(options) => run(&options).map(|()| ExitCode::SUCCESS),
        Command::Leak(options) => leak::leak(&options),
    };
    done.unwrap_or_else(|error| {
        eprintln!("escape: {error:#}");
        ExitCode::FAILURE
    })
}

fn run(options: &RunOptions) -> Result<()> {
    let lab = Lab::open("escape")?.context("no memory cgroups can be made here")?;
    let disk = tempfile::tempdir_in(&options.disk).context("no room on the disk")?;
    let tmpfs = tempfile::tempdir_in(&options.tmpfs).context("no room on the tmpfs")?;
    let inits = [
        Some(Init::None),
        options.tini.clone().map(Init::Tini),
        options.earlyoom.clone().map(Init::Earlyoom),
        Some(Init::Reprieve(options.reprieve_init.clone())),
    ];
    let inits: Vec<Init> = inits.into_iter().flatten().collect();
    let trials = trials(options, &inits);
    eprintln!("escape: {} trials, {} at a time", trials.len(), options.parallel);
    let left = Mutex::new(trials.into_iter().enumerate());
    let report = Mutex::new(Report::new(lab.version(), options.limit));
    thread::scope(|scope| {
        let work = || -> Result<()> {
            loop {
                let next = left.lock().ok().and_then(|mut left| left.next());
                let Some((number, trial)) = next else { return Ok(()) };
                let outcome = trial.run(&lab, number, disk.path(), tmpfs.path())?;
                if let Ok(mut report) = report.lock() {
                    report.add(&trial, outcome);
                }
            }
        };
        let workers: Vec<_> = (0..options.parallel).map(|_| scope.spawn(work)).collect();
        workers.into_iter().try_for_each(|worker| worker.join().map_err(|_| anyhow::anyhow!("a trial panicked"))?)
    })?;
    print!("{}", report.lock().map_err(|_| anyhow::anyhow!("a trial panicked"))?);
    Ok(())
}

/// All cases. The slow ones first, so that none is left alone at the end.
fn trials(options: &RunOptions, inits: &[Init]) -> Vec<Trial> {
    let mut trials = Vec::new();
    let mut rates = options.rates.clone();
    rates.sort_unstable();
    for rate in rates {
        for init in inits {
            let repetitions = if matches!(init, Init::Reprieve(_)) { options.repetitions } else { options.others };
            for kind in [Kind::Anonymous, Kind::Tmpfs, Kind::Mapped] {
                for (workers, cache) in [(0, false), (0, true), (3, false), (3, true)] {
                    let trial = Trial { init: init.clone(), kind, rate, workers, cache, limit: options.limit << 20 };
                    trials.extend(std::iter::repeat_n(trial, repetitions as usize));
                }
            }
        }
    }
    for init in inits {
        let repetitions = if matches!(init, Init::Reprieve(_)) { options.repetitions } else { options.others };
        let (kind, limit) = (Kind::CacheOnly, options.limit << 20);
        let trial = Trial { init: init.clone(), kind, rate: 0, workers: 0, cache: false, limit };
        trials.extend(std::iter::repeat_n(trial, repetitions as usize));
    }
    trials
}
