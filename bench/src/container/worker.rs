//! The process inside the container: it compares, and prints each round's two times.

use std::fs::File;
use std::hint::black_box;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;
use reprieve::{Binding, Consequence, Memory};
use reprieve_readings::{MemoryFile, Role};
use rustix::time::{ClockId, clock_gettime};

/// As many refreshes as are timed at once: one is not much more than reading the clock.
const BATCH: u32 = 20;

/// Arguments of `look`.
#[derive(Args)]
pub(crate) struct Options {
    #[arg(long)]
    reprieve: Option<PathBuf>,
    #[arg(long)]
    rounds: usize,
}

/// Compares, and prints.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut memory = Memory::here()?;
    let files = open_needed(&memory)?;
    let bare = format!("bare preads of its {} files", files.len());
    let mut buffer = vec![0; 16 * 1024];
    compare(options.rounds, &bare, "Memory::refresh and available", || {
        let preads = cpu_time(|| files.iter().try_for_each(|file| file.read_at(&mut buffer, 0).map(drop)))?;
        let refresh = cpu_time(|| {
            memory.refresh();
            black_box(memory.available());
            Ok(())
        })?;
        Ok((preads, refresh))
    })?;
    let Some(reprieve) = &options.reprieve else { return Ok(()) };
    compare(options.rounds, "procps free", "reprieve free", || {
        Ok((wall_time(&mut Command::new("free"))?, wall_time(Command::new(reprieve).arg("free"))?))
    })
}

/// Prints a line of both names and the times of each round, without the first, which warms up.
fn compare(rounds: usize, first: &str, second: &str, mut round: impl FnMut() -> Result<(u128, u128)>) -> Result<()> {
    round()?;
    let times: Result<Vec<String>> =
        (0..rounds).map(|_| round().map(|(first, second)| format!("{first},{second}"))).collect();
    println!("{first}\t{second}\t{}", times?.join(" "));
    Ok(())
}

/// The files without which nobody can tell what is left: those of the container, those of the pod, the limits of the
/// levels above, and the machine's meminfo.
fn open_needed(memory: &Memory) -> Result<Vec<File>> {
    let version = memory.version().context("there is no memory cgroup to read")?;
    let mut files = vec![File::open("/proc/meminfo")?];
    let own = memory.bound_file(Binding::Level(0), Consequence::Kill).context("the container was not found")?;
    let mut directory = own.parent();
    for (level, reading) in memory.levels().iter().enumerate() {
        let Some(path) = directory else { break };
        let is_limited = level == 0 || reading.stat.is_some();
        for file in MemoryFile::all(version) {
            let needed = file.role == Role::Limit || (file.role == Role::Usage && is_limited);
            if needed {
                open_if_there(&path.join(file.name), &mut files)?;
            }
        }
        directory = path.parent();
    }
    Ok(files)
}

fn open_if_there(path: &Path, files: &mut Vec<File>) -> Result<()> {
    match File::open(path) {
        Ok(file) => files.push(file),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("{} could not be opened", path.display())),
    }
    Ok(())
}

/// Nanoseconds of this thread's CPU time for one of a batch of calls.
fn cpu_time(mut call: impl FnMut() -> std::io::Result<()>) -> Result<u128> {
    let now = || {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        i128::from(time.tv_sec) * 1_000_000_000 + i128::from(time.tv_nsec)
    };
    let before = now();
    for _ in 0..BATCH {
        call()?;
    }
    Ok(u128::try_from(now() - before)? / u128::from(BATCH))
}

/// Nanoseconds from before the start of a program until it is reaped.
fn wall_time(command: &mut Command) -> Result<u128> {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let started = Instant::now();
    let status = command.status().with_context(|| format!("{command:?} did not start"))?;
    let time = started.elapsed().as_nanos();
    ensure!(status.success(), "{command:?} failed");
    Ok(time)
}
