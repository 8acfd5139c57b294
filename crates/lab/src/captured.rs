//! Trees of files that stand for `/proc` and `/sys`, made up for a test.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

/// A made-up machine with cgroup v2, in a temporary directory that goes with it.
#[derive(Debug)]
pub struct Captured {
    directory: TempDir,
}

impl Captured {
    /// A machine with the root cgroup only, in which the reader is.
    pub fn new() -> io::Result<Captured> {
        let captured = Captured { directory: TempDir::new()? };
        fs::create_dir_all(captured.proc().join("self"))?;
        fs::create_dir_all(captured.proc().join("pressure"))?;
        let mountinfo = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        fs::write(captured.proc().join("self/mountinfo"), mountinfo)?;
        fs::write(captured.proc().join("self/cgroup"), "0::/\n")?;
        let meminfo = "MemTotal: 8000000 kB\nMemFree: 1000000 kB\nMemAvailable: 4000000 kB\n";
        fs::write(captured.proc().join("meminfo"), meminfo)?;
        fs::write(captured.proc().join("vmstat"), "oom_kill 3\n")?;
        let root = captured.cgroup(b"")?;
        fs::write(root.join("cgroup.controllers"), "cpu memory\n")?;
        fs::write(root.join("memory.stat"), STAT)?;
        Ok(captured)
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
}

const STAT: &str = "anon 786432\nfile 262144\nfile_dirty 0\ninactive_file 196608\nactive_file 65536\n";
