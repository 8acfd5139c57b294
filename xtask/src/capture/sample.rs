//! Sample cgroups: a pod's container and a systemd service, as the systemd driver names them, with limits, page cache,
//! a sleeping process each, and one OOM kill in the container that its first process survived.
//!
//! Every cgroup is made anew (one that exists is an error, since it is somebody else's) and goes when the sample is
//! dropped, together with the processes and the files that filled the page cache.

use super::hierarchy::Hierarchy;
use anyhow::{Context, Result, ensure};
use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

const POD: &str = "kubepods.slice/kubepods-burstable.slice/\
                   kubepods-burstable-pod7d0b3a52_1f6c_4f0e_9c55_2f1d8e6b4a90.slice";
const CONTAINER: &str = "cri-containerd-4f9d2c1b7a6e5d3c8b0a9f8e7d6c5b4a392817060f1e2d3c4b5a69788796a5b4.scope";
const SERVICE: &str = "system.slice/nginx.service";
const MIB: u64 = 1 << 20;

/// On a disk in the virtual machine too, unlike /tmp: tmpfs has no page cache that could be reclaimed.
const CACHE_FOLDER: &str = "/var/tmp";

/// Joins the cgroup `$0`.
const JOIN: &str = "echo $$ >\"$0/cgroup.procs\"";

/// tail(1) keeps a line without an end in memory: it grows until the kernel kills it, and the shell goes on.
const OVERRUN: &str = "{ tail /dev/zero; true; } 2>/dev/null";

/// Reads the 8 MiB of the file `$1`, then the first 2 MiB again so that they become active, and dirties 1 MiB.
const FILL: &str = "cat \"$1\" >/dev/null && head -c 2097152 \"$1\" >/dev/null && head -c 2097152 \"$1\" >/dev/null && \
                    dd if=/dev/zero of=\"$1\" bs=1048576 count=1 seek=6 conv=notrunc 2>/dev/null";

const WAIT: &str = "echo ready && exec sleep 600";

/// The cgroups and processes of one capture; dropping it removes them.
pub(crate) struct Sample<'a> {
    hierarchy: &'a Hierarchy,
    made: Vec<PathBuf>,
    cache_files: Vec<PathBuf>,
    processes: Vec<Child>,
}

impl<'a> Sample<'a> {
    /// Makes the cgroups below `base`, which must not exist unless it is the root, and starts their processes.
    pub(crate) fn make(hierarchy: &'a Hierarchy, base: &Path) -> Result<Self> {
        let inside = base.strip_prefix("/").with_context(|| format!("{} does not begin with /", base.display()))?;
        let mut sample = Self { hierarchy, made: Vec::new(), cache_files: Vec::new(), processes: Vec::new() };
        let pod = sample.make_cgroups(&inside.join(POD))?;
        let container = sample.make_cgroups(&inside.join(POD).join(CONTAINER))?;
        let service = sample.make_cgroups(&inside.join(SERVICE))?;
        sample.limit(&pod, 96 * MIB)?;
        sample.limit(&container, 64 * MIB)?;
        sample.throttle(&service, 48 * MIB)?;
        sample.start(&container, &format!("{JOIN} && {OVERRUN} && {FILL} && {WAIT}"))?;
        sample.start(&service, &format!("{JOIN} && {FILL} && {WAIT}"))?;
        Ok(sample)
    }

    /// The container's first process, which sleeps.
    pub(crate) fn container_pid(&self) -> u32 {
        self.processes.first().map_or(0, Child::id)
    }

    /// Makes the cgroup at this path and those above it that this sample has not made yet.
    fn make_cgroups(&mut self, inside: &Path) -> Result<PathBuf> {
        let mut cgroup = self.hierarchy.mount.clone();
        for name in inside {
            if self.hierarchy.version == 2 && self.made.contains(&cgroup) {
                write(&cgroup.join("cgroup.subtree_control"), "+memory")?;
            }
            cgroup.push(name);
            if !self.made.contains(&cgroup) {
                fs::create_dir(&cgroup).with_context(|| {
                    format!(
                        "{} could not be made; if an earlier capture left it, remove it with rmdir",
                        cgroup.display()
                    )
                })?;
                self.made.push(cgroup.clone());
            }
        }
        Ok(cgroup)
    }

    fn limit(&self, cgroup: &Path, bytes: u64) -> Result<()> {
        let file = if self.hierarchy.version == 2 { "memory.max" } else { "memory.limit_in_bytes" };
        write(&cgroup.join(file), &bytes.to_string())
    }

    fn throttle(&self, cgroup: &Path, bytes: u64) -> Result<()> {
        let file = if self.hierarchy.version == 2 { "memory.high" } else { "memory.soft_limit_in_bytes" };
        write(&cgroup.join(file), &bytes.to_string())
    }

    /// Starts a process of the cgroup and waits until it has filled the cgroup and sleeps.
    fn start(&mut self, cgroup: &Path, script: &str) -> Result<()> {
        let cache = self.make_cache_file()?;
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).arg(cgroup).arg(cache).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = shell.spawn().context("the shell of a sample process did not start")?;
        let output = child.stdout.take();
        self.processes.push(child);
        let mut line = String::new();
        if let Some(output) = output {
            BufReader::new(output).read_line(&mut line).context("a sample process could not be heard")?;
        }
        ensure!(line.trim() == "ready", "the sample process of {} ended before it was ready", cgroup.display());
        Ok(())
    }

    /// Makes a file that is clean and out of the page cache, so that the next to read it is charged for it.
    fn make_cache_file(&mut self) -> Result<PathBuf> {
        let name = format!("reprieve-capture-{}-{}", std::process::id(), self.cache_files.len());
        let path = Path::new(CACHE_FOLDER).join(name);
        let content = vec![b'.'; 8 * 1024 * 1024];
        fs::write(&path, content).with_context(|| format!("{} could not be written", path.display()))?;
        self.cache_files.push(path.clone());
        let file = fs::File::open(&path).with_context(|| format!("{} could not be opened", path.display()))?;
        file.sync_all().with_context(|| format!("{} could not be synced", path.display()))?;
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)
            .with_context(|| format!("{} could not be taken out of the page cache", path.display()))?;
        Ok(path)
    }
}

impl Drop for Sample<'_> {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let ended = process.kill().and_then(|()| process.wait());
            if let Err(error) = ended {
                println!("the sample process {} could not be ended: {error}", process.id());
            }
        }
        for cgroup in self.made.iter().rev() {
            if let Err(error) = fs::remove_dir(cgroup) {
                println!("{} could not be removed: {error}; remove it with rmdir", cgroup.display());
            }
        }
        for file in &self.cache_files {
            if let Err(error) = fs::remove_file(file) {
                println!("{} could not be removed: {error}", file.display());
            }
        }
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("`{text}` could not be written to {}", path.display()))
}
