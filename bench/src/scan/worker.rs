//! A reader: reads all cgroups whenever it is told to, and says how much CPU time its thread has used for it.

use std::io::{BufRead, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use reprieve_linux::{CgroupTree, DescriptorBudget, MemoryController, raise_descriptor_limit};
use reprieve_readings::{CgroupPath, CgroupVersion, Placement};
use rustix::time::{ClockId, clock_gettime};

use crate::scan::preads::OpenFiles;

/// What asks for one reading.
pub(crate) const GO: &[u8] = b"go\n";

/// Ways to read all cgroups.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Reader {
    /// `pread` of each file through an open descriptor, and nothing else
    Preads,
    /// Reprieve's own scan
    Scan,
    /// The crate `cgroupfs` of the project below
    Cgroupfs,
}

impl Reader {
    /// How the table calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Reader::Preads => "bare preads",
            Reader::Scan => "reprieve",
            Reader::Cgroupfs => "cgroupfs crate",
        }
    }
}

/// Arguments of `read`.
#[derive(Args)]
pub(crate) struct Options {
    reader: Reader,
    /// The topmost cgroup to read
    top: PathBuf,
    /// The files are those of cgroup v2
    #[arg(long)]
    v2: bool,
    /// Files to keep open at most
    #[arg(long, default_value_t = 0)]
    open_files: usize,
}

/// The first answer, after everything was read once.
pub(crate) struct Ready {
    /// Files kept open.
    pub(crate) open_files: usize,
}

impl Ready {
    const WORD: &'static str = "ready ";

    /// Reads the line back.
    pub(crate) fn parse(line: &str) -> Option<Self> {
        Some(Ready { open_files: line.strip_prefix(Self::WORD)?.parse().ok()? })
    }
}

/// Reads until stdin ends.
pub(crate) fn run(options: &Options) -> Result<()> {
    raise_descriptor_limit();
    match options.reader {
        Reader::Preads => serve_preads(options),
        Reader::Scan => serve_scan(options),
        Reader::Cgroupfs => serve_cgroupfs(options),
    }
}

fn version(options: &Options) -> CgroupVersion {
    if options.v2 { CgroupVersion::V2 } else { CgroupVersion::V1 }
}

fn serve_preads(options: &Options) -> Result<()> {
    let files = OpenFiles::open(&options.top, version(options))?;
    let mut buffer = vec![0; 16 * 1024];
    serve(files.len(), || files.read(&mut buffer))
}

fn serve_scan(options: &Options) -> Result<()> {
    let controller = MemoryController {
        version: version(options),
        directory: options.top.clone(),
        top: CgroupPath::root(),
        own: CgroupPath::root(),
        placement: Placement::Certain,
    };
    let mut tree = CgroupTree::open(&controller, DescriptorBudget::new(options.open_files))?;
    let open_before = open_descriptors()?;
    scan(&mut tree)?;
    // The topmost's directory was open before; every other cgroup's takes a descriptor beside those of its files.
    let directories = tree.len().saturating_sub(1);
    let open_files = open_descriptors()?.saturating_sub(open_before).saturating_sub(directories);
    serve(open_files, || scan(&mut tree))
}

fn scan(tree: &mut CgroupTree) -> Result<()> {
    let problems = tree.scan().problems;
    ensure!(problems.count() == 0, "the scan met {} problems, first {:?}", problems.count(), problems.first().first());
    Ok(())
}

#[cfg(feature = "cgroupfs")]
fn serve_cgroupfs(options: &Options) -> Result<()> {
    serve(0, || crate::scan::cgroupfs_reader::read_all(&options.top))
}

#[cfg(not(feature = "cgroupfs"))]
fn serve_cgroupfs(_: &Options) -> Result<()> {
    anyhow::bail!("this bench was built without the feature `cgroupfs`")
}

/// Reads once to warm up, says that it is ready, and then reads once for each line of stdin.
fn serve(open_files: usize, mut read: impl FnMut() -> Result<()>) -> Result<()> {
    read()?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "{}{open_files}", Ready::WORD)?;
    for request in std::io::stdin().lock().lines() {
        request.context("the next request could not be read")?;
        let before = thread_cpu_time()?;
        read()?;
        let used = thread_cpu_time()?.saturating_sub(before);
        writeln!(stdout, "{}", used.as_nanos())?;
    }
    Ok(())
}

fn thread_cpu_time() -> Result<Duration> {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).context("the thread's clock is before zero")
}

fn open_descriptors() -> Result<usize> {
    Ok(std::fs::read_dir("/proc/self/fd").context("the open files could not be counted")?.count())
}
