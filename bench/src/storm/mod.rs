//! A storm of kills, and who accounts for all of it: `cargo xtask storm`.
//!
//! Real kills in small containers that are removed as soon as the last of their processes is dead. In the middle the agent
//! is killed with SIGKILL and started again, three times, and once it is stopped while the kernel's log is overwritten.
//! What its ledger then holds is compared with what was killed, and with the machine's own count. `dmesg --follow-new`
//! runs beside it the whole time, undisturbed.

mod containers;
mod disturbance;
mod ledger;
mod peer;
mod verdict;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Args;
use reprieve_linux::{NodeKillCounter, Problems, Roots};

use crate::kills::listen::{Record, listen_to_kernel};
use crate::place::Place;
use crate::progress;
use containers::{Victim, run_container};
use disturbance::{AgentUnderFire, disturb};
use ledger::Ledger;
use peer::Dmesg;
use verdict::Verdict;

/// As long as the agent may take to tell what is left.
const AFTERMATH: Duration = Duration::from_secs(6);

/// Arguments of `storm`.
#[derive(Args)]
pub(crate) struct Options {
    /// The program `reprieve`
    program: PathBuf,
    /// Kills
    #[arg(long, default_value_t = 1000)]
    kills: usize,
    /// Containers in which they happen
    #[arg(long, default_value_t = 200)]
    cgroups: usize,
    /// Containers that are there at a time
    #[arg(long, default_value_t = 6)]
    at_once: usize,
    /// The peer
    #[arg(long, default_value = "dmesg")]
    dmesg: PathBuf,
    /// Times the agent is killed and started again
    #[arg(long, default_value_t = 3)]
    restarts: usize,
}

/// Lets the storm happen and prints what each source told of it.
pub(crate) fn run(options: &Options) -> Result<()> {
    let place = Place::open()?;
    let state = tempfile::tempdir().context("no directory for the agent's state")?;
    let agent = AgentUnderFire::start(&options.program, state.path(), place.cgroup("agent")?)?;
    let dmesg = Dmesg::start(&options.dmesg, &place)?;
    let kernel = listen_to_kernel()?;
    // A few scans, as on a machine that has been up for a while.
    thread::sleep(Duration::from_secs(3));

    let mut counter = NodeKillCounter::open(&Roots::default(), &mut Problems::default());
    let mut node_kills = || counter.read(&mut Problems::default()).context("/proc/vmstat does not count kills");
    let (before, counted_before) = (node_kills()?, Ledger::read(&options.program, state.path())?.counted());
    let started = Instant::now();
    let (victims, took, disturbed) = storm(options, &place, agent, started)?;
    thread::sleep(AFTERMATH);
    let after = node_kills()?;
    let lines = dmesg.stop();
    let ledger = Ledger::read(&options.program, state.path())?;
    let counted = ledger.counted() - counted_before;
    let sequences: HashMap<u32, u64> = kernel.try_iter().filter_map(line_of_victim).collect();
    Verdict { victims, sequences, took, rise: after - before, counted, ledger, lines, disturbed }
        .print(options, place.version())
}

/// The victim, and the number of the line that names it.
fn line_of_victim(record: Record) -> Option<(u32, u64)> {
    match record {
        Record::Kill(kill) => Some((kill.pid, kill.sequence)),
        Record::Mark { .. } => None,
    }
}

/// The containers run in threads, and whoever is free takes the next; the agent is disturbed meanwhile.
fn storm(
    options: &Options,
    place: &Place,
    agent: AgentUnderFire,
    started: Instant,
) -> Result<(Vec<Victim>, Duration, disturbance::Disturbed)> {
    let next = AtomicUsize::new(0);
    let dead = AtomicUsize::new(0);
    let victims = Mutex::new(Vec::with_capacity(options.kills));
    let took = Mutex::new(Duration::ZERO);
    let kills_of = |container: usize| {
        let (each, rest) = (options.kills / options.cgroups, options.kills % options.cgroups);
        each + usize::from(container < rest)
    };
    let work = || -> Result<()> {
        loop {
            let container = next.fetch_add(1, Ordering::Relaxed);
            if container >= options.cgroups {
                return Ok(());
            }
            let killed = run_container(place, container, kills_of(container), &dead)?;
            victims.lock().unwrap_or_else(PoisonError::into_inner).extend(killed);
            let mut took = took.lock().unwrap_or_else(PoisonError::into_inner);
            *took = started.elapsed();
        }
    };
    let disturbed = thread::scope(|scope| -> Result<disturbance::Disturbed> {
        let workers: Vec<_> = (0..options.at_once).map(|_| scope.spawn(work)).collect();
        let disturbed = disturb(agent, options, &dead)?;
        for worker in workers {
            worker.join().map_err(|_| anyhow::anyhow!("a container's thread panicked"))??;
        }
        progress(&format!("{} kills", dead.load(Ordering::Relaxed)));
        Ok(disturbed)
    })?;
    let victims = victims.into_inner().unwrap_or_else(PoisonError::into_inner);
    let took = took.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((victims, took, disturbed))
}
