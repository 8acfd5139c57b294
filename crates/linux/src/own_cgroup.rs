//! Finding this process's own cgroup in a mount from outside of its cgroup namespace.
//!
//! The mount's root then reads `/../..`, and the way from there down to the namespace's root has a known length but no
//! names. One cgroup of that depth lists this process among its own, so all of that depth are asked. This happens where
//! a host's `/sys` is mounted inside a container that has a cgroup namespace.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use reprieve_readings::{Beneath, CgroupPath, parse_cgroup_procs};

use crate::file;
use crate::roots::Roots;

/// More cgroups than a machine has. Each costs some ten microseconds.
const MOST_CGROUPS: u32 = 100_000;

/// Finds the cgroup of this process, as a path below the mount's root. `None` where nothing says so for sure: no cgroup
/// lists the process, or `/proc` is another machine's, as in a captured tree.
pub(crate) fn find(roots: &Roots, mount: &Path, beneath: &Beneath) -> Option<CgroupPath> {
    // Only a procfs that knows this process links to it.
    fs::read_link(roots.proc("self")).ok()?;
    let mut left = MOST_CGROUPS;
    let directory = descend(mount, beneath.unnamed, beneath, &mut left)?;
    directory.strip_prefix(mount).ok().map(|inside| CgroupPath::new(inside.as_os_str().as_bytes()))
}

fn descend(directory: &Path, levels: usize, beneath: &Beneath, left: &mut u32) -> Option<PathBuf> {
    *left = left.checked_sub(1)?;
    if levels == 0 {
        let inside = beneath.path.as_bytes().strip_prefix(b"/").unwrap_or_default();
        let own = directory.join(OsStr::from_bytes(inside));
        return lists_this_process(&own).then_some(own);
    }
    let entries = fs::read_dir(directory).ok()?;
    let directories = entries.filter_map(Result::ok).filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    directories.map(|entry| entry.path()).find_map(|inner| descend(&inner, levels - 1, beneath, left))
}

/// The kernel shows pids as the reader's own pid namespace has them (`cgroup_procs_show`, kernel/cgroup/cgroup.c), so
/// whose `/proc` is read makes no difference here.
fn lists_this_process(cgroup: &Path) -> bool {
    let procs = file::read_if_present(&cgroup.join("cgroup.procs"));
    let pids = procs.ok().flatten().and_then(|text| parse_cgroup_procs(&text).ok());
    pids.is_some_and(|pids| pids.contains(&std::process::id()))
}
