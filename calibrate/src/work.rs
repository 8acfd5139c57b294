//! What runs inside the cgroups: each piece of work is a call of this program, which says `ready` on stdout once the
//! memory is as it should be, and goes on when its stdin says so.

use std::fs::{self, File, OpenOptions};
use std::hint::black_box;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Subcommand;
use rustix::fs::MemfdFlags;
use rustix::pipe::PipeFlags;

use crate::mapping::Mapping;

const PAGE: usize = 4096;
/// What is asked for at once.
const CHUNK: usize = 4 << 20;
/// How often the filling says how far it is, in pages. It is what a run's result may be too small by.
const TELL_EVERY: usize = 4;

/// What a process inside a cgroup does.
#[derive(Debug, Clone, Subcommand)]
#[expect(missing_docs, reason = "an inner interface; the help says what each does")]
pub enum Work {
    /// Takes memory until it is killed, and says in a file how much it has
    Fill { progress: PathBuf },
    /// Holds so much anonymous memory
    Hold { bytes: usize },
    /// The same, in huge pages where the kernel gives them by itself
    HoldHuge { bytes: usize },
    /// Reads a file so many times
    Read { file: PathBuf, times: u32 },
    /// Writes a file of so many bytes
    Write { file: PathBuf, bytes: usize },
    /// Holds so much shared memory
    Share { bytes: usize },
    /// Maps a file and locks it into memory
    Lock { file: PathBuf },
    /// Maps a file and touches all of it again and again
    Touch { file: PathBuf },
    /// Looks for so many files that don't exist
    LookUp { directory: PathBuf, count: u32 },
    /// Fills pipes with so many bytes in all
    Pipes { bytes: usize },
    /// Starts so many threads that do nothing
    Threads { count: u32 },
    /// Holds some anonymous memory and keeps using it, and reads a file now and then
    Busy { bytes: usize, file: PathBuf },
}

/// Does it.
pub fn run(work: &Work) -> Result<()> {
    // A huge page is charged at once but used piece by piece, and the kernel may make one of a few small ones while
    // nobody looks: what was had would be less than what was given.
    rustix::thread::disable_transparent_huge_pages(!matches!(work, Work::HoldHuge { .. }))?;
    match work {
        Work::Fill { progress } => fill(progress),
        Work::Hold { bytes } | Work::HoldHuge { bytes } => {
            let held = hold(*bytes);
            ready()?;
            black_box(held);
            Ok(())
        }
        Work::Read { file, times } => {
            for _ in 0..*times {
                read_through(file)?;
            }
            ready()
        }
        Work::Write { file, bytes } => {
            write_file(&mut File::create(file)?, *bytes)?;
            ready()
        }
        Work::Share { bytes } => {
            let mut file = File::from(rustix::fs::memfd_create("calibrate", MemfdFlags::CLOEXEC)?);
            write_file(&mut file, *bytes)?;
            ready()
        }
        Work::Lock { file } => {
            Mapping::of(&File::open(file)?)?.lock()?;
            ready()
        }
        Work::Touch { file } => touch(file),
        Work::LookUp { directory, count } => look_up(directory, *count),
        Work::Pipes { bytes } => pipes(*bytes),
        Work::Threads { count } => threads(*count),
        Work::Busy { bytes, file } => busy(*bytes, file),
    }
}

/// Says that all is prepared, and waits until whoever started it lets it go on.
fn ready() -> Result<()> {
    told_to_go().map(drop)
}

/// The same; false where whoever started it has ended.
fn told_to_go() -> Result<bool> {
    io::stdout().write_all(b"ready\n")?;
    io::stdout().flush()?;
    let mut answer = [0];
    Ok(io::stdin().read(&mut answer)? > 0)
}

fn fill(progress: &Path) -> Result<()> {
    // The first to be killed, also where the whole machine is out of memory.
    fs::write("/proc/self/oom_score_adj", "1000").context("oom_score_adj")?;
    let progress = OpenOptions::new().write(true).open(progress).context("the file for the progress")?;
    let mut chunks: Vec<Vec<u8>> = Vec::with_capacity(1 << 16);
    if !told_to_go()? {
        return Ok(());
    }
    let mut had = 0_u64;
    loop {
        let mut chunk = vec![0_u8; CHUNK];
        for pages in chunk.chunks_mut(PAGE * TELL_EVERY) {
            pages.iter_mut().step_by(PAGE).for_each(|byte| *black_box(byte) = 1);
            had += pages.len() as u64;
            progress.write_all_at(&had.to_le_bytes(), 0)?;
        }
        chunks.push(chunk);
    }
}

fn hold(bytes: usize) -> Vec<u8> {
    let mut held = vec![0_u8; bytes];
    use_all(&mut held);
    held
}

fn use_all(held: &mut [u8]) {
    held.iter_mut().step_by(PAGE).for_each(|byte| *black_box(byte) = 1);
}

fn read_through(file: &Path) -> Result<()> {
    let mut file = File::open(file)?;
    let mut buffer = vec![0_u8; 1 << 16];
    while file.read(&mut buffer)? > 0 {}
    Ok(())
}

/// Writes so many bytes, none of them zero, and leaves them dirty.
pub(crate) fn write_file(file: &mut File, bytes: usize) -> Result<()> {
    let buffer = vec![7_u8; 1 << 16];
    let mut left = bytes;
    while left > 0 {
        let now = left.min(buffer.len());
        file.write_all(buffer.get(..now).unwrap_or_default())?;
        left -= now;
    }
    Ok(())
}

fn touch(file: &Path) -> Result<()> {
    let bytes = Mapping::of(&File::open(file)?)?.bytes();
    let touch_all = move || {
        black_box(bytes.iter().step_by(PAGE).fold(0_u8, |sum, byte| sum.wrapping_add(*byte)));
    };
    // Twice: pages that were used again go to the active list.
    touch_all();
    touch_all();
    thread::spawn(move || {
        loop {
            touch_all();
            thread::sleep(Duration::from_millis(5));
        }
    });
    ready()
}

fn look_up(directory: &Path, count: u32) -> Result<()> {
    for number in 0..count {
        // Long names don't fit into a dentry, so each is an allocation of its own.
        let name = format!("no-such-file-{number:0>60}");
        anyhow::ensure!(!directory.join(name).exists(), "there is such a file");
    }
    ready()
}

fn pipes(bytes: usize) -> Result<()> {
    reprieve_linux::raise_descriptor_limit();
    let mut open = Vec::new();
    let mut written = 0;
    let page = [7_u8; PAGE];
    while written < bytes {
        let (reader, writer) = rustix::pipe::pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        while let Ok(count) = rustix::io::write(&writer, &page) {
            written += count;
        }
        open.push((reader, writer));
    }
    ready()?;
    drop(open);
    Ok(())
}

fn threads(count: u32) -> Result<()> {
    for _ in 0..count {
        thread::Builder::new().stack_size(64 << 10).spawn(|| {
            loop {
                thread::park();
            }
        })?;
    }
    ready()
}

fn busy(bytes: usize, path: &Path) -> Result<()> {
    let mut held = hold(bytes);
    read_through(path)?;
    let file = File::open(path)?;
    thread::spawn(move || {
        let mut buffer = vec![0_u8; 1 << 16];
        let mut offset = 0;
        loop {
            use_all(&mut held);
            offset = match file.read_at(&mut buffer, offset) {
                Ok(count) if count > 0 => offset + count as u64,
                _ => 0,
            };
            thread::sleep(Duration::from_millis(2));
        }
    });
    ready()
}
