//! Signals that are sent to this process, passed on to the program.

use std::time::Duration;

use reprieve_linux::{Recipient, hand_over_terminal, send_signal};
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
            if self.asks_to_end(signal) || signal == Signal::HUP {
                self.phase = Phase::Ended { code: code_of(signal), at: now };
            }
            return;
        };
        if self.asks_to_end(signal) {
            self.restarts.asked_to_end();
        }
        if signal == Signal::CONT {
            // A shell that brings this process to the foreground means the program.
            hand_over_terminal(rustix::stdio::stdin(), rustix::process::getpid(), main);
        }
        self.log.say(Level::Debug, format_args!("passing on {signal}"));
        let recipient = self.recipient(main);
        match send_signal(recipient, signal) {
            // The program has ended, and is reaped in a moment.
            Ok(()) | Err(Errno::SRCH) => {}
            Err(errno) => self.log.say(Level::Warning, format_args!("{signal} can't be passed on: {errno}")),
        }
    }

    /// SIGHUP is none of these: to most programs that run for long it means to read their configuration again.
    fn asks_to_end(&self, signal: Signal) -> bool {
        [Signal::TERM, Signal::INT, Signal::QUIT, self.options.stop_signal].contains(&signal)
    }

    /// Stops along with the program, so that the shell which waits for this process sees it. PID 1 has no such shell, and
    /// the kernel would not stop it.
    pub(super) fn stop_along(&self, signal: Signal) {
        let own = std::process::id();
        if own == 1 {
            let sentence = "the program is stopped by";
            self.log.say(Level::Info, format_args!("{sentence} {signal}; SIGCONT lets it go on"));
            return;
        }
        self.log.say(Level::Info, format_args!("the program is stopped by {signal}, and this process with it"));
        if let Some(own) = Pid::from_raw(own.cast_signed()) {
            let _ = send_signal(Recipient::Process(own), Signal::STOP);
        }
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

fn is_pipe(signal: Signal) -> bool {
    signal.number() == 13
}
