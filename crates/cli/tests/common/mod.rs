//! A running agent, its log lines and its HTTP answers.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Long enough for a virtual machine without hardware help.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Agent {
    child: Child,
    pub(crate) lines: Receiver<String>,
    pub(crate) address: SocketAddr,
    /// Where it keeps kills.
    pub(crate) state: PathBuf,
    /// The same, if it goes with the agent.
    own_state: Option<tempfile::TempDir>,
}

pub(crate) fn reprieve() -> Command {
    Command::new(env!("CARGO_BIN_EXE_reprieve"))
}

impl Agent {
    /// Starts an agent that logs JSON, and waits until it is ready.
    pub(crate) fn start(configure: impl FnOnce(&mut Command)) -> Agent {
        Agent::start_as(reprieve(), configure)
    }

    /// The same with a program that becomes reprieve, given the arguments.
    pub(crate) fn start_as(command: Command, configure: impl FnOnce(&mut Command)) -> Agent {
        let state = tempfile::tempdir().unwrap();
        let mut agent = Agent::start_with(command, state.path(), configure);
        agent.own_state = Some(state);
        agent
    }

    /// The same with a directory in which it keeps kills, and may find some.
    pub(crate) fn start_in(state: &Path, configure: impl FnOnce(&mut Command)) -> Agent {
        Agent::start_with(reprieve(), state, configure)
    }

    fn start_with(mut command: Command, state: &Path, configure: impl FnOnce(&mut Command)) -> Agent {
        command.args(["agent", "--listen", "127.0.0.1:0", "--log-format", "json", "--state-dir"]).arg(state);
        configure(&mut command);
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines() {
                let _ = sender.send(line.unwrap());
            }
        });
        let address = ([127, 0, 0, 1], 0).into();
        let mut agent = Agent { child, lines, address, state: state.to_owned(), own_state: None };
        let up = agent.wait_for_line(|line| line["address"].is_string()).expect("the agent comes up");
        agent.address = up["address"].as_str().unwrap().parse().unwrap();
        let end = Instant::now() + PATIENCE;
        while agent.get("/readyz", "").0 != 200 {
            assert!(Instant::now() < end, "the agent does not get ready");
            std::thread::sleep(Duration::from_millis(10));
        }
        agent
    }

    /// The next log line that `wanted` picks; lines before it are dropped. `None` if none comes in time.
    pub(crate) fn wait_for_line(&self, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => {
                    assert!(!line.chars().any(char::is_control), "a raw control character in {line:?}");
                    let line: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
                    if wanted(&line) {
                        return Some(line);
                    }
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
            }
        }
    }

    /// Status, head and body of a GET.
    pub(crate) fn get(&self, path: &str, accept: &str) -> (u16, String, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nAccept: {accept}\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, head.to_ascii_lowercase(), body.to_owned())
    }

    /// The value of one sample of `/metrics`.
    pub(crate) fn sample(&self, series: &str) -> Option<f64> {
        let (_, _, body) = self.get("/metrics", "");
        let line = body.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
        Some(line.parse().unwrap())
    }

    /// Ends it as systemd or the kubelet would; returns its exit code.
    pub(crate) fn stop(mut self) -> i32 {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        self.child.wait().unwrap().code().expect("it exits by itself")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
