//! Copying the memory files of cgroups, and nothing else of the host.
//!
//! A fixture is published with the project, so what goes in is a list of what is wanted, never a list of what is
//! not: no process names, no environment, no mounts but those of cgroups and the two file systems they need.

use super::hierarchy::Hierarchy;
use anyhow::{Context, Result};
use std::{
    fs::{self, Permissions},
    io::{self, ErrorKind},
    os::unix::fs::PermissionsExt,
    path::Path,
};

/// Files of the whole machine.
const MACHINE_FILES: [&str; 3] = ["meminfo", "vmstat", "pressure/memory"];

/// The processors that are online: the kernel's counts are off by as much as each may hold back.
const PROCESSORS: &str = "sys/devices/system/cpu/online";

/// Files of a cgroup that are no `memory.*` but tell of its shape and its processes.
const CGROUP_FILES: [&str; 3] = ["cgroup.procs", "cgroup.controllers", "cgroup.events"];

/// A file of v1 that can only be written and waited for, though its mode says that it can be read.
const UNREADABLE: &str = "memory.pressure_level";

/// Writes the machine's files, those of the process `process` as proc/self, and those of the hierarchy.
///
/// With `below`, of the hierarchy only the root's own files and the cgroups from `below` on.
pub(crate) fn write(hierarchy: &Hierarchy, below: Option<&Path>, process: &str, into: &Path) -> Result<()> {
    let proc = Path::new("/proc");
    for name in MACHINE_FILES {
        copy(&proc.join(name), &into.join("proc").join(name))?;
    }
    copy(&Path::new("/").join(PROCESSORS), &into.join(PROCESSORS))?;
    copy(&proc.join(process).join("cgroup"), &into.join("proc/self/cgroup"))?;
    let mounts = fs::read_to_string(proc.join(process).join("mountinfo")).context("mountinfo could not be read")?;
    let kept: String = mounts.lines().filter(|line| is_wanted_mount(line)).map(|line| format!("{line}\n")).collect();
    save(&into.join("proc/self/mountinfo"), kept.as_bytes())?;

    let destination = into.join(hierarchy.mount.strip_prefix("/").unwrap_or(&hierarchy.mount));
    match below.and_then(|path| path.strip_prefix("/").ok()).filter(|path| *path != Path::new("")) {
        Some(path) => {
            copy_cgroup(&hierarchy.mount, &destination)?;
            copy_cgroups(&hierarchy.mount.join(path), &destination.join(path))
        }
        None => copy_cgroups(&hierarchy.mount, &destination),
    }
}

fn copy_cgroups(from: &Path, to: &Path) -> Result<()> {
    copy_cgroup(from, to)?;
    for entry in fs::read_dir(from).with_context(|| format!("{} could not be listed", from.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            copy_cgroups(&entry.path(), &to.join(entry.file_name()))?;
        }
    }
    Ok(())
}

fn copy_cgroup(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("{} could not be made", to.display()))?;
    for entry in fs::read_dir(from).with_context(|| format!("{} could not be listed", from.display()))? {
        let entry = entry?;
        let name = entry.file_name();
        if entry.file_type()?.is_file() && is_wanted_file(&name.to_string_lossy()) {
            copy(&entry.path(), &to.join(name))?;
        }
    }
    Ok(())
}

fn is_wanted_file(name: &str) -> bool {
    (name.starts_with("memory.") && name != UNREADABLE) || CGROUP_FILES.contains(&name)
}

/// The optional fields of mountinfo end with a lone dash, after which the type of the file system comes.
pub(super) fn is_wanted_mount(line: &str) -> bool {
    let place = line.split(' ').nth(4).unwrap_or_default();
    let kind = line.split_once(" - ").and_then(|(_, rest)| rest.split(' ').next()).unwrap_or_default();
    kind.starts_with("cgroup") || ["/proc", "/sys", "/sys/fs/cgroup"].contains(&place)
}

/// Copies one file of the kernel; one that this kernel lacks, can't be read or has just gone is left out.
fn copy(from: &Path, to: &Path) -> Result<()> {
    match read(from) {
        Ok(Some(content)) => save(to, &content),
        Ok(None) => Ok(()),
        Err(error) => {
            println!("left out {}: {error}", from.display());
            Ok(())
        }
    }
}

fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    const READABLE: u32 = 0o444;
    match fs::metadata(path) {
        // The kernel marks write-only files so; root could open some of them and would read rubbish.
        Ok(metadata) if metadata.permissions().mode() & READABLE == 0 => Ok(None),
        Ok(_) => fs::read(path).map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn save(path: &Path, content: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("{} could not be made", folder.display()))?;
    }
    fs::write(path, content)
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o644)))
        .with_context(|| format!("{} could not be written", path.display()))
}

#[cfg(test)]
mod tests {
    use super::{is_wanted_file, is_wanted_mount, write};
    use crate::capture::hierarchy::Hierarchy;
    use std::{
        fs::{self, Permissions},
        os::unix::fs::PermissionsExt,
        path::Path,
    };

    #[test]
    fn keeps_the_mounts_of_cgroups_and_no_others() {
        assert!(is_wanted_mount("35 31 0:32 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory"));
        assert!(is_wanted_mount("31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755"));
        assert!(is_wanted_mount("22 27 0:21 / /proc rw - proc proc rw"));
        assert!(!is_wanted_mount("27 1 254:0 / / rw,relatime - ext4 /dev/vda rw"));
        assert!(!is_wanted_mount("28 27 0:25 / /home/somebody/cgroup rw - tmpfs cgroup rw"));
    }

    #[test]
    fn keeps_memory_files_and_the_shape_of_the_tree() {
        assert!(is_wanted_file("memory.stat"));
        assert!(is_wanted_file("cgroup.procs"));
        assert!(!is_wanted_file("cpu.stat"));
        assert!(!is_wanted_file("cgroup.kill"));
        assert!(!is_wanted_file("memory.pressure_level"));
    }

    #[test]
    fn copies_the_root_and_the_named_cgroup_only() {
        let folder = tempfile::tempdir().unwrap();
        let mount = folder.path().join("cgroup");
        for (path, mode) in [("memory.stat", 0o444), ("own/a/memory.max", 0o644), ("own/memory.reclaim", 0o200)] {
            let file = mount.join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(&file, "1\n").unwrap();
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
        }
        fs::create_dir_all(mount.join("foreign")).unwrap();
        let into = folder.path().join("into");
        let hierarchy = Hierarchy { mount: mount.clone(), version: 2 };
        write(&hierarchy, Some(Path::new("/own")), "self", &into).unwrap();
        let copied = into.join(mount.strip_prefix("/").unwrap());
        assert!(copied.join("memory.stat").is_file());
        assert!(copied.join("own/a/memory.max").is_file());
        assert!(!copied.join("own/memory.reclaim").exists(), "write-only");
        assert!(!copied.join("foreign").exists());
        assert!(into.join("proc/self/mountinfo").is_file());
        assert!(into.join("sys/devices/system/cpu/online").is_file());
    }
}
