//! Real kills, one at a time: containers with a small limit whose first process is a shell that survives.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::{Context, Result};

use crate::place::{Place, command_in};
use crate::population::limited_container;

const LIMIT: u64 = 16 << 20;

/// At each line the shell starts a child that takes memory until the kernel kills it, and names its pid.
const SCRIPT: &str = "while read -r line; do tail /dev/zero & echo $!; wait; done";

/// A container in which processes can be made to die.
pub(crate) struct Container {
    shell: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Container {
    /// Makes the container with this number.
    pub(crate) fn start(place: &Place, name: &str, number: usize) -> Result<Self> {
        let cgroup = limited_container(place, name, number, LIMIT)?;
        let mut command = command_in(&cgroup, "/bin/sh");
        command.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut shell = command.spawn().context("a container's shell did not start")?;
        let requests = shell.stdin.take().context("a container's shell has no stdin")?;
        let answers = BufReader::new(shell.stdout.take().context("a container's shell has no stdout")?);
        Ok(Container { shell, requests, answers })
    }

    /// Starts a process that will be killed for the memory it takes; returns its pid.
    pub(crate) fn doom(&mut self) -> Result<u32> {
        self.requests.write_all(b"\n").context("a container's shell has ended")?;
        let mut line = String::new();
        self.answers.read_line(&mut line).context("a container's shell could not be heard")?;
        line.trim().parse().with_context(|| format!("a container's shell answered `{}`", line.trim()))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Killed and not asked to end: it may wait for a child that the kernel has spared.
        let _ = self.shell.kill();
        let _ = self.shell.wait();
    }
}

/// Whether a process still runs.
pub(crate) fn is_running(pid: u32) -> bool {
    fs::metadata(Path::new("/proc").join(pid.to_string())).is_ok()
}
