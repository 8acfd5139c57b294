//! The cgroups of one run, and what a scenario does to them before the filling begins.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use reprieve_lab::Lab;
use rustix::fs::Advice;

use crate::experiment::Program;
use crate::work::write_file;
use crate::worker::Worker;

/// One run's cgroups, files and processes. All are gone when it is dropped.
pub(crate) struct Stage<'a> {
    lab: &'a Lab,
    program: &'a Program,
    directory: PathBuf,
    files: PathBuf,
    /// Where the filling happens.
    pub(crate) cgroup: PathBuf,
    /// The limit that was asked for.
    pub(crate) limit: u64,
    /// Until when to wait and what to count.
    pub(crate) until_high: bool,
    /// Whether swap helps.
    pub(crate) with_swap: bool,
    workers: Vec<Worker>,
    remove: Vec<String>,
}

impl<'a> Stage<'a> {
    /// A cgroup with a limit, or without one, with nothing in it.
    pub(crate) fn new(lab: &'a Lab, program: &'a Program, files: &Path, limit: u64) -> Result<Self> {
        let directory = lab.directory().join("run");
        let files = files.join(format!("reprieve-calibrate-{}", std::process::id()));
        fs::create_dir_all(&files).with_context(|| format!("{} could not be made", files.display()))?;
        let cgroup = lab.cgroup("run/app")?;
        let workers = Vec::new();
        Ok(Stage {
            lab,
            program,
            directory,
            files,
            cgroup,
            limit,
            until_high: false,
            with_swap: false,
            workers,
            remove: Vec::new(),
        })
    }

    /// Limits the cgroup that is filled.
    pub(crate) fn limit_own(&self, bytes: u64) -> Result<()> {
        Ok(self.lab.limit(&self.cgroup, bytes)?)
    }

    /// Limits the cgroup that holds it.
    pub(crate) fn limit_outer(&self, bytes: u64) -> Result<()> {
        Ok(self.lab.limit(&self.directory, bytes)?)
    }

    /// Writes one of the cgroup's files.
    pub(crate) fn set(&self, name: &str, value: impl ToString) -> Result<()> {
        write(&self.cgroup.join(name), value)
    }

    /// Writes one of the files of the cgroup beside it.
    pub(crate) fn set_beside(&self, name: &str, value: impl ToString) -> Result<()> {
        write(&self.directory.join("sidecar").join(name), value)
    }

    /// Lets the cgroup write no more than so many bytes in a second to the disk that holds the files.
    pub(crate) fn slow_disk(&self, bytes: u64) -> Result<()> {
        for directory in [self.lab.directory(), &self.directory] {
            write(&directory.join("cgroup.subtree_control"), "+io")?;
        }
        let device = fs::metadata(&self.files)?.dev();
        let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
        self.set("io.max", format!("{major}:{minor} wbps={bytes}"))
    }

    /// Starts work in the cgroup that is filled, and leaves it there.
    pub(crate) fn keep(&mut self, arguments: &[String]) -> Result<()> {
        let cgroup = self.cgroup.clone();
        self.keep_in(&cgroup, arguments)
    }

    /// Starts work beside the cgroup that is filled.
    pub(crate) fn keep_beside(&mut self, arguments: &[String]) -> Result<()> {
        let cgroup = self.lab.cgroup("run/sidecar")?;
        self.keep_in(&cgroup, arguments)
    }

    fn keep_in(&mut self, cgroup: &Path, arguments: &[String]) -> Result<()> {
        self.workers.push(Worker::start(self.program, cgroup, arguments)?);
        Ok(())
    }

    /// Does work in the cgroup that is filled, and lets it end.
    pub(crate) fn finish(&self, arguments: &[String]) -> Result<()> {
        Worker::start(self.program, &self.cgroup, arguments)?.finish()
    }

    /// A path for a file on disk.
    pub(crate) fn path(&self, name: &str) -> String {
        self.files.join(name).display().to_string()
    }

    /// Makes a file on disk none of which is in memory.
    pub(crate) fn cold_file(&self, name: &str, bytes: u64) -> Result<String> {
        let path = self.path(name);
        let mut file = File::create(&path)?;
        write_file(&mut file, usize::try_from(bytes)?)?;
        file.sync_all()?;
        rustix::fs::fadvise(&file, 0, None, Advice::DontNeed)?;
        Ok(path)
    }

    /// A folder in memory (tmpfs).
    pub(crate) fn tmpfs(&self) -> Result<String> {
        const TMPFS_MAGIC: i64 = 0x0102_1994;
        let candidates = ["/dev/shm", "/tmp", "/run"];
        let found = candidates.iter().find(|path| rustix::fs::statfs(**path).is_ok_and(|fs| fs.f_type == TMPFS_MAGIC));
        Ok((*found.context("no tmpfs is mounted")?).to_owned())
    }

    /// Removes a file that is elsewhere when the run is over.
    pub(crate) fn remove_later(&mut self, path: String) {
        self.remove.push(path);
    }
}

fn write(path: &Path, value: impl ToString) -> Result<()> {
    fs::write(path, value.to_string()).with_context(|| format!("{} was not taken", path.display()))
}

impl Drop for Stage<'_> {
    fn drop(&mut self) {
        self.workers.clear();
        for path in &self.remove {
            let _ = fs::remove_file(path);
        }
        for result in [reprieve_lab::remove_tree(&self.directory), fs::remove_dir_all(&self.files)] {
            if let Err(error) = result {
                crate::progress(&format!("something is left behind: {error}"));
            }
        }
    }
}
