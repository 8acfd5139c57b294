//! Where `/proc` and `/sys` are.

use std::fs;
use std::path::{Path, PathBuf};

/// The directories that stand for `/proc` and `/sys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots {
    proc: PathBuf,
    sys: PathBuf,
}

impl Roots {
    /// Roots other than the usual ones: a host's mounts seen from a container, or a captured tree.
    pub fn new(proc: impl Into<PathBuf>, sys: impl Into<PathBuf>) -> Self {
        Roots { proc: proc.into(), sys: sys.into() }
    }

    /// A file below `/proc`.
    pub fn proc(&self, file: impl AsRef<Path>) -> PathBuf {
        self.proc.join(file)
    }

    /// A file below `/sys`.
    pub fn sys(&self, file: impl AsRef<Path>) -> PathBuf {
        self.sys.join(file)
    }

    /// Where to find the directories that mountinfo says are mounted.
    pub(crate) fn mount_points<'a>(&self, mut all: impl Iterator<Item = &'a Path>) -> MountPoints {
        // Mountinfo names directories in full: `../sys` would else not be known for what it is.
        let sys = fs::canonicalize(&self.sys).unwrap_or_else(|_| self.sys.clone());
        if sys == Path::new("/sys") {
            MountPoints::Anywhere
        } else if all.any(|mount_point| mount_point.starts_with(&sys)) {
            MountPoints::Inside(sys)
        } else {
            // As the caller calls it: messages name files below it.
            MountPoints::Captured(self.sys.clone())
        }
    }
}

/// Which mount points of mountinfo these roots stand for, and where those are.
#[derive(Debug, Clone)]
pub(crate) enum MountPoints {
    /// With the usual `/sys`: all, where mountinfo says.
    Anywhere,
    /// Those inside this directory: a container with the host's `/sys` mounted at `/host/sys`, whose mountinfo names
    /// `/host/sys/…`. Its own `/sys/…`, which mountinfo names too, is another one.
    Inside(PathBuf),
    /// Those at `/sys/…`, found inside this directory: a tree captured together with its mountinfo.
    Captured(PathBuf),
}

impl MountPoints {
    /// Where to find what is mounted at `mount_point`, if it is one of these.
    pub(crate) fn find(&self, mount_point: &Path) -> Option<PathBuf> {
        match self {
            MountPoints::Anywhere => Some(mount_point.to_path_buf()),
            MountPoints::Inside(sys) => mount_point.starts_with(sys).then(|| mount_point.to_path_buf()),
            MountPoints::Captured(sys) => mount_point.strip_prefix("/sys").ok().map(|inside| sys.join(inside)),
        }
    }
}

impl Default for Roots {
    fn default() -> Self {
        Roots::new("/proc", "/sys")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(sys: &str, mounted: &[&str], mount_point: &str, expected: Option<&str>) {
        let roots = Roots::new("/proc", sys);
        let found = roots.mount_points(mounted.iter().map(Path::new)).find(Path::new(mount_point));
        assert_eq!(found.as_deref(), expected.map(Path::new), "{sys} {mount_point}");
    }

    #[test]
    fn mount_points_are_found_inside_the_sys_root() {
        let host = &["/sys/fs/cgroup", "/cgroup/memory"];
        check("/sys", host, "/sys/fs/cgroup", Some("/sys/fs/cgroup"));
        check("/sys", host, "/cgroup/memory", Some("/cgroup/memory"));
        check("/captured/sys", host, "/sys/fs/cgroup", Some("/captured/sys/fs/cgroup"));
        check("/captured/sys", host, "/cgroup/memory", None);
    }

    #[test]
    fn a_container_s_own_mounts_are_not_taken_for_the_host_s() {
        let container = &["/sys/fs/cgroup", "/host/sys/fs/cgroup"];
        check("/host/sys", container, "/host/sys/fs/cgroup", Some("/host/sys/fs/cgroup"));
        check("/host/sys", container, "/sys/fs/cgroup", None);
        check("/sys", container, "/host/sys/fs/cgroup", Some("/host/sys/fs/cgroup"));
    }

    #[test]
    fn a_root_is_the_same_however_it_is_written() {
        let odd = &["/sys/fs/cgroup", "/cgroup/memory"];
        check("/sys/", odd, "/cgroup/memory", Some("/cgroup/memory"));
        check("/proc/../sys", odd, "/cgroup/memory", Some("/cgroup/memory"));
        let host = tempfile::tempdir().unwrap();
        let (sys, link) = (host.path().join("sys"), host.path().join("link"));
        fs::create_dir(&sys).unwrap();
        std::os::unix::fs::symlink(&sys, &link).unwrap();
        let cgroups = sys.join("fs/cgroup");
        let mounted = ["/sys/fs/cgroup", cgroups.to_str().unwrap()];
        // By any name it is the directory that the mounts lie in, and the container's own mount is none of them.
        check(link.to_str().unwrap(), &mounted, "/sys/fs/cgroup", None);
        check(link.to_str().unwrap(), &mounted, cgroups.to_str().unwrap(), cgroups.to_str());
    }
}
