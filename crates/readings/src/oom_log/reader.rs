//! Reads a log, whatever its form, and gives the reports in it.
//!
//! Bytes become lines ([`Lines`]), lines messages with their origin ([`Envelopes`]), messages are joined where they were
//! wrapped ([`Joiner`]), and reports are put together of them ([`Assembly`]). While nothing is begun in any of these,
//! lines without a marker are passed over unread.

use super::assembly::Assembly;
use super::encoding::Encoding;
use super::envelope::Envelopes;
use super::joiner::{Joiner, Message};
use super::lines::Lines;
use super::other_kill;
use super::prefix::{Author, Origin};
use super::report::OomLogEvent;

/// Finds the OOM killer's reports in the bytes of a log.
///
/// It keeps a bounded part of the log, whatever comes in: less than a mebibyte of text, and the reports that have not
/// ended, of which the longest take some mebibytes. How the log is cut into pieces makes no difference to what is told.
///
/// ```
/// use reprieve_readings::{OomLogEvent, OomLogReader};
///
/// let log = b"[7.000001] Out of memory: Killed process 5 (java) total-vm:9kB, anon-rss:8kB, file-rss:0kB, shmem-rss:0kB\n";
/// let mut reader = OomLogReader::new();
/// let mut killed = Vec::new();
/// let mut tell = |event| {
///     if let OomLogEvent::Report(report) = event {
///         killed.extend(report.victims.iter().map(|victim| victim.pid));
///     }
/// };
/// for chunk in log.chunks(16) {
///     reader.feed(chunk, &mut tell);
/// }
/// reader.finish(&mut tell);
/// assert_eq!(killed, [5]);
/// ```
#[derive(Debug)]
pub struct OomLogReader {
    encoding: Encoding,
    lines: Lines,
    rest: Messages,
}

/// What comes behind the lines.
#[derive(Debug, Default)]
struct Messages {
    envelopes: Envelopes,
    behind: BehindEnvelopes,
}

/// What comes behind the envelopes.
#[derive(Debug, Default)]
struct BehindEnvelopes {
    last_number: Option<u64>,
    /// Where the last message with a prefix came from.
    last_origin: Origin,
    joiner: Joiner,
    assembly: Assembly,
}

impl Default for OomLogReader {
    fn default() -> Self {
        Self::new()
    }
}

impl OomLogReader {
    /// A reader at the beginning of a log.
    pub fn new() -> Self {
        OomLogReader { encoding: Encoding::default(), lines: Lines::new(), rest: Messages::default() }
    }

    /// Takes the next bytes of the log, as many as there are at hand. `tell` is called with each event that they end, in
    /// the order of the log.
    pub fn feed(&mut self, bytes: &[u8], mut tell: impl FnMut(OomLogEvent)) {
        for block in bytes.chunks(Lines::BLOCK) {
            let OomLogReader { encoding, lines, rest } = self;
            encoding.decode(block, &mut |text| {
                if lines.push(text) {
                    rest.take_lines(lines, &mut tell);
                }
            });
        }
    }

    /// Tells what has begun as it is, for nothing more comes for now, and goes on with the log.
    pub fn flush(&mut self, mut tell: impl FnMut(OomLogEvent)) {
        std::mem::take(&mut self.rest).finish(&mut tell);
    }

    /// Ends the log. `tell` is called with what has not been told yet.
    pub fn finish(mut self, mut tell: impl FnMut(OomLogEvent)) {
        let OomLogReader { encoding, lines, rest } = &mut self;
        encoding.finish(&mut |text| {
            if lines.push(text) {
                rest.take_lines(lines, &mut tell);
            }
        });
        if lines.finish() {
            rest.take_lines(lines, &mut tell);
        }
        rest.finish(&mut tell);
    }

    /// How many bytes of text are kept at the moment.
    pub fn kept(&self) -> usize {
        self.lines.kept()
    }
}

impl Messages {
    fn take_lines(&mut self, lines: &mut Lines, tell: &mut dyn FnMut(OomLogEvent)) {
        while let Some(line) = lines.next(self.is_open()) {
            let Messages { envelopes, behind } = self;
            behind.see_line(line.number);
            envelopes.open(line.text, &mut |origin, text| behind.take(line.number, origin, text, tell));
        }
    }

    fn is_open(&self) -> bool {
        self.envelopes.is_open() || self.behind.joiner.is_holding() || self.behind.assembly.is_open()
    }

    fn finish(&mut self, tell: &mut dyn FnMut(OomLogEvent)) {
        let Messages { envelopes, behind } = self;
        let number = behind.last_number.unwrap_or_default();
        envelopes.finish(&mut |origin, text| behind.take(number, origin, text, tell));
        let BehindEnvelopes { joiner, assembly, .. } = behind;
        joiner.finish(&mut |message, joiner| assembly.take(message, joiner.columns(), tell));
        assembly.finish(tell);
    }
}

impl BehindEnvelopes {
    /// Forgets, where lines were passed over, what went before them.
    fn see_line(&mut self, number: u64) {
        if self.last_number.replace(number).is_some_and(|last| last + 1 != number) {
            self.last_origin = Origin::default();
        }
    }

    fn take(&mut self, number: u64, origin: &Origin, text: &[u8], tell: &mut dyn FnMut(OomLogEvent)) {
        let mut origin = origin.clone();
        if origin.has_prefix {
            self.last_origin = Origin { has_prefix: false, ..origin.clone() };
        } else if origin == Origin::default()
            && (!matches!(self.last_origin.author, Author::Program(_)) || text.starts_with(b" "))
        {
            // A message of several lines. journalctl indents what is not the first, and a program's is not to be taken for
            // the kernel's there.
            origin = self.last_origin.clone();
        }
        if let Some(kill) = other_kill::parse(number, &origin, text) {
            self.assembly.other_kill(kill, tell);
            return;
        }
        if let Author::Program(_) = origin.author {
            return;
        }
        let message = Message { number, origin, text: without_indentation(text.trim_ascii_end()).to_vec() };
        let BehindEnvelopes { joiner, assembly, .. } = self;
        joiner.take(message, &mut |message, joiner| assembly.take(message, joiner.columns(), tell));
    }
}

/// Up to Linux 3.18 one record begins with a blank that is its own.
fn without_indentation(text: &[u8]) -> &[u8] {
    let trimmed = text.trim_ascii_start();
    if trimmed.starts_with(b"killed as a result of limit of ") {
        let blank = text.len().saturating_sub(trimmed.len() + 1);
        return text.get(blank..).unwrap_or(trimmed);
    }
    trimmed
}
