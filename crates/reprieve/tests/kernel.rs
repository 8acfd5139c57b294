//! The library in a real cgroup, as an unprivileged process on a read-only cgroup mount.
//! Needs root and a memory hierarchy that it may write to; works only in cgroups of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use reprieve::{Bytes, CgroupVersion, Change, Memory, Thresholds};
use reprieve_lab::{Lab, Version, wait_for};
use rustix::process::{Gid, Uid};

const PATIENCE: Duration = Duration::from_secs(30);
const LIMIT: u64 = 128 << 20;
/// Page cache of the container from the start.
const CACHE_MIB: u64 = 20;
const NOBODY: u32 = 65534;
const REPORT: &str = "REPRIEVE_TEST_REPORT";

/// The process that is watched over: this test executable, started again by the tests below. It writes what it sees
/// into a file, one line each.
#[test]
fn the_watched_process() {
    let Some(path) = std::env::var_os(REPORT) else { return };
    let mut report = File::create(path).unwrap();
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
    rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();

    let memory = Memory::here().unwrap();
    let problems: Vec<String> = memory.problems().first().iter().map(ToString::to_string).collect();
    let own = fs::read_to_string("/proc/thread-self/cgroup").unwrap();
    let best = memory.available().unwrap().until_kill.estimate.best;
    let writable = File::options().write(true).open(limit_file(&memory)).is_ok();
    writeln!(report, "limit {}", memory.limit().unwrap().get()).unwrap();
    writeln!(report, "available {}", best.get()).unwrap();
    writeln!(report, "cgroup {} in {own:?}", memory.cgroup(0).unwrap()).unwrap();
    writeln!(report, "writable {writable} problems {problems:?}").unwrap();
    writeln!(report, "meminfo {:?}", memory.meminfo()).unwrap();
    check_meminfo(&memory);
    let thresholds = Thresholds { available_below: Some(Bytes::from_mib(64)), pressure_above: Some(10.0) };
    let mut watch = memory.watch(thresholds).every(Duration::from_millis(20));
    writeln!(report, "ready").unwrap();
    loop {
        writeln!(report, "{}", tell(watch.next().unwrap())).unwrap();
    }
}

/// `/proc/meminfo` as the container should see it: its limit, its cache, and sums that are sums.
fn check_meminfo(memory: &Memory) {
    let meminfo = memory.meminfo();
    assert_eq!(meminfo.total, Some(Bytes::new(LIMIT)));
    assert!(meminfo.cached.unwrap() >= Bytes::from_mib(CACHE_MIB) && meminfo.cached.unwrap() < Bytes::new(LIMIT));
    assert!(meminfo.free <= meminfo.available && meminfo.available <= meminfo.total);
    let free_and_cached = meminfo.free.unwrap().saturating_add(meminfo.cached.unwrap());
    assert!(free_and_cached > Bytes::new(LIMIT * 3 / 4) && free_and_cached <= Bytes::new(LIMIT));
    let sum = |one: Option<Bytes>, other: Option<Bytes>| one.unwrap().saturating_add(other.unwrap());
    assert_eq!(meminfo.active.unwrap(), sum(meminfo.active_anon, meminfo.active_file));
    assert_eq!(meminfo.inactive.unwrap(), sum(meminfo.inactive_anon, meminfo.inactive_file));
    assert_ne!(meminfo.total, memory.node().total);
    assert_eq!(meminfo.commit_limit, memory.node().commit_limit, "what only the machine has is the machine's");
}

fn limit_file(memory: &Memory) -> PathBuf {
    use reprieve::{Binding, Consequence};
    memory.bound_file(Binding::Level(0), Consequence::Kill).unwrap()
}

fn tell(change: Change) -> String {
    match change {
        Change::Limit { from, to } => format!("limit changed {:?} {:?}", from.bytes(), to.bytes()),
        Change::AvailableLow { .. } => "available low".to_owned(),
        Change::AvailableRecovered { .. } => "available recovered".to_owned(),
        Change::PressureHigh { .. } => "pressure high".to_owned(),
        Change::PressureRecovered { .. } => "pressure recovered".to_owned(),
        Change::Killed { count, .. } => format!("killed {count}"),
    }
}

struct Watched {
    lab: Lab,
    cgroup: PathBuf,
    report: PathBuf,
    cache: PathBuf,
    process: Child,
}

/// Starts the watched process in a cgroup, with the cgroup mount made read-only for it.
fn start(purpose: &str) -> Option<Watched> {
    let lab = Lab::open(purpose).expect("REPRIEVE_REQUIRE_KERNEL=1, but no memory cgroup can be made")?;
    let cgroup = lab.cgroup("container").unwrap();
    lab.limit(&cgroup, LIMIT).unwrap();
    let report = std::env::temp_dir().join(format!("reprieve-{purpose}-{}", std::process::id()));
    let _ = fs::remove_file(&report);
    let mount = match lab.version() {
        Version::V1 => "/sys/fs/cgroup/memory",
        Version::V2 => "/sys/fs/cgroup",
    };
    let cache = Path::new("/var/tmp").join(report.file_name().unwrap());
    let script = "exec 2>>\"$5\"; mount -o remount,bind,ro \"$0\" && head -c \"$4\" /dev/zero >\"$3\" && exec env \"$1\" \"$2\" --exact the_watched_process --nocapture";
    let variable = format!("{REPORT}={}", report.display());
    let mut command = Command::new("unshare");
    command.args(["-m", "sh", "-c", script, mount, &variable]).arg(std::env::current_exe().unwrap()).arg(&cache);
    command.arg((CACHE_MIB << 20).to_string()).arg(&report);
    let process = lab.spawn(&cgroup, &mut command).unwrap();
    let watched = Watched { lab, cgroup, report, cache, process };
    watched.wait_for("ready");
    Some(watched)
}

impl Watched {
    fn lines(&self) -> Vec<String> {
        fs::read_to_string(&self.report).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    fn wait_for(&self, line: &str) {
        let seen = wait_for(PATIENCE, || self.lines().iter().any(|seen| seen == line).then_some(()));
        assert!(seen.is_some(), "no {line:?} in {:?}", self.lines());
    }

    fn run(&self, script: &str) {
        let mut process = self.lab.spawn(&self.cgroup, Command::new("/bin/sh").arg("-c").arg(script)).unwrap();
        process.wait().unwrap();
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.cgroup.join(file), text).unwrap();
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        for file in [&self.report, &self.cache] {
            let _ = fs::remove_file(file);
        }
    }
}

#[test]
fn the_limit_and_what_is_left_are_those_of_the_cgroup() {
    let Some(watched) = start("here") else { return };
    let lines = watched.lines();
    assert_eq!(lines[0], format!("limit {LIMIT}"));
    let best: u64 = lines[1].strip_prefix("available ").unwrap().parse().unwrap();
    assert!((LIMIT * 3 / 4..LIMIT).contains(&best), "{best} of {LIMIT}");
    let path = watched.lab.path_of(&watched.cgroup);
    assert!(
        lines[2].starts_with(&format!("cgroup {path} in ")) && lines[2].contains(&format!(":{path}\\n")),
        "{lines:?}"
    );
    assert_eq!(lines[3], "writable false problems []");
}

#[test]
fn changes_are_told_as_they_come() {
    let Some(watched) = start("changes") else { return };
    watched.lab.limit(&watched.cgroup, LIMIT * 2).unwrap();
    watched.wait_for(&format!("limit changed {:?} {:?}", Some(Bytes::new(LIMIT)), Some(Bytes::new(LIMIT * 2))));

    let shared = shared_memory(&watched.report);
    watched.run(&format!("dd if=/dev/zero of={} bs=1048576 count=208", shared.display()));
    watched.wait_for("available low");
    fs::remove_file(&shared).unwrap();
    watched.wait_for("available recovered");

    watched.run("tail /dev/zero");
    watched.wait_for("killed 1");
    // The kernel may take another one while the first still ends.
    let told =
        || -> u64 { watched.lines().iter().filter_map(|line| line.strip_prefix("killed ")?.parse::<u64>().ok()).sum() };
    let all_are_told = || (told() == watched.lab.oom_kills(&watched.cgroup).unwrap()).then_some(());
    wait_for(PATIENCE, all_are_told).unwrap_or_else(|| panic!("{} are told", told()));
}

/// Throttling makes pressure, which v1 does not tell by cgroup.
#[test]
fn pressure_is_told() {
    let Some(watched) = start("pressure") else { return };
    if watched.lab.version() == Version::V1 {
        return;
    }
    watched.write("memory.high", "16777216");
    let shared = shared_memory(&watched.report);
    let script = format!("dd if=/dev/zero of={} bs=1048576 count=64", shared.display());
    let mut process = watched.lab.spawn(&watched.cgroup, Command::new("/bin/sh").arg("-c").arg(script)).unwrap();
    watched.wait_for("pressure high");
    process.kill().unwrap();
    process.wait().unwrap();
    watched.write("memory.high", "max");
    let _ = fs::remove_file(&shared);
}

/// A file in shared memory, which can't be reclaimed.
fn shared_memory(report: &Path) -> PathBuf {
    let name = format!("{}-memory", report.file_name().unwrap().to_string_lossy());
    let tmpfs = if Path::new("/dev/shm").is_dir() { "/dev/shm" } else { "/tmp" };
    Path::new(tmpfs).join(name)
}

#[test]
fn the_version_is_that_of_the_machine() {
    let Some(lab) = Lab::open("version").expect("REPRIEVE_REQUIRE_KERNEL=1, but no memory cgroup can be made") else {
        return;
    };
    let expected = match lab.version() {
        Version::V1 => CgroupVersion::V1,
        Version::V2 => CgroupVersion::V2,
    };
    assert_eq!(Memory::here().unwrap().version(), Some(expected));
}
