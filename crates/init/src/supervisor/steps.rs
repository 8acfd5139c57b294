//! The steps of the ladder: what is done when a rung is reached, and when its episode is over.

use std::fmt::Write;
use std::time::Duration;

use reprieve_judgement::{LadderEvent, Threshold};
use reprieve_linux::ChildChange;
use reprieve_readings::Bytes;

use super::Supervisor;
use super::stopping::AfterStop;
use crate::hook::{self, Facts};
use crate::log::{Field, Fields, Level, Line};

impl Supervisor {
    /// Does what an event on the ladder asks for.
    pub(super) fn climb(&mut self, event: LadderEvent, now: Duration) {
        match event {
            LadderEvent::Reached { rung, threshold } => self.reached(rung, threshold, now),
            LadderEvent::Over { rung } => {
                self.log.event(
                    Level::Warning,
                    "memory_recovered",
                    format_args!("enough memory is available again"),
                    &[],
                );
                if self.options.steps_of(rung).unready {
                    self.set_ready(true);
                }
            }
        }
    }

    /// The gravest step comes last, after all that are to happen before the program's end.
    fn reached(&mut self, rung: usize, threshold: Threshold, now: Duration) {
        let (Some(main), Some(memory)) = (self.main, &self.memory) else { return };
        let facts = memory.facts(main);
        self.tell_warning(threshold, &facts);
        let steps = self.options.steps_of(rung);
        if steps.unready {
            self.set_ready(false);
        }
        if steps.notify
            && let Some(socket) = &mut self.pressure_socket
        {
            let told = socket.notify();
            self.log.say(Level::Info, format_args!("{told} clients were told of memory pressure"));
        }
        if steps.signal {
            self.signal_main(self.options.warn_signal, "--warn");
        }
        if steps.hook {
            self.start_hook(&facts, now);
        }
        if steps.stop {
            self.stop_main(AfterStop::Exit(self.options.stop_code), "--warn", now);
        }
    }

    // Apart, so that its buffer is not a part of the loop's own frame.
    #[inline(never)]
    fn tell_warning(&self, threshold: Threshold, facts: &Facts) {
        let mut sentence = Line::new();
        // Writing to a line never fails.
        let _ = match (facts.available, facts.limit) {
            (Some(available), Some(limit)) => write!(sentence, "{available} of {limit} are available"),
            _ => sentence.write_str("memory is short"),
        };
        let _ = match (threshold, facts.time_left, facts.pressure) {
            (Threshold::TimeLeft(_), Some(left), _) => {
                write!(sentence, ", and none in {:.1} s at this speed", left.as_secs_f64())
            }
            (Threshold::Pressure(_), _, Some(percent)) => {
                write!(sentence, ", and processes waited for memory {percent} % of the last 10 s")
            }
            _ => Ok(()),
        };
        let bytes = |bytes: Option<Bytes>| bytes.map(|bytes| Field::Number(bytes.get()));
        let fields = Fields::new()
            .with("available_bytes", bytes(facts.available))
            .with("limit_bytes", bytes(facts.limit))
            .with("seconds_left", facts.time_left.map(|left| Field::Decimal(left.as_secs_f64())))
            .with("pressure_percent", facts.pressure.map(|percent| Field::Decimal(percent.into())));
        let text = std::str::from_utf8(sentence.bytes()).unwrap_or_default();
        self.log.event(Level::Warning, "memory_low", format_args!("{text}"), fields.as_slice());
    }

    fn set_ready(&mut self, ready: bool) {
        if let Err(error) = self.readiness.set(ready) {
            self.log.say(Level::Warning, format_args!("--ready-file: {error}"));
        }
    }

    fn start_hook(&mut self, facts: &Facts, now: Duration) {
        if self.hook.is_some() {
            self.log.say(Level::Warning, format_args!("the hook still runs, and is not started again"));
            return;
        }
        match hook::start(&self.options, &self.log, self.before, facts, now) {
            Ok(hook) => self.hook = hook,
            Err(errno) => self.log.say(Level::Warning, format_args!("the hook can't be started: {errno}")),
        }
    }

    pub(super) fn end_overdue_hook(&mut self, now: Duration) {
        if let Some(hook) = self.hook.as_mut().filter(|hook| now >= hook.deadline) {
            let time = self.options.hook_timeout;
            self.log.say(Level::Warning, format_args!("the hook has not ended within {time:?}: SIGKILL"));
            hook.kill();
            hook.deadline = Duration::MAX;
        }
    }

    pub(super) fn hook_ended(&mut self, what: ChildChange) {
        self.hook = None;
        match what {
            ChildChange::Exited(0) => self.log.say(Level::Info, format_args!("the hook is done")),
            ChildChange::Exited(code) => self.log.say(Level::Warning, format_args!("the hook failed with {code}")),
            ChildChange::Killed(signal) => {
                self.log.say(Level::Warning, format_args!("the hook was ended by {signal}"));
            }
            ChildChange::Stopped(_) | ChildChange::Continued | ChildChange::Traced(_) => {}
        }
    }
}
