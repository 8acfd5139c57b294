//! Where `/proc` and `/sys` are.

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

    /// Where to find a directory that mountinfo says is mounted at `mount_point`, or `None` where these roots don't
    /// reach it.
    ///
    /// With the usual `/sys` that is the mount point itself. With another one it must lie inside: either mountinfo names
    /// it there (a container with the host's `/sys` mounted at `/host/sys`), or it names `/sys/…` and the tree was
    /// captured from there.
    pub fn mounted(&self, mount_point: &Path) -> Option<PathBuf> {
        if self.sys == Path::new("/sys") || mount_point.starts_with(&self.sys) {
            return Some(mount_point.to_path_buf());
        }
        mount_point.strip_prefix("/sys").ok().map(|inside| self.sys.join(inside))
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

    fn check(sys: &str, mount_point: &str, expected: Option<&str>) {
        let found = Roots::new("/proc", sys).mounted(Path::new(mount_point));
        assert_eq!(found.as_deref(), expected.map(Path::new), "{sys} {mount_point}");
    }

    #[test]
    fn mount_points_are_found_inside_the_sys_root() {
        check("/sys", "/sys/fs/cgroup", Some("/sys/fs/cgroup"));
        check("/sys", "/cgroup/memory", Some("/cgroup/memory"));
        check("/host/sys", "/host/sys/fs/cgroup", Some("/host/sys/fs/cgroup"));
        check("/captured/sys", "/sys/fs/cgroup", Some("/captured/sys/fs/cgroup"));
        check("/captured/sys", "/cgroup/memory", None);
    }
}
