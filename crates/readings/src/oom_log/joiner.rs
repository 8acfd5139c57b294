//! Puts lines together that a mail, a terminal or a page has wrapped.
//!
//! Only a line that begins like one of a report, and lacks its end, is held back to see whether the next one goes on with
//! it. That must have no prefix and be no line of a report itself. Mails wrap at blanks, terminals anywhere; what is
//! understood of the result tells which it was.

use super::line::{LogLine, Part, Reading};
use super::prefix::Origin;
use super::tasks;

/// A message that may be a line of a report, with where it comes from.
#[derive(Debug, Clone, Default)]
pub(super) struct Message {
    pub(super) number: u64,
    pub(super) origin: Origin,
    pub(super) text: Vec<u8>,
}

/// Takes messages in order and gives them on whole.
#[derive(Debug, Default)]
pub(super) struct Joiner {
    held: Option<Message>,
    pieces: u32,
    /// The columns of the table of processes that came last.
    columns: Option<Vec<Vec<u8>>>,
}

impl Joiner {
    /// No line is wrapped into more pieces.
    const MOST_PIECES: u32 = 16;
    const LONGEST: usize = 16 * 1024;
    const MOST_COLUMNS: usize = 24;

    /// Whether a line is held back.
    pub(super) fn is_holding(&self) -> bool {
        self.held.is_some()
    }

    /// The columns of the table of processes, if there was one.
    pub(super) fn columns(&self) -> Option<&[Vec<u8>]> {
        self.columns.as_deref()
    }

    /// Takes the next message. `give` gets those that are whole now, or will never be.
    pub(super) fn take(&mut self, message: Message, give: &mut dyn FnMut(&Message, &Joiner)) {
        let message = match self.held.take() {
            Some(held) => match self.join(&held, &message) {
                Some(joined) => joined,
                None => {
                    self.give(&held, give);
                    message
                }
            },
            None => {
                self.pieces = 0;
                message
            }
        };
        let goes_on = message.text.ends_with(b"\\");
        match Reading::of(&message.text, self.columns()) {
            Reading::Part(Part::Empty) if !message.origin.has_prefix => {}
            Reading::Part(_) if message.text.len() <= Self::LONGEST && self.pieces < Self::MOST_PIECES => {
                self.held = Some(message);
            }
            _ if goes_on && message.text.starts_with(b"oom-kill:") => self.held = Some(message),
            reading if reading.may_go_on() => self.held = Some(message),
            _ => self.give(&message, give),
        }
    }

    /// Ends the log.
    pub(super) fn finish(&mut self, give: &mut dyn FnMut(&Message, &Joiner)) {
        if let Some(held) = self.held.take() {
            self.give(&held, give);
        }
    }

    fn give(&mut self, message: &Message, give: &mut dyn FnMut(&Message, &Joiner)) {
        self.pieces = 0;
        match Reading::of(&message.text, None) {
            Reading::Whole(LogLine::Header(header)) => {
                let columns = tasks::parse_columns(header);
                self.columns = (columns.len() <= Self::MOST_COLUMNS).then_some(columns);
            }
            // Rows of the next table are not to be read by the columns of this one.
            Reading::Whole(LogLine::Kill(crate::kernel_log::line::Line::Invoked(_))) => self.columns = None,
            _ => {}
        }
        give(message, self);
    }

    /// The message with what follows it, where the one goes on with the other.
    fn join(&mut self, held: &Message, next: &Message) -> Option<Message> {
        if next.origin.has_prefix || next.text.is_empty() {
            return None;
        }
        let columns = self.columns();
        let begun = Reading::of(&held.text, columns);
        let is_empty = matches!(begun, Reading::Part(Part::Empty));
        if !is_empty && !matches!(Reading::of(&next.text, columns), Reading::Nothing) && !is_rest(&next.text) {
            return None;
        }
        let held_text = held.text.strip_suffix(b"\\").unwrap_or(&held.text);
        let spaced = [held_text.trim_ascii_end(), b" ", next.text.trim_ascii_start()].concat();
        let glued = if held.text.ends_with(b"\\") {
            [held_text, next.text.trim_ascii_start()].concat()
        } else {
            [held_text, &next.text].concat()
        };
        let quality = |text: &[u8]| Reading::of(text, columns).quality(text);
        if begun.may_go_on() && quality(&spaced).max(quality(&glued)) <= begun.quality(&held.text) {
            return None;
        }
        let (of_spaced, of_glued) = (quality(&spaced), quality(&glued));
        let text = if is_empty {
            next.text.clone()
        } else if of_glued > of_spaced {
            glued
        } else {
            spaced
        };
        (of_spaced.max(of_glued).0 > 0 || is_empty).then(|| {
            self.pieces += 1;
            Message { text, ..held.clone() }
        })
    }
}

/// Whether the text, though it reads like a line of its own, can be the rest of one: a statistic has such a form.
fn is_rest(text: &[u8]) -> bool {
    matches!(
        Reading::of(text, None),
        Reading::Whole(LogLine::Pages(_) | LogLine::Stat { .. }) | Reading::Part(Part::Empty)
    )
}
