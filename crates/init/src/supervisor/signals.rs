//! Signals that are sent to this process, passed on to the program.

use std::time::Duration;

use reprieve_linux::{Recipient, hand_over_terminal, is_own_terminal, send_signal, stop_own_group};
use reprieve_readings::Signal;
use rustix::io::Errno;
use rustix::process::Pid;

use super::stopping::Phase;
use super::{Supervisor, code_of, raw};
use crate::log::Level;
use crate::main_program::{Reaction, reaction_to};

/// As many in one round; then children and deadlines have their turn, so that a storm of signals holds nothing up.
const BATCH: usize = 64;

impl Supervisor {
    pub(super) fn take_signals(&mut self, now: Duration) {
        for _ in 0..BATCH {
            match self.signals.next() {
                Ok(Some(received)) if received.signal == Signal::CHLD => self.more_children = true,
                // Of this process's own writing to what nobody reads.
                Ok(Some(received)) if received.sender == std::process::id() && is_pipe(received.signal) => {}
                Ok(Some(received)) => self.pass_on(received.signal, now),
                Ok(None) => break,
                Err(errno) => {
                    self.log.say(Level::Error, format_args!("signals can't be read: {errno}"));
                    break;
                }
            }
        }
    }

    fn pass_on(&mut self, signal: Signal, now: Duration) {
        let Some(main) = self.main else {
            // Between two runs of the program nobody but this process can heed a request to end.
            if self.holds_until(signal, now).is_some() || signal == Signal::HUP {
                self.phase = Phase::Ended { code: code_of(signal), at: now };
            }
            return;
        };
        if let Some(until) = self.holds_until(signal, now) {
            self.restarts.asked_to_end(until);
        }
        if signal == Signal::CONT {
            // A shell that brings this process to the foreground means the program.
            hand_over_terminal(rustix::stdio::stdin(), rustix::process::getpid(), main);
        }
        self.log.say(Level::Debug, format_args!("passing on {signal}"));
        // A terminal's key has stopped all of the program's group.
        let goes_on = signal == Signal::CONT && std::mem::take(&mut self.is_stopped);
        let recipient = if goes_on { Recipient::Group(main) } else { self.recipient(main) };
        match send_signal(recipient, signal) {
            // The program has ended, and is reaped in a moment.
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => self.log.say(Level::Warning, format_args!("{signal} can't be passed on: {errno}")),
        }
    }

    /// Stops along with the program where a terminal has stopped it, so that the shell which waits for this process sees
    /// it. PID 1 has no such shell.
    pub(super) fn program_stopped(&mut self, signal: Signal) {
        self.is_stopped = true;
        let is_job = is_of_a_terminal(signal) && std::process::id() != 1 && is_own_terminal(rustix::stdio::stdin());
        if !is_job {
            self.log.say(Level::Info, format_args!("the program is stopped by {signal}; SIGCONT lets it go on"));
            return;
        }
        self.log.say(Level::Info, format_args!("the program is stopped by {signal}, and this process with it"));
        let _ = stop_own_group(signal);
    }

    pub(super) fn recipient(&self, main: Pid) -> Recipient {
        if self.options.kill_group { Recipient::Group(main) } else { Recipient::Process(main) }
    }

    /// Sends the program a signal on this process's own account, but never one that would end it unasked. `what` says what
    /// it is about.
    pub(super) fn signal_main(&self, signal: Signal, what: &str) {
        let Some(main) = self.main else { return };
        let why_not = match reaction_to(raw(main), signal) {
            Reaction::Handled => match send_signal(Recipient::Process(main), signal) {
                Ok(()) | Err(Errno::SRCH) => return,
                Err(errno) => {
                    self.log.say(Level::Warning, format_args!("{what}: {signal} can't be sent: {errno}"));
                    return;
                }
            },
            Reaction::Ignored => "does nothing about it",
            Reaction::Harmed => "does not handle it, and it would end or stop the program",
        };
        self.log.say(Level::Warning, format_args!("{what}: {signal} is not sent: the program {why_not}"));
    }
}

/// Not so SIGSTOP: whoever sends that means the program alone.
fn is_of_a_terminal(signal: Signal) -> bool {
    [Signal::TSTP, Signal::TTIN, Signal::TTOU].contains(&signal)
}

fn is_pipe(signal: Signal) -> bool {
    signal.number() == 13
}
