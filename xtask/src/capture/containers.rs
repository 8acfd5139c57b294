//! `cargo xtask capture NAME --containers`: what a process finds inside containers as the known tools lay them out.
//!
//! runc starts them all: the tools differ in where they put a container's cgroup, in its namespaces and in what runs
//! inside, and runc (or crun, which mounts alike) does the rest for each of them. Each container writes what it finds as
//! one text, so that a fixture is one file: after each line `== PATH` the file of that path.

use super::tree::is_wanted_mount;
use anyhow::{Context, Result};
use reprieve_lab::{ContainerOptions, Lab, Runtime, Version};
use std::{fs, path::Path};

const MIB: u64 = 1 << 20;
const ID: &str = "4f9d2c1b7a6e5d3c8b0a9f8e7d6c5b4a392817060f1e2d3c4b5a69788796a5b4";
const POD: &str = "kubepods-burstable-pod7d0b3a52_1f6c_4f0e_9c55_2f1d8e6b4a90.slice";

/// One way to lay out a container. Its own limit is 64 MiB.
struct Layout {
    /// The fixture's file.
    name: &'static str,
    /// The cgroup, with `POD` and `ID` to be filled in.
    cgroup: &'static str,
    /// Whether it has a cgroup namespace of its own.
    private_cgroups: bool,
    /// A limit of the cgroup that holds it.
    outer_limit: Option<u64>,
    /// A cgroup inside, which the first process moves to.
    inner: &'static str,
    /// Whether the inner cgroups have the memory controller, which v2 gives only to those for which it is enabled.
    delegates_memory: bool,
}

const DOCKER: Layout = Layout {
    name: "docker-private",
    cgroup: "system.slice/docker-ID.scope",
    private_cgroups: true,
    outer_limit: None,
    inner: "",
    delegates_memory: false,
};

const LAYOUTS: [Layout; 8] = [
    // Docker's default on v2, and on v1.
    DOCKER,
    Layout { name: "docker-host", cgroup: "docker/ID", private_cgroups: false, ..DOCKER },
    // With a limit beyond what the machine has.
    Layout { name: "docker-unlimited", ..DOCKER },
    // Podman has crun put the processes one level further down.
    Layout { name: "podman-host", cgroup: "machine.slice/libpod-ID.scope/container", private_cgroups: false, ..DOCKER },
    // Kubernetes, whose pods may have a tighter limit than a container of theirs.
    Layout {
        name: "containerd-private",
        cgroup: "kubepods.slice/kubepods-burstable.slice/POD/cri-containerd-ID.scope",
        outer_limit: Some(48 * MIB),
        ..DOCKER
    },
    Layout {
        name: "crio-host",
        cgroup: "kubepods.slice/kubepods-burstable.slice/POD/crio-ID.scope",
        private_cgroups: false,
        outer_limit: Some(48 * MIB),
        ..DOCKER
    },
    // systemd in a container, and something that makes cgroups and doesn't care for memory.
    Layout { name: "systemd-private", inner: "/system.slice/db.service", delegates_memory: true, ..DOCKER },
    Layout { name: "nested-private", inner: "/init", ..DOCKER },
];

/// A whole PiB: more than any machine that captures has.
const BEYOND_THE_MACHINE: u64 = 1 << 50;

/// Writes the files of the cgroup `$own` and of those above it up to the mount `$top`, then the others. dash and busybox
/// know it all.
const WRITE: &str = r#"
show() { for file in "$@"; do if [ -r "$file" ]; then echo "== $file"; cat "$file"; fi; done; }
show /proc/meminfo /proc/self/cgroup /proc/self/mountinfo /sys/devices/system/cpu/online
while :; do
    show $own/cgroup.controllers
    for name in limit_in_bytes usage_in_bytes kmem.usage_in_bytes memsw.limit_in_bytes memsw.usage_in_bytes         max high current swap.max swap.current stat; do show $own/memory.$name; done
    if [ "$own" = "$top" ]; then break; fi
    own=${own%/*}
done"#;

/// Captures each layout as a file of `into`.
pub(super) fn write(runtime: &Path, into: &Path) -> Result<()> {
    let runtime = Runtime::at(runtime.to_owned()).context("runc could not be prepared")?;
    let lab = Lab::open("capture")?.context("memory cgroups are needed to capture containers")?;
    for layout in &LAYOUTS {
        let text = capture(&runtime, &lab, layout).with_context(|| format!("{} could not be captured", layout.name))?;
        let file = into.join(layout.name).with_extension("txt");
        fs::write(&file, text).with_context(|| format!("{} could not be written", file.display()))?;
    }
    Ok(())
}

fn capture(runtime: &Runtime, lab: &Lab, layout: &Layout) -> Result<String> {
    let cgroup = layout.cgroup.replace("POD", POD).replace("ID", ID);
    if let (Some(bytes), Some((outer, _))) = (layout.outer_limit, cgroup.rsplit_once('/')) {
        lab.limit(&lab.cgroup(outer)?, bytes)?;
    }
    let top = match lab.version() {
        Version::V1 => "/sys/fs/cgroup/memory",
        Version::V2 => "/sys/fs/cgroup",
    };
    // v1 mounts the container's own cgroup even in the host's namespace, and v2 the whole hierarchy.
    let whole = lab.version() == Version::V2 && !layout.private_cgroups;
    let inside = if whole { lab.path_of(&lab.directory().join(&cgroup)) } else { layout.inner.to_owned() };
    let join = match layout.inner {
        "" => String::new(),
        inner => format!("mkdir -p {top}{inner}; echo 0 >{top}{inner}/cgroup.procs"),
    };
    let delegate = match layout.inner.rsplit_once('/') {
        Some((above, _)) if layout.delegates_memory && lab.version() == Version::V2 => {
            format!("for cgroup in {top} {top}{above}; do echo +memory >$cgroup/cgroup.subtree_control; done")
        }
        _ => String::new(),
    };
    let unlimited = layout.name.ends_with("-unlimited");
    let options = ContainerOptions {
        memory_limit: if unlimited { BEYOND_THE_MACHINE } else { 64 * MIB },
        private_cgroups: layout.private_cgroups,
        writable_cgroups: !layout.inner.is_empty(),
        binds: Vec::new(),
        script: format!(
            "{join}\n{delegate}\ndd if=/dev/zero of=/dev/filled bs=1048576 count=8 2>/dev/null\ntop={top} own={top}{inside}{WRITE}"
        ),
        cgroup,
    };
    let container = runtime.start(lab, &options)?;
    Ok(keep_wanted(container.output()))
}

/// Leaves out the mounts that are none of cgroups: they name directories of the machine that captures.
fn keep_wanted(text: &str) -> String {
    let mut in_mountinfo = false;
    let mut kept = String::new();
    for line in text.lines() {
        if line.starts_with("== ") {
            in_mountinfo = line.ends_with("/mountinfo");
        } else if in_mountinfo && !is_wanted_mount(line) {
            continue;
        }
        kept += line;
        kept.push('\n');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::keep_wanted;

    #[test]
    fn leaves_out_the_machine_s_other_mounts_and_nothing_else() {
        let text = "== /proc/self/mountinfo\n1 0 0:1 / / rw - ext4 /dev/sda rw\n2 1 0:2 / /sys/fs/cgroup ro - cgroup2 c rw\n\
                    == /sys/fs/cgroup/memory.max\n1 0 0:1 / / rw - ext4 /dev/sda rw\n";
        let kept = "== /proc/self/mountinfo\n2 1 0:2 / /sys/fs/cgroup ro - cgroup2 c rw\n\
                    == /sys/fs/cgroup/memory.max\n1 0 0:1 / / rw - ext4 /dev/sda rw\n";
        assert_eq!(keep_wanted(text), kept);
    }
}
