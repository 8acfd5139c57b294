//! Finding the memory controller and the levels, in every shape of mounts and namespaces that is known.
//!
//! Each shape is what a process in it finds in mountinfo and its cgroup file, and the cgroups that its mounts show. Where
//! a text is known from stands beside it. Those that `cargo xtask capture` can make are fixtures, in `containers.rs`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;

use std::fs;
use std::path::Path;

use common::{MIB, found};
use reprieve_lab::{Captured, Level};
use reprieve_linux::Roots;
use reprieve_readings::CgroupVersion;

const UNLIMITED: &str = "9223372036854771712";

/// A cgroup of a shape: its directory, its limit in MiB (`-` for none), its usage and how much of that is cache.
type Row = (&'static str, &'static str, u64, u64);

struct Shape {
    mountinfo: &'static str,
    proc_cgroup: &'static str,
    cgroups: &'static [Row],
}

impl Shape {
    /// Makes the files. `{root}` in mountinfo stands for the made-up machine's root directory, for mounts that lie
    /// elsewhere than in `/sys`.
    fn make(&self, version: CgroupVersion) -> (Captured, Roots) {
        let captured = Captured::with_place("", self.proc_cgroup).unwrap();
        let root = captured.root().to_str().unwrap();
        let mountinfo = self.mountinfo.replace("{root}", root);
        let elsewhere = mountinfo != self.mountinfo;
        fs::write(captured.proc().join("self/mountinfo"), mountinfo).unwrap();
        let mut hierarchical = Vec::new();
        for &(directory, limit, usage, cache) in self.cgroups {
            let bytes = limit.parse().map_or(u64::MAX, |mib: u64| mib * MIB);
            // Rows go from the top down, and a directory tells what holds it.
            let above = hierarchical.iter().filter(|(outer, _): &&(&str, u64)| Path::new(directory).starts_with(outer));
            let smallest = above.map(|(_, limit)| *limit).chain([bytes]).min().unwrap();
            hierarchical.push((directory, smallest));
            let text = |bytes: u64, none: &str| if bytes == u64::MAX { none.to_owned() } else { bytes.to_string() };
            match version {
                CgroupVersion::V1 => {
                    let limit = text(bytes, UNLIMITED);
                    let level = Level { limit: &limit, usage: usage * MIB, cache: cache * MIB };
                    captured.level_v1(directory, &level, &text(smallest, UNLIMITED)).unwrap();
                }
                CgroupVersion::V2 => {
                    let limit = text(bytes, "max");
                    captured
                        .level_v2(directory, &Level { limit: &limit, usage: usage * MIB, cache: cache * MIB })
                        .unwrap();
                }
            }
        }
        let sys = if elsewhere { "/sys".into() } else { captured.sys() };
        let roots = Roots::new(captured.proc(), sys);
        (captured, roots)
    }
}

fn check(version: CgroupVersion, shape: &Shape, expected: &[&str]) {
    let (captured, roots) = shape.make(version);
    assert_eq!(found(&captured, &roots), expected, "{}", shape.mountinfo);
}

fn check_v1(mountinfo: &'static str, proc_cgroup: &'static str, cgroups: &'static [Row], expected: &[&str]) {
    check(CgroupVersion::V1, &Shape { mountinfo, proc_cgroup, cgroups }, expected);
}

fn check_v2(mountinfo: &'static str, proc_cgroup: &'static str, cgroups: &'static [Row], expected: &[&str]) {
    check(CgroupVersion::V2, &Shape { mountinfo, proc_cgroup, cgroups }, expected);
}

/// As systemd mounts them with `systemd.unified_cgroup_hierarchy=0` (Debian 10).
const SYSTEMD_V1: &str = "24 18 0:22 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw\n\
    29 24 0:25 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,mode=755\n\
    30 29 0:26 / /sys/fs/cgroup/unified rw,nosuid shared:10 - cgroup2 cgroup2 rw,nsdelegate\n\
    31 29 0:27 / /sys/fs/cgroup/systemd rw,nosuid shared:11 - cgroup cgroup rw,xattr,name=systemd\n\
    35 29 0:31 / /sys/fs/cgroup/memory rw,nosuid shared:16 - cgroup cgroup rw,memory\n\
    36 29 0:32 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid shared:17 - cgroup cgroup rw,cpu,cpuacct\n";

/// As systemd mounts it (Debian 12).
const SYSTEMD_V2: &str = "23 29 0:22 / /sys rw,nosuid,nodev,noexec,relatime shared:7 - sysfs sysfs rw\n\
    28 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot\n";

#[test]
fn hosts() {
    let v1 = &[
        ("sys/fs/cgroup/memory", "-", 900, 0),
        ("sys/fs/cgroup/memory/system.slice", "-", 700, 0),
        ("sys/fs/cgroup/memory/system.slice/nginx.service", "200", 150, 20),
    ];
    let expected = [
        "v1 /system.slice/nginx.service certain",
        "/system.slice/nginx.service sys/fs/cgroup/memory/system.slice/nginx.service",
        "/system.slice sys/fs/cgroup/memory/system.slice",
        "/ sys/fs/cgroup/memory",
        "level 0 70",
    ];
    // The unified line of a hybrid host has another path, which must not be taken.
    check_v1(SYSTEMD_V1, "9:memory:/system.slice/nginx.service\n1:name=systemd:/x\n0::/x\n", v1, &expected);

    let (captured, roots) = Shape {
        mountinfo: SYSTEMD_V2,
        proc_cgroup: "0::/user.slice/user-1000.slice/session-2.scope\n",
        cgroups: &[
            ("sys/fs/cgroup/user.slice", "-", 900, 0),
            ("sys/fs/cgroup/user.slice/user-1000.slice", "500", 300, 100),
            ("sys/fs/cgroup/user.slice/user-1000.slice/session-2.scope", "-", 100, 0),
        ],
    }
    .make(CgroupVersion::V2);
    // The root has neither a limit nor a usage, and so nothing is hidden above it.
    fs::write(captured.sys().join("fs/cgroup/cgroup.controllers"), "cpu memory\n").unwrap();
    let expected = [
        "v2 /user.slice/user-1000.slice/session-2.scope certain",
        "/user.slice/user-1000.slice/session-2.scope sys/fs/cgroup/user.slice/user-1000.slice/session-2.scope",
        "/user.slice/user-1000.slice sys/fs/cgroup/user.slice/user-1000.slice",
        "/user.slice sys/fs/cgroup/user.slice",
        "/ sys/fs/cgroup",
        "level 1 300",
    ];
    assert_eq!(found(&captured, &roots), expected);
}

/// runc binds the container's own cgroup where the container shares the host's cgroup namespace (runc 1.1.5).
#[test]
fn containers_of_v1_in_the_host_s_namespace() {
    let expected = |name: &str| {
        ["v1 N certain", "N sys/fs/cgroup/memory", "level 0 24", "90 MiB hidden"].map(|line| line.replace('N', name))
    };
    // Docker; nothing above it has a limit.
    check_v1(
        "842 833 0:31 /docker/1f2e /sys/fs/cgroup/memory ro,nosuid,nodev,noexec,relatime master:16 - cgroup cgroup rw,memory\n",
        "9:memory:/docker/1f2e\n1:name=systemd:/docker/1f2e\n0::/system.slice/containerd.service\n",
        &[("sys/fs/cgroup/memory", "64", 50, 10)],
        &expected("/docker/1f2e")[..3].iter().map(String::as_str).collect::<Vec<_>>(),
    );
    // Kubernetes with containerd and CRI-O: the pod's limit is out of sight, but the kernel's count gives it away.
    for name in ["/kubepods/burstable/pod7d0b/4f9d", "/kubepods.slice/kubepods-pod7d0b.slice/crio-4f9d.scope"] {
        let mountinfo = format!("842 833 0:31 {name} /sys/fs/cgroup/memory ro,relatime - cgroup cgroup rw,memory\n");
        let captured = Captured::with_place(&mountinfo, &format!("9:memory:{name}\n")).unwrap();
        let level = Level { limit: &(100 * MIB).to_string(), usage: 76 * MIB, cache: 10 * MIB };
        captured.level_v1("sys/fs/cgroup/memory", &level, &(90 * MIB).to_string()).unwrap();
        let roots = Roots::new(captured.proc(), captured.sys());
        let mut expected = expected(name);
        expected[2] = "hidden 24".to_owned();
        assert_eq!(found(&captured, &roots), expected);
    }
}

#[test]
fn containers_of_v2_in_a_namespace_of_their_own() {
    // Docker, containerd, Podman and CRI-O all look the same from inside (runc 1.1.5 in the virtual machine).
    let mountinfo = "1195 1194 0:26 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate\n";
    check_v2(
        mountinfo,
        "0::/\n",
        &[("sys/fs/cgroup", "64", 50, 10)],
        &["v2 / certain", "/ sys/fs/cgroup", "level 0 24", "more may be hidden"],
    );
    // systemd inside: it moves itself and its services below, and limits one of them.
    check_v2(
        "1195 1194 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate\n",
        "0::/system.slice/db.service\n",
        &[
            ("sys/fs/cgroup", "64", 50, 10),
            ("sys/fs/cgroup/system.slice", "-", 40, 10),
            ("sys/fs/cgroup/system.slice/db.service", "32", 30, 10),
        ],
        &[
            "v2 /system.slice/db.service certain",
            "/system.slice/db.service sys/fs/cgroup/system.slice/db.service",
            "/system.slice sys/fs/cgroup/system.slice",
            "/ sys/fs/cgroup",
            "level 0 12",
            "more may be hidden",
        ],
    );
}

#[test]
fn containers_of_v2_in_the_host_s_namespace_see_the_host_s_levels() {
    // `docker run --cgroupns=host`, `podman run --cgroupns=host`: the whole hierarchy is mounted (runc 1.1.5).
    let rows = &[
        ("sys/fs/cgroup/machine.slice", "90", 80, 2),
        ("sys/fs/cgroup/machine.slice/libpod-4f9d.scope", "64", 50, 10),
        ("sys/fs/cgroup/machine.slice/libpod-4f9d.scope/container", "-", 50, 10),
    ];
    let (captured, roots) =
        Shape { mountinfo: SYSTEMD_V2, proc_cgroup: "0::/machine.slice/libpod-4f9d.scope/container\n", cgroups: rows }
            .make(CgroupVersion::V2);
    fs::write(captured.sys().join("fs/cgroup/cgroup.controllers"), "memory\n").unwrap();
    let found = found(&captured, &roots);
    assert_eq!(found[0], "v2 /machine.slice/libpod-4f9d.scope/container certain");
    assert_eq!(found.last().unwrap(), "level 2 12", "the slice is tighter than the container");
}

#[test]
fn joined_doubled_and_odd_mounts() {
    let rows = &[("cgroup/memory/a", "64", 50, 10)];
    let expected = ["v1 /a certain", "/a cgroup/memory/a", "/ cgroup/memory", "level 0 24"];
    for mountinfo in [
        // The old way, before there was a /sys/fs/cgroup (`cgconfig` of libcgroup).
        "30 20 0:26 / {root}/cgroup/memory rw - cgroup cgroup rw,memory\n",
        // Joined, by either name first, and without optional fields or with many.
        "30 20 0:26 / {root}/cgroup/memory rw - cgroup cgroup rw,cpu,memory\n",
        "30 20 0:26 / {root}/cgroup/memory rw shared:4 master:3 - cgroup cgroup rw,cpuacct,memory,release_agent=/x\n",
        // Twice, and the other one's directory is nowhere to be seen.
        "30 20 0:26 / {root}/cgroup/memory rw - cgroup cgroup rw,memory\n31 20 0:26 / {root}/gone rw - cgroup c rw,memory\n",
        // Twice, the later one with nothing in it.
        "30 20 0:26 / {root}/cgroup/memory rw - cgroup cgroup rw,memory\n31 20 0:26 / {root}/proc rw - cgroup c rw,memory\n",
    ] {
        let (captured, roots) =
            Shape { mountinfo, proc_cgroup: "4:cpu,memory:/a\n0::/b\n", cgroups: rows }.make(CgroupVersion::V1);
        let top = Level { limit: UNLIMITED, usage: 900 * MIB, cache: 0 };
        captured.level_v1("cgroup/memory", &top, UNLIMITED).unwrap();
        assert_eq!(found(&captured, &roots), expected, "{mountinfo}");
    }
}

#[test]
fn a_part_bound_over_the_whole_is_what_its_mount_point_shows() {
    // `mount --bind /sys/fs/cgroup/memory/a /sys/fs/cgroup/memory`, Linux 6.18. Mountinfo lists both.
    let covered = "51 47 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
                   63 51 0:32 /a /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n";
    let rows = &[("sys/fs/cgroup/memory", "64", 50, 10), ("sys/fs/cgroup/memory/b", "-", 40, 10)];
    let expected = ["v1 /a/b certain", "/a/b sys/fs/cgroup/memory/b", "/a sys/fs/cgroup/memory", "level 1 24"];
    check_v1(covered, "4:memory:/a/b\n", rows, &expected);
    // Where only a part is mounted, at a place of its own.
    let part = "63 43 0:32 /a /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
    check_v1(part, "4:memory:/a/b\n", rows, &expected);
    // A part that is somebody else's.
    let expected = ["v1 /a assumed", "/a sys/fs/cgroup/memory", "level 0 24"];
    check_v1(part, "4:memory:/ab\n", rows, &expected);
}

#[test]
fn a_mount_that_lies_below_another_is_not_read() {
    // `mount -t tmpfs none /cg` over /cg/memory, Linux 6.18: 64 lies over 47, and 51 is out of sight. A directory that has
    // the old one's name holds nothing of the kernel's, whatever its files say.
    let mountinfo = "63 43 0:32 / {root}/m rw,relatime - cgroup cgroup rw,memory\n\
                     47 46 0:28 / {root}/cg rw,relatime - tmpfs tmpfs rw,mode=755\n\
                     51 47 0:32 / {root}/cg/memory rw,relatime - cgroup cgroup rw,memory\n\
                     64 47 0:39 / {root}/cg rw,relatime - tmpfs none rw\n";
    let rows = &[("m", "-", 90, 0), ("m/a", "64", 50, 10), ("cg/memory", "-", 0, 0), ("cg/memory/a", "1", 0, 0)];
    check_v1(mountinfo, "4:memory:/a\n", rows, &["v1 /a certain", "/a m/a", "/ m", "level 0 24"]);
}

/// `unshare -C` in /a/b/c: the mounts are the host's and read `/../../..` (Linux 6.18).
const OUTSIDE: &str = "51 47 0:32 /../../.. /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n";

#[test]
fn below_a_mount_from_outside_the_namespace_the_process_is_looked_for() {
    let shape = |proc_cgroup| Shape {
        mountinfo: OUTSIDE,
        proc_cgroup,
        cgroups: &[
            ("sys/fs/cgroup/memory", "-", 900, 0),
            ("sys/fs/cgroup/memory/x/y/z", "16", 0, 0),
            ("sys/fs/cgroup/memory/a", "64", 50, 10),
            ("sys/fs/cgroup/memory/a/b", "-", 50, 10),
            ("sys/fs/cgroup/memory/a/b/c", "-", 50, 10),
            ("sys/fs/cgroup/memory/a/b/c/init.scope", "-", 50, 10),
        ],
    };
    // In a captured tree the pids are those of another machine, so nobody is looked for.
    let (captured, roots) = shape("4:memory:/\n").make(CgroupVersion::V1);
    let own = |cgroup: &str, pid: u32| {
        let procs = captured.sys().join("fs/cgroup/memory").join(cgroup).join("cgroup.procs");
        fs::write(procs, format!("1\n{pid}\n")).unwrap();
    };
    own("a/b/c", std::process::id());
    assert_eq!(found(&captured, &roots), ["v1 / assumed", "/ sys/fs/cgroup/memory", "node 3906"]);

    // A procfs has a link there.
    fs::rename(captured.proc().join("self"), captured.proc().join("7")).unwrap();
    std::os::unix::fs::symlink("7", captured.proc().join("self")).unwrap();
    let found_own = || found(&captured, &roots)[0].clone();
    assert_eq!(found_own(), "v1 /a/b/c certain");
    assert_eq!(found(&captured, &roots)[5], "level 2 24");

    // Below the namespace's root the path goes on.
    fs::write(captured.proc().join("self/cgroup"), "4:memory:/init.scope\n").unwrap();
    assert_eq!(found_own(), "v1 / assumed", "the process is not listed there");
    own("a/b/c/init.scope", std::process::id());
    assert_eq!(found_own(), "v1 /a/b/c/init.scope certain");

    // Moved out of the namespace, to /a/b.
    fs::write(captured.proc().join("self/cgroup"), "4:memory:/..\n").unwrap();
    own("a/b", std::process::id());
    assert_eq!(found_own(), "v1 /a/b certain");
    own("a/b", 1);
    assert_eq!(found_own(), "v1 / assumed", "nobody lists it");
}

#[test]
fn a_host_s_sys_in_a_container_is_told_from_the_container_s_own() {
    // A DaemonSet with the host's /sys at /host/sys, in the host's cgroup namespace: both mounts show its cgroup, and
    // the host's shows more.
    let mountinfo = "90 80 0:31 /kubepods/pod1/c1 {root}/own rw - cgroup cgroup rw,memory\n\
                     95 94 0:31 / {root}/host/memory rw - cgroup cgroup rw,memory\n";
    let rows = &[
        ("own", "64", 50, 10),
        ("host/memory", "-", 900, 0),
        ("host/memory/kubepods", "-", 700, 0),
        ("host/memory/kubepods/pod1", "70", 62, 10),
        ("host/memory/kubepods/pod1/c1", "64", 50, 10),
    ];
    let (captured, roots) =
        Shape { mountinfo, proc_cgroup: "4:memory:/kubepods/pod1/c1\n", cgroups: rows }.make(CgroupVersion::V1);
    let found = found(&captured, &roots);
    assert_eq!(
        (found[1].as_str(), found[5].as_str()),
        ("/kubepods/pod1/c1 host/memory/kubepods/pod1/c1", "level 1 18")
    );
}

#[test]
fn limits_at_every_level() {
    let bound = |limits: [&'static str; 3]| {
        let [top, middle, own] = limits;
        let captured = Captured::with_place(SYSTEMD_V2, "0::/a/b\n").unwrap();
        for (directory, limit, usage) in [("", top, 300), ("/a", middle, 200), ("/a/b", own, 100)] {
            let level = Level { limit, usage: usage * MIB, cache: 0 };
            captured.level_v2(&format!("sys/fs/cgroup{directory}"), &level).unwrap();
        }
        found(&captured, &Roots::new(captured.proc(), captured.sys()))[4].clone()
    };
    assert_eq!(bound(["max", "max", "max"]), "node 3906");
    assert_eq!(bound(["419430400", "max", "max"]), "level 2 100");
    assert_eq!(bound(["max", "314572800", "max"]), "level 1 100");
    assert_eq!(bound(["max", "max", "209715200"]), "level 0 100");
    assert_eq!(bound(["419430400", "314572800", "209715200"]), "level 0 100", "of equals the innermost");
    assert_eq!(bound(["419430400", "262144000", "209715200"]), "level 1 50");
    // More than the machine has is no limit; zero is one.
    assert_eq!(bound(["max", "max", "8192000000000"]), "node 3906");
    assert_eq!(bound(["max", "max", "8192000000"]), "node 3906", "exactly what the machine has");
    assert_eq!(bound(["max", "0", "209715200"]), "level 1 0");
    assert_eq!(bound(["max", "max", "0"]), "level 0 0");
}

#[test]
fn without_the_memory_controller_there_is_nothing_to_find() {
    let none = ["no memory controller"];
    check_v2("1 2 0:3 / /tmp rw - tmpfs t rw\n", "0::/a\n", &[("sys/fs/cgroup", "64", 1, 0)], &none);
    check_v2("30 2 0:3 / /sys/fs/cgroup/cpu rw - cgroup c rw,cpu\n", "4:cpu:/a\n", &[], &none);
    // The unified hierarchy of a hybrid container, whose memory is counted by v1, which is not mounted.
    let captured =
        Captured::with_place("30 2 0:3 / /sys/fs/cgroup rw - cgroup2 c rw\n", "4:memory:/a\n0::/\n").unwrap();
    fs::write(captured.cgroup(b"").unwrap().join("cgroup.controllers"), "cpu io\n").unwrap();
    assert_eq!(found(&captured, &Roots::new(captured.proc(), captured.sys())), none);
}
