//! Lines on stderr: a sentence for people, or JSON with the parts as fields.
//!
//! A line is put together in a buffer of fixed size and written at once: nothing is allocated, since most of what is told
//! happens while memory is short. A first process must not stand still because nobody reads what it says, so a line that
//! stderr doesn't take at once is dropped, and how many were is told later.

use std::cell::Cell;
use std::fmt::{self, Write};
use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};

use reprieve_readings::Escaped;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::{Errno, ReadWriteFlags, pwritev2};
use rustix::net::{SendFlags, send};

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum LogFormat {
    /// A sentence.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// How much a line matters. The order is that of `-v`: more verbose comes later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Error,
    Warning,
    Info,
    Debug,
}

/// Where lines go, and which.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) format: LogFormat,
    pub(crate) most: Level,
    dropped: Cell<u32>,
    stderr: Stderr,
}

/// How to write to stderr without waiting for a reader. The program has the same file: to make it non-blocking would
/// change it for the program too.
#[derive(Debug)]
enum Stderr {
    /// Linux 6.4 and later can be asked not to wait; where the kernel refuses that, it may.
    Pipe,
    Socket,
    /// Opened once more, so that this one only is non-blocking.
    Terminal(OwnedFd),
    /// A file takes whatever is written. So does a terminal that can't be opened again, unless it is nearly full.
    Other,
}

/// A part of a line, beside its sentence.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Field<'a> {
    Number(u64),
    Decimal(f64),
    Truth(bool),
    Bytes(&'a [u8]),
}

/// The parts of a line, in a place of fixed size.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    parts: [(&'static str, Field<'a>); 8],
    count: usize,
}

impl<'a> Fields<'a> {
    pub(crate) fn new() -> Self {
        Fields { parts: [("", Field::Number(0)); 8], count: 0 }
    }

    /// Adds a part, if it is known.
    pub(crate) fn with(mut self, name: &'static str, field: Option<Field<'a>>) -> Self {
        if let (Some(field), Some(place)) = (field, self.parts.get_mut(self.count)) {
            *place = (name, field);
            self.count += 1;
        }
        self
    }

    pub(crate) fn as_slice(&self) -> &[(&'static str, Field<'a>)] {
        self.parts.get(..self.count).unwrap_or_default()
    }
}

/// One line.
pub(crate) struct Line {
    bytes: [u8; Line::LARGEST],
    length: usize,
}

impl Log {
    pub(crate) fn new(format: LogFormat, most: Level) -> Self {
        Log { format, most, dropped: Cell::new(0), stderr: Stderr::find() }
    }

    /// Says a sentence.
    pub(crate) fn say(&self, level: Level, sentence: fmt::Arguments<'_>) {
        self.event(level, "message", sentence, &[]);
    }

    /// Tells of an event with its parts. Only JSON shows these; the sentence must say what matters.
    #[inline(never)]
    pub(crate) fn event(&self, level: Level, event: &str, sentence: fmt::Arguments<'_>, fields: &[(&str, Field<'_>)]) {
        if level > self.most {
            return;
        }
        if self.dropped.get() > 0 {
            let dropped = self.dropped.replace(0);
            let line = self.line(
                Level::Warning,
                "dropped",
                format_args!("{dropped} lines were dropped: nobody read them"),
                &[],
            );
            if !self.write(&line) {
                self.dropped.set(dropped.saturating_add(1));
                return;
            }
        }
        if !self.write(&self.line(level, event, sentence, fields)) {
            self.dropped.set(self.dropped.get().saturating_add(1));
        }
    }

    fn line(&self, level: Level, event: &str, sentence: fmt::Arguments<'_>, fields: &[(&str, Field<'_>)]) -> Line {
        let mut line = Line::new();
        // Writing to a line never fails: what does not fit is cut off.
        let _ = match self.format {
            LogFormat::Text => write!(line, "reprieve-init: {sentence}"),
            LogFormat::Json => json(&mut line, level, event, sentence, fields),
        };
        line.end(if self.format == LogFormat::Json { b"\"}\n" } else { b"\n" });
        line
    }

    /// Whether the line was taken.
    fn write(&self, line: &Line) -> bool {
        let stderr = rustix::stdio::stderr();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let ready = poll(&mut [PollFd::new(&stderr, PollFlags::OUT)], Some(&now));
        ready.is_ok_and(|ready| ready > 0)
            && match self.stderr.write_at_once(stderr, line.bytes()) {
                Ok(written) => written == line.bytes().len(),
                // A closed pipe counts as taken: nobody will ever read what was dropped.
                Err(errno) => errno != Errno::AGAIN,
            }
    }
}

impl Stderr {
    fn find() -> Self {
        let stderr = rustix::stdio::stderr();
        let kind = rustix::fs::fstat(stderr).map(|stderr| FileType::from_raw_mode(stderr.st_mode));
        match kind {
            Ok(FileType::Fifo) => Stderr::Pipe,
            Ok(FileType::Socket) => Stderr::Socket,
            Ok(FileType::CharacterDevice) if rustix::termios::isatty(stderr) => {
                let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
                rustix::fs::open(c"/proc/self/fd/2", flags, Mode::empty()).map_or(Stderr::Other, Stderr::Terminal)
            }
            _ => Stderr::Other,
        }
    }

    /// The program may fill the file after it was ready: the call itself must not wait.
    fn write_at_once(&self, file: impl AsFd, bytes: &[u8]) -> Result<usize, Errno> {
        /// Where the file stands, as a pipe has no other place.
        const HERE: u64 = u64::MAX;
        match self {
            Stderr::Pipe => match pwritev2(&file, &[IoSlice::new(bytes)], HERE, ReadWriteFlags::NOWAIT) {
                written @ (Ok(_) | Err(Errno::AGAIN | Errno::PIPE)) => written,
                Err(_) => rustix::io::write(file, bytes),
            },
            Stderr::Socket => send(file, bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL),
            Stderr::Terminal(own) => rustix::io::write(own, bytes),
            Stderr::Other => rustix::io::write(file, bytes),
        }
    }
}

/// The sentence comes last: it is what is cut off where a line is too long.
fn json(
    line: &mut Line,
    level: Level,
    event: &str,
    sentence: fmt::Arguments<'_>,
    fields: &[(&str, Field<'_>)],
) -> fmt::Result {
    let level = match level {
        Level::Error => "ERROR",
        Level::Warning => "WARN",
        Level::Info => "INFO",
        Level::Debug => "DEBUG",
    };
    write!(line, "{{\"level\":\"{level}\",\"event\":\"{event}\"")?;
    for (name, field) in fields {
        write!(line, ",\"{name}\":")?;
        match field {
            Field::Number(number) => write!(line, "{number}")?,
            Field::Decimal(number) => write!(line, "{number:.3}")?,
            Field::Truth(truth) => write!(line, "{truth}")?,
            Field::Bytes(bytes) => {
                line.write_char('"')?;
                write!(JsonText(line), "{}", Escaped(bytes))?;
                line.write_char('"')?;
            }
        }
    }
    line.write_str(",\"message\":\"")?;
    write!(JsonText(line), "{sentence}")
}

/// Text inside of a JSON string. Control characters never come: all strangers' text is escaped before.
struct JsonText<'a>(&'a mut Line);

impl Write for JsonText<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '"' => self.0.write_str("\\\"")?,
                '\\' => self.0.write_str("\\\\")?,
                character if character.is_control() => write!(self.0, "\\u{:04x}", u32::from(character))?,
                character => self.0.write_char(character)?,
            }
        }
        Ok(())
    }
}

impl Line {
    /// Pipes take this much at once or not at all (PIPE_BUF is 4096).
    const LARGEST: usize = 1024;
    /// Room for what ends a line.
    const END: usize = 3;

    pub(crate) fn new() -> Self {
        Line { bytes: [0; Line::LARGEST], length: 0 }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Ends the line. A backslash that stands alone would escape what ends a JSON string.
    fn end(&mut self, with: &[u8]) {
        let backslashes = self.bytes().iter().rev().take_while(|byte| **byte == b'\\').count();
        if backslashes % 2 == 1 && with.first() == Some(&b'"') {
            self.length -= 1;
        }
        self.push(with);
    }

    fn push(&mut self, bytes: &[u8]) {
        if let Some(room) = self.bytes.get_mut(self.length..self.length + bytes.len()) {
            room.copy_from_slice(bytes);
            self.length += bytes.len();
        }
    }
}

impl Write for Line {
    /// Takes what fits, in whole characters.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = Line::LARGEST.saturating_sub(Line::END + self.length);
        let fits = text.get(..text.floor_char_boundary(room)).unwrap_or_default();
        self.push(fits.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: LogFormat, sentence: &str, fields: &[(&str, Field<'_>)]) -> String {
        let line = Log::new(format, Level::Info).line(Level::Warning, "test", format_args!("{sentence}"), fields);
        String::from_utf8(line.bytes().to_vec()).unwrap()
    }

    #[test]
    fn a_sentence_or_an_object() {
        let fields = [("pid", Field::Number(7)), ("name", Field::Bytes(b"a\"\n\xff")), ("main", Field::Truth(false))];
        assert_eq!(line(LogFormat::Text, "all is well", &fields), "reprieve-init: all is well\n");
        assert_eq!(
            line(LogFormat::Json, "\"all\" is \\n well", &fields),
            "{\"level\":\"WARN\",\"event\":\"test\",\"pid\":7,\"name\":\"a\\\"\\\\n\\\\xff\",\"main\":false,\
             \"message\":\"\\\"all\\\" is \\\\n well\"}\n"
        );
    }

    #[test]
    fn what_is_too_long_is_cut_and_stays_whole() {
        for text in ["ä", "\\", "\"", "x"] {
            let long = text.repeat(2000);
            assert!(line(LogFormat::Text, &long, &[]).len() <= Line::LARGEST);
            let json = line(LogFormat::Json, &long, &[]);
            assert!(json.ends_with("\"}\n") && json.len() <= Line::LARGEST, "{json}");
            let backslashes = json.trim_end_matches("\"}\n").bytes().rev().take_while(|byte| *byte == b'\\').count();
            assert_eq!(backslashes % 2, 0, "{json}");
        }
    }

    #[test]
    fn a_pipe_that_is_full_by_now_is_not_waited_for() {
        let (_reader, writer) = rustix::pipe::pipe().unwrap();
        let line = [b'x'; Line::LARGEST];
        let full =
            std::iter::repeat_with(|| pwritev2(&writer, &[IoSlice::new(&line)], u64::MAX, ReadWriteFlags::NOWAIT))
                .find_map(Result::err);
        if full == Some(Errno::OPNOTSUPP) {
            eprintln!("SKIPPED a full pipe: before Linux 6.4 a write to a pipe can't be kept from waiting");
            return;
        }
        assert_eq!(Stderr::Pipe.write_at_once(&writer, &line), Err(Errno::AGAIN));
    }
}
