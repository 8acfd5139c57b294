//! `reprieve free` where files are missing or make no sense: it answers what can be answered, with a line on stderr for
//! each problem, and ends with 2 and one line where nothing can be.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::fs;
use std::process::{Command, Stdio};

use reprieve_lab::{Captured, Level};
use serde_json::Value;

const MIB: u64 = 1 << 20;

/// A process in the cgroup /a, which uses 40 of 64 MiB.
fn machine() -> Captured {
    let mountinfo = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
    let captured = Captured::with_place(mountinfo, "0::/a\n").unwrap();
    fs::write(captured.cgroup(b"").unwrap().join("cgroup.controllers"), "memory\n").unwrap();
    let level = Level { limit: &(64 * MIB).to_string(), usage: 40 * MIB, cache: 10 * MIB };
    captured.level_v2("sys/fs/cgroup/a", &level).unwrap();
    captured
}

struct Answer {
    code: Option<i32>,
    json: Option<Value>,
    complaints: Vec<String>,
}

fn free(captured: &Captured) -> Answer {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reprieve"));
    command.args(["free", "--json", "--proc"]).arg(captured.proc()).arg("--sys").arg(captured.sys());
    let output = command.stdin(Stdio::null()).output().unwrap();
    let complaints: Vec<String> = String::from_utf8(output.stderr).unwrap().lines().map(str::to_owned).collect();
    for complaint in &complaints {
        assert!(complaint.starts_with("reprieve: ") && !complaint.chars().any(char::is_control), "{complaint:?}");
    }
    Answer { code: output.status.code(), json: serde_json::from_slice(&output.stdout).ok(), complaints }
}

/// Asserts that an answer is given, and how many lines of complaint.
fn check(captured: &Captured, complaints: usize, expected: &[(&str, Value)], what: &str) {
    let answer = free(captured);
    assert_eq!(answer.code, Some(0), "{what}: {:?}", answer.complaints);
    assert_eq!(answer.complaints.len(), complaints, "{what}: {:?}", answer.complaints);
    let json = answer.json.unwrap();
    for (key, value) in expected {
        assert_eq!(&json[key], value, "{what}: {key} in {json:#}");
    }
}

#[test]
fn sound_files_give_no_complaint() {
    let left = (64 - 40 + 10) * MIB;
    check(&machine(), 0, &[("limit_bytes", (64 * MIB).into()), ("available_bytes", left.into())], "sound");
}

#[test]
fn one_bad_file_is_told_and_hides_nothing_else() {
    for (name, text, unknown) in [
        ("memory.max", "lots\n", "throttle_limit_bytes"),
        ("memory.current", "-4096\n", "usage_bytes"),
        ("memory.stat", "anon many\n", "reclaimable_bytes"),
    ] {
        let captured = machine();
        fs::write(captured.sys().join("fs/cgroup/a").join(name), text).unwrap();
        // What the machine could give may be more than the limit that can't be read.
        let unknown = [(unknown, Value::Null), ("available_bytes", Value::Null), ("bound_by", Value::Null)];
        check(&captured, 1, &unknown, name);
        check(&captured, 1, &[("cgroup", "/a".into())], name);
        assert!(free(&captured).complaints[0].starts_with(&format!("reprieve: /a/{name}: expected ")));
    }
}

#[test]
fn statistics_that_lag_stay_within_the_limit() {
    let captured = machine();
    let limit = (64 * MIB).to_string();
    captured.level_v2("sys/fs/cgroup/a", &Level { limit: &limit, usage: 90 * MIB, cache: 0 }).unwrap();
    check(&captured, 0, &[("available_bytes", 0.into())], "usage above the limit");
    captured.level_v2("sys/fs/cgroup/a", &Level { limit: &limit, usage: 10 * MIB, cache: 900 * MIB }).unwrap();
    check(&captured, 0, &[("available_bytes", (64 * MIB).into())], "more to reclaim than is used");
}

#[test]
fn without_a_cgroup_to_read_the_machine_is_told_of() {
    let machine_s = [("bound_by", Value::from("node")), ("limit_bytes", (8_000_000_u64 << 10).into())];
    let captured = machine();
    fs::remove_dir_all(captured.sys()).unwrap();
    check(&captured, 2, &machine_s, "no /sys: what is missing, and what is told instead");
    let captured = machine();
    fs::remove_dir_all(captured.sys().join("fs/cgroup/a")).unwrap();
    check(&captured, 1, &[("cgroup", "/a".into()), ("usage_bytes", Value::Null)], "its directory is missing");
    let captured = machine();
    fs::remove_file(captured.proc().join("self/cgroup")).unwrap();
    check(&captured, 1, &[("cgroup_assumed", true.into())], "no /proc/self/cgroup");
    let captured = machine();
    fs::remove_file(captured.proc().join("self/mountinfo")).unwrap();
    check(&captured, 2, &machine_s, "no /proc/self/mountinfo");
}

#[test]
fn without_meminfo_the_cgroup_is_told_of_and_without_both_there_is_nothing() {
    let captured = machine();
    fs::remove_file(captured.proc().join("meminfo")).unwrap();
    check(&captured, 1, &[("limit_bytes", (64 * MIB).into()), ("bound_by", "cgroup".into())], "no meminfo");
    fs::remove_dir_all(captured.sys()).unwrap();
    let answer = free(&captured);
    assert_eq!((answer.code, answer.json), (Some(2), None));
    assert_eq!(answer.complaints.len(), 1, "{:?}", answer.complaints);
}
