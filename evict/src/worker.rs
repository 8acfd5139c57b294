//! A process of this program inside a cgroup, and what it says.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};

/// It is ended when this is dropped.
pub(crate) struct Worker {
    child: Child,
    last: Arc<Mutex<String>>,
}

impl Worker {
    /// Starts `work` in a cgroup: it is in there before its first instruction.
    pub(crate) fn start(cgroup: &Path, arguments: &[String]) -> Result<Self> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo $$ >\"$0\" && exec \"$@\""]).arg(cgroup.join("cgroup.procs"));
        command.arg(std::env::current_exe()?).arg("work").args(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0);
        let mut child = command.spawn().context("a worker did not start")?;
        let stdout = child.stdout.take().context("a worker has no stdout")?;
        let last = Arc::new(Mutex::new(String::new()));
        let line_of = Arc::clone(&last);
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                *line_of.lock().unwrap_or_else(PoisonError::into_inner) = line;
            }
        });
        Ok(Worker { child, last })
    }

    /// The last line that it has said.
    pub(crate) fn last(&self) -> String {
        self.last.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The number in the last line, 0 before there is one.
    pub(crate) fn count(&self) -> f64 {
        self.last().split_whitespace().last().and_then(|word| word.parse().ok()).unwrap_or(0.0)
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
