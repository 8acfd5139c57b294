//! The node of an experiment. On v2 (in a virtual machine) it is the whole machine. On v1 a cgroup with a limit plays the
//! machine's part: a made-up `/proc/meminfo` says that the limit is all memory, and made-up mounts show that cgroup as the
//! root, so that the agent under test reads it as it would read a machine.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use reprieve_lab::{Lab, Version};

/// The node, its roots, and where the files of workloads are.
pub(crate) struct Node {
    pub(crate) lab: Lab,
    /// What to give the agent as `--proc` and `--sys`; `None` on a whole machine.
    roots: Option<PathBuf>,
    root_cgroup: PathBuf,
    capacity: u64,
    folder: Folder,
}

/// A folder on a disk, which goes when this is dropped.
pub(crate) struct Folder(PathBuf);

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Folder {
    pub(crate) fn new() -> Result<Self> {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path = Path::new("/var/tmp").join(format!("reprieve-evict-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).with_context(|| path.display().to_string())?;
        Ok(Folder(path))
    }

    /// A file none of which is in memory.
    pub(crate) fn cold_file(&self, name: &str, bytes: u64) -> Result<PathBuf> {
        use std::io::Write;
        let path = self.0.join(name);
        let mut file = fs::File::create(&path)?;
        let block: Vec<u8> = (0..1_u32 << 20).map(|byte| (byte % 251) as u8).collect();
        for _ in 0..bytes >> 20 {
            file.write_all(&block)?;
        }
        file.sync_all()?;
        forget(&path)?;
        Ok(path)
    }
}

/// Takes a file's pages out of memory.
pub(crate) fn forget(path: &Path) -> Result<()> {
    let file = fs::File::open(path)?;
    Ok(rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed)?)
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            crate::progress(&format!("{} is left behind: {error}", self.0.display()));
        }
    }
}

impl Node {
    /// A node; on v1 one of so many MiB.
    pub(crate) fn new(mib: u64) -> Result<Self> {
        let lab = Lab::open("evict")?.context("it needs root and a memory cgroup hierarchy that it may write to")?;
        let folder = Folder::new()?;
        let mut node =
            Node { roots: None, root_cgroup: PathBuf::from("/sys/fs/cgroup"), capacity: mib << 20, folder, lab };
        match node.lab.version() {
            Version::V2 => node.capacity = meminfo("MemTotal")?,
            Version::V1 => node.play_machine()?,
        }
        Ok(node)
    }

    fn play_machine(&mut self) -> Result<()> {
        self.root_cgroup = self.lab.directory().to_owned();
        self.lab.limit(&self.root_cgroup, self.capacity)?;
        let roots = self.folder.0.join("roots");
        fs::create_dir_all(roots.join("proc/self"))?;
        fs::create_dir_all(roots.join("sys/fs/cgroup"))?;
        fs::create_dir_all(roots.join("sys/devices/system/cpu"))?;
        fs::write(
            roots.join("proc/self/mountinfo"),
            "30 23 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
        )?;
        fs::write(roots.join("proc/self/cgroup"), "9:memory:/\n")?;
        fs::write(roots.join("sys/devices/system/cpu/online"), "0-1\n")?;
        symlink(&self.root_cgroup, roots.join("sys/fs/cgroup/memory"))?;
        self.roots = Some(roots);
        self.refresh()
    }

    /// Brings the made-up `/proc/meminfo` up to date.
    pub(crate) fn refresh(&self) -> Result<()> {
        let Some(roots) = &self.roots else { return Ok(()) };
        let usage = number(&self.root_cgroup.join("memory.usage_in_bytes"))?;
        let stat = fs::read_to_string(self.root_cgroup.join("memory.stat"))?;
        let cache = key(&stat, "total_active_file ")? + key(&stat, "total_inactive_file ")?;
        let free = self.capacity.saturating_sub(usage);
        let kib = |bytes: u64| bytes / 1024;
        let text = format!(
            "MemTotal: {} kB\nMemFree: {} kB\nMemAvailable: {} kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n",
            kib(self.capacity),
            kib(free),
            kib(free + cache)
        );
        let fresh = roots.join("proc/meminfo.new");
        fs::write(&fresh, text)?;
        fs::rename(fresh, roots.join("proc/meminfo"))?;
        Ok(())
    }

    /// All memory, in bytes.
    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    /// The flags by which the agent reads this node.
    pub(crate) fn agent_roots(&self) -> Vec<String> {
        let Some(roots) = &self.roots else { return Vec::new() };
        let path = |name| roots.join(name).display().to_string();
        vec!["--proc".to_owned(), path("proc"), "--sys".to_owned(), path("sys")]
    }

    /// What is available to the kubelet, by its own formulas (see docs/eviction.md): of v1 the usage of the root cgroup, of v2 its
    /// `anon` and `file`, less the inactive page cache.
    pub(crate) fn available(&self) -> Result<u64> {
        let stat = fs::read_to_string(self.root_cgroup.join("memory.stat"))?;
        let (usage, inactive) = match self.lab.version() {
            Version::V1 => {
                (number(&self.root_cgroup.join("memory.usage_in_bytes"))?, key(&stat, "total_inactive_file ")?)
            }
            Version::V2 => (key(&stat, "anon ")? + key(&stat, "file ")?, key(&stat, "inactive_file ")?),
        };
        Ok(self.capacity.saturating_sub(usage.saturating_sub(inactive)))
    }

    /// What can really be had.
    pub(crate) fn really_available(&self) -> Result<u64> {
        match self.lab.version() {
            Version::V2 => meminfo("MemAvailable"),
            Version::V1 => {
                let stat = fs::read_to_string(self.root_cgroup.join("memory.stat"))?;
                let cache = key(&stat, "total_active_file ")? + key(&stat, "total_inactive_file ")?;
                let usage = number(&self.root_cgroup.join("memory.usage_in_bytes"))?;
                Ok((self.capacity + cache).saturating_sub(usage))
            }
        }
    }
}

fn number(path: &Path) -> Result<u64> {
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    Ok(text.trim().parse()?)
}

/// The value of a line that begins so.
pub(crate) fn key(text: &str, begin: &str) -> Result<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(begin)).with_context(|| format!("no {begin}"))?;
    Ok(line.trim().trim_end_matches(" kB").trim().parse()?)
}

fn meminfo(name: &str) -> Result<u64> {
    Ok(key(&fs::read_to_string("/proc/meminfo")?, &format!("{name}:"))? * 1024)
}
