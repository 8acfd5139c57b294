//! The reading of trees that are files only: captured ones under fixtures/, and hostile ones made up here.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use reprieve_lab::Captured;
use reprieve_linux::{
    CgroupTree, ControllerError, DescriptorBudget, MemoryController, Problems, Roots, ScanSummary, read_node,
};
use reprieve_readings::{Bytes, CgroupPath, CgroupVersion, Limit, Placement};

fn open(roots: &Roots) -> CgroupTree {
    let mut problems = Problems::default();
    let controller = MemoryController::find(roots, &mut problems).unwrap();
    assert_eq!(problems.first(), []);
    CgroupTree::open(&controller, DescriptorBudget::new(1000)).unwrap()
}

fn scan(captured: &Captured) -> (CgroupTree, ScanSummary) {
    let mut tree = open(&Roots::new(captured.proc(), captured.sys()));
    let summary = tree.scan();
    (tree, summary)
}

fn path(text: &[u8]) -> CgroupPath {
    CgroupPath::new(text)
}

fn messages(summary: &ScanSummary) -> Vec<String> {
    summary.problems.first().iter().map(ToString::to_string).collect()
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures").join(name)
}

fn directories_below(directory: &Path) -> Vec<PathBuf> {
    let mut found = vec![directory.to_path_buf()];
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(directories_below(&entry.path()));
        }
    }
    found
}

/// Every cgroup of a captured tree is found, every file of it is understood, and the figures are those of the files.
fn check_fixture(name: &str, version: CgroupVersion, mount: &str, usage_file: &str) {
    let roots = Roots::new(fixture(name).join("proc"), fixture(name).join("sys"));
    let mut tree = open(&roots);
    assert_eq!(tree.version(), version);
    let summary = tree.scan();
    assert_eq!(messages(&summary), [""; 0], "{name}");
    let top = fixture(name).join("sys/fs/cgroup").join(mount);
    let directories = directories_below(&top);
    assert_eq!(tree.len(), directories.len());
    assert!(directories.len() > 4, "{name} holds hardly anything");
    for directory in directories {
        let inside = directory.strip_prefix(&top).unwrap();
        let cgroup = tree.find(&path(inside.as_os_str().as_bytes())).unwrap();
        let usage = fs::read_to_string(directory.join(usage_file)).ok().map(|text| text.trim().parse().unwrap());
        assert_eq!(cgroup.memory().usage.map(Bytes::get), usage, "{}", directory.display());
        assert!(cgroup.memory().stat.unwrap().reclaimable().is_some());
    }
    let mut problems = Problems::default();
    let node = read_node(&roots, &mut problems);
    assert_eq!(problems.first(), []);
    assert!(node.meminfo.unwrap().available.is_some() && node.oom_kills.is_some() && node.pressure.is_some());
}

#[test]
fn a_captured_hybrid_host_is_read() {
    check_fixture("hybrid-v1-6.18", CgroupVersion::V1, "memory", "memory.usage_in_bytes");
}

#[test]
fn captured_v2_hosts_are_read() {
    check_fixture("v2-6.1", CgroupVersion::V2, "", "memory.current");
    check_fixture("v2-6.12", CgroupVersion::V2, "", "memory.current");
}

#[test]
fn bad_files_are_counted_and_named_and_hide_nothing_else() {
    let captured = Captured::new().unwrap();
    captured.sound_cgroup(b"sound").unwrap();
    let bad: &[(&str, &[u8])] = &[
        ("memory.current", b""),
        ("memory.max", b"lots\n"),
        ("memory.high", b"\x00\xff\xfe\x80"),
        ("memory.low", b"99999999999999999999999\n"),
        ("memory.stat", b"anon 1\nfile 2\ninactive_fi"),
        ("memory.events.local", b"oom_kill -3\n"),
        ("memory.pressure", b"some avg10=nan avg60=0 avg300=0 total=1\n"),
        ("memory.oom.group", b"2\n"),
    ];
    let directory = captured.sound_cgroup(b"bad\x1b[31m\ncgroup").unwrap();
    for (name, text) in bad {
        fs::write(directory.join(name), text).unwrap();
    }
    let (tree, summary) = scan(&captured);
    assert_eq!(summary.problems.count(), bad.len() as u64);
    for message in messages(&summary) {
        assert!(message.starts_with("/bad\\x1b[31m\\ncgroup/memory."), "{message}");
        assert!(!message.chars().any(char::is_control), "{message:?}");
    }
    let sound = tree.find(&path(b"/sound")).unwrap().memory();
    assert_eq!((sound.usage, sound.oom_kills()), (Some(Bytes::from_mib(1)), Some(2)));
    let bad = tree.find(&path(b"/bad\x1b[31m\ncgroup")).unwrap().memory();
    assert_eq!((bad.usage, bad.stat, bad.oom_kills()), (None, None, None), "nothing is made up");
}

#[test]
fn files_that_are_no_files_neither_hang_nor_fill_memory() {
    let captured = Captured::new().unwrap();
    let directory = captured.sound_cgroup(b"odd").unwrap();
    for name in ["memory.current", "memory.max", "memory.stat"] {
        fs::remove_file(directory.join(name)).unwrap();
    }
    let fifo = std::ffi::CString::new(directory.join("memory.current").as_os_str().as_bytes()).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0).unwrap();
    fs::create_dir(directory.join("memory.max")).unwrap();
    let endless = fs::File::create(directory.join("memory.stat")).unwrap();
    endless.set_len(1 << 40).unwrap();
    let (tree, summary) = scan(&captured);
    let messages = messages(&summary);
    assert_eq!(messages.len(), 3, "{messages:?}");
    assert!(messages.iter().any(|message| message.starts_with("/odd/memory.stat: larger than")), "{messages:?}");
    assert!(tree.find(&path(b"/odd/memory.max")).is_some(), "a directory is a cgroup, whatever its name");
    assert_eq!(tree.find(&path(b"/odd")).unwrap().memory().oom_kills(), Some(2));
}

#[test]
fn a_tree_sixty_levels_deep_and_links_in_circles_are_no_trouble() {
    let captured = Captured::new().unwrap();
    let deep = [&b"level/"[..]; 60].concat();
    let bottom = captured.sound_cgroup(&deep).unwrap();
    std::os::unix::fs::symlink("..", bottom.join("circle")).unwrap();
    let (tree, summary) = scan(&captured);
    assert_eq!(messages(&summary), [""; 0]);
    assert_eq!(tree.len(), 61);
    assert_eq!(tree.find(&path(&deep)).unwrap().memory().usage, Some(Bytes::from_mib(1)));
}

#[test]
fn ten_thousand_cgroups_are_all_read_however_few_files_may_stay_open() {
    let captured = Captured::new().unwrap();
    for number in 0..10_000 {
        let directory = captured.cgroup(format!("pods/c{number}").as_bytes()).unwrap();
        fs::write(directory.join("memory.current"), format!("{number}\n")).unwrap();
        if number % 100 == 0 {
            fs::write(directory.join("memory.max"), "garbage").unwrap();
        }
    }
    reprieve_linux::raise_descriptor_limit();
    let (mut tree, summary) = scan(&captured);
    assert_eq!(summary.problems.count(), 100);
    assert_eq!(tree.len(), 10_002);
    fs::remove_dir_all(captured.sys().join("fs/cgroup/pods/c77")).unwrap();
    let summary = tree.scan();
    assert_eq!(summary.removed.len(), 1);
    assert_eq!(tree.find(&path(b"/pods/c9999")).unwrap().memory().usage, Some(Bytes::new(9999)));
    assert_eq!(summary.problems.count(), 100, "counted in each scan");
    assert_eq!(summary.problems.first().len(), 100);
}

#[test]
fn a_limit_is_read_by_every_scan_and_a_slow_file_by_one_in_sixteen() {
    let captured = Captured::new().unwrap();
    let directory = captured.sound_cgroup(b"c").unwrap();
    fs::write(directory.join("memory.low"), "1\n").unwrap();
    let (mut tree, _) = scan(&captured);
    let low_and_max = |tree: &CgroupTree| {
        let memory = *tree.find(&path(b"/c")).unwrap().memory();
        (memory.low, memory.max)
    };
    let at = |bytes| Some(Limit::At(Bytes::new(bytes)));
    assert_eq!(low_and_max(&tree), (at(1), at(4 << 20)), "a new cgroup is read whole");
    fs::write(directory.join("memory.low"), "2\n").unwrap();
    fs::write(directory.join("memory.max"), "7\n").unwrap();
    let seen: Vec<_> = (0..16).map(|_| (tree.scan(), low_and_max(&tree)).1).collect();
    assert!(seen.iter().all(|(_, max)| *max == at(7)));
    let slow: Vec<_> = seen.iter().map(|(low, _)| *low).collect();
    assert_eq!(slow.first(), Some(&at(1)), "kept as it was read");
    assert_eq!(slow.last(), Some(&at(2)));
}

#[test]
fn the_controller_is_found_as_mountinfo_says() {
    let find = |mountinfo: &str, cgroup: &str, captured: &Captured| {
        fs::write(captured.proc().join("self/mountinfo"), mountinfo).unwrap();
        fs::write(captured.proc().join("self/cgroup"), cgroup).unwrap();
        let mut problems = Problems::default();
        let found = MemoryController::find(&Roots::new(captured.proc(), captured.sys()), &mut problems);
        (found, problems.count())
    };
    let captured = Captured::new().unwrap();
    let memory = captured.cgroup(b"memory/docker").unwrap();
    fs::write(memory.parent().unwrap().join("memory.usage_in_bytes"), "4096\n").unwrap();
    captured.cgroup(b"with space").unwrap();

    // v1 wins where it has memory, and an unreadable line hides no other.
    let v1 = "garbage\n31 30 0:28 / /sys/fs/cgroup/memory rw - cgroup c rw,cpu,memory\n\
              30 23 0:26 / /sys/fs/cgroup rw - cgroup2 c rw\n";
    let (found, problems) = find(v1, "4:cpu,memory:/docker\n0::/x\n", &captured);
    let found = found.unwrap();
    assert_eq!((found.version, found.own, problems), (CgroupVersion::V1, path(b"/docker"), 1));
    assert_eq!(found.directory, captured.sys().join("fs/cgroup/memory"));

    // A unified hierarchy without the memory controller is none; the one with a space in its name has it.
    fs::write(captured.sys().join("fs/cgroup/cgroup.controllers"), "cpu io\n").unwrap();
    fs::write(captured.sys().join("fs/cgroup/with space/cgroup.controllers"), "memory\n").unwrap();
    let v2 = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 c rw\n\
              31 30 0:26 / /sys/fs/cgroup/with\\040space rw shared:1 - cgroup2 c rw\n";
    let found = find(v2, "0::/a\n", &captured).0.unwrap();
    assert_eq!(found.directory, captured.sys().join("fs/cgroup/with space"));

    // A namespace that the mount lies outside of.
    let escaped = "31 23 0:26 /../../.. /sys/fs/cgroup/with\\040space rw - cgroup2 c rw\n";
    let found = find(escaped, "0::/\n", &captured).0.unwrap();
    assert_eq!((found.own, found.placement), (CgroupPath::root(), Placement::Assumed));

    // Without /proc/self/cgroup the mount's root is assumed, and that is a problem told.
    fs::remove_file(captured.proc().join("self/cgroup")).unwrap();
    let mut problems = Problems::default();
    let roots = Roots::new(captured.proc(), captured.sys());
    let found = MemoryController::find(&roots, &mut problems).unwrap();
    assert_eq!((found.placement, problems.count()), (Placement::Assumed, 1));

    let (none, _) = find("30 23 0:26 / /tmp rw - tmpfs t rw\n", "0::/\n", &captured);
    assert!(matches!(none, Err(ControllerError::Absent { .. })));
    fs::remove_file(captured.proc().join("self/mountinfo")).unwrap();
    let none = MemoryController::find(&roots, &mut Problems::default());
    assert!(matches!(none, Err(ControllerError::Unreadable(_))));
}
