//! Which lines make up which report.
//!
//! The kernel prints one report at a time, by one task, while others print what they have to say. So a line goes to the
//! last report that its task has begun, if it can be a line of it, and begins another if not. A report has ended when
//! another of the same task has begun, or when enough else was printed after it.

use std::collections::VecDeque;

use super::draft::Draft;
use super::joiner::Message;
use super::line::{LogLine, Part, Reading, is_memcg_call, named};
use super::report::{LogTime, OomLogEvent, OtherKill};
use crate::kernel_log::line::Line;
use crate::kernel_log::text::{process_id, rsplit_once, split_once};

/// The reports that are under way.
#[derive(Debug, Default)]
pub(super) struct Assembly {
    /// In the order in which they began.
    slots: VecDeque<Slot>,
    /// The kernel's release, by the boot that came last.
    kernel: Option<Vec<u8>>,
}

#[derive(Debug)]
enum Slot {
    Report(Box<Draft>),
    /// Waits for the reports before it.
    Other(OtherKill),
}

impl Assembly {
    /// As many reports and kills are kept at once before the first must end.
    const MOST_SLOTS: usize = 8;

    /// Whether a report is under way.
    pub(super) fn is_open(&self) -> bool {
        !self.slots.is_empty()
    }

    /// Takes the next message of the kernel.
    pub(super) fn take(&mut self, message: &Message, columns: Option<&[Vec<u8>]>, tell: &mut dyn FnMut(OomLogEvent)) {
        self.pass(&message.origin.time);
        match Reading::of(&message.text, columns) {
            Reading::Whole(LogLine::Version(release)) => {
                self.finish(tell);
                self.kernel = Some(release.to_vec());
            }
            Reading::Whole(LogLine::Reaped(_) | LogLine::Unreaped(_)) => self.take_reaped(message),
            Reading::Whole(line) => {
                if let Some(draft) = self.draft_for(&line, message) {
                    draft.take(line, &message.origin.time);
                }
            }
            Reading::Part(part) => self.take_part(part, message),
            Reading::Nothing => {
                if let Some(draft) = self.draft_of(message) {
                    draft.take_piece(&message.text);
                    draft.is_memcg |= is_memcg_call(&message.text);
                }
            }
        }
        self.tell_ended(tell);
    }

    /// Takes a kill of another killer.
    pub(super) fn other_kill(&mut self, kill: OtherKill, tell: &mut dyn FnMut(OomLogEvent)) {
        self.slots.push_back(Slot::Other(kill));
        self.tell_ended(tell);
    }

    /// Ends the log.
    pub(super) fn finish(&mut self, tell: &mut dyn FnMut(OomLogEvent)) {
        for slot in self.slots.drain(..) {
            tell(slot.into_event());
        }
    }

    fn drafts(&mut self) -> impl DoubleEndedIterator<Item = &mut Draft> {
        self.slots.iter_mut().filter_map(|slot| match slot {
            Slot::Report(draft) => Some(&mut **draft),
            Slot::Other(_) => None,
        })
    }

    /// The report that the task of the message printed last.
    fn draft_of(&mut self, message: &Message) -> Option<&mut Draft> {
        let caller = message.origin.caller;
        self.drafts().rfind(|draft| draft.caller() == caller).filter(|draft| !draft.is_superseded)
    }

    /// The report that the line is of. It is a new one where the line is of none that has begun.
    fn draft_for(&mut self, line: &LogLine<'_>, message: &Message) -> Option<&mut Draft> {
        let is_known = self.draft_of(message).is_some_and(|draft| draft.accepts(line, &message.origin.time));
        if is_known {
            return self.draft_of(message);
        }
        if Draft::begins_with(line) { self.begin(message) } else { None }
    }

    fn begin(&mut self, message: &Message) -> Option<&mut Draft> {
        let caller = message.origin.caller;
        self.drafts().filter(|draft| draft.caller() == caller).for_each(|draft| draft.is_superseded = true);
        let draft = Draft::new(message, self.kernel.clone());
        self.slots.push_back(Slot::Report(Box::new(draft)));
        self.drafts().next_back()
    }

    /// The oom_reaper is a task of its own, so its lines are known by the victim.
    fn take_reaped(&mut self, message: &Message) {
        let Reading::Whole(line) = Reading::of(&message.text, None) else { return };
        let (pid, name) = match &line {
            LogLine::Reaped(reaped) => (reaped.pid, Some(reaped.name.as_slice())),
            LogLine::Unreaped(process) => (process.pid, process.name.as_deref()),
            _ => return,
        };
        let knows = |draft: &Draft| draft.has_victim(pid);
        let by_pid = self.drafts().rposition_of(knows);
        let by_name = || name.map(|name| move |draft: &Draft| draft.has_victim_called(name));
        let index = match by_pid {
            Some(index) => Some(index),
            // The reaper names a thread where the leader has ended.
            None => by_name().and_then(|called| self.drafts().rposition_of(called)),
        };
        if let Some(draft) = index.and_then(|index| self.drafts().nth(index)) {
            draft.take(line, &message.origin.time);
        }
    }

    /// Takes a line that was cut.
    fn take_part(&mut self, part: Part, message: &Message) {
        let time = &message.origin.time;
        match (part, Line::parse(&message.text)) {
            (Part::Empty, _) => {}
            (Part::Invoked, _) => {
                if let Some(draft) = self.begin(message) {
                    draft.take_cut_invocation(&message.text);
                }
            }
            (Part::Kill, Some(line @ (Line::Killed(_) | Line::Announced { .. } | Line::AlreadyExiting { .. })))
            | (Part::Trace, Some(line @ Line::Trace { .. })) => {
                let line = LogLine::Kill(line);
                if let Some(draft) = self.draft_for(&line, message) {
                    draft.take(line, time);
                    draft.is_cut |= part == Part::Kill;
                }
            }
            (Part::Kill, _) => self.take_cut_kill(message),
            (Part::Summary, Some(line)) => {
                let line = LogLine::Kill(line);
                if let Some(draft) = self.draft_for(&line, message) {
                    draft.take(line, time);
                    draft.is_cut = true;
                }
            }
            _ => {
                if let Some(draft) = self.draft_of(message) {
                    draft.take_cut_line(part, &message.text);
                }
            }
        }
    }

    /// `Killed process N (NAME)` without sizes. A number that ends the line may have lost digits: then it counts only if
    /// the summary names the same.
    fn take_cut_kill(&mut self, message: &Message) {
        let Some((_, rest)) = split_once(&message.text, b"Killed process ") else { return };
        let time = &message.origin.time;
        if let Some(process) = named(rest).or_else(|| unnamed(rest)) {
            let is_known = self.draft_of(message).is_some_and(|draft| draft.accepts_cut_kill(process.pid));
            let draft = if is_known { self.draft_of(message) } else { self.begin(message) };
            if let Some(draft) = draft {
                draft.take_cut_kill(process, &message.text, time);
            }
        } else if let Some(pid) = process_id(rest.trim_ascii())
            && let Some(draft) = self.draft_of(message).filter(|draft| draft.chose(pid))
        {
            draft.take_cut_kill(super::report::NamedProcess { pid, name: None }, &message.text, time);
        }
    }

    /// Lets the drafts see that something was printed.
    fn pass(&mut self, time: &LogTime) {
        self.drafts().for_each(|draft| draft.pass(time));
    }

    fn tell_ended(&mut self, tell: &mut dyn FnMut(OomLogEvent)) {
        loop {
            let later = self.slots.len().saturating_sub(1);
            let has_ended = match self.slots.front() {
                None => return,
                Some(Slot::Other(_)) => true,
                Some(Slot::Report(draft)) => draft.has_ended() || (draft.is_superseded && later >= 2),
            };
            if !has_ended && self.slots.len() <= Self::MOST_SLOTS {
                return;
            }
            if let Some(slot) = self.slots.pop_front() {
                tell(slot.into_event());
            }
        }
    }
}

impl Slot {
    fn into_event(self) -> OomLogEvent {
        match self {
            Slot::Report(draft) => OomLogEvent::Report(Box::new(draft.finish())),
            Slot::Other(kill) => OomLogEvent::OtherKill(kill),
        }
    }
}

/// `N (NAM`: the name was cut.
fn unnamed(text: &[u8]) -> Option<super::report::NamedProcess> {
    let (pid, _) = rsplit_once(text, b" (")?;
    Some(super::report::NamedProcess { pid: process_id(pid)?, name: None })
}

/// Finding from the end, without the exact size that [`Iterator::rposition`] wants.
trait PositionFromEnd<'a> {
    fn rposition_of(self, wanted: impl Fn(&Draft) -> bool) -> Option<usize>;
}

impl<'a, I: Iterator<Item = &'a mut Draft>> PositionFromEnd<'a> for I {
    fn rposition_of(self, wanted: impl Fn(&Draft) -> bool) -> Option<usize> {
        self.enumerate().filter(|(_, draft)| wanted(draft)).last().map(|(index, _)| index)
    }
}
