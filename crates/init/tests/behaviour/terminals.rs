//! Terminals: their keys, job control, and their readers.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::common::{INIT, command, end_of, kill, program_of, stderr, stdout, wait_for_state};

/// For a minute at most, until there is something in a file.
fn until_written(variable: &str) -> String {
    format!("i=0; until [ -s \"${variable}\" ] || [ $i -gt 600 ]; do sleep 0.1; i=$((i+1)); done")
}

/// Says that keys may be typed.
const READY: &str = r#"echo >"$READY""#;

/// Runs a script of commands under `script`(1), which makes a terminal, with these keys typed when it says that it is ready.
fn on_a_terminal(command: &str, keys: &str) -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    let wait = until_written("READY");
    let typed = format!("({wait}; printf '{keys}'; sleep 2) | timeout 60 script -qec \"$0\" /dev/null");
    let mut shell = Command::new("/bin/sh");
    let output = shell.args(["-c", &typed, command]).env("READY", directory.path().join("ready")).output().unwrap();
    if stderr(&output).contains("not found") {
        eprintln!("SKIPPED terminals: there is no script(1); install Debian's package bsdutils");
        return None;
    }
    Some(stdout(&output))
}

#[test]
fn the_terminal_is_handed_over() {
    // Fields 5 and 8 of stat: the process group, and that of the terminal.
    let Some(output) = on_a_terminal(&format!("{READY}; {INIT} -s -- cut -d' ' -f5,8 /proc/self/stat"), "") else {
        return;
    };
    let mut groups = output.split_whitespace();
    let (own, terminal) = (groups.next().unwrap(), groups.next().unwrap());
    assert_eq!(own, terminal, "{output}");
}

#[test]
fn the_terminal_s_keys_reach_the_program() {
    let program = r#"trap "echo interrupted; exit 3" INT; echo >"$READY"; while :; do sleep 0.1; done"#;
    let Some(output) = on_a_terminal(&format!("{INIT} -s -- sh -c '{program}'; echo code $?"), "\\003") else { return };
    assert!(output.contains("interrupted") && output.contains("code 3"), "{output}");
}

#[test]
fn a_stopped_terminal_holds_nothing_up() {
    // Ctrl-S stops the output; the program ends all the same, and so does the init with all it would say.
    let program = "i=0; while [ $i -lt 200 ]; do (true &); i=$((i+1)); done; sleep 2; exit 3";
    let command = format!("{INIT} -s -w -- sh -c '{program}'; echo code $? >\"$CODE\"");
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("code");
    let typed = format!("(printf '\\023'; {}; printf '\\021') | script -qec \"$0\" /dev/null", until_written("CODE"));
    let started = std::time::Instant::now();
    let mut shell = Command::new("/bin/sh")
        .args(["-c", &typed, &command])
        .env("CODE", &file)
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // Before the output goes on.
    let ended = reprieve_lab::wait_for(Duration::from_secs(55), || {
        std::fs::read_to_string(&file).ok().filter(|text| !text.is_empty())
    });
    assert_eq!(ended.as_deref(), Some("code 3\n"), "after {:?}", started.elapsed());
    shell.wait().unwrap();
}

/// A shell with job control sees the program stop, and has all of its processes go on.
#[test]
fn a_terminal_s_stop_stops_all_and_fg_has_all_go_on() {
    let job = format!("{INIT} -s -- sh -c '{READY}; sleep 2; exit 6'");
    let Some(output) = on_a_terminal(&format!("set -m; {job}; echo stopped $?; fg; echo ended $?"), "\\032") else {
        return;
    };
    assert!(output.contains("stopped 148") && output.contains("ended 6"), "{output}");
}

#[test]
fn a_stop_by_somebody_else_is_the_program_s_alone() {
    for signal in [19, 20] {
        let mut init = command(&["-s"], &["sleep", "1000"]).spawn().unwrap();
        let program = program_of(&init);
        kill(program, signal);
        wait_for_state(program, 'T');
        std::thread::sleep(Duration::from_millis(300));
        kill(init.id(), 15);
        kill(program, 18);
        assert_eq!(end_of(&mut init), 143, "the init goes on");
    }
}

#[test]
fn a_stderr_that_nobody_reads_holds_nothing_up() {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap();
    let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY;
    let terminal_end = rustix::fs::open(name, flags, rustix::fs::Mode::empty()).unwrap();
    let (socket, socket_end) = UnixStream::pair().unwrap();
    for (end, what) in [(terminal_end, "a terminal"), (OwnedFd::from(socket_end), "a socket")] {
        let mut init = command(&["-s", "-vv"], &["sleep", "1000"]).stderr(Stdio::from(end)).spawn().unwrap();
        program_of(&init);
        // Each is a line that nobody reads, more than there is room for. Those that come while one waits are one with it.
        for _ in 0..10_000 {
            kill(init.id(), 28);
            std::thread::yield_now();
        }
        kill(init.id(), 15);
        assert_eq!(end_of(&mut init), 143, "{what}");
    }
    drop((terminal, socket));
}
