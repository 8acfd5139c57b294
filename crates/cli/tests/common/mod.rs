//! A running agent, its log lines and its HTTP answers.
#![allow(dead_code)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
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
    pub(crate) state: tempfile::TempDir,
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
        Agent::start_in(tempfile::tempdir().unwrap(), command, configure)
    }

    /// The same with a state directory.
    pub(crate) fn start_in(
        state: tempfile::TempDir,
        mut command: Command,
        configure: impl FnOnce(&mut Command),
    ) -> Agent {
        command.args(["agent", "--listen", "127.0.0.1:0", "--log-format", "json"]);
        command.arg("--state-dir").arg(state.path());
        configure(&mut command);
        let mut child = command.stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines() {
                let _ = sender.send(line.unwrap());
            }
        });
        let mut agent = Agent { child, lines, address: ([127, 0, 0, 1], 0).into(), state };
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

    /// Kills it as nothing should; returns its state directory.
    pub(crate) fn kill(mut self) -> tempfile::TempDir {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        std::mem::replace(&mut self.state, tempfile::tempdir().unwrap())
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
