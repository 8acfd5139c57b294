//! Cgroups of the bench's own that are gone afterwards, however it ends.
//!
//! The lab removes them when it is dropped. For the ends at which nothing is dropped (Ctrl-C, SIGKILL) a process waits
//! on a pipe whose other end only this process holds, and removes them when that closes. So every process that the
//! bench starts and that would outlive it belongs into one of these cgroups.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use reprieve_lab::{Lab, Version};
use reprieve_readings::CgroupVersion;

/// A place for cgroups, and who cleans it up.
pub(crate) struct Place {
    // Dropped first: when the janitor wakes up there is nothing left to do.
    lab: Lab,
    _janitor: Janitor,
}

struct Janitor(Child);

impl Place {
    /// Makes a cgroup for everything else.
    pub(crate) fn open() -> Result<Self> {
        let lab = Lab::open("bench").context("no memory cgroup can be made")?;
        let lab = lab.context("the bench needs root and a memory cgroup hierarchy that it may write to")?;
        let janitor = Janitor::start(lab.directory())?;
        Ok(Place { lab, _janitor: janitor })
    }

    /// The cgroups themselves.
    pub(crate) fn lab(&self) -> &Lab {
        &self.lab
    }

    /// The interface that the memory controller speaks.
    pub(crate) fn version(&self) -> CgroupVersion {
        match self.lab.version() {
            Version::V1 => CgroupVersion::V1,
            Version::V2 => CgroupVersion::V2,
        }
    }

    /// Makes a cgroup directly below the place's own.
    pub(crate) fn cgroup(&self, name: &str) -> Result<PathBuf> {
        self.lab.cgroup(name).with_context(|| format!("the cgroup {name} could not be made"))
    }
}

/// A command that moves itself into a cgroup before it becomes the program.
pub(crate) fn command_in(cgroup: &Path, program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "echo $$ >\"$0\" && exec \"$@\""]).arg(cgroup.join("cgroup.procs")).arg(program);
    // A group of its own: Ctrl-C is for the bench, whose end ends the rest.
    command.stdin(Stdio::null()).process_group(0);
    command
}

impl Janitor {
    fn start(directory: &Path) -> Result<Self> {
        let own = std::env::current_exe().context("the bench's own program was not found")?;
        let mut janitor = Command::new(own);
        janitor.arg("remove-when-orphaned").arg(directory).stdin(Stdio::piped()).process_group(0);
        janitor.spawn().map(Janitor).context("the process that cleans up did not start")
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        // It says itself if it could not clean up.
        let _ = self.0.wait();
    }
}

/// Waits until nobody holds stdin's other end any more, then removes the cgroups.
pub(crate) fn remove_when_orphaned(directory: &Path) -> Result<()> {
    let mut ignored = Vec::new();
    std::io::stdin().read_to_end(&mut ignored).context("the end of the bench could not be waited for")?;
    if !directory.exists() {
        return Ok(());
    }
    reprieve_lab::remove_tree(directory)
        .with_context(|| format!("{} is left behind; end its processes and remove it with rmdir", directory.display()))
}
