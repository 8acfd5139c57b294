//! Ending the program gracefully, and starting it again.

use std::time::Duration;

use reprieve_linux::{ChildChange, Recipient, send_signal, take_back_terminal};
use reprieve_readings::Signal;
use rustix::process::Pid;

use super::Supervisor;
use super::kills::KILLED;
use crate::log::Level;
use crate::main_program;
use crate::options::OnOomKill;
use crate::pressure_socket::PressureSocket;

/// Where the program is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Running,
    /// It was asked to end, and is killed at the deadline.
    Stopping {
        deadline: Duration,
        killed: bool,
        then: AfterStop,
    },
    /// It has ended, and is started again at this time. What is left of its process group must be gone by then.
    Waiting {
        until: Duration,
        left: Option<Pid>,
    },
    /// It is not started again.
    Ended {
        code: u8,
        at: Duration,
    },
}

/// What comes after the program's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AfterStop {
    /// To exit with this code, or the program's own.
    Exit(Option<u8>),
    /// To start it again.
    Restart,
}

impl Phase {
    pub(super) fn deadline(self) -> Option<Duration> {
        match self {
            Phase::Stopping { deadline, killed: false, .. } => Some(deadline),
            Phase::Waiting { until, .. } => Some(until),
            Phase::Ended { at, .. } => Some(at),
            Phase::Running | Phase::Stopping { .. } => None,
        }
    }
}

/// How long to wait before the program is started again: longer each time, until it has run for a while.
#[derive(Debug)]
pub(super) struct Restarts {
    started: Duration,
    in_a_row: u32,
    had_kill: bool,
    /// Until when somebody's wish holds that the program should end.
    asked_until: Option<Duration>,
}

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// After so long a run the waiting begins anew.
const LONG_RUN: Duration = Duration::from_secs(300);

impl Restarts {
    pub(super) fn new(now: Duration) -> Self {
        Restarts { started: now, in_a_row: 0, had_kill: false, asked_until: None }
    }

    /// A kill was told since the program was started.
    pub(super) fn kill_told(&mut self) {
        self.had_kill = true;
    }

    /// Whether one was.
    pub(super) fn had_kill(&self) -> bool {
        self.had_kill
    }

    /// Somebody wants the program to end, which holds until then: a restart would undo that.
    pub(super) fn asked_to_end(&mut self, until: Duration) {
        self.asked_until = self.asked_until.max(Some(until));
    }

    fn is_asked_to_end(&self, now: Duration) -> bool {
        self.asked_until.is_some_and(|until| now <= until)
    }

    fn started(&mut self, now: Duration) {
        self.started = now;
        self.had_kill = false;
        self.asked_until = None;
    }

    /// The time until the next start.
    fn next_wait(&mut self, now: Duration) -> Duration {
        if now.saturating_sub(self.started) >= LONG_RUN {
            self.in_a_row = 0;
        }
        let wait = SHORTEST.saturating_mul(2_u32.saturating_pow(self.in_a_row)).min(LONGEST);
        self.in_a_row = self.in_a_row.saturating_add(1);
        wait
    }
}

impl Supervisor {
    /// Asks the program to end, for the reason `why`.
    pub(super) fn stop_main(&mut self, then: AfterStop, why: &str, now: Duration) {
        let (Some(main), Phase::Running) = (self.main, self.phase) else { return };
        let signal = self.options.stop_signal;
        self.log.say(Level::Warning, format_args!("{why}: ending the program with {signal}"));
        if let Err(errno) = send_signal(self.recipient(main), signal) {
            self.log.say(Level::Warning, format_args!("{signal} can't be sent: {errno}"));
        }
        self.phase = Phase::Stopping { deadline: now.saturating_add(self.options.grace), killed: false, then };
    }

    /// Kills the program at the end of its grace, starts it after the wait; the exit code where that is all.
    pub(super) fn go_on_stopping(&mut self, now: Duration) -> Option<u8> {
        match self.phase {
            Phase::Stopping { deadline, killed: false, then } if now >= deadline => {
                let grace = self.options.grace;
                self.log.say(Level::Warning, format_args!("the program has not ended within {grace:?}: SIGKILL"));
                if let Some(main) = self.main {
                    let _ = send_signal(self.recipient(main), Signal::KILL);
                }
                self.phase = Phase::Stopping { deadline, killed: true, then };
                None
            }
            Phase::Waiting { until, left } if now >= until => {
                if let Some(left) = left {
                    let _ = send_signal(Recipient::Group(left), Signal::KILL);
                }
                self.start_again(now);
                None
            }
            Phase::Ended { code, .. } => Some(code),
            _ => None,
        }
    }

    /// The program has ended. Returns the exit code, unless it is to be started again.
    pub(super) fn main_ended(&mut self, main: Pid, what: ChildChange, now: Duration) -> Option<u8> {
        if let Some(memory) = &mut self.memory {
            memory.count_kills(now);
        }
        self.tell_kills(now);
        self.main = None;
        let code = self.code_of_end(what);
        let then = match (self.phase, self.options.on_oom_kill) {
            // It may have ended by itself before anybody could end it.
            (_, OnOomKill::Exit) if self.had_kill() => AfterStop::Exit(Some(KILLED)),
            (Phase::Stopping { then, .. }, _) => then,
            (_, OnOomKill::Restart) if self.had_kill() => AfterStop::Restart,
            _ => AfterStop::Exit(None),
        };
        match then {
            AfterStop::Exit(wanted) => return Some(wanted.unwrap_or(code)),
            AfterStop::Restart if self.restarts.is_asked_to_end(now) => return Some(code),
            AfterStop::Restart => {}
        }
        let wait = self.restarts.next_wait(now);
        self.log.say(Level::Warning, format_args!("the program ended with {code}; it is started again in {wait:?}"));
        let _ = send_signal(Recipient::Group(main), self.options.stop_signal);
        // So that its keys reach this process, and it can be handed over again.
        take_back_terminal(rustix::stdio::stdin(), main);
        self.is_stopped = false;
        self.phase = Phase::Waiting { until: now.saturating_add(wait), left: Some(main) };
        None
    }

    /// Until when a wish holds that the program should end, if a signal is one. Programs that live on with SIGINT or
    /// SIGQUIT take them for something else: a Java machine prints its threads. SIGHUP is no such wish: to most programs
    /// that run for long it means to read their configuration again.
    pub(super) fn holds_until(&self, signal: Signal, now: Duration) -> Option<Duration> {
        match signal {
            signal if signal == self.options.stop_signal => Some(Duration::MAX),
            Signal::TERM => Some(Duration::MAX),
            Signal::INT | Signal::QUIT => Some(now.saturating_add(self.options.grace)),
            _ => None,
        }
    }

    #[cold]
    fn start_again(&mut self, now: Duration) {
        let variables = self.pressure_socket.as_ref().map(PressureSocket::variables);
        let variables = variables.as_ref().map_or(&[][..], |all| &all[..]);
        match main_program::start(&self.options, &self.log, self.before, variables) {
            Ok(main) => {
                self.main = Some(main);
                self.phase = Phase::Running;
                self.restarts.started(now);
                if let Some(memory) = &mut self.memory {
                    memory.begin_anew();
                }
            }
            Err(errno) => {
                self.log.say(Level::Error, format_args!("the program can't be started again: {errno}"));
                self.phase = Phase::Waiting { until: now.saturating_add(self.restarts.next_wait(now)), left: None };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_until_the_program_has_run_for_long() {
        let mut restarts = Restarts::new(Duration::ZERO);
        let mut now = Duration::ZERO;
        for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
            assert_eq!(restarts.next_wait(now), Duration::from_secs(expected));
            restarts.started(now);
            now += Duration::from_secs(1);
        }
        now += LONG_RUN;
        assert_eq!(restarts.next_wait(now), SHORTEST);
    }
}
