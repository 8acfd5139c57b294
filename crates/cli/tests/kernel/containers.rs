//! `reprieve free` inside of real containers, and in mount and cgroup namespaces of every shape, beside the host's view of
//! the same cgroup.

use std::fs;
use std::path::Path;
use std::process::Command;

use reprieve_lab::{ContainerOptions, Lab, Runtime, Version};
use serde_json::Value;

use crate::open_lab;

const LIMIT: u64 = 64 << 20;

/// What the container fills, so that its usage can't be mistaken for another cgroup's.
const FILLED: u64 = 24 << 20;

/// By how much the usage may change from one look to the next: processes end, and the kernel charges ahead.
const TOLERANCE: u64 = 4 << 20;

/// Fills some memory, asks for what is left, and lists the files of the cgroup that is said to bind.
const SCRIPT: &str = "dd if=/dev/zero of=/dev/filled bs=1048576 count=24 2>/dev/null
    /reprieve free --json >/dev/answer
    cat /dev/answer
    cat /proc/self/cgroup >/dev/cgroup
    file=$(sed 's/.*\"bound_file\":\"\\([^\"]*\\)\".*/\\1/' /dev/answer)
    ls \"${file%/*}\"";

/// Those of util-linux, by their paths: the virtual machine's shell would take busybox', which can do less.
pub(crate) const UNSHARE: &str = "/usr/bin/unshare";
const SETPRIV: &str = "/usr/bin/setpriv";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn file_names(cgroup: &Path) -> Vec<String> {
    let entries = fs::read_dir(cgroup).unwrap().map(Result::unwrap);
    entries
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect()
}

fn number(cgroup: &Path, file: &str) -> u64 {
    fs::read_to_string(cgroup.join(file)).unwrap().trim().parse().unwrap()
}

fn files_of(lab: &Lab) -> (&'static str, &'static str) {
    match lab.version() {
        Version::V1 => ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        Version::V2 => ("memory.max", "memory.current"),
    }
}

/// Asserts that what `free` said of its cgroup is what the host sees of `cgroup`.
fn assert_same(answer: &Value, lab: &Lab, cgroup: &Path, what: &str) {
    let (limit, usage) = files_of(lab);
    assert_eq!(answer["limit_bytes"], number(cgroup, limit), "{what}: {answer:#}");
    let (inside, outside) = (answer["usage_bytes"].as_u64().unwrap(), number(cgroup, usage));
    assert!(inside.abs_diff(outside) < TOLERANCE, "{what}: {inside} bytes inside, {outside} outside");
    assert_eq!((&answer["bound_by"], &answer["bound_levels_up"]), (&"cgroup".into(), &0.into()), "{what}: {answer:#}");
    assert_eq!(answer["cgroup_assumed"], false, "{what}: {answer:#}");
}

#[test]
fn a_real_container_s_view_agrees_with_the_host_s() {
    let Some(lab) = open_lab("container") else { return };
    let Some(runtime) = Runtime::find("containers").unwrap() else { return };
    for (private_cgroups, writable_cgroups) in [(true, false), (true, true), (false, false)] {
        let what = format!("a cgroup namespace of its own: {private_cgroups}; writable: {writable_cgroups}");
        let options = ContainerOptions {
            cgroup: format!("docker/{}-{}", u8::from(private_cgroups), u8::from(writable_cgroups)),
            memory_limit: LIMIT,
            private_cgroups,
            writable_cgroups,
            binds: vec![(env!("CARGO_BIN_EXE_reprieve").into(), "/reprieve".into())],
            script: SCRIPT.to_owned(),
        };
        let container = runtime.start(&lab, &options).unwrap();
        let cgroup = lab.directory().join(&options.cgroup);
        let (answer, names) = container.output().split_once('\n').unwrap();
        let answer = json(answer);
        assert_same(&answer, &lab, &cgroup, &what);
        assert!(answer["usage_bytes"].as_u64().unwrap() > FILLED, "{what}: {answer:#}");
        let path = if private_cgroups { "/".to_owned() } else { lab.path_of(&cgroup) };
        assert_eq!(answer["cgroup"], path.as_str(), "{what}");
        let inside: Vec<&str> = names.lines().collect();
        for name in file_names(&cgroup) {
            assert!(inside.contains(&name.as_str()), "{what}: {name} is not among {inside:?}");
        }
    }
}

/// The container's first process moves below the cgroup that has the limit: as systemd does, which gives the cgroups inside
/// the memory controller, and as others do, which don't.
#[test]
fn a_real_container_with_cgroups_of_its_own_inside_is_bound_by_its_limit() {
    let Some(lab) = open_lab("nesting") else { return };
    let Some(runtime) = Runtime::find("containers").unwrap() else { return };
    let (mount, enable) = match lab.version() {
        Version::V1 => ("/sys/fs/cgroup/memory", ""),
        Version::V2 => ("/sys/fs/cgroup", "echo +memory >/sys/fs/cgroup/cgroup.subtree_control"),
    };
    for enable in [enable, ""] {
        let options = ContainerOptions {
            cgroup: "system.slice/docker-0123.scope".to_owned(),
            memory_limit: LIMIT,
            private_cgroups: true,
            writable_cgroups: true,
            binds: vec![(env!("CARGO_BIN_EXE_reprieve").into(), "/reprieve".into())],
            script: format!(
                "mkdir {mount}/init.scope\necho 0 >{mount}/init.scope/cgroup.procs\n{enable}\n/reprieve free --json"
            ),
        };
        let container = runtime.start(&lab, &options).unwrap();
        let answer = json(container.output());
        // v2 charges the nearest cgroup that has the controller.
        let charged = lab.version() == Version::V2 && enable.is_empty();
        let (own, levels_up) = if charged { ("/", 0) } else { ("/init.scope", 1) };
        assert_eq!((&answer["cgroup"], &answer["cgroup_assumed"]), (&own.into(), &false.into()));
        assert_eq!(
            (&answer["limit_bytes"], &answer["bound_levels_up"]),
            (&LIMIT.into(), &levels_up.into()),
            "{answer:#}"
        );
        assert_eq!(answer["bound_file"], format!("{mount}/{}", files_of(&lab).0));
        assert!(answer["usage_bytes"].as_u64().is_some_and(|usage| usage > 0), "{answer:#}");
    }
}

/// Runs a script in a cgroup and a mount namespace of its own, with `$1` an empty directory and `$2` the program.
/// Returns what `free --json` wrote to `$1/answer`. `None` without a fitting unshare(1).
fn in_namespaces(lab: &Lab, cgroup: &Path, cgroup_namespace: bool, script: &str) -> Option<Value> {
    let flags: &[&str] = if cgroup_namespace { &["-m", "-C"] } else { &["-m"] };
    if !Command::new(UNSHARE).args(flags).arg("true").status().is_ok_and(|status| status.success()) {
        eprintln!("NOT APPLICABLE: no {UNSHARE} that makes such namespaces");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let script = format!("set -e; cd \"$1\"; exec 2>errors; mount --make-rprivate /; {script}");
    let mut unshare = Command::new(UNSHARE);
    unshare.args(flags).args(["sh", "-c", &script, "sh"]).arg(directory.path()).arg(env!("CARGO_BIN_EXE_reprieve"));
    let status = lab.spawn(cgroup, &mut unshare).unwrap().wait().unwrap();
    let written = |name: &str| fs::read_to_string(directory.path().join(name)).unwrap_or_default();
    assert!(status.success(), "{script}: {}", written("errors"));
    Some(json(&written("answer")))
}

#[test]
fn odd_mounts_show_the_same_cgroup() {
    let Some(lab) = open_lab("mounts") else { return };
    let cgroup = lab.cgroup("outer/own").unwrap();
    lab.limit(&cgroup, LIMIT).unwrap();
    let (hierarchy, kind) = match lab.version() {
        Version::V1 => ("/sys/fs/cgroup/memory", "-t cgroup -o memory"),
        Version::V2 => ("/sys/fs/cgroup", "-t cgroup2"),
    };
    let outer = format!("{hierarchy}{}/outer", lab.path_of(lab.directory()));
    let shapes = [
        ("a part bound over the whole", format!("mount --bind {outer} {hierarchy}")),
        ("the cgroup itself bound over the whole", format!("mount --bind {outer}/own {hierarchy}")),
        ("twice", format!("mkdir m; mount {kind} none \"$1/m\"")),
        (
            "elsewhere, with the usual place gone",
            format!("mkdir m; mount {kind} none \"$1/m\"; umount -l /sys/fs/cgroup"),
        ),
        (
            "elsewhere, with an empty directory over the usual place",
            format!("mkdir m; mount {kind} none \"$1/m\"; mount -t tmpfs none /sys/fs/cgroup; mkdir -p {outer}/own"),
        ),
        (
            "an empty /sys over the usual one",
            format!("mkdir m; mount --bind {outer} \"$1/m\"; mount -t tmpfs none /sys"),
        ),
        ("a name with spaces", format!("mkdir 'a b'; mount {kind} none \"$1/a b\"; umount -l /sys/fs/cgroup")),
        ("no /sys at all", format!("mkdir m; mount {kind} none \"$1/m\"; umount -l /sys")),
    ];
    for (what, script) in shapes {
        let Some(answer) = in_namespaces(&lab, &cgroup, false, &format!("{script}; \"$2\" free --json >answer")) else {
            return;
        };
        assert_eq!(answer["cgroup"], lab.path_of(&cgroup), "{what}");
        assert_same_limit(&answer, what);
    }
}

fn assert_same_limit(answer: &Value, what: &str) {
    assert_eq!((&answer["limit_bytes"], &answer["bound_levels_up"]), (&LIMIT.into(), &0.into()), "{what}: {answer:#}");
    assert!(answer["usage_bytes"].as_u64().unwrap() <= LIMIT, "{what}: {answer:#}");
    assert_eq!(answer["cgroup_assumed"], false, "{what}: {answer:#}");
}

/// The mounts are the host's, and the paths in mountinfo read `/../..`.
#[test]
fn from_inside_a_cgroup_namespace_the_host_s_mounts_show_the_own_cgroup_too() {
    let Some(lab) = open_lab("outside") else { return };
    let cgroup = lab.cgroup("outer/own").unwrap();
    let neighbour = lab.cgroup("outer/neighbour").unwrap();
    lab.limit(&cgroup, LIMIT).unwrap();
    lab.limit(&neighbour, LIMIT / 2).unwrap();
    let Some(answer) = in_namespaces(&lab, &cgroup, true, "\"$2\" free --json >answer") else { return };
    assert_eq!(answer["cgroup"], lab.path_of(&cgroup), "what it is called outside");
    assert_same_limit(&answer, "the host's mounts");
    // Moved out of its namespace's root.
    let script = format!("echo $$ >{}/cgroup.procs; \"$2\" free --json >answer", neighbour.display());
    let answer = in_namespaces(&lab, &cgroup, true, &script).unwrap();
    assert_eq!((&answer["cgroup"], &answer["limit_bytes"]), (&lab.path_of(&neighbour).into(), &(LIMIT / 2).into()));
}

#[test]
fn a_proc_that_hides_others_processes_hides_nothing_of_one_s_own() {
    let Some(lab) = open_lab("hidepid") else { return };
    let cgroup = lab.cgroup("own").unwrap();
    lab.limit(&cgroup, LIMIT).unwrap();
    // Root sees all the same: somebody else asks. He has to reach the program, wherever that was built.
    let script = "cp \"$2\" program; chmod 755 . program; mount -t proc -o hidepid=2 none /proc
        /usr/bin/setpriv --reuid 65534 --regid 65534 --clear-groups ./program free --json >answer";
    if !Command::new(SETPRIV).arg("--version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("NOT APPLICABLE: no {SETPRIV}");
        return;
    }
    let Some(answer) = in_namespaces(&lab, &cgroup, false, script) else { return };
    assert_same_limit(&answer, "hidepid");
}
