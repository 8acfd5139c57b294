//! What the tests share: starting inits, and looking at processes.
#![allow(dead_code, reason = "each test target uses a part of it")]

use std::fs;
use std::io::Read;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use reprieve_lab::wait_for;

/// Longer than anything takes on a busy or emulated machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The program.
pub(crate) const INIT: &str = env!("CARGO_BIN_EXE_reprieve-init");

/// Of util-linux, by its path: the virtual machine's shell would take busybox', which can do less.
pub(crate) const UNSHARE: &str = "/usr/bin/unshare";

/// A command under an init, with these options.
pub(crate) fn command(options: &[&str], program: &[&str]) -> Command {
    let mut command = Command::new(INIT);
    command.args(options).arg("--").args(program).stdin(Stdio::null()).env_remove("MEMORY_PRESSURE_WATCH");
    command
}

/// Runs a script to its end.
pub(crate) fn run(options: &[&str], script: &str) -> Output {
    command(options, &["/bin/sh", "-c", script]).output().unwrap()
}

pub(crate) fn code(output: &Output) -> i32 {
    output.status.code().unwrap_or_else(|| panic!("{output:?}"))
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

pub(crate) fn kill(pid: u32, signal: i32) {
    let signal = reprieve_readings::Signal::new(signal).unwrap();
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    reprieve_linux::send_signal(reprieve_linux::Recipient::Process(pid), signal).unwrap();
}

/// The children of a process, by the kernel's list.
pub(crate) fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// The only child of a process, once it is there and is another program than its parent.
pub(crate) fn program_of(init: &Child) -> u32 {
    let is_program = |pid: u32| {
        let program = fs::read_link(format!("/proc/{pid}/exe")).ok();
        program.is_some() && program != fs::read_link(format!("/proc/{}/exe", init.id())).ok()
    };
    let found = || children(init.id()).first().copied().filter(|&pid| is_program(pid));
    wait_for(PATIENCE, found).expect("the program is started")
}

/// The letter of a process's state; `None` where it is gone.
pub(crate) fn state(pid: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

pub(crate) fn wait_for_state(pid: u32, wanted: char) {
    let reached = wait_for(PATIENCE, || (state(pid) == Some(wanted)).then_some(()));
    reached.unwrap_or_else(|| panic!("process {pid} is {:?} and not {wanted}", state(pid)));
}

/// Waits for the end of an init, and returns its exit code.
pub(crate) fn end_of(init: &mut Child) -> i32 {
    let ended = wait_for(PATIENCE, || init.try_wait().unwrap());
    let status = ended.unwrap_or_else(|| {
        init.kill().unwrap();
        panic!("it does not end")
    });
    status.code().unwrap_or_else(|| panic!("{status}"))
}

/// What an ended process has written to a pipe.
pub(crate) fn read_all(pipe: Option<impl Read>) -> String {
    let mut text = String::new();
    pipe.unwrap().read_to_string(&mut text).unwrap();
    text
}

/// An example program of this package, which `cargo test` builds too.
pub(crate) fn example(name: &str) -> PathBuf {
    let path = PathBuf::from(INIT).parent().unwrap().join("examples").join(name);
    assert!(path.is_file(), "{} is missing; `cargo test -p reprieve-init` builds it", path.display());
    path
}
