//! `reprieve kills`: the kills that the agent knows, or that the last one stored.

mod agent;
mod output;
mod store;

use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};
use reprieve_agent::KillRequest;
use reprieve_judgement::{KillFilter, KillId};
use reprieve_store::StoreError;

use crate::arguments::KillsArguments;
use crate::exit_code::ExitCode;
use agent::Connected;
use output::Output;

/// How long to wait for an agent that holds the store but does not answer: it is about to begin, or to end.
const PATIENCE: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(50);

pub(crate) fn run(arguments: &KillsArguments) -> Result<ExitCode> {
    let directory =
        arguments.state.directory().context("no directory is known to hold kills: name it by --state-dir")?;
    let request = request(arguments);
    let mut output = Output::new(arguments);
    let give_up = Instant::now() + PATIENCE;
    loop {
        if let Some(agent) = Connected::to(&directory)? {
            agent.ask(&request, &mut output)?;
            break;
        }
        if arguments.follow {
            bail!("no agent runs with the state directory {}: start one to follow kills", shown(&directory));
        }
        match store::read(&directory, &request, &mut output) {
            Err(StoreError::Absent { .. }) => {
                output.no_store(&directory, arguments.state.is_own_default());
                break;
            }
            Err(StoreError::Locked { .. }) if Instant::now() < give_up => sleep(PAUSE),
            read => {
                read?;
                break;
            }
        }
    }
    output.finish()
}

fn request(arguments: &KillsArguments) -> KillRequest {
    let filter = KillFilter {
        since: arguments.since.map(|since| since.since_epoch(SystemTime::now())),
        pod: arguments.pod.clone(),
        container: arguments.container.clone(),
        invisible: arguments.invisible,
    };
    KillRequest { filter, id: arguments.id.map(KillId), follow: arguments.follow }
}

fn shown(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt;
    reprieve_readings::Escaped(path.as_os_str().as_bytes()).to_string()
}
