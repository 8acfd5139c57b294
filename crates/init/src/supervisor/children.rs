//! Children that end, orphans among them, and stops of the program.

use std::time::Duration;

use reprieve_linux::{
    ChildChange, ChildEvent, next_ended_child, process_name, reap, stop_or_continuation, stop_tracing,
};
use reprieve_readings::{ProcessName, Signal};
use rustix::process::Pid;

use super::stopping::Phase;
use super::{Supervisor, code_of, raw};
use crate::log::Level;

/// As many in one round; then signals and deadlines have their turn.
const BATCH: usize = 256;

impl Supervisor {
    /// Lets go of children that have ended. Returns the exit code where the program is among them, for good.
    pub(super) fn reap_children(&mut self, now: Duration) -> Option<u8> {
        self.more_children = false;
        let mut code = None;
        for _ in 0..BATCH {
            match next_ended_child() {
                Ok(Some(ChildEvent { pid, what: ChildChange::Traced(signal) })) => {
                    self.log.say(Level::Info, format_args!("process {} asked to be traced; it is let go", raw(pid)));
                    if stop_tracing(pid, signal).is_err() {
                        break;
                    }
                }
                Ok(Some(event)) => code = self.child_ended(event, now).or(code),
                Ok(None) => {
                    self.look_for_stop();
                    return code;
                }
                Err(errno) => {
                    self.log.say(Level::Error, format_args!("children can't be waited for: {errno}"));
                    return code;
                }
            }
        }
        self.more_children = true;
        code
    }

    #[cold]
    fn child_ended(&mut self, event: ChildEvent, now: Duration) -> Option<u8> {
        let ChildEvent { pid, what } = event;
        let killed = what == ChildChange::Killed(Signal::KILL) && !self.has_killed(pid);
        // Its name is to be had only until it is let go of.
        let tells = self.tells_of_reaping();
        let name = match &mut self.memory {
            Some(memory) if killed => memory.child_killed(raw(pid), now),
            _ if tells => process_name(raw(pid)).unwrap_or_default(),
            _ => ProcessName::default(),
        };
        if let Err(errno) = reap(pid) {
            self.log.say(Level::Warning, format_args!("process {} can't be reaped: {errno}", raw(pid)));
        }
        if self.main == Some(pid) {
            return self.main_ended(pid, what, now);
        }
        if self.hook.as_ref().is_some_and(|hook| hook.pid == pid) {
            self.hook_ended(what, now);
        } else {
            self.tell_of_reaping(pid, name);
        }
        None
    }

    /// Whether this process itself sent it SIGKILL: the end of its grace, or of the hook's time.
    fn has_killed(&self, pid: Pid) -> bool {
        let hook = self.hook.as_ref().is_some_and(|hook| hook.pid == pid && hook.deadline == Duration::MAX);
        hook || (self.main == Some(pid) && matches!(self.phase, Phase::Stopping { killed: true, .. }))
    }

    fn tells_of_reaping(&self) -> bool {
        self.options.warn_on_reap || self.log.most >= Level::Debug
    }

    fn tell_of_reaping(&self, pid: Pid, name: ProcessName) {
        if self.tells_of_reaping() {
            let level = if self.options.warn_on_reap { Level::Warning } else { Level::Debug };
            let name = reprieve_readings::Escaped(name.as_bytes());
            self.log.say(level, format_args!("reaped process {} ({name})", raw(pid)));
        }
    }

    fn look_for_stop(&mut self) {
        let Some(main) = self.main else { return };
        while let Ok(Some(event)) = stop_or_continuation(main) {
            match event.what {
                ChildChange::Stopped(signal) => self.program_stopped(signal),
                ChildChange::Continued => self.is_stopped = false,
                ChildChange::Traced(signal) => {
                    let _ = stop_tracing(main, signal);
                }
                _ => {}
            }
        }
    }

    /// The exit code that stands for how the program ended.
    pub(super) fn code_of_end(&self, what: ChildChange) -> u8 {
        let code = match what {
            ChildChange::Exited(code) => u8::try_from(code & 0xff).unwrap_or(0),
            ChildChange::Killed(signal) | ChildChange::Stopped(signal) | ChildChange::Traced(signal) => code_of(signal),
            ChildChange::Continued => 0,
        };
        if self.options.expected_codes.contains(&code) { 0 } else { code }
    }
}
