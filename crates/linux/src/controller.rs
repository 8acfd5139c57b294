//! Finding the memory controller: which mount shows memory cgroups, and which of them is this process's own.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use reprieve_readings::{CgroupPath, CgroupVersion, Escaped, MemoryHierarchy, Mount, Placement, ProcCgroup};

use crate::error::{Problems, ReadError};
use crate::file;
use crate::own_cgroup;
use crate::roots::Roots;

/// The memory controller, as this process can read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryController {
    /// The interface that its files speak.
    pub version: CgroupVersion,
    /// The directory of the topmost cgroup that can be seen.
    pub directory: PathBuf,
    /// The path of that cgroup: `/`, unless only a part of the hierarchy is mounted.
    pub top: CgroupPath,
    /// This process's own cgroup. Where that lacks the memory controller, the nearest above it that has it: v2 charges
    /// that one, and gives the files of a controller only to cgroups for which it is enabled.
    pub own: CgroupPath,
    /// How surely `own` was found.
    pub placement: Placement,
}

/// Why there is no memory controller to read.
#[derive(Debug, thiserror::Error)]
pub enum ControllerError {
    /// The files that would tell can't be read.
    #[error("can't find the memory controller")]
    Unreadable(#[from] ReadError),
    /// There is none.
    #[error(
        "no memory controller: {mountinfo} names no cgroup v1 mount with `memory` and no cgroup2 mount whose \
         cgroup.controllers has `memory`; mount one, enable it, or point --proc and --sys at the host's"
    )]
    Absent {
        /// The file that was searched, for the message.
        mountinfo: String,
    },
}

impl MemoryController {
    /// Finds the memory controller below `roots`. Lines of mountinfo that can't be read are counted in `problems`.
    pub fn find(roots: &Roots, problems: &mut Problems) -> Result<Self, ControllerError> {
        let mountinfo = roots.proc("self/mountinfo");
        let mounts: Vec<Mount> = Mount::parse_all(&file::read(&mountinfo)?)
            .filter_map(|mount| problems.keep(mount.map_err(|error| ReadError::parse(&mountinfo, error))))
            .collect();
        let cgroups = read_proc_cgroup(&roots.proc("self/cgroup"), problems);
        let mount_points = roots.mount_points(mounts.iter().map(|mount| as_path(&mount.mount_point)));
        let directory_of = |mount_point: &[u8]| mount_points.find(as_path(mount_point)).filter(|found| found.is_dir());
        let usable =
            |mount: &Mount| directory_of(&mount.mount_point).is_some_and(|directory| has_memory(mount, &directory));
        let absent = || ControllerError::Absent { mountinfo: shown(&mountinfo) };
        let found = MemoryHierarchy::pick(&mounts, &cgroups, usable).ok_or_else(absent)?;
        let directory = directory_of(&found.mount_point).ok_or_else(absent)?;
        let version = found.version;
        let (top, own, placement) = place(roots, &directory, found);
        let mut controller = MemoryController { version, directory, top, own, placement };
        controller.own = controller.charged().unwrap_or(controller.own);
        Ok(controller)
    }

    /// The innermost cgroup from the process's own on that has the memory controller. `None` where its own can't be seen,
    /// or none has it.
    fn charged(&self) -> Option<CgroupPath> {
        self.directory_of(&self.own).filter(|own| own.is_dir())?;
        let mut levels = std::iter::successors(Some(self.own.clone()), CgroupPath::parent);
        // The root of v2 has no memory.current, and all others have both.
        levels.find(|level| self.directory_of(level).is_some_and(|directory| directory.join("memory.stat").exists()))
    }

    /// The directory of the cgroup `path`, or `None` where the mount doesn't show it.
    pub fn directory_of(&self, path: &CgroupPath) -> Option<PathBuf> {
        path.below(&self.top).map(|inside| self.directory.join(OsStr::from_bytes(inside)))
    }
}

/// What the mount's root and the process's own cgroup are called, and how surely.
///
/// Seen from inside a namespace the root of an outer mount reads `/../..`: what it is called outside can't be told, so it
/// is called the root.
fn place(roots: &Roots, directory: &Path, found: MemoryHierarchy) -> (CgroupPath, CgroupPath, Placement) {
    let top = if found.mount_root.leaves_namespace() { CgroupPath::root() } else { found.mount_root.clone() };
    let inside = || found.own.below(&found.mount_root).unwrap_or_default();
    match found.placement {
        Placement::Certain if top == found.mount_root => (top, found.own, Placement::Certain),
        Placement::Certain => (top, CgroupPath::new(inside()), Placement::Certain),
        Placement::Assumed => match found.beneath.and_then(|beneath| own_cgroup::find(roots, directory, &beneath)) {
            Some(own) => (top, own, Placement::Certain),
            None => (top.clone(), top, Placement::Assumed),
        },
    }
}

/// The cgroups of a process. Without the file (no procfs, or hidden) nothing is known of them, which is a problem but
/// not the end: the mount's root is then taken for the process's cgroup.
fn read_proc_cgroup(path: &Path, problems: &mut Problems) -> ProcCgroup {
    let cgroups =
        file::read(path).and_then(|text| ProcCgroup::parse(&text).map_err(|error| ReadError::parse(path, error)));
    problems.keep(cgroups).unwrap_or_default()
}

fn shown(path: &Path) -> String {
    Escaped(path.as_os_str().as_bytes()).to_string()
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// Whether the files of the memory controller are there.
///
/// The unified hierarchy may lack the controller (hybrid hosts): its `cgroup.controllers` tells. Of a v1 mount a file is
/// looked for, because something else may lie at its mount point: mountinfo leaves out what is outside of the reader's
/// root directory, so a covered mount can look as if it could be reached.
fn has_memory(mount: &Mount, directory: &Path) -> bool {
    if mount.is_v1_memory() {
        return directory.join("memory.usage_in_bytes").exists();
    }
    file::read(&directory.join("cgroup.controllers"))
        .is_ok_and(|text| text.split(u8::is_ascii_whitespace).any(|controller| controller == b"memory"))
}
