//! What a plain follower of the kernel's log hears of the storm: `dmesg --follow-new`.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};

use crate::kills::listen::parse_kernel_line;
use crate::place::{Place, command_in};

/// A running `dmesg`.
pub(crate) struct Dmesg {
    process: Child,
    reader: JoinHandle<Lines>,
}

/// The lines that tell of kills, by the victim's pid.
#[derive(Default)]
pub(crate) struct Lines {
    /// `Killed process`: tells the process and not its cgroup.
    pub(crate) killed: HashSet<u32>,
    /// `oom-kill:`: tells both.
    pub(crate) summary: HashSet<u32>,
}

impl Dmesg {
    pub(crate) fn start(program: &Path, place: &Place) -> Result<Self> {
        let mut command = command_in(&place.cgroup("dmesg")?, program);
        let mut process = command.arg("--follow-new").stdout(Stdio::piped()).spawn().context("dmesg did not start")?;
        let output = BufReader::new(process.stdout.take().context("dmesg has no stdout")?);
        let reader = thread::spawn(move || {
            let mut lines = Lines::default();
            for line in output.split(b'\n').map_while(std::result::Result::ok) {
                let line = String::from_utf8_lossy(&line);
                lines.killed.extend(parse_kernel_line(&line));
                lines.summary.extend(parse_summary(&line));
            }
            lines
        });
        Ok(Dmesg { process, reader })
    }

    /// Ends it; what it has told.
    pub(crate) fn stop(mut self) -> Lines {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
        self.reader.join().unwrap_or_default()
    }
}

fn parse_summary(line: &str) -> Option<u32> {
    let rest = line.split_once("oom-kill:constraint=")?.1;
    rest.rsplit_once(",pid=")?.1.split_once(',')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::parse_summary;

    #[test]
    fn the_victim_is_found_in_the_summary() {
        let line = "[ 1.2] oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,oom_memcg=/a,\
                    task_memcg=/a,task=tail,pid=42,uid=0";
        assert_eq!(parse_summary(line), Some(42));
        assert_eq!(parse_summary("[ 1.2] Killed process 42 (tail)"), None);
    }
}
