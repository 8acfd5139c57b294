//! Kills by the kernel: told, and acted on.

use std::fmt::Write;
use std::time::Duration;

use reprieve_judgement::{ContainerKill, Evidence};
use reprieve_readings::Escaped;

use super::stopping::{AfterStop, Phase};
use super::{Supervisor, raw};
use crate::log::{Field, Fields, Level, Line};
use crate::memory_watch::MemoryWatch;
use crate::options::OnOomKill;

/// The exit code of a program that SIGKILL ended, which Kubernetes shows for a kill.
pub(super) const KILLED: u8 = 137;

impl Supervisor {
    /// Tells of all kills that were counted, as far as their victims are known by now, and does what the policy asks for.
    pub(super) fn deal_with_kills(&mut self, now: Duration) {
        for kill in self.next_kills(now) {
            self.tell_kill(kill);
            self.act_on_kill(kill, now);
        }
    }

    /// Only tells of them: the program has ended.
    pub(super) fn tell_kills(&mut self, now: Duration) {
        for kill in self.next_kills(now) {
            self.tell_kill(kill);
        }
    }

    fn next_kills(&mut self, now: Duration) -> Vec<ContainerKill> {
        self.memory.as_mut().map(|memory| memory.next_kills(now)).unwrap_or_default()
    }

    /// Whether there was a kill since the program was started, told or not.
    pub(super) fn had_kill(&self) -> bool {
        self.restarts.had_kill() || self.memory.as_ref().is_some_and(MemoryWatch::owes_a_kill)
    }

    // Apart, so that its buffer is not a part of the loop's own frame.
    #[inline(never)]
    fn tell_kill(&mut self, kill: ContainerKill) {
        self.restarts.kill_told();
        let limit = self.memory.as_ref().and_then(|memory| memory.limit());
        let mut sentence = Line::new();
        // Writing to a line never fails.
        let _ = match kill {
            Some((victim, evidence)) => {
                let likely = if evidence == Evidence::Gone { "a process, most likely " } else { "process " };
                write!(sentence, "the kernel killed {likely}{} ({})", victim.pid, Escaped(victim.name.as_bytes()))
            }
            None => sentence.write_str("the kernel killed a process that is not known"),
        };
        let _ = sentence.write_str(" for want of memory");
        let _ = match limit {
            Some(limit) => write!(sentence, " (limit {limit})"),
            None => Ok(()),
        };
        let main = self.main.map(raw);
        let fields = Fields::new()
            .with("limit_bytes", limit.map(|limit| Field::Number(limit.get())))
            .with("pid", kill.map(|(victim, _)| Field::Number(victim.pid.into())))
            .with("name", kill.as_ref().map(|(victim, _)| Field::Bytes(victim.name.as_bytes())))
            .with("main", kill.map(|(victim, _)| Field::Truth(main == Some(victim.pid))))
            .with("evidence", kill.map(|(_, evidence)| Field::Bytes(name_of(evidence))));
        let text = std::str::from_utf8(sentence.bytes()).unwrap_or_default();
        self.log.event(Level::Error, "oom_kill", format_args!("{text}"), fields.as_slice());
        if let Some(log) = &mut self.termination_log
            && let Err(problem) = log.append(text)
        {
            self.log.say(Level::Warning, format_args!("{problem}"));
        }
    }

    /// What the policy asks for, where the program itself lives on. If it does not, `main_ended` knows.
    #[cold]
    fn act_on_kill(&mut self, kill: ContainerKill, now: Duration) {
        let is_main = kill.is_some_and(|(victim, _)| self.main.map(raw) == Some(victim.pid));
        if is_main || self.main.is_none() || self.phase != Phase::Running {
            return;
        }
        match self.options.on_oom_kill {
            OnOomKill::Report => {}
            OnOomKill::Signal(signal) => self.signal_main(signal, "--on-oom-kill"),
            OnOomKill::Exit => self.stop_main(AfterStop::Exit(Some(KILLED)), "--on-oom-kill exit", now),
            OnOomKill::Restart => self.stop_main(AfterStop::Restart, "--on-oom-kill restart", now),
        }
    }
}

fn name_of(evidence: Evidence) -> &'static [u8] {
    match evidence {
        Evidence::Reaped => b"reaped",
        Evidence::Dying => b"dying",
        Evidence::Gone => b"gone",
    }
}
