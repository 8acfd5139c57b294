//! What happens to the agent in the storm: SIGKILL and a new start, and a stop in which the kernel's log is overwritten.

use std::fs::OpenOptions;
use std::io::{BufRead, Read, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::Options;
use crate::program::{Server, start_agent};
use crate::progress;

/// How long the agent is away or stopped, while kills go on.
const AWAY: Duration = Duration::from_millis(300);

/// More text than the logs of the kernels here hold (128 and 256 KiB), in lines of 200 bytes.
const FLOOD_LINES: usize = 2500;

/// The agent, as often as it is started.
pub(crate) struct AgentUnderFire {
    program: PathBuf,
    state: PathBuf,
    cgroup: PathBuf,
    server: Server,
    lost: LostLines,
    /// The largest resident memory of any of its runs, in KiB.
    peak_kib: u64,
}

/// The numbers of the lines that were overwritten before the agent read them, as it says itself.
#[derive(Clone, Default)]
pub(crate) struct LostLines(Arc<Mutex<Vec<RangeInclusive<u64>>>>);

/// What was done to the agent.
pub(crate) struct Disturbed {
    /// Keeps the last run alive until the account is taken.
    pub(crate) agent: AgentUnderFire,
    /// How often it was killed.
    pub(crate) restarts: usize,
}

impl AgentUnderFire {
    pub(crate) fn start(program: &Path, state: &Path, cgroup: PathBuf) -> Result<Self> {
        let lost = LostLines::default();
        let server = start(program, state, &cgroup, &lost)?;
        Ok(AgentUnderFire { program: program.into(), state: state.into(), cgroup, server, lost, peak_kib: 0 })
    }

    /// The most memory that was resident in it so far, in KiB.
    pub(crate) fn peak_kib(&self) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server.pid()))?;
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        let peak = peak.and_then(|kib| kib.parse().ok()).context("the agent's status tells no VmHWM")?;
        Ok(self.peak_kib.max(peak))
    }

    /// The address of its HTTP.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.server.address
    }

    /// What of the kernel's log it has lost so far.
    pub(crate) fn lost(&self) -> &LostLines {
        &self.lost
    }

    fn restart(&mut self) -> Result<()> {
        self.peak_kib = self.peak_kib()?;
        self.server.kill();
        thread::sleep(AWAY);
        self.server = start(&self.program, &self.state, &self.cgroup, &self.lost)?;
        Ok(())
    }

    fn stop_while(&self, what: impl FnOnce() -> Result<()>) -> Result<()> {
        let pid = i32::try_from(self.server.pid()).ok().and_then(Pid::from_raw).context("the agent has no pid")?;
        kill_process(pid, Signal::STOP)?;
        let done = what();
        kill_process(pid, Signal::CONT)?;
        done
    }
}

impl LostLines {
    pub(crate) fn contains(&self, sequence: u64) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().any(|lost| lost.contains(&sequence))
    }

    /// How often it happened.
    pub(crate) fn overruns(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Reads a log of the agent to its end.
    fn read(&self, log: impl Read) {
        for line in std::io::BufReader::new(log).split(b'\n').map_while(std::result::Result::ok) {
            let lost = parse_lost(&String::from_utf8_lossy(&line));
            self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(lost);
        }
    }
}

/// The range in `… records 12 to 34 are lost …`.
fn parse_lost(line: &str) -> Option<RangeInclusive<u64>> {
    let (first, rest) = line.split_once("before it was read: records ")?.1.split_once(" to ")?;
    let last = rest.split_once(" are lost")?.0;
    Some(first.parse().ok()?..=last.parse().ok()?)
}

fn start(program: &Path, state: &Path, cgroup: &Path, lost: &LostLines) -> Result<Server> {
    let mut server = start_agent(program, cgroup, Some(state))?;
    let (log, lost) = (server.take_log()?, lost.clone());
    thread::spawn(move || lost.read(log));
    Ok(server)
}

/// Disturbs the agent at even distances, until all are dead. The overrun comes last.
pub(crate) fn disturb(mut agent: AgentUnderFire, options: &Options, dead: &AtomicUsize) -> Result<Disturbed> {
    let disturbances = options.restarts + 1;
    let wait_for = |number: usize| {
        let at = options.kills * number / (disturbances + 1);
        while dead.load(Ordering::Relaxed) < at {
            thread::sleep(Duration::from_millis(1));
        }
        dead.load(Ordering::Relaxed)
    };
    for number in 1..disturbances {
        progress(&format!("after {} kills: kill -9", wait_for(number)));
        agent.restart()?;
    }
    progress(&format!("after {} kills: the log is overwritten while the agent is stopped", wait_for(disturbances)));
    agent.stop_while(|| {
        thread::sleep(AWAY);
        flood_log()
    })?;
    Ok(Disturbed { agent, restarts: options.restarts })
}

/// Each line through a descriptor of its own: the kernel limits the lines of one. As debug messages, so that no console
/// prints them.
fn flood_log() -> Result<()> {
    let line = format!("<7>reprieve-bench: {}\n", "flood ".repeat(30));
    for _ in 0..FLOOD_LINES {
        let mut log = OpenOptions::new().write(true).open("/dev/kmsg").context("/dev/kmsg can't be written")?;
        log.write_all(line.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::parse_lost;

    #[test]
    fn what_was_lost_is_found_in_the_agents_line() {
        let line = "2026-11-26T03:00:00Z  WARN the kernel's log was overwritten before it was read: records 12 to 34 are \
                    lost; kills that they named may stay without a name";
        assert_eq!(parse_lost(line), Some(12..=34));
        assert_eq!(parse_lost("2026-11-26T03:00:00Z  WARN records 12 to 34"), None);
    }
}
