//! Trees of files that stand for `/proc` and `/sys`, made up for a test.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A made-up machine, in a temporary directory that goes with it. It has 8 GB, half of it available.
#[derive(Debug)]
pub struct Captured {
    directory: TempDir,
}

impl Captured {
    /// A machine with cgroup v2 and the root cgroup only, in which the reader is.
    pub fn new() -> io::Result<Captured> {
        let captured = Captured::with_place("30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", "0::/\n")?;
        let root = captured.cgroup(b"")?;
        fs::write(root.join("cgroup.controllers"), "cpu memory\n")?;
        fs::write(root.join("memory.stat"), STAT)?;
        Ok(captured)
    }

    /// A machine without cgroups whose reader finds this in `/proc/self/mountinfo` and `/proc/self/cgroup`.
    pub fn with_place(mountinfo: &str, proc_cgroup: &str) -> io::Result<Captured> {
        let captured = Captured { directory: TempDir::new()? };
        fs::create_dir_all(captured.proc().join("self"))?;
        fs::create_dir_all(captured.proc().join("pressure"))?;
        fs::create_dir_all(captured.sys().join("devices/system/cpu"))?;
        fs::write(captured.proc().join("self/mountinfo"), mountinfo)?;
        fs::write(captured.proc().join("self/cgroup"), proc_cgroup)?;
        let meminfo = "MemTotal: 8000000 kB\nMemFree: 1000000 kB\nMemAvailable: 4000000 kB\n";
        fs::write(captured.proc().join("meminfo"), meminfo)?;
        fs::write(captured.proc().join("vmstat"), "oom_kill 3\n")?;
        fs::write(captured.sys().join("devices/system/cpu/online"), "0-1\n")?;
        Ok(captured)
    }

    /// A machine from the files that `cargo xtask capture --containers` wrote as one text: after each line `== PATH` the
    /// file of that path.
    ///
    /// # Errors
    /// The files can't be written.
    pub fn unpack(text: &str) -> io::Result<Captured> {
        let captured = Captured { directory: TempDir::new()? };
        let text = format!("\n{text}");
        for file in text.split("\n== /").skip(1) {
            let (path, content) = file.split_once('\n').unwrap_or((file, ""));
            let file = captured.root().join(path);
            fs::create_dir_all(file.parent().unwrap_or(captured.root()))?;
            // The line's end before the next file's name belongs to this one.
            fs::write(file, format!("{}\n", content.trim_end_matches('\n')))?;
        }
        Ok(captured)
    }

    /// The directory that holds both, and stands for `/`.
    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    /// What stands for `/proc`.
    pub fn proc(&self) -> PathBuf {
        self.directory.path().join("proc")
    }

    /// What stands for `/sys`.
    pub fn sys(&self) -> PathBuf {
        self.directory.path().join("sys")
    }

    /// Makes a cgroup's directory, and those above it, without files.
    pub fn cgroup(&self, path: &[u8]) -> io::Result<PathBuf> {
        let directory = self.sys().join("fs/cgroup").join(Path::new(OsStr::from_bytes(path)));
        fs::create_dir_all(&directory)?;
        Ok(directory)
    }

    /// Makes a cgroup that uses 1 MiB, a quarter of it cache, of 4 MiB, and has had two kills.
    pub fn sound_cgroup(&self, path: &[u8]) -> io::Result<PathBuf> {
        let directory = self.cgroup(path)?;
        fs::write(directory.join("memory.current"), "1048576\n")?;
        fs::write(directory.join("memory.max"), "4194304\n")?;
        fs::write(directory.join("memory.stat"), STAT)?;
        fs::write(directory.join("memory.events.local"), "low 0\nhigh 0\nmax 7\noom 2\noom_kill 2\n")?;
        fs::write(directory.join("cgroup.procs"), "")?;
        Ok(directory)
    }

    /// DAMON's directories, which nobody uses, with all that one set of them holds. Returns that of all sets.
    pub fn damon(&self) -> io::Result<PathBuf> {
        let kdamonds = self.sys().join("kernel/mm/damon/admin/kdamonds");
        let context = kdamonds.join("0/contexts/0");
        let scheme = context.join("schemes/0");
        for directory in ["monitoring_attrs/intervals", "monitoring_attrs/nr_regions", "targets/0/regions/0"] {
            fs::create_dir_all(context.join(directory))?;
        }
        for directory in ["access_pattern/sz", "access_pattern/nr_accesses", "access_pattern/age", "quotas"] {
            fs::create_dir_all(scheme.join(directory))?;
        }
        fs::create_dir_all(scheme.join("filters/0"))?;
        fs::create_dir_all(scheme.join("filters/1"))?;
        fs::write(kdamonds.join("nr_kdamonds"), "0\n")?;
        fs::write(self.proc().join("iomem"), "00001000-7fffffff : System RAM\n")?;
        Ok(kdamonds)
    }

    /// Writes a level's files as v1 has them, into a directory below `root`. `hierarchical` is the smallest limit of the
    /// level and all above it, those that the machine's mounts don't show included.
    pub fn level_v1(&self, directory: &str, level: &Level, hierarchical: &str) -> io::Result<PathBuf> {
        let directory = self.root().join(directory);
        fs::create_dir_all(&directory)?;
        let half = level.cache / 2;
        let stat = format!(
            "inactive_file {half}\nactive_file {half}\nhierarchical_memory_limit {hierarchical}\n\
             total_inactive_file {half}\ntotal_active_file {half}\n"
        );
        fs::write(directory.join("memory.limit_in_bytes"), format!("{}\n", level.limit))?;
        fs::write(directory.join("memory.usage_in_bytes"), format!("{}\n", level.usage))?;
        fs::write(directory.join("memory.stat"), stat)?;
        Ok(directory)
    }

    /// The same as v2 has them.
    pub fn level_v2(&self, directory: &str, level: &Level) -> io::Result<PathBuf> {
        let directory = self.root().join(directory);
        fs::create_dir_all(&directory)?;
        let half = level.cache / 2;
        fs::write(directory.join("cgroup.controllers"), "cpu memory\n")?;
        fs::write(directory.join("memory.max"), format!("{}\n", level.limit))?;
        fs::write(directory.join("memory.current"), format!("{}\n", level.usage))?;
        fs::write(directory.join("memory.stat"), format!("inactive_file {half}\nactive_file {half}\n"))?;
        Ok(directory)
    }
}

/// What the files of a made-up cgroup say.
#[derive(Debug, Clone, Copy)]
pub struct Level<'a> {
    /// Its limit, as the file has it.
    pub limit: &'a str,
    /// What is charged to it, in bytes.
    pub usage: u64,
    /// How much of that is page cache.
    pub cache: u64,
}

const STAT: &str = "anon 786432\nfile 262144\nfile_dirty 0\ninactive_file 196608\nactive_file 65536\n";
