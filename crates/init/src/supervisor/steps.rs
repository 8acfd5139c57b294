//! The steps of the ladder: what is done when a rung is reached, and when its episode is over.

use std::fmt::Write;
use std::time::Duration;

use reprieve_judgement::{LadderEvent, Threshold};
use reprieve_linux::ChildChange;
use reprieve_readings::Bytes;

use super::Supervisor;
use super::stopping::{AfterStop, Phase};
use crate::hook::{self, Facts};
use crate::log::{Field, Fields, Level, Line};
use crate::memory_watch::MemoryWatch;

impl Supervisor {
    /// Does what an event on the ladder asks for.
    #[cold]
    pub(super) fn climb(&mut self, event: LadderEvent, now: Duration) {
        match event {
            LadderEvent::Reached { rung, threshold } => self.reached(rung, threshold, now),
            LadderEvent::Over { .. } => {
                if self.memory.as_ref().is_some_and(|memory| memory.reached().next().is_none()) {
                    let sentence = format_args!("enough memory is available again");
                    self.log.event(Level::Warning, "memory_recovered", sentence, &[]);
                }
            }
        }
    }

    /// The gravest step comes last, after all that are to happen before the program's end: the hook, too, may be about the
    /// program as it runs.
    fn reached(&mut self, rung: usize, threshold: Threshold, now: Duration) {
        let (Some(main), Some(memory)) = (self.main, &self.memory) else { return };
        let facts = memory.facts(main);
        self.tell_warning(threshold, &facts);
        let steps = self.options.steps_of(rung);
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
        match self.hook.as_mut().filter(|hook| steps.hook && hook.main == main) {
            Some(hook) if steps.stop => hook.then_stop = true,
            _ if steps.stop => self.stop_for_warning(now),
            _ => {}
        }
    }

    fn stop_for_warning(&mut self, now: Duration) {
        self.stop_main(AfterStop::Exit(self.options.stop_code), "--warn", now);
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

    /// Ready is a container whose program runs, is not being ended, and on no rung that says otherwise.
    pub(super) fn tell_readiness(&mut self) {
        let reached = self.memory.iter().flat_map(MemoryWatch::reached);
        let is_short = reached.into_iter().any(|rung| self.options.steps_of(rung).unready);
        let ready = self.main.is_some() && self.phase == Phase::Running && !is_short;
        if ready != self.readiness.is_ready()
            && let Err(error) = self.readiness.set(ready)
        {
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

    /// This process ends, with which PID 1 takes along all others: so it is elsewhere too.
    pub(super) fn end_hook(&self) {
        if let Some(hook) = &self.hook {
            self.log.say(Level::Warning, format_args!("the program has ended before the hook, which ends with it"));
            hook.kill();
        }
    }

    pub(super) fn hook_ended(&mut self, what: ChildChange, now: Duration) {
        self.tell_of_hook(what);
        if self.hook.take().is_some_and(|hook| hook.then_stop && self.main == Some(hook.main)) {
            self.stop_for_warning(now);
        }
    }

    fn tell_of_hook(&self, what: ChildChange) {
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
