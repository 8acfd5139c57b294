//! The time from the kernel's record of a kill to the agent's log line.
//!
//! Real kills in small containers, one after the other, slowly enough that each stands alone and fast enough that the
//! kernel's rate limit leaves out a part of the reports. The agent runs among idle cgroups and scans as always. The same
//! records go to `dmesg --follow-new` and to a bare loop in this program, which show how much of the time is the kernel's
//! own and how much is the way through a pipe.

mod clock;
pub(crate) mod listen;
mod marker;
mod verdict;
mod victims;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::kills::clock::LogClock;
use crate::kills::listen::{
    KillRecord, Record, Told, listen_to, listen_to_kernel, parse_agent_line, parse_kernel_line,
};
use crate::kills::marker::Markers;
use crate::kills::verdict::Verdict;
use crate::kills::victims::Container;
use crate::place::{Place, command_in};
use crate::population::populate;
use crate::program::{durable_median, start_agent};
use crate::progress;

/// No divisor of the agent's interval, so that kills meet every part of it.
const PACE: Duration = Duration::from_millis(307);

/// As long as a kill may take to happen, and a line to arrive.
const PATIENCE: Duration = Duration::from_secs(5);

/// Markers are written at the beginning, after each of as many kills, and at the end.
const KILLS_BETWEEN_MARKERS: usize = 20;

const CONTAINERS: usize = 20;

/// Arguments of `kills`.
#[derive(Args)]
pub(crate) struct Options {
    /// The program `reprieve`
    program: PathBuf,
    /// Kills
    #[arg(long, default_value_t = 200)]
    kills: usize,
    /// Idle cgroups that the agent watches beside those of the victims
    #[arg(long, default_value_t = 500)]
    cgroups: usize,
}

/// Measures and prints the section.
pub(crate) fn run(options: &Options) -> Result<()> {
    let place = Place::open()?;
    progress(&format!("making {} cgroups", options.cgroups));
    populate(&place, "others", options.cgroups)?;
    let mut containers: Vec<Container> =
        (0..CONTAINERS).map(|number| Container::start(&place, "victims", number)).collect::<Result<_>>()?;
    let mut agent = start_agent(&options.program, &place.cgroup("agent")?, None)?;
    let agent_lines = listen_to(agent.take_log()?, parse_agent_line);
    let (dmesg, dmesg_lines) = start_dmesg(&place)?;
    let records = listen_to_kernel()?;
    // A few scans, so that the agent knows the containers' first processes.
    thread::sleep(Duration::from_secs(3));

    let mut markers = Markers::default();
    let mut kills = Vec::with_capacity(options.kills);
    let mut next = Instant::now();
    for number in 0..options.kills {
        if number % KILLS_BETWEEN_MARKERS == 0 {
            progress(&format!("{number} of {} kills", options.kills));
            markers.write(&records)?;
        }
        let index = number % CONTAINERS;
        let container = containers.get_mut(index).context("there is no container to kill in")?;
        kills.push(wait_for_record(&records, container.doom()?)?);
        next = (next + PACE).max(Instant::now());
        thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    markers.write(&records)?;
    thread::sleep(PATIENCE);
    drop(dmesg);
    let clock = LogClock::new(&markers.batches)?;
    let told = |lines: Receiver<Told>| lines.try_iter().collect::<Vec<_>>();
    let durable = durable_median(agent.address)?;
    let cgroups = options.cgroups;
    Verdict { kills, agent: told(agent_lines), dmesg: told(dmesg_lines), clock, cgroups, durable }.print()
}

fn wait_for_record(records: &Receiver<Record>, pid: u32) -> Result<KillRecord> {
    let end = Instant::now() + PATIENCE;
    while let Ok(record) = records.recv_timeout(end.saturating_duration_since(Instant::now())) {
        if let Record::Kill(kill) = record
            && kill.pid == pid
        {
            return Ok(kill);
        }
    }
    let state = if victims::is_running(pid) { "still runs" } else { "is gone" };
    bail!("the kernel's log did not name the process {pid} within {} s; it {state}", PATIENCE.as_secs())
}

/// `dmesg --follow-new`. It is ended when this is dropped.
struct Dmesg(Child);

fn start_dmesg(place: &Place) -> Result<(Dmesg, Receiver<Told>)> {
    let mut command: Command = command_in(&place.cgroup("dmesg")?, "dmesg");
    let mut dmesg = command.arg("--follow-new").stdout(Stdio::piped()).spawn().context("dmesg did not start")?;
    let lines = listen_to(dmesg.stdout.take().context("dmesg has no stdout")?, parse_kernel_line);
    Ok((Dmesg(dmesg), lines))
}

impl Drop for Dmesg {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
