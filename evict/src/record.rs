//! Recording: each scenario runs for real in a cgroup with a limit, all at once, and twice a second what is left is
//! written down, until the kernel kills or the time is over.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
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
}

const STEP: Duration = Duration::from_millis(500);

struct Series {
    shape: Shape,
    cgroup: PathBuf,
    path: CgroupPath,
    worker: Option<Worker>,
    rows: String,
    ended: Option<String>,
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
    let mut all = ALL.iter().map(|shape| begin(&lab, *shape)).collect::<Result<Vec<_>>>()?;
    while all.iter().any(|series| series.ended.is_none()) {
        thread::sleep(STEP);
        tree.scan();
        let meminfo = read_node(&Roots::default(), &mut Problems::default()).meminfo.unwrap_or_default();
        let node = NodeMemory { meminfo, counting_error: Bytes::ZERO };
        for series in all.iter_mut().filter(|series| series.ended.is_none()) {
            series.step(&lab, &tree, &node, started.elapsed())?;
        }
    }
    fs::create_dir_all(&options.folder)?;
    all.iter().try_for_each(|series| series.write(&options.folder))
}

fn begin(lab: &Lab, shape: Shape) -> Result<Series> {
    let cgroup = lab.cgroup(shape.name)?;
    lab.limit(&cgroup, LIMIT_MIB << 20)?;
    let worker = Worker::start(&cgroup, &["take".to_owned(), shape.name.to_owned()])?;
    let path = CgroupPath::new(lab.path_of(&cgroup).as_bytes());
    Ok(Series { shape, cgroup, path, worker: Some(worker), rows: String::new(), ended: None })
}

impl Series {
    fn step(&mut self, lab: &Lab, tree: &CgroupTree, node: &NodeMemory, now: Duration) -> Result<()> {
        let killed = lab.oom_kills(&self.cgroup)? > 0;
        if killed || self.worker.as_mut().is_none_or(Worker::has_ended) {
            self.end(if killed { format!("killed\t{:.3}", now.as_secs_f64()) } else { "ended early\t-".to_owned() });
            return Ok(());
        }
        let memory = tree.find(&self.path).map(|cgroup| *cgroup.memory()).unwrap_or_default();
        if let Some(left) = judge_within(node.meminfo.available, &memory, node) {
            writeln!(self.rows, "{:.3}\t{}", now.as_secs_f64(), left.get())?;
        }
        if now.as_secs() >= self.shape.seconds {
            self.end("never\t-".to_owned());
        }
        Ok(())
    }

    fn end(&mut self, how: String) {
        crate::progress(&format!("{}: {how}", self.shape.name));
        self.worker = None;
        self.ended = Some(how);
    }

    fn write(&self, folder: &Path) -> Result<()> {
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
        let text = format!(
            "# {} below {LIMIT_MIB} MiB, Linux {}: seconds, bytes left\n# limit reached\t{}\n{}",
            self.shape.name,
            kernel.trim(),
            self.ended.as_deref().unwrap_or("never\t-"),
            self.rows
        );
        let path = folder.join(self.shape.name).with_extension("tsv");
        fs::write(&path, text).with_context(|| path.display().to_string())
    }
}
