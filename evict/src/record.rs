//! Recording: each scenario runs for real in a cgroup with a limit, all at once, and twice a second what is left is
//! written down, until the kernel kills or the time is over. A program that is started again leaks again in the cgroup
//! that it was killed in, as it does in one that outlives its processes.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use reprieve_judgement::judge_within;
use reprieve_lab::{Lab, Version};
use reprieve_linux::{CgroupTree, DescriptorBudget, MemoryController, Problems, Roots, read_node};
use reprieve_readings::{Bytes, CgroupPath, CgroupVersion, NodeMemory, Placement};

use crate::scenarios::{ALL, LIMIT_MIB, Shape};
use crate::worker::Worker;

/// Arguments of `record`.
#[derive(Args)]
pub(crate) struct Options {
    /// The folder to write the series into
    folder: PathBuf,
    /// The scenarios; all of them if none is named
    scenarios: Vec<String>,
}

const STEP: Duration = Duration::from_millis(500);

struct Series {
    shape: Shape,
    cgroup: PathBuf,
    path: CgroupPath,
    worker: Option<Worker>,
    rows: String,
    /// When the kernel killed.
    kills: Vec<Duration>,
    has_ended: bool,
}

/// A tree of the cgroups in a directory, which stands for the whole.
pub(crate) fn open_tree(lab: &Lab) -> Result<CgroupTree> {
    let top = CgroupPath::new(lab.path_of(lab.directory()).as_bytes());
    let controller = MemoryController {
        version: match lab.version() {
            Version::V1 => CgroupVersion::V1,
            Version::V2 => CgroupVersion::V2,
        },
        directory: lab.directory().to_owned(),
        own: top.clone(),
        top,
        placement: Placement::Certain,
    };
    Ok(CgroupTree::open(&controller, DescriptorBudget::new(1024))?)
}

pub(crate) fn run(options: &Options) -> Result<()> {
    let lab = Lab::open("evict-record")?.context("it needs root and a memory cgroup hierarchy that it may write to")?;
    let mut tree = open_tree(&lab)?;
    let started = Instant::now();
    let named = options.scenarios.iter().map(|name| Shape::named(name)).collect::<Result<Vec<_>>>()?;
    let shapes = if named.is_empty() { ALL } else { &named };
    let mut all = shapes.iter().map(|shape| begin(&lab, *shape)).collect::<Result<Vec<_>>>()?;
    while all.iter().any(|series| !series.has_ended) {
        thread::sleep(STEP);
        tree.scan();
        let meminfo = read_node(&Roots::default(), &mut Problems::default()).meminfo.unwrap_or_default();
        let node = NodeMemory { meminfo, counting_error: Bytes::ZERO };
        for series in all.iter_mut().filter(|series| !series.has_ended) {
            series.step(&lab, &tree, &node, started.elapsed())?;
        }
    }
    fs::create_dir_all(&options.folder)?;
    all.iter().try_for_each(|series| series.write(&options.folder))
}

fn begin(lab: &Lab, shape: Shape) -> Result<Series> {
    let cgroup = lab.cgroup(shape.name)?;
    lab.limit(&cgroup, LIMIT_MIB << 20)?;
    let path = CgroupPath::new(lab.path_of(&cgroup).as_bytes());
    let worker = Some(start(&cgroup, shape)?);
    Ok(Series { shape, cgroup, path, worker, rows: String::new(), kills: Vec::new(), has_ended: false })
}

fn start(cgroup: &Path, shape: Shape) -> Result<Worker> {
    Worker::start(cgroup, &["take".to_owned(), shape.name.to_owned()])
}

impl Series {
    fn step(&mut self, lab: &Lab, tree: &CgroupTree, node: &NodeMemory, now: Duration) -> Result<()> {
        // Asked first, so that who has ended by the kernel's hand is counted by now.
        let has_ended = self.worker.as_mut().is_none_or(Worker::has_ended);
        let killed = lab.oom_kills(&self.cgroup)? > self.kills.len() as u64;
        if killed {
            crate::progress(&format!("{}: killed after {:.3} s", self.shape.name, now.as_secs_f64()));
            self.kills.push(now);
        }
        ensure!(killed || !has_ended, "{} ended by itself", self.shape.name);
        let is_over = now.as_secs() >= self.shape.seconds;
        if is_over || killed {
            self.worker = None;
        }
        if is_over || killed && !self.shape.again {
            self.has_ended = true;
            return Ok(());
        }
        if killed {
            self.worker = Some(start(&self.cgroup, self.shape)?);
        }
        let memory = tree.find(&self.path).map(|cgroup| *cgroup.memory()).unwrap_or_default();
        if let Some(left) = judge_within(node.meminfo.available, &memory, node) {
            writeln!(self.rows, "{:.3}\t{}", now.as_secs_f64(), left.get())?;
        }
        Ok(())
    }

    fn write(&self, folder: &Path) -> Result<()> {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let kills = self.kills.iter().map(|kill| format!("# limit reached\tkilled\t{:.3}\n", kill.as_secs_f64()));
        let kills = if self.kills.is_empty() { "# limit reached\tnever\t-\n".to_owned() } else { kills.collect() };
        let text = format!(
            "# {} below {LIMIT_MIB} MiB, Linux {}: seconds, bytes left\n{kills}{}",
            self.shape.name,
            kernel.trim(),
            self.rows
        );
        let path = folder.join(self.shape.name).with_extension("tsv");
        fs::write(&path, text).with_context(|| path.display().to_string())
    }
}
