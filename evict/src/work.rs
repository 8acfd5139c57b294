//! What runs inside the cgroups: programs that read files, and programs that take memory.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::{Args, Subcommand};

use crate::node::forget;
use crate::scenarios::Shape;

/// Arguments of `work`.
#[derive(Args)]
pub(crate) struct Options {
    #[command(subcommand)]
    work: Work,
}

#[derive(Subcommand)]
enum Work {
    /// Reads each of these files twice, one after the other, without end; says how many bytes it has read
    ReadTwice {
        /// Whether to map the files instead of reading them
        #[arg(long)]
        mmap: bool,
        /// MiB a second at most; 0 for as fast as it can
        #[arg(long, default_value_t = 0)]
        rate: u64,
        /// Whether files count as new each time: else the kernel takes for missed what comes around within a minute
        #[arg(long)]
        new: bool,
        /// Whether to map the first file, look at it, and rest, after two times of that
        #[arg(long)]
        rest: bool,
        files: Vec<PathBuf>,
    },
    /// Reads a file again and again, with a pause; says how many bytes it has read
    Hot {
        #[arg(long, default_value_t = 200)]
        pause_ms: u64,
        file: PathBuf,
    },
    /// Takes so many MiB and rests
    Hold { mib: usize },
    /// Takes memory as a scenario has it
    Take { scenario: String },
}

pub(crate) fn run(options: &Options) -> Result<()> {
    match &options.work {
        Work::ReadTwice { files, rest: true, .. } => map_and_rest(files.first().context("no file")?),
        Work::ReadTwice { mmap, rate, files, new, .. } => read_twice(files, *mmap, *rate << 20, *new),
        Work::Hot { pause_ms, file } => hot(file, Duration::from_millis(*pause_ms)),
        Work::Hold { mib } => {
            let held = take(*mib << 20);
            say(1)?;
            loop {
                thread::sleep(Duration::from_secs(1));
                std::hint::black_box(&held);
            }
        }
        Work::Take { scenario } => take_as(Shape::named(scenario)?),
    }
}

fn say(number: u64) -> Result<()> {
    writeln!(std::io::stdout(), "{number}")?;
    Ok(())
}

fn read_twice(files: &[PathBuf], mmap: bool, rate: u64, new: bool) -> Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    let mut said = Instant::now();
    let started = Instant::now();
    loop {
        for file in files {
            if new {
                forget(file)?;
            }
            for _ in 0..2 {
                bytes += if mmap { touch(file)? } else { read(file, &mut buffer)? };
                if said.elapsed() >= Duration::from_millis(100) {
                    said = Instant::now();
                    say(bytes)?;
                }
                if rate > 0 {
                    let due = Duration::from_secs_f64(bytes as f64 / rate as f64);
                    thread::sleep(due.saturating_sub(started.elapsed()));
                }
            }
        }
    }
}

fn map_and_rest(file: &Path) -> Result<()> {
    let file = File::open(file).with_context(|| file.display().to_string())?;
    let length = usize::try_from(file.metadata()?.len())?;
    // The kernel learns of the use when the pages are unmapped.
    mapped::touch(&file, length)?;
    mapped::touch(&file, length)?;
    mapped::touch_and(&file, length, || {
        say(2 * length as u64)?;
        loop {
            thread::sleep(Duration::from_secs(1));
        }
    })
}

fn hot(file: &Path, pause: Duration) -> Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let mut bytes = 0;
    loop {
        bytes += read(file, &mut buffer)?;
        say(bytes)?;
        thread::sleep(pause);
    }
}

/// Reads a file to its end, as a program without any hints does.
pub(crate) fn read(path: &Path, buffer: &mut [u8]) -> Result<u64> {
    let mut file = File::open(path).with_context(|| path.display().to_string())?;
    let mut bytes = 0;
    loop {
        match file.read(buffer)? {
            0 => return Ok(bytes),
            read => bytes += read as u64,
        }
    }
}

/// Maps a file and looks at each of its pages.
fn touch(path: &Path) -> Result<u64> {
    let mut file = File::open(path).with_context(|| path.display().to_string())?;
    let length = file.seek(SeekFrom::End(0))?;
    crate::work::mapped::touch(&file, usize::try_from(length)?)?;
    Ok(length)
}

fn take(bytes: usize) -> Vec<u8> {
    let mut memory = vec![0_u8; bytes];
    for page in memory.chunks_mut(4096) {
        if let Some(first) = page.first_mut() {
            *first = 1;
        }
    }
    memory
}

/// Holds as much as the shape says at each moment, in pieces of 256 KiB.
fn take_as(shape: Shape) -> Result<()> {
    const PIECE: usize = 256 << 10;
    let started = Instant::now();
    let mut held: Vec<Vec<u8>> = Vec::new();
    loop {
        let wanted = shape.held_at(started.elapsed()) / PIECE;
        while held.len() < wanted {
            held.push(take(PIECE));
        }
        held.truncate(wanted);
        thread::sleep(Duration::from_millis(50));
    }
}

#[allow(unsafe_code)]
mod mapped {
    //! Mapping a file takes system calls that can't be checked: the one place here with unsafe code.

    use std::fs::File;

    use anyhow::Result;
    use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

    /// Maps a file to read, reads a byte of each page, and unmaps it.
    pub(super) fn touch(file: &File, length: usize) -> Result<()> {
        touch_and(file, length, || Ok(()))
    }

    /// Maps a file to read, reads a byte of each page, and unmaps it after `then`.
    pub(super) fn touch_and(file: &File, length: usize, then: impl FnOnce() -> Result<()>) -> Result<()> {
        while_mapped(file, length, |look| {
            look();
            then()
        })
    }

    /// Does something with a function that reads a byte of each page.
    fn while_mapped(file: &File, length: usize, act: impl FnOnce(&dyn Fn()) -> Result<()>) -> Result<()> {
        // SAFETY: a new private mapping of `length` bytes at an address that the kernel chooses.
        let start = unsafe { mmap(std::ptr::null_mut(), length, ProtFlags::READ, MapFlags::PRIVATE, file, 0)? };
        let done = act(&|| {
            let mut sum = 0_u64;
            for at in (0..length).step_by(4096) {
                // SAFETY: `at` lies inside the mapping, and nobody makes the file shorter meanwhile.
                sum = sum.wrapping_add(u64::from(unsafe { start.cast::<u8>().add(at).read_volatile() }));
            }
            std::hint::black_box(sum);
        });
        // SAFETY: the mapping made above, of which no reference is left.
        unsafe { munmap(start, length)? };
        done
    }
}
