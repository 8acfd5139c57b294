//! A container that lives for a few kills: its shell starts one process after the other that takes memory until it is
//! killed, and says which; when it ends the cgroup is removed at once.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reprieve_lab::wait_for;

use crate::place::{Place, command_in};
use crate::population::limited_container;

/// Enough for a shell, and soon full.
const LIMIT: u64 = 8 << 20;

const SCRIPT: &str = "i=0; while [ $i -lt $0 ]; do tail /dev/zero & echo $!; wait $!; echo $?; i=$((i+1)); done";

/// A process that was killed.
pub(crate) struct Victim {
    pub(crate) pid: u32,
    /// The path of its cgroup.
    pub(crate) cgroup: String,
}

/// Runs container `number` until `kills` of its processes were killed, and removes it.
pub(crate) fn run_container(place: &Place, number: usize, kills: usize, dead: &AtomicUsize) -> Result<Vec<Victim>> {
    let cgroup = limited_container(place, "storm", number, LIMIT)?;
    let path = place.lab().path_of(&cgroup);
    let mut command = command_in(&cgroup, "sh");
    command.args(["-c", SCRIPT]).arg(kills.to_string()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut shell = command.spawn().context("a container's shell did not start")?;
    let mut lines = BufReader::new(shell.stdout.take().context("the shell has no stdout")?).lines();
    let mut victims = Vec::with_capacity(kills);
    while let Some(pid) = lines.next() {
        let pid = pid?.parse().context("the shell told no pid")?;
        let status = lines.next().context("the shell ended while its child ran")??;
        ensure!(status == "137", "a process that should have been killed ended with {status} in {path}");
        victims.push(Victim { pid, cgroup: path.clone() });
        dead.fetch_add(1, Ordering::Relaxed);
    }
    shell.wait()?;
    ensure!(victims.len() == kills, "only {} of {kills} processes were killed in {path}", victims.len());
    // The shell may not be gone from it yet.
    wait_for(Duration::from_secs(10), || fs::remove_dir(&cgroup).ok())
        .with_context(|| format!("{path} could not be removed"))?;
    Ok(victims)
}
