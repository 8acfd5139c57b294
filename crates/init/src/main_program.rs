//! The program that the container is for: starting it, and asking what it does about a signal.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use reprieve::Memory;
use reprieve_judgement::{Choice, SettingChange, Sizing, judge_sizing};
use reprieve_linux::{
    SignalMask, exec, fork, hand_over_terminal, is_copy_of_its_parent, process_signals, read_program, reads_signal,
    set_oom_score_adj,
};
use reprieve_readings::{DefaultAction, Escaped, Signal};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::log::{Level, Log};
use crate::options::{Options, VictimChoice};

/// The largest adjustment there is: taken before all others.
pub(crate) const TAKEN_FIRST: i16 = 1000;

/// Starts the program in a process group of its own, with the signals blocked that were blocked before, and hands the
/// terminal over to it. Where it can't be executed, the child says so and exits with 127 or 126.
pub(crate) fn start(
    options: &Options,
    log: &Log,
    before: SignalMask,
    variables: &[(&str, &[u8])],
) -> Result<Pid, Errno> {
    let pid = fork(|| become_program(options, log, before, variables))?;
    // Also done by the child: whoever comes first. Signals may be sent to the group from here on.
    let _ = rustix::process::setpgid(Some(pid), Some(pid));
    Ok(pid)
}

fn become_program(options: &Options, log: &Log, before: SignalMask, variables: &[(&str, &[u8])]) -> u8 {
    let _ = rustix::process::setpgid(None, None);
    if let Some(parent) = rustix::process::getppid() {
        hand_over_terminal(rustix::stdio::stdin(), parent, rustix::process::getpid());
    }
    if options.victim == Some(VictimChoice::SacrificeMain)
        && let Err(error) = set_oom_score_adj(std::process::id(), TAKEN_FIRST)
    {
        log.say(Level::Warning, format_args!("--sacrifice-main: oom_score_adj can't be raised: {error}"));
    }
    let sizing = if options.size_runtime { size(options, log) } else { Sizing::default() };
    let mut variables: Vec<(&str, &[u8])> = variables.to_vec();
    for (name, value) in sizing.variables() {
        variables.push((name, value));
    }
    let arguments = if options.size_runtime {
        sizing.arguments(&read_program(options.command.clone(), std::env::vars_os()))
    } else {
        options.command.iter().cloned().map(OsString::into_vec).collect()
    };
    let _ = before.set();
    let error = exec(&arguments, &variables);
    log.say(Level::Error, format_args!("{error}"));
    if error.is_not_found() { 127 } else { 126 }
}

/// What `reprieve exec` does. Nothing here keeps the program from being run.
fn size(options: &Options, log: &Log) -> Sizing {
    let limit = match reprieve::pod_limit_from_environment() {
        Ok(told) => Memory::below(&reprieve::Roots::default(), told).map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    let limit = match limit.map(|memory| memory.limit().filter(|_| memory.is_limited())) {
        Ok(Some(limit)) => limit,
        Ok(None) => {
            log.say(Level::Info, format_args!("--size-runtime: only the machine's memory binds, so nothing is set"));
            return Sizing::default();
        }
        Err(error) => {
            log.say(Level::Warning, format_args!("--size-runtime: the program is run without sizing: {error}"));
            return Sizing::default();
        }
    };
    let program = read_program(options.command.clone(), std::env::vars_os());
    let sizing = judge_sizing(&program, &Choice::Recognised, limit, None);
    for setting in &sizing.settings {
        match &setting.change {
            SettingChange::Variable { name, value, .. } => {
                let value = Escaped(value);
                log.say(Level::Info, format_args!("--size-runtime: {name}={value} ({})", setting.reason));
            }
            SettingChange::Arguments { added, .. } => {
                let added = added.join(" ");
                log.say(
                    Level::Info,
                    format_args!("--size-runtime: {} ({})", Escaped(added.as_bytes()), setting.reason),
                );
            }
        }
    }
    sizing
}

/// What would come of a signal that a program is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reaction {
    /// The program does something about it.
    Handled,
    /// Nothing would happen.
    Ignored,
    /// The kernel would end or stop the program.
    Harmed,
}

/// Asks the kernel what a program would do about a signal.
pub(crate) fn reaction_to(pid: u32, signal: Signal) -> Reaction {
    // It blocks all signals like this process, and no longer does when it is the program.
    if is_copy_of_its_parent(pid) {
        return Reaction::Harmed;
    }
    let Some(sets) = process_signals(pid) else { return Reaction::Ignored };
    if sets.catches(signal) {
        Reaction::Handled
    } else if sets.ignores(signal) {
        Reaction::Ignored
    } else if sets.blocks(signal) && reads_signal(pid, signal) {
        Reaction::Handled
    } else if signal.default_action() == DefaultAction::Nothing {
        Reaction::Ignored
    } else {
        Reaction::Harmed
    }
}
