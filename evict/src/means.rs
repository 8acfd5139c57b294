//! The means against page cache, one after the other on the same workload: how much smaller the working set gets, how
//! many bytes that frees, how long it takes, and how fast the cache can be read afterwards.
//!
//! A container has read one large file twice and rests, beside a small file that it goes on reading.

mod advice;

use std::fs;
use std::io::IoSliceMut;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use reprieve_lab::Version;
use reprieve_linux::{CacheActor, CacheAmount, ForceEmptyWriter, Roots};
use reprieve_readings::{Bytes, CacheMeans, CgroupPath, CgroupVersion};
use rustix::io::ReadWriteFlags;

use crate::node::{Folder, Node, key};
use crate::record::open_tree;
use crate::work::read;
use crate::worker::Worker;

/// Arguments of `means`.
#[derive(Args)]
pub(crate) struct Options {
    /// What this kernel is called in the table
    #[arg(long)]
    label: String,
    /// The size of the large file, in MiB
    #[arg(long, default_value_t = 256)]
    mib: u64,
    /// Whether the workload maps its files instead of reading them
    #[arg(long)]
    mmap: bool,
}

/// Ways to use the means: `memory.reclaim` in small steps, in batches, and at once.
#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    /// `None` is advice on the mapping of the process (MADV_COLD), which the keeper does not give.
    means: Option<CacheMeans>,
    step: u64,
    /// Between two acts.
    pause: Duration,
}

const PAUSE: Duration = Duration::from_millis(20);

const WAYS: &[Way] = &[
    Way { name: "lru_gen: new generations", means: Some(CacheMeans::Age), step: 0, pause: Duration::ZERO },
    Way { name: "MADV_COLD from outside", means: None, step: 0, pause: Duration::ZERO },
    Way { name: "DAMON lru_deprio", means: Some(CacheMeans::Deprioritise), step: 32 << 20, pause: Duration::ZERO },
    Way { name: "memory.reclaim, 1 MiB every 20 ms", means: Some(CacheMeans::Reclaim), step: 1 << 20, pause: PAUSE },
    Way { name: "memory.reclaim, 4 MiB every 20 ms", means: Some(CacheMeans::Reclaim), step: 4 << 20, pause: PAUSE },
    Way {
        name: "memory.reclaim, 4 MiB at a time",
        means: Some(CacheMeans::Reclaim),
        step: 4 << 20,
        pause: Duration::ZERO,
    },
    Way {
        name: "memory.reclaim, 32 MiB at a time, as the keeper asks",
        means: Some(CacheMeans::Reclaim),
        step: 32 << 20,
        pause: Duration::ZERO,
    },
    Way {
        name: "memory.force_empty, cut short at 4 MiB every 20 ms",
        means: Some(CacheMeans::ForceEmptyStep),
        step: 4 << 20,
        pause: PAUSE,
    },
    Way {
        name: "memory.force_empty, cut short, 32 MiB at a time, as the keeper asks",
        means: Some(CacheMeans::ForceEmptyStep),
        step: 32 << 20,
        pause: Duration::ZERO,
    },
    Way { name: "memory.force_empty", means: Some(CacheMeans::ForceEmpty), step: 0, pause: Duration::ZERO },
];

pub(crate) fn run(options: &Options) -> Result<()> {
    for way in WAYS {
        if way.means.is_none() && !options.mmap {
            continue;
        }
        match measure(options, *way)? {
            Some(row) => crate::print(&row)?,
            None => crate::progress(&format!("{}: not to be had here", way.name)),
        }
    }
    cold(options)
}

fn measure(options: &Options, way: Way) -> Result<Option<String>> {
    let node = Node::new(4 * options.mib)?;
    let cgroup = node.lab.cgroup("app")?;
    let folder = Folder::new()?;
    let large = folder.cold_file("large", options.mib << 20)?;
    let hot = folder.cold_file("hot", 16 << 20)?;
    let path = |path: &PathBuf| path.display().to_string();
    let mut arguments = vec!["read-twice".to_owned()];
    arguments.extend(options.mmap.then(|| "--mmap".to_owned()));
    // Advice is given to a process that still maps the file.
    arguments.extend(way.means.is_none().then(|| "--rest".to_owned()));
    arguments.push(path(&large));
    let reader = Worker::start(&cgroup, &arguments)?;
    let hot = Worker::start(&cgroup, &["hot".to_owned(), "--pause-ms".to_owned(), "100".to_owned(), path(&hot)])?;
    let twice = 2.0 * (options.mib << 20) as f64;
    let deadline = Instant::now() + Duration::from_secs(120);
    while reader.count() < twice && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(50));
    }
    let reader = way.means.is_none().then_some(reader);
    // Long enough for what is cold to be known as such.
    thread::sleep(Duration::from_secs(2));
    let before = State::read(&cgroup)?;
    let mut tree = open_tree(&node.lab)?;
    tree.scan();
    let found = tree.find(&CgroupPath::new(node.lab.path_of(&cgroup).as_bytes())).context("the cgroup is gone")?;
    let target = found.cache_target()?;
    let version = if node.lab.version() == Version::V1 { CgroupVersion::V1 } else { CgroupVersion::V2 };
    let mut actor = CacheActor::new(&Roots::default(), version, false)
        .with_writer(ForceEmptyWriter::this_program(["force-empty-writer"]));
    let is_there = way.means.map_or_else(advice::is_there, |means| actor.means(&target).contains(&means));
    if !is_there {
        return Ok(None);
    }
    let hot_usual = rate_of(&hot)?;
    let hot_before = hot.count();
    let (half, mut acts) = (before.working_set / 2, 0);
    let started = Instant::now();
    let mut now = before;
    // Until half of the working set is gone, or ten acts in a row did nothing.
    let mut idle = 0;
    while now.working_set > half && idle < 10 && started.elapsed() < Duration::from_secs(60) {
        let outcome = match way.means {
            Some(means) => {
                let amount = CacheAmount::gently(Bytes::new(way.step));
                actor.act(&target, means, amount, false).map(drop).map_err(Into::into)
            }
            None => {
                reader.as_ref().context("nobody maps the file").and_then(|reader| advice::give(reader.id(), &large))
            }
        };
        if let Err(error) = outcome {
            crate::progress(&format!("{}: {error}", way.name));
            break;
        }
        acts += 1;
        thread::sleep(way.pause);
        let after = State::read(&cgroup)?;
        idle = if after.working_set + (256 << 10) < now.working_set { 0 } else { idle + 1 };
        now = after;
    }
    let took = started.elapsed();
    // Two seconds from the begin of the acts on, or as long as they took.
    thread::sleep(Duration::from_secs(2).saturating_sub(started.elapsed()));
    let hot_rate = (hot.count() - hot_before) / started.elapsed().as_secs_f64();
    let refaults = State::read(&cgroup)?.refaults.saturating_sub(before.refaults);
    let resident = resident(&large)?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let removed = before.working_set.saturating_sub(now.working_set);
    let freed = before.usage.saturating_sub(now.usage);
    Ok(Some(format!(
        "| {} | {} | {} | {:.0} MiB | {:.0} MiB | {acts} | {:.0} ms | {:.0} % | {:.0} % | {refaults} |",
        options.label,
        if options.mmap { "mapped" } else { "read" },
        way.name,
        mib(removed),
        mib(freed),
        took.as_secs_f64() * 1000.0,
        resident * 100.0,
        hot_rate / hot_usual * 100.0,
    )))
}

/// The hot file's usual rate, over two seconds.
fn rate_of(hot: &Worker) -> Result<f64> {
    let (count, started) = (hot.count(), Instant::now());
    thread::sleep(Duration::from_secs(2));
    Ok((hot.count() - count) / started.elapsed().as_secs_f64())
}

/// The part of a file's pages that are in memory: those that can be read without waiting.
fn resident(path: &Path) -> Result<f64> {
    let file = fs::File::open(path)?;
    let pages = file.metadata()?.len() / 4096;
    let mut found = 0;
    let mut byte = [0_u8; 1];
    for page in 0..pages {
        let mut buffers = [IoSliceMut::new(&mut byte)];
        let read = rustix::io::preadv2(&file, &mut buffers, page * 4096, ReadWriteFlags::NOWAIT);
        found += u64::from(read.is_ok_and(|read| read > 0));
    }
    Ok(found as f64 / pages as f64)
}

/// The speed of a file that is not in memory, to compare with.
fn cold(options: &Options) -> Result<()> {
    let folder = Folder::new()?;
    let large = folder.cold_file("large", options.mib << 20)?;
    let (disk, memory) = (reread(&large)?, reread(&large)?);
    crate::progress(&format!(
        "{}: from the disk {:.0} MiB/s, from memory {:.0} MiB/s",
        options.label,
        disk / f64::from(1 << 20),
        memory / f64::from(1 << 20)
    ));
    Ok(())
}

/// Bytes a second.
fn reread(file: &Path) -> Result<f64> {
    let mut buffer = vec![0; 1 << 20];
    let started = Instant::now();
    let bytes = read(file, &mut buffer)?;
    Ok(bytes as f64 / started.elapsed().as_secs_f64())
}

#[derive(Clone, Copy)]
struct State {
    usage: u64,
    working_set: u64,
    refaults: u64,
}

impl State {
    fn read(cgroup: &Path) -> Result<Self> {
        let stat = fs::read_to_string(cgroup.join("memory.stat"))?;
        let v1 = cgroup.join("memory.usage_in_bytes");
        let (usage, prefix) = if v1.exists() {
            (fs::read_to_string(v1)?, "total_")
        } else {
            (fs::read_to_string(cgroup.join("memory.current"))?, "")
        };
        let usage: u64 = usage.trim().parse()?;
        let inactive = key(&stat, &format!("{prefix}inactive_file "))?;
        let refaults = key(&stat, &format!("{prefix}workingset_refault_file ")).unwrap_or(0);
        Ok(State { usage, working_set: usage.saturating_sub(inactive), refaults })
    }
}
