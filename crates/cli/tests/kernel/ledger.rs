//! The ledger against real kills: before the agent, while it is away, in cgroups that are gone, of pods and of groups.
//!
//! Other tests and other programs of the machine kill too, so each looks for its own kills by their pids and cgroups.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use reprieve_lab::{Lab, Version, wait_for};
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
use serde_json::Value;

use crate::common::{Agent, PATIENCE, reprieve};
use crate::{CONTAINER, LIMIT, container, open_lab, shell, wait_for_kills};

/// The ledger's records of a cgroup and those inside it.
fn records(state: &Path, cgroup: &str) -> Vec<Value> {
    let is_inside = |record: &Value| record["cgroup"].as_str().is_some_and(|path| path.starts_with(cgroup));
    all_records(state).into_iter().filter(is_inside).collect()
}

fn all_records(state: &Path) -> Vec<Value> {
    let output = reprieve().args(["kills", "--json", "--state-dir"]).arg(state).output().unwrap();
    assert!(matches!(output.status.code(), Some(0 | 1)), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn wait_for_records(state: &Path, cgroup: &str, count: usize) -> Vec<Value> {
    let found = wait_for(PATIENCE, || Some(records(state, cgroup)).filter(|found| found.len() >= count));
    found.unwrap_or_else(|| panic!("not {count} kills in {cgroup}, but {:#?}", records(state, cgroup)))
}

/// Lets the kernel kill one process of a shell that survives, which then ends; returns the victim's pid.
fn kill_one(lab: &Lab, cgroup: &Path) -> u64 {
    let script = format!("echo 0 >{}/cgroup.procs; tail /dev/zero & echo $!; wait $!", cgroup.display());
    let output = shell(&script).stderr(Stdio::null()).output().unwrap();
    wait_for_kills(lab, cgroup, 1);
    String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
}

/// Whether nobody else uses this machine.
fn owns_machine() -> bool {
    let owned = std::env::var_os("REPRIEVE_OWNS_MACHINE").is_some();
    if !owned {
        eprintln!("NOT APPLICABLE: REPRIEVE_OWNS_MACHINE is not set, as it is in the virtual machines only");
    }
    owned
}

#[test]
fn kills_while_the_agent_was_away_are_told_once_and_those_from_before_are_history() {
    let Some(lab) = open_lab("away") else { return };
    let state = tempfile::tempdir().unwrap();
    let cgroup = container(&lab, LIMIT);
    let path = lab.path_of(&cgroup);
    let before = kill_one(&lab, &cgroup);
    let agent = Agent::start_in(state.path(), |_| {});
    // The kernel may have left its cgroup out of the log.
    let history = || all_records(state.path()).into_iter().find(|record| record["pid"] == before);
    assert_eq!(wait_for(PATIENCE, history).expect("what the log holds is told")["history"], true);

    let seen = kill_one(&lab, &cgroup);
    let is_told = |pid: u64| {
        let told = || records(state.path(), &path).into_iter().find(|record| record["pid"] == pid);
        wait_for(PATIENCE, told).unwrap_or_else(|| panic!("{pid} is not in {:#?}", all_records(state.path())))
    };
    assert_eq!(is_told(seen)["history"], false);
    assert!(wait_for(PATIENCE, || agent.sample("reprieve_ledger_stored").filter(|&stored| stored == 1.0)).is_some());
    drop(agent);

    let away = kill_one(&lab, &cgroup);
    let agent = Agent::start_in(state.path(), |_| {});
    let told = is_told(away);
    assert_eq!((&told["history"], &told["identity"], &told["count"]), (&false.into(), &"exact".into(), &1.into()));
    // Counters go on where they were, and leave history out.
    let counted = |visibility: &str| {
        let labels = format!(
            "cgroup=\"{path}\",container_id=\"{CONTAINER}\",pod_uid=\"11111111-2222-3333-4444-555555555555\",\
             kind=\"container_limit\",visibility=\"{visibility}\""
        );
        agent.sample(&format!("reprieve_oom_kills_total{{{labels}}}")).unwrap_or(0.0)
    };
    let total = || ["visible", "invisible", "unknown"].map(counted).iter().sum::<f64>();
    assert!(wait_for(PATIENCE, || (total() == 2.0).then_some(())).is_some(), "{} in the metrics", total());
    assert_eq!(agent.stop(), 0);
    let pids: Vec<Value> = all_records(state.path()).iter().map(|record| record["pid"].clone()).collect();
    for pid in [before, seen, away] {
        let times = pids.iter().filter(|told| **told == pid).count();
        assert_eq!(times, 1, "without the agent the store tells {pid} once: {pids:?}");
    }
}

#[test]
fn a_container_that_is_gone_at_once_keeps_its_kill() {
    let Some(lab) = open_lab("gone") else { return };
    let state = tempfile::tempdir().unwrap();
    let agent = Agent::start_in(state.path(), |command| {
        command.args(["--interval", "1h"]);
    });
    let mut killed = Vec::new();
    for _ in 0..12 {
        let cgroup = container(&lab, LIMIT);
        killed.push(kill_one(&lab, &cgroup));
        fs::remove_dir(&cgroup).unwrap();
    }
    let path = lab.path_of(&lab.cgroup("kubepods").unwrap());
    let told = wait_for_records(state.path(), &path, killed.len());
    let pids: Vec<u64> = told.iter().map(|record| record["pid"].as_u64().unwrap()).collect();
    assert_eq!(pids, killed, "each once, in order: {told:#?}");
    assert!(told.iter().all(|record| record["container_id"] == CONTAINER), "{told:#?}");
    // Counters outlive the container, and the agent.
    assert_eq!(agent.stop(), 0);
    let agent = Agent::start_in(state.path(), |_| {});
    let (_, _, metrics) = agent.get("/metrics", "");
    let series = format!("reprieve_oom_kills_total{{cgroup=\"{path}");
    let kills = metrics.lines().filter(|line| line.starts_with(&series)).map(|line| line.rsplit(' ').next().unwrap());
    assert_eq!(kills.map(|kills| kills.parse::<usize>().unwrap()).sum::<usize>(), killed.len(), "{metrics}");
}

#[test]
fn a_pod_s_limit_is_told_from_its_container_s() {
    let Some(lab) = open_lab("pod") else { return };
    let state = tempfile::tempdir().unwrap();
    let cgroup = container(&lab, 8 * LIMIT);
    lab.limit(cgroup.parent().unwrap(), LIMIT).unwrap();
    let _agent = Agent::start_in(state.path(), |_| {});
    kill_one(&lab, &cgroup);
    let told = wait_for_records(state.path(), &lab.path_of(&cgroup), 1);
    assert_eq!((&told[0]["kind"], &told[0]["count"]), (&"pod_limit".into(), &1.into()), "{told:#?}");
    assert_eq!(told[0]["limited_cgroup"], lab.path_of(cgroup.parent().unwrap()).as_str());
    assert_eq!(told.len(), 1, "the pod's and the container's counters tell of one kill");
}

#[test]
fn a_kill_for_want_of_the_machine_s_memory_is_booked_to_the_victim_s_container() {
    if !owns_machine() {
        return;
    }
    let Some(lab) = open_lab("machine") else { return };
    let state = tempfile::tempdir().unwrap();
    let _agent = Agent::start_in(state.path(), |_| {});
    // Without a limit.
    let cgroup =
        lab.cgroup(&format!("kubepods/burstable/pod11111111-2222-3333-4444-555555555555/{CONTAINER}")).unwrap();
    let victim = kill_one(&lab, &cgroup);
    let told = wait_for_records(state.path(), &lab.path_of(&cgroup), 1);
    assert_eq!((&told[0]["pid"], &told[0]["kind"]), (&victim.into(), &"node".into()), "{told:#?}");
    assert_eq!((&told[0]["container_id"], &told[0]["limited_cgroup"]), (&CONTAINER.into(), &Value::Null), "{told:#?}");
}

#[test]
fn a_wall_clock_that_jumps_changes_neither_order_nor_count() {
    const DAY: i64 = 86_400;
    if !owns_machine() {
        return;
    }
    let Some(lab) = open_lab("clock") else { return };
    let state = tempfile::tempdir().unwrap();
    let cgroup = container(&lab, LIMIT);
    let path = lab.path_of(&cgroup);
    let jump = |days: i64| {
        let now = clock_gettime(ClockId::Realtime);
        clock_settime(ClockId::Realtime, Timespec { tv_sec: now.tv_sec + days * DAY, ..now }).unwrap();
    };
    let agent = Agent::start_in(state.path(), |_| {});
    let mut killed = vec![kill_one(&lab, &cgroup)];
    wait_for_records(state.path(), &path, 1);
    jump(3);
    killed.push(kill_one(&lab, &cgroup));
    wait_for_records(state.path(), &path, 2);
    jump(-6);
    killed.push(kill_one(&lab, &cgroup));
    wait_for_records(state.path(), &path, 3);
    // As `kill -9` ends it.
    drop(agent);
    jump(4);
    killed.push(kill_one(&lab, &cgroup));
    jump(-1);
    let agent = Agent::start_in(state.path(), |_| {});
    killed.push(kill_one(&lab, &cgroup));
    let told = wait_for_records(state.path(), &path, killed.len());

    let pids: Vec<u64> = told.iter().map(|record| record["pid"].as_u64().unwrap()).collect();
    assert_eq!(pids, killed, "each once, in order: {told:#?}");
    assert!(told.iter().all(|record| record["history"] == false && record["identity"] == "exact"), "{told:#?}");
    let since_boot = |record: &Value| record["since_boot_seconds"].as_f64().unwrap();
    assert!(told.is_sorted_by(|first, next| since_boot(first) < since_boot(next)), "{told:#?}");
    let killed_at = |record: &Value| record["killed_at"].as_str().unwrap().to_owned();
    assert!(killed_at(&told[2]) < killed_at(&told[0]), "the clock was set back: {told:#?}");
    let summed = || agent.sample("reprieve_ledger_told_total").filter(|&sum| sum == killed.len() as f64);
    assert!(wait_for(PATIENCE, summed).is_some(), "{:?}", agent.sample("reprieve_ledger_told_total"));
}

#[test]
fn a_group_kill_is_counted_as_the_kernel_counts_it() {
    let Some(lab) = open_lab("whole") else { return };
    if lab.version() == Version::V1 {
        eprintln!("NOT APPLICABLE on v1: memory.oom.group");
        return;
    }
    let state = tempfile::tempdir().unwrap();
    let cgroup = container(&lab, LIMIT);
    fs::write(cgroup.join("memory.oom.group"), "1").unwrap();
    let _agent = Agent::start_in(state.path(), |_| {});
    let mut first = lab.spawn(&cgroup, &mut shell("sleep 600 & tail /dev/zero; sleep 600")).unwrap();
    first.wait().unwrap();
    let told = wait_for_records(state.path(), &lab.path_of(&cgroup), 3);
    let counted = wait_for(PATIENCE, || {
        let told = records(state.path(), &lab.path_of(&cgroup));
        let units: u64 = told.iter().map(|it| it["count"].as_u64().unwrap() + it["repeats"].as_u64().unwrap()).sum();
        (units == lab.oom_kills(&cgroup).unwrap()).then_some(told)
    });
    let told = counted.unwrap_or(told);
    assert_eq!(told.len(), 3, "{told:#?}");
    assert_eq!(told.iter().map(|record| record["repeats"].as_u64().unwrap()).sum::<u64>(), 1, "{told:#?}");
    assert!(told.iter().any(|record| record["whole_cgroup"] == lab.path_of(&cgroup).as_str()), "{told:#?}");
}

#[test]
fn the_arguments_of_a_victim_are_kept_as_last_seen_or_left_out() {
    let Some(lab) = open_lab("arguments") else { return };
    let folder = tempfile::tempdir().unwrap();
    let command_line = |name: &str, keep: &str, script: &str| {
        let go = folder.path().join(name);
        let cgroup = lab.cgroup(name).unwrap();
        lab.limit(&cgroup, LIMIT).unwrap();
        let script = format!("while [ ! -e {} ]; do sleep 0.1; done; {script}", go.display());
        let mut hog = Command::new("/bin/sh");
        hog.args(["-c", &script, "--token=secret"]);
        let mut hog = lab.spawn(&cgroup, &mut hog).unwrap();
        // Not while it is still the shell that became the program.
        let is_program = || fs::read(format!("/proc/{}/cmdline", hog.id())).unwrap().ends_with(b"--token=secret\0");
        wait_for(PATIENCE, || is_program().then_some(())).unwrap();
        let state = tempfile::tempdir().unwrap();
        let _agent = Agent::start_in(state.path(), |command| {
            command.args(["--interval", "100ms", "--command-lines", keep]);
        });
        std::thread::sleep(Duration::from_secs(1));
        fs::write(&go, "").unwrap();
        hog.wait().unwrap();
        let told = wait_for_records(state.path(), &lab.path_of(&cgroup), 1)[0]["command_line"].clone();
        told.as_str().map(|told| told.replace(&script, "SCRIPT"))
    };
    let grow = "x=a; while :; do x=$x$x; done";
    assert_eq!(command_line("full", "full", grow).as_deref(), Some("/bin/sh -c SCRIPT --token=secret"));
    assert_eq!(command_line("program", "program", grow).as_deref(), Some("/bin/sh"));
    assert_eq!(command_line("off", "off", grow), None);
    // It becomes another program, which waits to be seen: each sixteenth scan looks at it. By its path: busybox' shell runs
    // its own awk without executing anything.
    let other = r#"for awk in /usr/bin/awk /bin/awk; do
        [ -x $awk ] && exec $awk 'BEGIN { system("sleep 10"); x = "a"; while (1) x = x x }'; done"#;
    let told = command_line("other", "full", other).unwrap();
    assert!(told.contains("bin/awk BEGIN { system"), "{told}");
}
