//! Where this process can read the memory of cgroups.
//!
//! Mounts of the memory controller may be several (bind mounts, a host's mounts inside a container), odd (joined
//! controllers, unusual places), covered by others, or show a part of the tree only. This file picks one, by rules that
//! need no IO.

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
    /// Where else `own` lies below this mount, if the paths tell only a part of the way.
    pub beneath: Option<Beneath>,
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

/// A place below a mount that comes from outside of the reader's cgroup namespace, such as a host's `/sys` bound into a
/// container. The mount's root then reads `/../..`: the namespace's root lies as many levels below it, and nothing tells
/// what these are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Beneath {
    /// So many levels below the mount's root whose names are not known,
    pub unnamed: usize,
    /// and from there on this path.
    pub path: CgroupPath,
}

impl MemoryHierarchy {
    /// Picks the mount for a process with these cgroups. `usable` tells whether a mount can be read at all and, for
    /// the unified hierarchy, whether it has the memory controller.
    ///
    /// A v1 memory hierarchy wins over the unified one. Mounts that others cover are out. Of several mounts, one that
    /// shows the process's own cgroup wins, then one that shows it at a place without a name; then the one that shows
    /// the most of the tree; then the latest.
    pub fn pick(mounts: &[Mount], cgroups: &ProcCgroup, usable: impl Fn(&Mount) -> bool) -> Option<Self> {
        let of_version = |version, own: &Option<CgroupPath>, is_kind: fn(&Mount) -> bool| {
            // The first of equals is taken: reversed, that is the latest mount.
            let candidates = mounts.iter().rev().filter(|mount| is_kind(mount));
            let candidates = candidates.filter(|mount| mount.is_reachable(mounts) && usable(mount));
            candidates.map(|mount| Self::through(mount, version, own.as_ref())).min_by_key(Self::order)
        };
        of_version(CgroupVersion::V1, &cgroups.v1_memory, Mount::is_v1_memory)
            .or_else(|| of_version(CgroupVersion::V2, &cgroups.v2, Mount::is_v2))
    }

    /// The smaller, the better.
    fn order(&self) -> (bool, bool, usize, usize) {
        let levels_up = usize::MAX - self.mount_root.levels_up();
        (self.placement == Placement::Assumed, self.beneath.is_none(), levels_up, self.mount_root.names().count())
    }

    fn through(mount: &Mount, version: CgroupVersion, own: Option<&CgroupPath>) -> Self {
        let mount_root = CgroupPath::new(&mount.root);
        let shown =
            own.filter(|own| own.below(&mount_root).is_some_and(|rest| !CgroupPath::new(rest).leaves_namespace()));
        let (placement, beneath) = match shown {
            Some(_) => (Placement::Certain, None),
            None => (Placement::Assumed, own.and_then(|own| Beneath::find(own, &mount_root))),
        };
        let own = shown.unwrap_or(&mount_root).clone();
        MemoryHierarchy { version, mount_point: mount.mount_point.clone(), mount_root, own, placement, beneath }
    }
}

impl Beneath {
    /// Where `own` lies below `mount_root`, if that goes up out of the namespace and nowhere else.
    fn find(own: &CgroupPath, mount_root: &CgroupPath) -> Option<Self> {
        let (levels_up, own_levels_up) = (mount_root.levels_up(), own.levels_up());
        if mount_root.names().count() > levels_up {
            return None;
        }
        let named: Vec<&[u8]> = own.names().skip(own_levels_up).collect();
        let unnamed = levels_up.checked_sub(own_levels_up).filter(|&unnamed| unnamed > 0)?;
        Some(Beneath { unnamed, path: CgroupPath::new(&named.join(&b'/')) })
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
        for (mount_root, cgroup) in [("/../../x", "/"), ("/", "/../../y"), ("/../..", "/../z"), ("/..", "/../..")] {
            let mount = escaped(mount_root);
            let found = pick(&mount, &format!("0::{cgroup}\n")).unwrap();
            assert_eq!((found.2.as_str(), found.3), (mount_root, Placement::Assumed), "{mount_root} {cgroup}");
        }
    }

    fn escaped(mount_root: &str) -> String {
        format!("41 31 0:38 {mount_root} /sys/fs/cgroup ro - cgroup2 cgroup rw\n")
    }

    #[test]
    fn two_paths_out_of_the_namespace_that_go_the_same_way_fit() {
        let found = pick(&escaped("/.."), "0::/../z/y\n").unwrap();
        assert_eq!((found.2.as_str(), found.3), ("/../z/y", Placement::Certain));
        assert_eq!(pick(&escaped("/../z"), "0::/../z/y\n").unwrap().3, Placement::Certain);
        assert_eq!(pick(&escaped("/../z"), "0::/../zz\n").unwrap().3, Placement::Assumed);
    }

    #[test]
    fn below_a_mount_from_outside_the_namespace_the_depth_is_known() {
        let beneath = |mount_root: &str, cgroup: &str| {
            let cgroups = ProcCgroup::parse(format!("0::{cgroup}\n").as_bytes()).unwrap();
            let found = MemoryHierarchy::pick(&mounts(&escaped(mount_root)), &cgroups, |_| true).unwrap();
            found.beneath.map(|beneath| (beneath.unnamed, beneath.path.to_string()))
        };
        assert_eq!(beneath("/../..", "/"), Some((2, "/".into())));
        assert_eq!(beneath("/../..", "/init.scope"), Some((2, "/init.scope".into())));
        assert_eq!(beneath("/../../..", "/../y/z"), Some((2, "/y/z".into())));
        assert_eq!(beneath("/../..", "/../../y"), None, "certain");
        assert_eq!(beneath("/..", "/../../y"), None, "outside of the mount");
        assert_eq!(beneath("/../../x", "/"), None, "a mount of another cgroup");
    }

    #[test]
    fn of_mounts_from_outside_the_one_that_reaches_up_the_furthest_wins() {
        let three = escaped("/..") + &escaped("/../../..") + &escaped("/../../x");
        let cgroups = ProcCgroup::parse(b"0::/\n").unwrap();
        let root =
            |text: &str| MemoryHierarchy::pick(&mounts(text), &cgroups, |_| true).unwrap().mount_root.to_string();
        assert_eq!(root(&three), "/../../..");
        assert_eq!(root(&(three + UNIFIED)), "/", "where the paths fit, nothing has to be searched");
    }

    #[test]
    fn a_covered_mount_is_passed_over() {
        // `mount --bind` of a part over the whole, as seen on Linux 6.18.
        let covered = "51 47 0:32 / /sys/fs/cgroup rw - cgroup2 c rw\n63 51 0:32 /a /sys/fs/cgroup rw - cgroup2 c rw\n";
        let cgroups = ProcCgroup::parse(b"0::/a/b\n").unwrap();
        let found = MemoryHierarchy::pick(&mounts(covered), &cgroups, |_| true).unwrap();
        assert_eq!((found.mount_root.to_string().as_str(), found.placement), ("/a", Placement::Certain));
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
