//! The agent and `free` against real kills, on whichever memory controller this machine has.
//! Needs root and a memory hierarchy that it may write to; works only in cgroups of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

mod common;
#[path = "kernel/containers.rs"]
mod containers;
#[path = "kernel/explain.rs"]
mod explain;
#[path = "kernel/ledger.rs"]
mod ledger;
#[path = "kernel/sizing.rs"]
mod sizing;

use std::cell::RefCell;
use std::fs;
use std::io::{BufRead, BufReader};
use std::ops::Deref;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::{Agent, PATIENCE, reprieve};
use containers::UNSHARE;
use reprieve_lab::{Lab, Version, wait_for};
use serde_json::Value;

const LIMIT: u64 = 16 << 20;
const CONTAINER: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// One test kills at a time: the kernel reports at most 10 kills in 5 seconds in full, whoever's they are.
static ALONE: Mutex<()> = Mutex::new(());

struct AloneInLab {
    lab: Lab,
    _alone: MutexGuard<'static, ()>,
}

impl Deref for AloneInLab {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

fn open_lab(purpose: &str) -> Option<AloneInLab> {
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let lab = Lab::open(purpose).expect("REPRIEVE_REQUIRE_KERNEL=1, but no memory cgroup can be made")?;
    Some(AloneInLab { lab, _alone: alone })
}

fn shell(script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]);
    command
}

/// A cgroup named as the kubelet and containerd name one, with a limit.
fn container(lab: &Lab, limit: u64) -> std::path::PathBuf {
    let name = format!("kubepods/burstable/pod11111111-2222-3333-4444-555555555555/{CONTAINER}");
    let cgroup = lab.cgroup(&name).unwrap();
    lab.limit(&cgroup, limit).unwrap();
    cgroup
}

/// The next kill that is told in `cgroup`.
fn wait_for_kill(agent: &Agent, cgroup: &str) -> Value {
    let others = RefCell::new(Vec::new());
    let found = agent.wait_for_line(|line| {
        let is_wanted = line["event"] == "oom_kill" && line["cgroup"] == cgroup;
        if !is_wanted {
            others.borrow_mut().push(line.clone());
        }
        is_wanted
    });
    found.unwrap_or_else(|| panic!("no kill told in {cgroup}, but {:#?}", others.borrow()))
}

/// Lines that come within a while.
fn lines_within(agent: &Agent, time: Duration) -> Vec<String> {
    let end = Instant::now() + time;
    let left = || end.saturating_duration_since(Instant::now());
    std::iter::from_fn(|| agent.lines.recv_timeout(left()).ok()).collect()
}

fn wait_for_kills(lab: &Lab, cgroup: &Path, count: u64) {
    wait_for(PATIENCE, || (lab.oom_kills(cgroup).unwrap() >= count).then_some(())).expect("the kernel kills");
}

#[test]
fn a_kill_that_kubernetes_does_not_see_is_told_at_once() {
    let Some(lab) = open_lab("invisible") else { return };
    let agent = Agent::start(|command| {
        command.args(["--interval", "100ms"]);
    });
    let cgroup = container(&lab, LIMIT);
    let path = lab.path_of(&cgroup);
    // Time for a scan to meet the first process: its child is waited for, and so gone, as soon as it is dead.
    let mut first = lab.spawn(&cgroup, &mut shell("sleep 2; tail /dev/zero; sleep 600")).unwrap();
    let kill = wait_for_kill(&agent, &path);

    assert_eq!(kill["name"], "tail");
    assert!(kill["pid"].as_u64().unwrap() > u64::from(first.id()));
    assert_eq!(kill["container_id"], CONTAINER);
    assert_eq!(kill["pod_uid"], "11111111-2222-3333-4444-555555555555");
    assert_eq!(kill["qos_class"], "Burstable");
    assert_eq!(kill["limit_bytes"], LIMIT);
    assert!(kill["usage_bytes"].as_u64().unwrap() > LIMIT / 2);
    assert!(kill["anon_rss_bytes"].as_u64().unwrap() > LIMIT / 2);
    assert_eq!(kill["limited_cgroup"], path.as_str());
    assert_eq!(kill["scope"], "memory_cgroup");
    assert_eq!((&kill["first_process"], &kill["visibility"]), (&"survived".into(), &"invisible".into()));
    assert!(first.try_wait().unwrap().is_none(), "it did survive");

    // It is told once, and counted as the kernel counts it.
    wait_for_kills(&lab, &cgroup, 1);
    let labels =
        format!("{{cgroup=\"{path}\",container_id=\"{CONTAINER}\",pod_uid=\"11111111-2222-3333-4444-555555555555\"}}");
    let series = format!("reprieve_cgroup_oom_kills_total{labels}");
    assert_eq!(wait_for(PATIENCE, || agent.sample(&series).filter(|&kills| kills > 0.0)), Some(1.0));
    // Other tests kill on the same node. The kernel counts before it prints, so the snapshot of a scan in between has the
    // one and not the other.
    let reported = || agent.sample("reprieve_reported_kills_total{visibility=\"invisible\"}");
    assert!(wait_for(PATIENCE, || reported().filter(|&kills| kills >= 1.0)).is_some());
    assert!(agent.sample("reprieve_node_oom_kills_total").unwrap() >= 1.0);
    assert_eq!(agent.sample(&format!("reprieve_cgroup_memory_limit_bytes{labels}")), Some(LIMIT as f64));
    let again = lines_within(&agent, Duration::from_secs(3));
    assert!(!again.iter().any(|line| line.contains(&path)), "{again:?}");
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(agent.stop(), 0);
}

#[test]
fn a_kill_of_the_first_process_is_told_as_visible() {
    let Some(lab) = open_lab("visible") else { return };
    let agent = Agent::start(|_| {});
    let cgroup = container(&lab, LIMIT);
    let mut victim = lab.spawn(&cgroup, Command::new("tail").arg("/dev/zero")).unwrap();
    let kill = wait_for_kill(&agent, &lab.path_of(&cgroup));
    assert_eq!(kill["pid"], victim.id());
    assert_eq!((&kill["first_process"], &kill["visibility"]), (&"killed".into(), &"visible".into()));
    victim.wait().unwrap();
}

#[test]
fn the_oldest_process_is_the_first_even_where_no_scan_has_seen_it() {
    let Some(lab) = open_lab("unscanned") else { return };
    // The first scan is the only one: the cgroup and its processes come later.
    let agent = Agent::start(|command| {
        command.args(["--interval", "1h"]);
    });
    let cgroup = container(&lab, LIMIT);
    // `sleep` never waits for the child that it inherits, so the victim's start can still be read.
    let mut first = lab.spawn(&cgroup, &mut shell("tail /dev/zero & exec sleep 600")).unwrap();
    let kill = wait_for_kill(&agent, &lab.path_of(&cgroup));
    assert_eq!((&kill["name"], &kill["first_process"]), (&"tail".into(), &"survived".into()));
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn pid_1_of_a_container_is_known_even_where_no_scan_has_seen_it_and_the_victim_is_gone() {
    let Some(lab) = open_lab("namespace") else { return };
    if !Command::new("unshare").args(["-p", "-f", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("NOT APPLICABLE: no unshare(1) that makes pid namespaces");
        return;
    }
    let agent = Agent::start(|command| {
        command.args(["--interval", "1h"]);
    });
    let cgroup = container(&lab, LIMIT);
    // As a container runtime does: what makes the namespace stays outside of the cgroup. PID 1 waits for its child, so
    // the victim is gone at once.
    let script = format!("echo 0 >{}/cgroup.procs; tail /dev/zero; sleep 600", cgroup.display());
    let mut runtime = Command::new("unshare").args(["-p", "-f", "sh", "-c", &script]).spawn().unwrap();
    let kill = wait_for_kill(&agent, &lab.path_of(&cgroup));
    assert_eq!((&kill["name"], &kill["visibility"]), (&"tail".into(), &"invisible".into()));
    // The kernel shows 0 for a process that is being reaped.
    let procs = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap();
    for pid in procs.lines().filter_map(|pid| rustix::process::Pid::from_raw(pid.parse().unwrap())) {
        // The others go with the first of them.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    runtime.wait().unwrap();
}

#[test]
fn a_hog_in_a_nested_cgroup_is_booked_to_its_container() {
    let Some(lab) = open_lab("nested") else { return };
    let agent = Agent::start(|_| {});
    let outer = container(&lab, LIMIT);
    // v2 has no processes beside cgroups, so the first process sits in a leaf of its own, as with a nested systemd.
    let path = lab.path_of(&outer);
    let name =
        |inner: &str| format!("{}/{inner}", path.trim_start_matches(&lab.path_of(lab.directory())).trim_matches('/'));
    let init = lab.cgroup(&name("init.scope")).unwrap();
    let worker = lab.cgroup(&name("worker")).unwrap();
    let mut first = lab.spawn(&init, Command::new("sleep").arg("600")).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let mut hog = lab.spawn(&worker, Command::new("tail").arg("/dev/zero")).unwrap();
    let kill = wait_for_kill(&agent, &lab.path_of(&worker));
    assert_eq!(kill["container_id"], CONTAINER);
    assert_eq!(kill["limited_cgroup"], path.as_str(), "the limit is the container's");
    assert_eq!(kill["limit_bytes"], LIMIT);
    assert_eq!(kill["first_process"], "survived", "it is in another cgroup of the container");
    first.kill().unwrap();
    first.wait().unwrap();
    hog.wait().unwrap();
}

#[test]
fn a_group_kill_names_each_victim_once_and_takes_the_first_process() {
    let Some(lab) = open_lab("group") else { return };
    if lab.version() == Version::V1 {
        eprintln!("NOT APPLICABLE on v1: memory.oom.group");
        return;
    }
    let agent = Agent::start(|_| {});
    let cgroup = container(&lab, LIMIT);
    fs::write(cgroup.join("memory.oom.group"), "1").unwrap();
    let mut first = lab.spawn(&cgroup, &mut shell("sleep 600 & sleep 600 & tail /dev/zero; sleep 600")).unwrap();
    let path = lab.path_of(&cgroup);
    let kills: Vec<Value> = (0..4).map(|_| wait_for_kill(&agent, &path)).collect();
    let mut names: Vec<&str> = kills.iter().map(|kill| kill["name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["sh", "sleep", "sleep", "tail"]);
    assert!(kills.iter().all(|kill| kill["first_process"] == "killed"), "{kills:#?}");
    first.wait().unwrap();
    let again = lines_within(&agent, Duration::from_secs(3));
    assert!(!again.iter().any(|line| line.contains(&path)), "{again:?}");
}

#[test]
fn without_the_right_to_read_the_log_kills_are_still_counted() {
    let Some(lab) = open_lab("unprivileged") else { return };
    let cgroup = container(&lab, LIMIT);
    let path = lab.path_of(&cgroup);
    if fs::read_to_string("/proc/sys/kernel/dmesg_restrict").unwrap().trim() != "1" {
        eprintln!("NOT APPLICABLE: kernel.dmesg_restrict is off, so everybody may read the log");
        return;
    }
    let mut command = reprieve();
    command.args(["agent", "--listen", "127.0.0.1:0", "--interval", "100ms"]).uid(65534).gid(65534);
    let mut agent = Running(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(agent.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let refused = lines.find(|line| line.contains("can't read /dev/kmsg")).expect("it says what it can't see");
    assert!(refused.contains("CAP_SYSLOG"), "and what would change that: {refused}");
    lines.find(|line| line.contains("is up")).unwrap();
    let _first = Running(lab.spawn(&cgroup, &mut shell("sleep 2; tail /dev/zero; sleep 600")).unwrap());
    let kill = lines.find(|line| line.contains("OOM kill") && line.contains(&path)).expect("it still counts");
    // A scan may have seen how large the victim was; then it is the likely one.
    assert!(kill.contains("1 process, not named by the kernel,") || kill.contains("probably tail (pid "), "{kill}");
    assert!(kill.contains("the first process survived"), "that takes no log: {kill}");
}

#[test]
fn whoever_was_large_and_has_vanished_is_the_likely_victim() {
    /// A victim must be gone within the second for which the ledger waits, which a busy machine may not manage.
    const ATTEMPTS: usize = 5;
    if std::env::var_os("REPRIEVE_OWNS_MACHINE").is_some() {
        eprintln!("NOT APPLICABLE in an emulated machine: a victim takes longer to die than the ledger waits");
        return;
    }
    let Some(lab) = open_lab("vanished") else { return };
    let cgroup = container(&lab, LIMIT);
    let path = lab.path_of(&cgroup);
    let mut command = reprieve();
    // As nobody, it can read neither the kernel's log nor its tracepoints.
    command.args(["agent", "--listen", "127.0.0.1:0", "--interval", "100ms"]).uid(65534).gid(65534);
    let mut agent = Running(command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(agent.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    if !lines.find(|line| line.contains("is up") || line.contains("can't read")).unwrap().contains("can't read") {
        eprintln!("NOT APPLICABLE: everybody may read the kernel's log");
        return;
    }
    lines.find(|line| line.contains("is up")).unwrap();
    // A worker fills its buffer with most of the limit, so that each scan looks at it, and then takes the rest.
    let script = "(head -c 12800000 /dev/zero; sleep 3; exec cat /dev/zero) | \
                  dd bs=20M iflag=fullblock of=/dev/null; sleep 600";
    let mut attempt = || {
        let _first = Running(lab.spawn(&cgroup, &mut shell(script)).unwrap());
        lines.find(|line| line.contains("OOM kill") && line.contains(&path)).expect("it is counted")
    };
    let is_likely = |kill: &String| kill.contains("OOM kill: probably dd (pid ");
    let likely = std::iter::repeat_with(&mut attempt).take(ATTEMPTS).find(is_likely).expect("it is named once");
    assert!(likely.contains("the first process survived"), "{likely}");
}

#[test]
fn kills_that_the_kernel_does_not_report_in_full_are_told_in_their_cgroup_at_once() {
    const KILLS: usize = 15;
    let Some(lab) = open_lab("storm") else { return };
    let cgroup = container(&lab, LIMIT);
    let path = lab.path_of(&cgroup);
    lab.limit(cgroup.parent().unwrap(), 8 * LIMIT).unwrap();
    let agent = Agent::start(|command| {
        command.args(["--interval", "1h"]);
    });
    let _first = Running(lab.spawn(&cgroup, Command::new("sleep").arg("600")).unwrap());
    for _ in 0..KILLS {
        // Each is waited for, so that its entry in /proc is gone when the agent looks: from outside, since the kernel may
        // take whoever asks for memory there while the victim still ends.
        lab.spawn(&cgroup, Command::new("tail").arg("/dev/zero").stderr(Stdio::null())).unwrap().wait().unwrap();
    }
    let kills: Vec<Value> = (0..KILLS).map(|_| wait_for_kill(&agent, &path)).collect();
    assert!(kills.iter().all(|kill| kill["name"] == "tail" && kill["cgroup_certain"] == true), "{kills:#?}");
    assert!(
        kills.iter().all(|kill| kill["limited_cgroup"] == path.as_str()),
        "not the pod's, which is far: {kills:#?}"
    );
    let unreported = kills.iter().filter(|kill| kill["usage_after_bytes"].is_u64()).count();
    if unreported == 0 {
        // An emulated machine that others keep busy kills fewer than 10 in 5 seconds.
        eprintln!("NOT SHOWN: the machine is too slow to reach the kernel's rate limit");
    }
    assert_eq!(lab.oom_kills(&cgroup).unwrap(), KILLS as u64);
    // Leaves the next test a full report.
    std::thread::sleep(Duration::from_secs(6));
}

/// A program that ends with the test, however that ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn free_tells_of_the_cgroup_that_it_is_called_in() {
    let Some(lab) = open_lab("free") else { return };
    let cgroup = lab.cgroup("outer/inner").unwrap();
    lab.limit(cgroup.parent().unwrap(), 64 << 20).unwrap();
    lab.limit(&cgroup, 256 << 20).unwrap();
    let output = std::env::temp_dir().join(format!("reprieve-free-{}.json", std::process::id()));
    let script = format!("{} free --json >{}", env!("CARGO_BIN_EXE_reprieve"), output.display());
    assert!(lab.spawn(&cgroup, &mut shell(&script)).unwrap().wait().unwrap().success());
    let answer: Value = serde_json::from_str(&fs::read_to_string(&output).unwrap()).unwrap();
    fs::remove_file(&output).unwrap();
    assert_eq!(answer["cgroup"], lab.path_of(&cgroup).as_str());
    assert_eq!(answer["limit_bytes"], 64 << 20, "the tighter limit is the outer one");
    assert_eq!((&answer["bound_by"], &answer["bound_levels_up"]), (&"cgroup".into(), &1.into()));
    let (usage, available) = (answer["usage_bytes"].as_u64().unwrap(), answer["available_bytes"].as_u64().unwrap());
    assert!(usage > 0 && usage < 64 << 20);
    assert!(available > 0 && available <= 64 << 20);
}

/// As in a DaemonSet: a cgroup namespace of its own, its own cgroup mounted at the usual place, and the host's `/proc`
/// and `/sys` mounted elsewhere.
#[test]
fn a_container_reads_its_own_cgroup_or_the_host_s() {
    let Some(lab) = open_lab("daemonset") else { return };
    if !Command::new(UNSHARE).args(["-m", "-C", "true"]).status().is_ok_and(|status| status.success()) {
        eprintln!("NOT APPLICABLE: no {UNSHARE} that makes cgroup namespaces");
        return;
    }
    let cgroup = container(&lab, 64 << 20);
    let directory = tempfile::tempdir().unwrap();
    let script = format!(
        "set -e; cd {}; mount --make-rprivate /; mkdir proc sys; mount --rbind /proc proc; mount --rbind /sys sys; \
         mount -t tmpfs none /sys/fs/cgroup; {}; \
         {reprieve} free --json >own; {reprieve} free --json --proc $PWD/proc --sys $PWD/sys >host",
        directory.path().display(),
        match lab.version() {
            Version::V1 => "mkdir /sys/fs/cgroup/memory; mount -t cgroup -o memory none /sys/fs/cgroup/memory",
            Version::V2 => "mount -t cgroup2 none /sys/fs/cgroup",
        },
        reprieve = env!("CARGO_BIN_EXE_reprieve"),
    );
    let mut unshare = Command::new(UNSHARE);
    let status = lab.spawn(&cgroup, unshare.args(["-m", "-C", "sh", "-c", &script])).unwrap().wait().unwrap();
    assert!(status.success());
    let answer = |name: &str| -> Value {
        serde_json::from_str(&fs::read_to_string(directory.path().join(name)).unwrap()).unwrap()
    };
    let (own, host) = (answer("own"), answer("host"));
    assert_eq!((&own["limit_bytes"], &own["cgroup_assumed"]), (&Value::from(64 << 20), &Value::from(false)));
    // There it is found by its processes, and called what the host calls it.
    assert_eq!((&host["limit_bytes"], &host["cgroup_assumed"]), (&Value::from(64 << 20), &Value::from(false)));
    assert_eq!((&own["cgroup"], &host["cgroup"]), (&"/".into(), &lab.path_of(&cgroup).into()));
}
