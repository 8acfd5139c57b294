//! What happens to the agent in the storm: SIGKILL and a new start, and a stop in which the kernel's log is overwritten.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

use super::Options;
use crate::kills::listen::monotonic;
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
    /// The largest resident memory of any of its runs, in KiB.
    peak_kib: u64,
}

/// What was done to the agent.
pub(crate) struct Disturbed {
    /// Keeps the last run alive until the account is taken.
    pub(crate) agent: AgentUnderFire,
    /// From when to when lines of the kernel's log were lost to it, by CLOCK_MONOTONIC in microseconds.
    pub(crate) overrun: (f64, f64),
    /// How often it was killed.
    pub(crate) restarts: usize,
}

impl AgentUnderFire {
    pub(crate) fn start(program: &Path, state: &Path, cgroup: PathBuf) -> Result<Self> {
        let server = start(program, state, &cgroup)?;
        Ok(AgentUnderFire { program: program.into(), state: state.into(), cgroup, server, peak_kib: 0 })
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

    fn restart(&mut self) -> Result<()> {
        self.peak_kib = self.peak_kib()?;
        self.server.kill();
        thread::sleep(AWAY);
        self.server = start(&self.program, &self.state, &self.cgroup)?;
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

fn start(program: &Path, state: &Path, cgroup: &Path) -> Result<Server> {
    let mut server = start_agent(program, cgroup, Some(state))?;
    server.drain_log()?;
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
    let began = monotonic();
    agent.stop_while(|| {
        thread::sleep(AWAY);
        flood_log()
    })?;
    Ok(Disturbed { agent, overrun: (began, monotonic()), restarts: options.restarts })
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
