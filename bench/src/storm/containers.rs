//! A container that lives for a few kills: its shell starts one process after the other that takes memory until it is
//! killed, and says which; when it ends the cgroup is removed at once.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
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

/// Runs container `number` until at least `kills` of its processes were killed, and removes it.
pub(crate) fn run_container(place: &Place, number: usize, kills: usize, dead: &AtomicUsize) -> Result<Vec<Victim>> {
    let cgroup = limited_container(place, "storm", number, LIMIT)?;
    let path = place.lab().path_of(&cgroup);
    let mut pids = Vec::with_capacity(kills);
    while pids.len() < kills {
        run_shell(&cgroup, kills - pids.len(), &mut pids, dead).with_context(|| format!("in {path}"))?;
    }
    // The shell may not be gone from it yet.
    wait_for(Duration::from_secs(60), || fs::remove_dir(&cgroup).ok())
        .with_context(|| format!("{path} could not be removed"))?;
    Ok(pids.into_iter().map(|pid| Victim { pid, cgroup: path.clone() }).collect())
}

/// Runs the container's shell until so many processes were killed. The shell may be one of them: then its child lives until
/// it is killed too, as it never stops to take memory.
fn run_shell(cgroup: &Path, kills: usize, pids: &mut Vec<u32>, dead: &AtomicUsize) -> Result<()> {
    let mut command = command_in(cgroup, "sh");
    command.args(["-c", SCRIPT]).arg(kills.to_string()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut shell = command.spawn().context("the shell did not start")?;
    let mut lines = BufReader::new(shell.stdout.take().context("the shell has no stdout")?).lines();
    let mut killed = |pid: u32| {
        pids.push(pid);
        dead.fetch_add(1, Ordering::Relaxed);
    };
    while let Some(pid) = lines.next() {
        let pid = pid?.parse().context("the shell told no pid")?;
        if let Some(status) = lines.next() {
            let status = status?;
            ensure!(status == "137", "a process that should have been killed ended with {status}");
        }
        killed(pid);
    }
    let status = shell.wait()?;
    if status.signal() == Some(9) {
        killed(shell.id());
    } else {
        ensure!(status.success(), "the shell ended with {status}");
    }
    Ok(())
}
