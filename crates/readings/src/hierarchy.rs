//! Where this process can read the memory of cgroups.
//!
//! Mounts of the memory controller may be several (bind mounts, a host's mounts inside a container), odd (joined
//! controllers, unusual places) or show a part of the tree only. This file picks one, by rules that need no IO.

use crate::cgroup_memory::CgroupVersion;
use crate::cgroup_path::CgroupPath;
use crate::mountinfo::Mount;
use crate::proc_cgroup::ProcCgroup;

/// A mount through which memory cgroups can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryHierarchy {
    /// The interface that its files speak.
    pub version: CgroupVersion,
    /// Where it is mounted, as mountinfo says.
    pub mount_point: Vec<u8>,
    /// The cgroup that the mount point shows.
    pub mount_root: CgroupPath,
    /// The reader's own cgroup, below `mount_root` if `placement` says so.
    pub own: CgroupPath,
    /// How surely `own` was found in this mount.
    pub placement: Placement,
}

/// How a process's cgroup relates to the mount through which it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// The mount shows the process's cgroup; it lies below the mount's root by its path.
    Certain,
    /// The paths don't fit together (another cgroup namespace, or an unusual bind mount). The mount's root is taken
    /// for the process's cgroup, which is how container runtimes mount it.
    Assumed,
}

impl MemoryHierarchy {
    /// Picks the mount for a process with these cgroups. `usable` tells whether a mount can be read at all and, for
    /// the unified hierarchy, whether it has the memory controller.
    ///
    /// A v1 memory hierarchy wins over the unified one. Of several mounts, one that shows the process's own cgroup
    /// wins; then the one that shows the most of the tree; then the latest, which may cover earlier ones.
    pub fn pick(mounts: &[Mount], cgroups: &ProcCgroup, usable: impl Fn(&Mount) -> bool) -> Option<Self> {
        let of_version = |version, own: &Option<CgroupPath>, is_kind: fn(&Mount) -> bool| {
            // The first of equals is taken: reversed, that is the latest mount.
            let candidates = mounts.iter().rev().filter(|mount| is_kind(mount) && usable(mount));
            candidates
                .map(|mount| Self::through(mount, version, own.as_ref()))
                .min_by_key(|found| (found.placement == Placement::Assumed, found.mount_root.names().count()))
        };
        of_version(CgroupVersion::V1, &cgroups.v1_memory, Mount::is_v1_memory)
            .or_else(|| of_version(CgroupVersion::V2, &cgroups.v2, Mount::is_v2))
    }

    fn through(mount: &Mount, version: CgroupVersion, own: Option<&CgroupPath>) -> Self {
        let mount_root = CgroupPath::new(&mount.root);
        let shown = own.filter(|own| {
            !own.leaves_namespace() && !mount_root.leaves_namespace() && own.below(&mount_root).is_some()
        });
        let (own, placement) = match shown {
            Some(own) => (own.clone(), Placement::Certain),
            None => (mount_root.clone(), Placement::Assumed),
        };
        MemoryHierarchy { version, mount_point: mount.mount_point.clone(), mount_root, own, placement }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mounts(text: &str) -> Vec<Mount> {
        Mount::parse_all(text.as_bytes()).map(Result::unwrap).collect()
    }

    fn pick(mountinfo: &str, cgroup: &str) -> Option<(CgroupVersion, String, String, Placement)> {
        let cgroups = ProcCgroup::parse(cgroup.as_bytes()).unwrap();
        let found = MemoryHierarchy::pick(&mounts(mountinfo), &cgroups, |_| true)?;
        let mount_point = String::from_utf8(found.mount_point).unwrap();
        Some((found.version, mount_point, found.own.to_string(), found.placement))
    }

    const V1: &str = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
    const UNIFIED: &str = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn a_hybrid_host_keeps_memory_on_v1() {
        let found = pick(&format!("{UNIFIED}{V1}"), "4:memory:/a\n0::/b\n").unwrap();
        assert_eq!(found, (CgroupVersion::V1, "/sys/fs/cgroup/memory".into(), "/a".into(), Placement::Certain));
    }

    #[test]
    fn a_v2_host_uses_the_unified_hierarchy() {
        let found = pick(UNIFIED, "0::/b/c\n").unwrap();
        assert_eq!(found, (CgroupVersion::V2, "/sys/fs/cgroup/unified".into(), "/b/c".into(), Placement::Certain));
    }

    #[test]
    fn an_unusable_unified_hierarchy_is_passed_over() {
        let cgroups = ProcCgroup::parse(b"0::/\n").unwrap();
        assert_eq!(MemoryHierarchy::pick(&mounts(UNIFIED), &cgroups, |_| false), None);
        assert_eq!(pick("1 2 0:3 / /tmp rw - tmpfs x rw\n", "0::/\n"), None);
    }

    #[test]
    fn a_container_s_mount_has_its_cgroup_as_root() {
        let mount = "41 31 0:38 /docker/abc /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        assert_eq!(pick(mount, "0::/docker/abc\n").unwrap().3, Placement::Certain);
        let elsewhere = pick(mount, "0::/docker/abcdef\n").unwrap();
        assert_eq!((elsewhere.2.as_str(), elsewhere.3), ("/docker/abc", Placement::Assumed));
    }

    #[test]
    fn a_path_that_leaves_the_namespace_falls_back_to_the_mount_root() {
        for (mount_root, cgroup) in [("/../../x", "0::/\n"), ("/", "0::/../../y\n"), ("/..", "0::/../z\n")] {
            let mount = format!("41 31 0:38 {mount_root} /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
            assert_eq!(pick(&mount, cgroup).unwrap().3, Placement::Assumed, "{mount_root} {cgroup}");
        }
    }

    #[test]
    fn of_several_mounts_the_one_that_shows_most_wins_and_the_latest_of_equals() {
        let both = "1 2 0:3 /kubepods/p/c /sys/fs/cgroup rw - cgroup2 c rw\n\
                    1 2 0:3 /other /elsewhere rw - cgroup2 c rw\n\
                    1 2 0:3 / /host/early rw - cgroup2 c rw\n\
                    1 2 0:3 / /host/late rw - cgroup2 c rw\n";
        assert_eq!(pick(both, "0::/kubepods/p/c\n").unwrap().1, "/host/late");
        assert_eq!(pick(both, "0::/../q\n").unwrap().3, Placement::Assumed);
        let parts = "1 2 0:3 /kubepods/p/c /own rw - cgroup2 c rw\n1 2 0:3 /other /elsewhere rw - cgroup2 c rw\n";
        assert_eq!(pick(parts, "0::/kubepods/p/c\n").unwrap().1, "/own", "though the other is nearer to the root");
    }

    #[test]
    fn a_mount_without_a_line_in_proc_cgroup_is_assumed() {
        assert_eq!(pick(V1, "").unwrap().3, Placement::Assumed);
    }
}
