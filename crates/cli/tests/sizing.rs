//! `reprieve exec` and `reprieve env` with real programs: what they see, what they become, and how they end.
//!
//! Programs that a machine may lack are needed for some tests. Each says on stderr that it skips, past the capture of
//! the test harness; with `REPRIEVE_REQUIRE_RUNTIMES=1` what is missing is a failure.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use reprieve_lab::{Captured, Lab};
use serde_json::Value;

/// A captured container with a limit of 64 MiB.
const CONTAINER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/v2-6.12");
/// Every variable that could be set for this test's own process, and would then be left alone.
const SETTABLE: [&str; 10] = [
    "ERL_AFLAGS",
    "GLIBC_TUNABLES",
    "GOMEMLIMIT",
    "JAVA_TOOL_OPTIONS",
    "LD_PRELOAD",
    "MALLOC_ARENA_MAX",
    "MALLOC_CONF",
    "NODE_OPTIONS",
    "TCMALLOC_RELEASE_RATE",
    "WEB_CONCURRENCY",
];

fn reprieve(command: &str) -> Command {
    let mut reprieve = Command::new(env!("CARGO_BIN_EXE_reprieve"));
    SETTABLE.iter().for_each(|name| {
        reprieve.env_remove(name);
    });
    reprieve.arg(command);
    reprieve
}

fn in_container(command: &str) -> Command {
    let mut reprieve = reprieve(command);
    reprieve.args(["--proc", &format!("{CONTAINER}/proc"), "--sys", &format!("{CONTAINER}/sys")]);
    reprieve
}

fn stdout(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert!(status.success(), "{status}: {}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

/// The exit code and stderr of a command that is expected to fail.
fn failure(command: &mut Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    assert_eq!(output.stdout, b"");
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn script(directory: &Path, name: &str, text: &[u8], mode: u32) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    path
}

/// The first of these programs that runs. `None`, said aloud, where the test must be skipped.
fn find_program(test: &str, candidates: &[&str]) -> Option<String> {
    let runs = |name: &&&str| {
        let version = if name.ends_with("java") { "-version" } else { "--version" };
        let ran = Command::new(name).arg(version).stdout(Stdio::null()).stderr(Stdio::null()).status();
        ran.is_ok_and(|status| status.success())
    };
    let found = candidates.iter().find(runs).map(|name| (*name).to_owned());
    if found.is_none() {
        let required = std::env::var_os("REPRIEVE_REQUIRE_RUNTIMES").is_some_and(|value| value == "1");
        assert!(!required, "{test} needs one of {candidates:?}");
        let mut stderr = std::io::stderr();
        writeln!(stderr, "SKIPPED {test}: needs one of {candidates:?}").unwrap();
    }
    found
}

#[test]
fn a_shell_sees_what_was_set_and_what_the_user_had_set() {
    let script = "echo \"$MALLOC_ARENA_MAX|$NODE_OPTIONS|$GOMEMLIMIT|$HOME\"";
    let mut exec = in_container("exec");
    exec.args(["--", "sh", "-c", script]).env("GOMEMLIMIT", "off").env("NODE_OPTIONS", "--no-warnings");
    exec.env("HOME", "/home/x");
    assert_eq!(stdout(&mut exec), "2|--no-warnings --max-old-space-size=48|off|/home/x\n");
}

#[test]
fn the_command_is_the_process_that_was_started() {
    let child = in_container("exec").args(["--", "sh", "-c", "echo $$"]).stdout(Stdio::piped()).spawn().unwrap();
    let pid = child.id();
    assert_eq!(String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap(), format!("{pid}\n"));
}

#[test]
fn exit_codes_and_signals_are_the_command_s() {
    let status = |script: &str| in_container("exec").args(["sh", "-c", script]).status().unwrap();
    assert_eq!(status("exit 7").code(), Some(7));
    assert_eq!(status("kill -TERM $$").signal(), Some(15));
    assert_eq!(status("kill -PIPE $$").signal(), Some(13), "SIGPIPE must not stay ignored");
}

#[test]
fn arguments_arrive_byte_for_byte() {
    let raw = OsStr::from_bytes(b"\xff '\" $x\n--");
    let mut exec = in_container("exec");
    exec.args(["printf", "%s|"]).arg(raw).args(["-v", "--limit", ""]);
    assert_eq!(exec.output().unwrap().stdout, b"\xff '\" $x\n--|-v|--limit||");
}

#[test]
fn what_can_t_be_run_ends_as_in_a_shell() {
    let directory = tempfile::tempdir().unwrap();
    let lacks_interpreter = script(directory.path(), "script", b"#!/no/such/interpreter\n", 0o755);
    let not_executable = script(directory.path(), "text", b"echo no\n", 0o644);
    let broken = script(directory.path(), "broken", b"\x7fELF\x02\x01\x01\0", 0o755);
    let check = |program: &Path, code: i32, reason: &str| {
        let (found, stderr) = failure(in_container("exec").arg("--").arg(program));
        assert_eq!(found, Some(code), "{stderr}");
        assert_eq!(stderr, format!("reprieve: can't run {}: {reason}\n", program.display()));
    };
    check(Path::new("no-such-program"), 127, "no directory of PATH has such a program");
    check(Path::new("/no/such/program"), 127, "No such file or directory (os error 2)");
    check(&lacks_interpreter, 127, "its interpreter /no/such/interpreter does not exist");
    check(&not_executable, 126, "Permission denied (os error 13)");
    check(&broken, 126, "Exec format error (os error 8)");
    check(directory.path(), 126, "Permission denied (os error 13)");
    let (code, stderr) = failure(in_container("exec").args(["--", "a\x1b[2J\nb"]));
    assert_eq!(code, Some(127));
    assert_eq!(stderr, "reprieve: can't run a\\x1b[2J\\nb: no directory of PATH has such a program\n");
}

#[test]
fn a_text_without_an_interpreter_is_run_by_the_shell() {
    let directory = tempfile::tempdir().unwrap();
    let text = script(directory.path(), "text", b"echo \"$1 $MALLOC_ARENA_MAX\"\n", 0o755);
    assert_eq!(stdout(in_container("exec").arg(&text).arg("argument")), "argument 2\n");
}

#[test]
fn a_script_is_sized_by_its_interpreter() {
    let directory = tempfile::tempdir().unwrap();
    // A stand-in for Node.js, which shows what it gets.
    script(directory.path(), "node", b"#!/bin/sh\necho \"$NODE_OPTIONS|$GOMEMLIMIT\"\n", 0o755);
    let tool = script(directory.path(), "tool", b"#!/usr/bin/env -S node --no-warnings\n", 0o755);
    let path = format!("{}:/usr/bin:/bin", directory.path().display());
    assert_eq!(stdout(in_container("exec").arg(&tool).env("PATH", path)), "--max-old-space-size=48|\n");
}

#[test]
fn without_a_limit_that_binds_nothing_is_set() {
    let machine = Captured::new().unwrap();
    let on_machine = |command: &str| {
        let mut reprieve = reprieve(command);
        reprieve.arg("--proc").arg(machine.proc()).arg("--sys").arg(machine.sys());
        reprieve
    };
    let mut exec = on_machine("exec");
    let output = exec.args(["-v", "sh", "-c", "echo \"$MALLOC_ARENA_MAX|\""]).output().unwrap();
    assert_eq!(output.stdout, b"|\n");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains("no limit but the machine's memory"), "{stderr}");
    assert_eq!(stdout(on_machine("env").args(["--format", "json"])), "{}\n");
    // A limit that the machine can't reach is none.
    fs::write(machine.cgroup(b"").unwrap().join("memory.max"), "9000000000000\n").unwrap();
    assert_eq!(stdout(&mut on_machine("env")), "");
    fs::write(machine.cgroup(b"").unwrap().join("memory.max"), "67108864\n").unwrap();
    assert_eq!(stdout(on_machine("env").args(["--runtime", "go"])), "export GOMEMLIMIT='60397977'\n");
}

#[test]
fn a_limit_that_can_t_be_read_keeps_no_command_from_running() {
    let nowhere = ["--proc", "/nowhere", "--sys", "/nowhere"];
    let output = reprieve("exec").args(nowhere).args(["sh", "-c", "echo \"$MALLOC_ARENA_MAX|\""]).output().unwrap();
    assert_eq!((output.status.code(), &output.stdout[..]), (Some(0), &b"|\n"[..]));
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.starts_with("reprieve: the command is run without sizing: ") && stderr.lines().count() == 1,
        "{stderr}"
    );
    let (code, stderr) = failure(reprieve("env").args(nowhere));
    assert_eq!((code, stderr.lines().count()), (Some(2), 1), "{stderr}");
}

#[test]
fn wrong_arguments_run_nothing() {
    for wrong in
        [&["--runtime", "cobol", "echo"][..], &["--limit", "0", "echo"], &["--runtime", "none,go", "echo"], &[]]
    {
        let (code, stderr) = failure(in_container("exec").args(wrong));
        assert_eq!((code, stderr.lines().count()), (Some(2), 1), "{wrong:?}: {stderr}");
    }
}

#[test]
fn env_and_exec_set_the_same() {
    let hostile = OsStr::from_bytes(b"--title='a\nb' \xff");
    let printed = |command: &mut Command| command.env("NODE_OPTIONS", hostile).output().unwrap().stdout;
    let shell = printed(in_container("env").args(["--", "sh"]));
    let evaluated =
        Command::new("sh").arg("-c").arg("eval \"$0\"; exec env").arg(OsStr::from_bytes(&shell)).output().unwrap();
    let executed = printed(in_container("exec").args(["--", "sh", "-c", "exec env"]));
    let of_ours = |output: &[u8]| {
        let mut lines: Vec<Vec<u8>> = output.split(|&byte| byte == b'\n').map(<[u8]>::to_vec).collect();
        lines.retain(|line| SETTABLE.iter().any(|name| line.starts_with(name.as_bytes())) || line.starts_with(b"b' "));
        lines.sort();
        lines
    };
    assert_eq!(of_ours(&evaluated.stdout), of_ours(&executed));
    assert_eq!(of_ours(&executed).len(), 8, "seven variables, one of them with two lines");
}

#[test]
fn json_is_read_by_programs() {
    let json: Value =
        serde_json::from_str(&stdout(in_container("env").args(["--format", "json", "--", "node"]))).unwrap();
    assert_eq!(json["NODE_OPTIONS"], "--max-old-space-size=48");
}

#[test]
fn what_was_set_and_left_is_said_without_secrets() {
    let mut exec = in_container("exec");
    exec.args(["--verbose", "--runtime", "jvm,node", "true"]);
    exec.env("JAVA_TOOL_OPTIONS", "-Dpassword=secret").env("NODE_OPTIONS", "--token=secret --max-old-space-size=9");
    let stderr = String::from_utf8(exec.output().unwrap().stderr).unwrap();
    assert_eq!(
        stderr,
        "reprieve: the memory limit is 64.0 MiB\n\
         reprieve: jvm: JAVA_TOOL_OPTIONS gets -XX:MaxRAMPercentage=50.0: heap of 50 % of 64.0 MiB\n\
         reprieve: node: left alone: NODE_OPTIONS has --max-old-space-size=9\n"
    );
}

#[test]
fn node_heeds_its_setting() {
    let Some(node) = find_program("node_heeds_its_setting", &["node"]) else { return };
    let limit = |arguments: &[&str]| -> u64 {
        let mut exec = in_container("exec");
        exec.args(["--limit", "1Gi", &node]).args(arguments);
        stdout(exec.args(["-p", "v8.getHeapStatistics().heap_size_limit >> 20"])).trim().parse().unwrap()
    };
    // The young generation comes on top.
    assert!((768..=768 + 64).contains(&limit(&[])), "{}", limit(&[]));
    assert!((300..=300 + 64).contains(&limit(&["--max-old-space-size=300"])));
}

/// The point of it all: the same program in the same cgroup, once killed by the kernel and once told by its runtime.
#[test]
fn a_node_that_leaks_is_not_killed_by_the_kernel() {
    const LEAK: &str = "const all = []; for (;;) all.push({ a: [all.length, all.length] });";
    let Some(node) = find_program("a_node_that_leaks_is_not_killed_by_the_kernel", &["node"]) else { return };
    let lab = Lab::open("sizing").expect("REPRIEVE_REQUIRE_KERNEL=1, but no memory cgroup can be made");
    let Some(lab) = lab else { return };
    let end = |name: &str, arguments: &[&str]| {
        let cgroup = lab.cgroup(name).unwrap();
        lab.limit(&cgroup, 128 << 20).unwrap();
        let mut command = Command::new("env");
        command.args(["-u", "NODE_OPTIONS"]).args(arguments).args([&node, "-e", LEAK]);
        let status = lab.spawn(&cgroup, &mut command).unwrap().wait().unwrap();
        (status.signal(), lab.oom_kills(&cgroup).unwrap())
    };
    assert_eq!(end("bare", &[]), (Some(9), 1));
    let (signal, kills) = end("sized", &[env!("CARGO_BIN_EXE_reprieve"), "exec", "--"]);
    assert_eq!((signal, kills), (Some(6), 0), "Node.js aborts when its heap is full");
}

#[test]
fn java_heeds_its_setting() {
    let Some(java) = find_program("java_heeds_its_setting", &["java"]) else { return };
    let percentage = |arguments: &[&str]| -> String {
        let mut exec = in_container("exec");
        exec.args(["--limit", "1Gi", &java]).args(arguments).args(["-XX:+PrintFlagsFinal", "-version"]);
        let flags = stdout(&mut exec);
        let line = flags.lines().find(|line| line.contains(" MaxRAMPercentage ")).unwrap();
        line.split_whitespace().nth(3).unwrap().to_owned()
    };
    assert_eq!(percentage(&[]), "75.000000");
    assert_eq!(percentage(&["-XX:MaxRAMPercentage=40"]), "40.000000");
}

#[test]
fn python_gets_two_arenas() {
    let Some(python) = find_program("python_gets_two_arenas", &["python3"]) else { return };
    let program = "import os; print(os.environ.get('MALLOC_ARENA_MAX'), os.environ.get('NODE_OPTIONS'))";
    let seen = stdout(in_container("exec").args([&python, "-c", program]));
    let dynamic =
        Command::new("ldd").arg("/bin/sh").output().is_ok_and(|ldd| ldd.stdout.windows(9).any(|w| w == b"libc.so.6"));
    assert_eq!(seen, if dynamic { "2 None\n" } else { "None None\n" });
}

#[test]
fn postgres_heeds_its_arguments() {
    let mut candidates: Vec<String> = vec!["postgres".into()];
    let installed = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    candidates.extend(installed.map(|version| version.path().join("bin/postgres").display().to_string()));
    let candidates: Vec<&str> = candidates.iter().map(String::as_str).collect();
    let Some(postgres) = find_program("postgres_heeds_its_arguments", &candidates) else { return };
    let data = tempfile::tempdir().unwrap();
    fs::set_permissions(data.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let buffers = |configuration: &str| {
        fs::write(data.path().join("postgresql.conf"), configuration).unwrap();
        let mut exec = in_container("exec");
        exec.args(["--limit", "1Gi", "--"]).current_dir("/");
        // The server refuses to be root.
        if rustix::process::geteuid().is_root() {
            exec.args(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]);
        }
        stdout(exec.arg(&postgres).arg("-D").arg(data.path()).args(["-C", "shared_buffers"]))
    };
    // In blocks of 8 KiB: a quarter of 1 GiB, and what the user chose.
    assert_eq!(buffers("shared_buffers = 128MB\n"), "32768\n");
    assert_eq!(buffers("shared_buffers = 64MB\n"), "8192\n");
}
