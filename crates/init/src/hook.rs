//! The command that is run when memory is short, with what is known of it in its environment.

use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use reprieve_linux::{Recipient, SignalMask, exec, fork, send_signal};
use reprieve_readings::{Bytes, Signal};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::log::{Level, Log};
use crate::options::Options;

/// A hook that runs.
#[derive(Debug)]
pub(crate) struct Hook {
    pub(crate) pid: Pid,
    /// The run of the program that it is about.
    pub(crate) main: Pid,
    /// Whether the program is to be ended after it.
    pub(crate) then_stop: bool,
    pub(crate) deadline: Duration,
}

/// What a hook is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) available: Option<Bytes>,
    pub(crate) limit: Option<Bytes>,
    pub(crate) time_left: Option<Duration>,
    pub(crate) pressure: Option<f32>,
    pub(crate) main: Pid,
}

/// Starts the hook, in a process group of its own, and without the program's input.
pub(crate) fn start(
    options: &Options,
    log: &Log,
    before: SignalMask,
    facts: &Facts,
    now: Duration,
) -> Result<Option<Hook>, Errno> {
    let Some(command) = &options.hook else { return Ok(None) };
    let pid = fork(|| {
        let _ = rustix::process::setpgid(None, None);
        if let Ok(nothing) = rustix::fs::open(c"/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()) {
            let _ = rustix::stdio::dup2_stdin(nothing);
        }
        let is_word = !command.as_bytes().iter().any(|byte| b" \t\n;&|<>()$`\\\"'*?[#~=%".contains(byte));
        let shell = [b"/bin/sh".as_slice(), b"-c", command.as_bytes()];
        let arguments: &[&[u8]] = if is_word { &[command.as_bytes()] } else { &shell };
        let arguments: Vec<Vec<u8>> = arguments.iter().map(|argument| argument.to_vec()).collect();
        let variables = variables(facts);
        let variables: Vec<(&str, &[u8])> = variables.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
        let _ = before.set();
        let error = exec(&arguments, &variables);
        log.say(Level::Error, format_args!("--hook: {error}"));
        if error.is_not_found() { 127 } else { 126 }
    })?;
    let _ = rustix::process::setpgid(Some(pid), Some(pid));
    let deadline = now.saturating_add(options.hook_timeout);
    Ok(Some(Hook { pid, main: facts.main, then_stop: false, deadline }))
}

impl Hook {
    /// Ends it, with what it has started.
    pub(crate) fn kill(&self) {
        let _ = send_signal(Recipient::Group(self.pid), Signal::KILL);
    }
}

/// The variables of a hook. What is unknown is empty.
fn variables(facts: &Facts) -> [(&'static str, String); 5] {
    let bytes = |bytes: Option<Bytes>| bytes.map_or_else(String::new, |bytes| format!("{}", bytes.get()));
    let seconds = facts.time_left.map_or_else(String::new, |left| format!("{:.3}", left.as_secs_f64()));
    [
        ("REPRIEVE_AVAILABLE_BYTES", bytes(facts.available)),
        ("REPRIEVE_LIMIT_BYTES", bytes(facts.limit)),
        ("REPRIEVE_SECONDS_LEFT", seconds),
        ("REPRIEVE_PRESSURE_PERCENT", facts.pressure.map_or_else(String::new, |percent| format!("{percent}"))),
        ("REPRIEVE_MAIN_PID", format!("{}", facts.main.as_raw_nonzero())),
    ]
}
