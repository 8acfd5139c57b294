//! The program that leaks, as a server might: it takes memory at an even speed, and ends gracefully at SIGTERM.
//!
//! It says how it ended in a file: `graceful` where its handler ran to its end, `survived` where it got far beyond the
//! limit and was not told anything.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use reprieve_linux::SignalQueue;
use reprieve_readings::Signal;
use rustix::process::Pid;

use crate::mapping::Mapping;

const STEP: Duration = Duration::from_millis(10);
const PAGE: usize = 4096;
const BLOCK: [u8; 4096] = [1; 4096];

/// What is leaked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Kind {
    /// Anonymous memory.
    Anonymous,
    /// Files on a tmpfs.
    Tmpfs,
    /// A mapped file on a disk, which the kernel can write back.
    Mapped,
    /// Nothing: files are written and read, far more than fits.
    CacheOnly,
}

/// What to leak.
#[derive(Debug, Args)]
pub(crate) struct LeakOptions {
    #[arg(long)]
    pub(crate) kind: Kind,
    /// Bytes a second.
    #[arg(long)]
    pub(crate) speed: u64,
    /// Bytes to take at once at the beginning.
    #[arg(long)]
    pub(crate) begin: u64,
    /// Where to end if nothing happens, in bytes.
    #[arg(long)]
    pub(crate) end: u64,
    /// So many processes leak, and this one only waits; 0: this one leaks.
    #[arg(long)]
    pub(crate) workers: u32,
    /// Page cache to fill before, in bytes.
    #[arg(long)]
    pub(crate) cache: u64,
    /// Where files may be made that are leaked.
    #[arg(long)]
    pub(crate) directory: PathBuf,
    /// Where files may be made on a disk.
    #[arg(long)]
    pub(crate) disk: PathBuf,
    /// The file that is to say how it ended.
    #[arg(long)]
    pub(crate) result: PathBuf,
}

/// Leaks until it is told to end.
pub(crate) fn leak(options: &LeakOptions) -> Result<ExitCode> {
    let (signals, _) = SignalQueue::open().context("signals can't be taken")?;
    if options.cache > 0 {
        fill_cache(options, 0)?;
    }
    let end = if options.workers > 0 {
        lead(options, &signals)?
    } else if options.kind == Kind::CacheOnly {
        read_and_write(options, &signals)?
    } else {
        take(options, &signals)?
    };
    // As a server that has to finish what it does: this takes a little.
    std::thread::sleep(Duration::from_millis(50));
    fs::write(&options.result, end).context("the result can't be written")?;
    Ok(ExitCode::SUCCESS)
}

fn is_told_to_end(signals: &SignalQueue) -> bool {
    std::iter::from_fn(|| signals.next().ok().flatten()).any(|received| received.signal == Signal::TERM)
}

/// Takes memory step by step.
fn take(options: &LeakOptions, signals: &SignalQueue) -> Result<&'static str> {
    let mut memory = Memory::open(options)?;
    let started = Instant::now();
    loop {
        if is_told_to_end(signals) {
            return Ok("graceful");
        }
        let wanted = options.begin + (started.elapsed().as_secs_f64() * options.speed as f64) as u64;
        if wanted >= options.end {
            return Ok("survived");
        }
        memory.grow_to(wanted)?;
        std::thread::sleep(STEP);
    }
}

/// Has workers take memory, as a server of processes does; tells them to end when it is told so.
fn lead(options: &LeakOptions, signals: &SignalQueue) -> Result<&'static str> {
    let count = u64::from(options.workers);
    let mut workers: Vec<Child> = (0..count)
        .map(|number| {
            let kind = options.kind.to_possible_value().map(|kind| kind.get_name().to_owned()).unwrap_or_default();
            let directory = options.directory.join(number.to_string());
            fs::create_dir(&directory)?;
            let mut worker = Command::new(std::env::current_exe()?);
            worker.args(["leak", "--kind", &kind, "--workers", "0", "--cache", "0"]);
            worker.args(["--speed", &(options.speed / count).to_string()]);
            worker.args(["--begin", &(options.begin / count).to_string(), "--end", &(options.end / count).to_string()]);
            worker.arg("--result").arg(directory.join("result")).arg("--directory").arg(&directory);
            worker.arg("--disk").arg(directory);
            worker.spawn()
        })
        .collect::<Result<_, _>>()
        .context("a worker can't be started")?;
    while !is_told_to_end(signals) {
        for worker in &mut workers {
            if let Some(status) = worker.try_wait()? {
                return Ok(if status.success() { "survived" } else { "a worker was killed" });
            }
        }
        std::thread::sleep(STEP);
    }
    for worker in &mut workers {
        if let Some(pid) = Pid::from_raw(worker.id().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }
    let ends = workers.iter_mut().map(Child::wait).collect::<Result<Vec<_>, _>>()?;
    Ok(if ends.iter().all(std::process::ExitStatus::success) { "graceful" } else { "a worker was killed" })
}

/// Writes files and reads them again for some seconds, as a backup might.
fn read_and_write(options: &LeakOptions, signals: &SignalQueue) -> Result<&'static str> {
    let started = Instant::now();
    let mut round = 1;
    while started.elapsed() < Duration::from_secs(8) {
        fill_cache(options, round % 4)?;
        if is_told_to_end(signals) {
            return Ok("graceful");
        }
        let path = options.disk.join(format!("cache-{}", round % 4));
        std::io::copy(&mut File::open(path)?, &mut std::io::sink())?;
        round += 1;
    }
    Ok("survived")
}

/// Leaves clean pages of a file in the page cache.
fn fill_cache(options: &LeakOptions, number: u32) -> Result<()> {
    let mut file = File::create(options.disk.join(format!("cache-{number}")))?;
    let size = if options.cache > 0 { options.cache } else { options.end / 2 };
    for _ in 0..size / BLOCK.len() as u64 {
        file.write_all(&BLOCK)?;
    }
    Ok(file.sync_all()?)
}

/// What was taken.
enum Memory {
    Anonymous(Vec<Box<[u8]>>, u64),
    Tmpfs(File, u64),
    Mapped(Mapping, usize),
}

impl Memory {
    fn open(options: &LeakOptions) -> Result<Memory> {
        let path = options.directory.join("leak");
        Ok(match options.kind {
            Kind::Anonymous | Kind::CacheOnly => Memory::Anonymous(Vec::new(), 0),
            Kind::Tmpfs => Memory::Tmpfs(File::create(path)?, 0),
            Kind::Mapped => {
                let file = File::options().read(true).write(true).create_new(true).open(path)?;
                file.set_len(options.end)?;
                Memory::Mapped(Mapping::of(&file)?, 0)
            }
        })
    }

    fn grow_to(&mut self, wanted: u64) -> Result<()> {
        match self {
            Memory::Anonymous(blocks, taken) => {
                let more = wanted.saturating_sub(*taken);
                blocks.push(vec![1; usize::try_from(more)?].into_boxed_slice());
                *taken = wanted;
            }
            Memory::Tmpfs(file, taken) => {
                // In small blocks: a large one would take as much again for a moment.
                while *taken < wanted {
                    let more = (wanted - *taken).min(BLOCK.len() as u64);
                    file.write_all(BLOCK.get(..usize::try_from(more)?).unwrap_or_default())?;
                    *taken += more;
                }
            }
            Memory::Mapped(mapping, taken) => {
                let wanted = usize::try_from(wanted)?;
                let fresh = mapping.bytes().get_mut(*taken..wanted).unwrap_or_default();
                fresh.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
                *taken = wanted.next_multiple_of(PAGE);
            }
        }
        Ok(())
    }
}
