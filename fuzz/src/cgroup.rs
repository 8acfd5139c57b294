//! Paths of cgroups: what they are, where they lie, and whose they are.

use reprieve_readings::{CgroupPath, Mount, Owner, Placement, ProcCgroup};

use crate::assert_harmless;

/// A path as any file of the kernel may hold it.
pub fn cgroup_path(input: &[u8]) {
    let path = CgroupPath::new(input);
    assert_harmless(&path.to_string());
    assert_eq!(CgroupPath::new(path.as_bytes()), path, "normal paths stay as they are");
    assert!(path.names().all(|name| !name.is_empty()));
    let rebuilt = path.names().fold(CgroupPath::root(), |parent, name| parent.child(name));
    assert_eq!(rebuilt, path);
    assert_eq!(path.below(&CgroupPath::root()).map(<[u8]>::len), Some(path.as_bytes().len() - 1));
}

/// A path, and what its names tell.
pub fn owner(input: &[u8]) {
    let path = CgroupPath::new(input);
    let owner = Owner::of(&path);
    assert_eq!(owner.container.is_some(), owner.container_root.is_some());
    assert!(owner.container.is_some() || owner.runtime.is_none());
    assert!(owner.pod.is_none() || owner.driver.is_some());
    assert_harmless(&format!("{owner:?}"));
    if let Some(root) = &owner.container_root {
        assert!(path.below(root).is_some(), "{path} is not in its container's {root}");
        let of_root = Owner::of(root);
        assert_eq!((of_root.container, of_root.pod, of_root.qos), (owner.container, owner.pod, owner.qos));
    }
}

/// `/proc/self/mountinfo`, an empty line, `/proc/self/cgroup`.
pub fn memory_hierarchy(input: &[u8]) {
    let end = input.windows(2).position(|pair| pair == b"\n\n").unwrap_or(input.len());
    let (mounts, cgroups) = input.split_at_checked(end).unwrap_or((input, &[]));
    let mounts: Vec<Mount> = Mount::parse_all(mounts).filter_map(Result::ok).collect();
    match ProcCgroup::parse(cgroups) {
        Ok(cgroups) => pick(&mounts, &cgroups),
        Err(error) => assert_harmless(&error.to_string()),
    }
}

fn pick(mounts: &[Mount], cgroups: &ProcCgroup) {
    let Some(found) = reprieve_readings::MemoryHierarchy::pick(mounts, cgroups, |_| true) else {
        let mut of_cgroups = mounts.iter().filter(|mount| mount.is_v1_memory() || mount.is_v2());
        assert!(!of_cgroups.any(|mount| mount.is_reachable(mounts)), "a mount was overlooked");
        return;
    };
    assert!(mounts.iter().any(|mount| mount.mount_point == found.mount_point));
    let inside = found.own.below(&found.mount_root).map(CgroupPath::new);
    assert!(inside.is_some_and(|inside| !inside.leaves_namespace()), "no directory of the mount");
    assert!(found.placement == Placement::Assumed || found.beneath.is_none());
}
