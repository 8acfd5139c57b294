//! Starting work inside a cgroup, and ending it.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, ensure};
use rustix::fs::MemfdFlags;

use crate::experiment::Program;

/// A process inside a cgroup. It is ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Worker(Child);

impl Worker {
    /// Starts a piece of work in a cgroup and waits until it is ready.
    pub(crate) fn start(program: &Program, cgroup: &Path, arguments: &[String]) -> Result<Self> {
        // A shell moves itself in and becomes the program: it is in there before its first instruction.
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo $$ >\"$0\" && exec \"$@\""]).arg(cgroup.join("cgroup.procs"));
        command.arg(&program.0).arg("work").args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).process_group(0);
        let worker = Worker(command.spawn().context("a worker did not start")?);
        worker.wait_until_ready().with_context(|| format!("`work {}`", arguments.join(" ")))
    }

    fn wait_until_ready(mut self) -> Result<Self> {
        let stdout = self.0.stdout.take().context("a worker has no stdout")?;
        let mut said = String::new();
        BufReader::new(stdout).read_line(&mut said)?;
        ensure!(said == "ready\n", "ended before it was ready ({:?})", self.0.wait());
        Ok(self)
    }

    /// Lets it come to its own end.
    pub(crate) fn finish(mut self) -> Result<()> {
        drop(self.0.stdin.take());
        let status = self.0.wait()?;
        ensure!(status.success(), "a worker failed: {status}");
        Ok(())
    }

    fn go(&mut self) -> Result<()> {
        Ok(self.0.stdin.take().context("a worker has no stdin")?.write_all(b"\n")?)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The process that takes memory until it is killed.
#[derive(Debug)]
pub(crate) struct Filler {
    worker: Worker,
    progress: File,
}

impl Filler {
    /// Starts it; it takes nothing yet.
    pub(crate) fn start(program: &Program, cgroup: &Path) -> Result<Self> {
        // In memory, and written here first, so that its page is not charged to the cgroup.
        let progress = File::from(rustix::fs::memfd_create("progress", MemfdFlags::CLOEXEC)?);
        progress.write_all_at(&0_u64.to_le_bytes(), 0)?;
        let path = format!("/proc/{}/fd/{}", std::process::id(), progress.as_raw_fd());
        let worker = Worker::start(program, cgroup, &["fill".to_owned(), path])?;
        Ok(Filler { worker, progress })
    }

    /// Lets it begin.
    pub(crate) fn go(&mut self) -> Result<()> {
        self.worker.go()
    }

    /// How many bytes it has.
    pub(crate) fn obtained(&self) -> Result<u64> {
        let mut bytes = [0; 8];
        self.progress.read_exact_at(&mut bytes, 0)?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Whether the kernel has killed it. That it ended in another way is an error.
    pub(crate) fn killed(&mut self) -> Result<bool> {
        let status: Option<ExitStatus> = self.worker.0.try_wait()?;
        let Some(status) = status else { return Ok(false) };
        ensure!(status.signal() == Some(9), "the filling ended by itself: {status}");
        Ok(true)
    }
}
