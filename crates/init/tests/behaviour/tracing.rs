//! Programs under a debugger, of which strace(1) is one. Its stops are nothing that the init may take for an end.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

use reprieve_lab::wait_for;

use crate::common::{
    INIT, PATIENCE, UNSHARE, children, code, command, end_of, example, kill, read_all, wait_for_state,
};

const STOP: i32 = 19;
const CONTINUE: i32 = 18;
const WINDOW_CHANGED: i32 = 28;

const STOPPED: &str = "reprieve-init: the program is stopped by SIGSTOP; SIGCONT lets it go on";

/// strace's path; `None` after saying so.
fn strace() -> Option<String> {
    let strace = std::env::var("STRACE").ok();
    if strace.is_none() {
        eprintln!("SKIPPED strace: its path is not in STRACE; `cargo xtask test` sets it");
    }
    strace
}

/// A program that prints the signals which it is sent, under an init that is PID 1 of a namespace.
struct Echo {
    unshare: Child,
    init: u32,
    program: u32,
    lines: BufReader<ChildStdout>,
    said: BufReader<ChildStderr>,
}

impl Echo {
    fn start() -> Self {
        let mut command = Command::new(UNSHARE);
        command
            .args(["--pid", "--fork", "--mount-proc", "--kill-child", INIT, "-v", "--"])
            .arg(example("echo_signals"));
        let mut unshare = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(unshare.stdout.take().unwrap());
        assert_eq!(next_line(&mut lines), "ready");
        let said = BufReader::new(unshare.stderr.take().unwrap());
        let init = children(unshare.id())[0];
        Echo { program: children(init)[0], unshare, init, lines, said }
    }

    /// Sends the init a signal; the program must print it.
    fn passes_on(&mut self, signal: i32) {
        kill(self.init, signal);
        assert_eq!(next_line(&mut self.lines), signal.to_string());
    }

    /// Stops the program, which is debugged; the init must say so.
    fn stops(&mut self) {
        kill(self.program, STOP);
        wait_for_state(self.program, 't');
        assert_eq!(next_line(&mut self.said), STOPPED);
    }

    /// Starts a debugger of the program, and waits until it is attached.
    fn attach(&self, strace: &str) -> Child {
        let mut command = Command::new(strace);
        command.args(["-f", "-o", "/dev/null", "-p", &self.program.to_string()]).stderr(Stdio::null());
        let tracer = command.process_group(0).spawn().unwrap();
        self.wait_for_tracer(tracer.id());
        tracer
    }

    fn wait_for_tracer(&self, tracer: u32) {
        let line = format!("TracerPid:\t{tracer}");
        let is_traced = || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", self.program)).unwrap();
            status.lines().any(|found| found == line).then_some(())
        };
        wait_for(PATIENCE, is_traced).unwrap_or_else(|| panic!("the program has no {line}"));
    }

    /// Ends the program; returns what else the init said.
    fn end(mut self) -> String {
        self.passes_on(15);
        assert_eq!(end_of(&mut self.unshare), 0);
        read_all(Some(self.said))
    }
}

fn next_line(lines: &mut impl BufRead) -> String {
    let mut line = String::new();
    lines.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[test]
fn a_debugger_may_come_and_go() {
    let Some(strace) = strace() else { return };
    let mut echo = Echo::start();
    // Ctrl-C has it detach; and it may be killed while it is attached.
    for ending in [2, 9] {
        let mut tracer = echo.attach(&strace);
        echo.passes_on(WINDOW_CHANGED);
        kill(tracer.id(), ending);
        tracer.wait().unwrap();
        echo.wait_for_tracer(0);
        echo.passes_on(WINDOW_CHANGED);
    }
    let said = echo.end();
    assert_eq!(said, "", "nothing of it is the init's business");
}

#[test]
fn a_program_that_is_debugged_can_be_stopped_and_go_on() {
    let Some(strace) = strace() else { return };
    let mut echo = Echo::start();
    let mut tracer = echo.attach(&strace);
    for _ in 0..3 {
        echo.stops();
        echo.passes_on(CONTINUE);
        echo.passes_on(WINDOW_CHANGED);
    }
    // Stopped by both, it is let go by one and stays stopped for the other.
    echo.stops();
    kill(tracer.id(), 2);
    tracer.wait().unwrap();
    echo.wait_for_tracer(0);
    wait_for_state(echo.program, 'T');
    echo.passes_on(CONTINUE);
    let said = echo.end();
    assert!(said.lines().all(|line| line == STOPPED), "{said}");
}

#[test]
fn a_debugger_may_be_the_program_itself() {
    let Some(strace) = strace() else { return };
    // With -D the debugged program is the init's child, and the debugger an orphan.
    for options in [&[][..], &["-D"]] {
        let program: Vec<&str> =
            [&strace, "-f", "-o", "/dev/null"].into_iter().chain(options.iter().copied()).collect();
        let program = [&program[..], &["/bin/sh", "-c", "kill -WINCH $$; (exit 5); exit 3"]].concat();
        let output = command(&["-s"], &program).output().unwrap();
        assert_eq!(code(&output), 3, "{options:?}: {}", crate::common::stderr(&output));
    }
}
