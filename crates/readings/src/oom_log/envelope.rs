//! What logs wrap their lines in: JSON of the journal and of Docker, CRI's prefix, the journal's export format, raw
//! records of `/dev/kmsg`, colours.
//!
//! Each line of the log goes in here, and messages come out, each with its origin. A message with newlines in it (some
//! kernels print Mem-Info so) comes out line by line; all but the first have no prefix, as where a log shows them bare.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::Value;

use super::export::{Entry, ExportReader};
use super::prefix::{Author, Origin};
use super::time::iso_time;
use crate::KmsgRecord;
use crate::parse::decimal;

/// Opens the envelopes. Keeps what is begun and not ended: a line that a container runtime split, an entry of the
/// journal.
#[derive(Debug, Default)]
pub(super) struct Envelopes {
    /// The beginning of a container's line, whose end has not come yet.
    partial: Vec<u8>,
    export: ExportReader,
}

/// Takes messages.
pub(super) type Take<'a> = dyn FnMut(&Origin, &[u8]) + 'a;

impl Envelopes {
    /// No line of a container is kept longer; runtimes split at 16 KiB.
    const LONGEST_PARTIAL: usize = 64 * 1024;

    /// Opens one line, without its newline.
    pub(super) fn open(&mut self, line: &[u8], take: &mut Take<'_>) {
        match self.export.feed(line) {
            Entry::Ended(origin, message) => return lines_of(&origin, &message, take),
            Entry::Taken => return,
            Entry::None => {}
        }
        let plain = with_plain_blanks(without_colours(line));
        let text = plain.trim_ascii_start();
        if text.starts_with(b"{") && self.open_json(text, take) {
            return;
        }
        if text.starts_with(b"\"msg\":") && open_dmesg_json(text, take) {
            return;
        }
        if let Some((is_partial, rest)) = cri(text) {
            return self.container_line(rest, is_partial, take);
        }
        open_text(&plain, take);
    }

    /// Ends the log.
    pub(super) fn finish(&mut self, take: &mut Take<'_>) {
        if let Entry::Ended(origin, message) = self.export.finish() {
            lines_of(&origin, &message, take);
        }
        if !self.partial.is_empty() {
            self.container_line(b"", false, take);
        }
    }

    /// Whether something is begun whose end is to come.
    pub(super) fn is_open(&self) -> bool {
        !self.partial.is_empty() || self.export.is_open()
    }

    /// Whether the text was JSON of a log.
    fn open_json(&mut self, text: &[u8], take: &mut Take<'_>) -> bool {
        let Ok(Value::Object(fields)) = serde_json::from_slice::<Value>(text) else { return false };
        let string = |key: &str| fields.get(key).and_then(Value::as_str);
        if let Some(message) = fields.get("MESSAGE").and_then(message_bytes) {
            let origin = journal_origin(|key| string(key).map(|value| Cow::Borrowed(value.as_bytes())));
            lines_of(&origin, &message, take);
            return true;
        }
        if let Some(log) = string("log") {
            let (line, is_partial) = match log.strip_suffix('\n') {
                Some(line) => (line, false),
                None => (log, true),
            };
            self.container_line(line.as_bytes(), is_partial, take);
            return true;
        }
        let message = ["message", "msg"].iter().find_map(|key| string(key));
        message.inspect(|message| open_text(message.as_bytes(), take)).is_some()
    }

    fn container_line(&mut self, piece: &[u8], is_partial: bool, take: &mut Take<'_>) {
        let room = Self::LONGEST_PARTIAL.saturating_sub(self.partial.len());
        self.partial.extend_from_slice(piece.get(..room).unwrap_or(piece));
        if !is_partial {
            let line = std::mem::take(&mut self.partial);
            open_text(&line, take);
        }
    }
}

/// Whether the text was a message in the output of `dmesg --json`, which has each field on a line of its own.
fn open_dmesg_json(field: &[u8], take: &mut Take<'_>) -> bool {
    let field = field.strip_suffix(b",").unwrap_or(field);
    let Ok(Value::Object(fields)) = serde_json::from_slice::<Value>(&[b"{", field, b"}"].concat()) else {
        return false;
    };
    let origin = Origin { has_prefix: true, ..Origin::default() };
    let message = fields.get("msg").and_then(message_bytes);
    message.inspect(|message| lines_of(&origin, message, take)).is_some()
}

/// Opens what is in no envelope, or was in one.
fn open_text(text: &[u8], take: &mut Take<'_>) {
    let plain = with_plain_blanks(without_colours(text));
    let record = plain.trim_ascii();
    if record.first().is_some_and(u8::is_ascii_digit) && open_kmsg(record, take) {
        return;
    }
    let (origin, message) = Origin::strip(&plain);
    lines_of(&origin, message, take);
}

/// Whether the text was a record of `/dev/kmsg`.
fn open_kmsg(text: &[u8], take: &mut Take<'_>) -> bool {
    let Ok(record) = KmsgRecord::parse(&[text, b"\n"].concat()).map(|record| {
        let mut origin = Origin { caller: record.caller, has_prefix: !record.continuation, ..Origin::default() };
        origin.author = if record.is_from_kernel() { Author::Kernel } else { Author::Program(Vec::new()) };
        origin.time.since_boot = Some(record.since_boot);
        (origin, record.message().into_owned())
    }) else {
        return false;
    };
    lines_of(&record.0, &record.1, take);
    true
}

/// rsyslog writes a newline in a message as `#012`.
fn lines_of(origin: &Origin, message: &[u8], take: &mut Take<'_>) {
    let mut origin = Cow::Borrowed(origin);
    let mut rest = message;
    while let Some((line, after)) = split_line(rest) {
        take(&origin, line);
        rest = after;
        origin.to_mut().has_prefix = false;
    }
    let is_end_of_lines = rest.is_empty() && matches!(origin, Cow::Owned(_));
    if !is_end_of_lines {
        take(&origin, rest);
    }
}

fn split_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    memchr::memchr2_iter(b'\n', b'#', text).find_map(|at| {
        let (line, end) = text.split_at_checked(at)?;
        Some((line, end.strip_prefix(b"\n").or_else(|| end.strip_prefix(b"#012"))?))
    })
}

/// The origin of a journal's entry.
pub(super) fn journal_origin<'a>(field: impl Fn(&str) -> Option<Cow<'a, [u8]>>) -> Origin {
    let mut origin = Origin { has_prefix: true, ..Origin::default() };
    let micros = |key: &str| field(key).and_then(|value| decimal(&value)).map(Duration::from_micros);
    origin.time.since_epoch = micros("__REALTIME_TIMESTAMP");
    origin.time.since_boot = micros("_SOURCE_MONOTONIC_TIMESTAMP").or_else(|| micros("__MONOTONIC_TIMESTAMP"));
    let tag = field("SYSLOG_IDENTIFIER");
    // The transport is journald's own word; the identifier is the sender's.
    origin.author = match (field("_TRANSPORT").as_deref(), tag) {
        (Some(b"kernel"), _) => Author::Kernel,
        (Some(_), tag) => Author::Program(tag.map(Cow::into_owned).unwrap_or_default()),
        (None, Some(tag)) => Author::of_tag(&tag),
        (None, None) => Author::Unknown,
    };
    origin
}

/// journalctl writes text that is no UTF-8 as an array of bytes.
fn message_bytes(value: &Value) -> Option<Cow<'_, [u8]>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text.as_bytes())),
        Value::Array(bytes) => {
            let bytes = bytes.iter().map(|byte| u8::try_from(byte.as_u64()?).ok());
            bytes.collect::<Option<Vec<u8>>>().map(Cow::Owned)
        }
        _ => None,
    }
}

/// `TIME stdout F LINE`: whether it is partial, and the line.
fn cri(text: &[u8]) -> Option<(bool, &[u8])> {
    let time = iso_time(text)?;
    let rest = time.rest.strip_prefix(b"stdout ").or_else(|| time.rest.strip_prefix(b"stderr "))?;
    let (tags, line) = crate::kernel_log::text::split_once(rest, b" ").unwrap_or((rest, b""));
    match tags.split(|&byte| byte == b':').next()? {
        b"P" => Some((true, line)),
        b"F" => Some((false, line)),
        _ => None,
    }
}

/// Web pages and mails make no-break spaces of blanks in a row.
fn with_plain_blanks(line: Cow<'_, [u8]>) -> Cow<'_, [u8]> {
    const NO_BREAK_SPACE: &[u8] = "\u{a0}".as_bytes();
    if memchr::memmem::find(&line, NO_BREAK_SPACE).is_none() {
        return line;
    }
    let mut plain = Vec::with_capacity(line.len());
    let mut rest = &*line;
    while let Some(at) = memchr::memmem::find(rest, NO_BREAK_SPACE) {
        plain.extend_from_slice(rest.get(..at).unwrap_or_default());
        plain.push(b' ');
        rest = rest.get(at + NO_BREAK_SPACE.len()..).unwrap_or_default();
    }
    plain.extend_from_slice(rest);
    Cow::Owned(plain)
}

/// Takes out what a terminal would take for colours: `ESC [ … m`.
fn without_colours(line: &[u8]) -> Cow<'_, [u8]> {
    if !line.contains(&0x1b) {
        return Cow::Borrowed(line);
    }
    let mut plain = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, after)) = rest.split_first() {
        match after.strip_prefix(b"[").filter(|_| byte == 0x1b) {
            Some(code) => {
                let end = code.iter().position(u8::is_ascii_alphabetic).map_or(code.len(), |at| at + 1);
                rest = code.get(end..).unwrap_or_default();
            }
            None => {
                plain.push(byte);
                rest = after;
            }
        }
    }
    Cow::Owned(plain)
}
