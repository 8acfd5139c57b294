//! What stands before a message: times, hosts, tags and callers, in the forms of the programs that write logs.
//!
//! What matters most is who wrote the line. Programs echo the kernel's lines, and anybody can write to syslog; so a line
//! that is another program's is never read as the kernel's. Where the log does not say (`dmesg`, a console), the line
//! counts as the kernel's.

use std::time::Duration;

use super::report::LogTime;
use super::time::{epoch, iso_time, seconds, syslog_time};
use crate::PrintkCaller;
use crate::kernel_log::text::split_once;
use crate::parse::decimal;

/// What is known of a message beside its text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) author: Author,
    pub(super) time: LogTime,
    pub(super) caller: Option<PrintkCaller>,
    /// Whether there was a prefix at all. A line without one may go on where the line before it was wrapped.
    pub(super) has_prefix: bool,
}

/// Who wrote a line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Author {
    /// The log does not say.
    #[default]
    Unknown,
    Kernel,
    /// A program, by its tag, which can be empty.
    Program(Vec<u8>),
}

/// So much of a time is kept; none is longer.
const LONGEST_TIME: usize = 64;

impl Author {
    pub(super) fn of_tag(tag: &[u8]) -> Self {
        if tag == b"kernel" { Author::Kernel } else { Author::Program(tag.to_vec()) }
    }
}

impl Origin {
    /// Takes off what stands before the message.
    pub(super) fn strip(line: &[u8]) -> (Self, &[u8]) {
        let mut origin = Origin::default();
        let message = origin.strip_all(line);
        (origin, message)
    }

    fn strip_all<'a>(&mut self, line: &'a [u8]) -> &'a [u8] {
        let mut text = unquoted(line);
        text = self.strip_priority(text);
        text = self.strip_facility(text);
        if let Some(rest) = self.strip_time(text) {
            text = rest;
        } else if let Some(rest) = text.strip_prefix(b"kernel:") {
            self.author = Author::Kernel;
            self.has_prefix = true;
            text = rest.strip_prefix(b" ").unwrap_or(rest);
        }
        if matches!(self.author, Author::Program(_)) {
            return text;
        }
        let stamped = self.strip_stamps(text);
        if !self.has_prefix
            && let Some(rest) = self.find_stamp(text)
        {
            return rest;
        }
        self.strip_host(stamped)
    }

    /// `HOST kernel: ` behind a stamp: `journalctl -o short-monotonic`.
    fn strip_host<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        let message = split_once(text, b" kernel: ").filter(|(host, _)| !host.contains(&b' '));
        match message {
            Some((_, message)) if self.time.since_boot.is_some() => {
                self.author = Author::Kernel;
                message
            }
            _ => text,
        }
    }

    /// `<4>`: syslog's number of facility and level.
    fn strip_priority<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        let Some(rest) = text.strip_prefix(b"<") else { return text };
        let Some((number, rest)) = split_once(rest.get(..4).unwrap_or(rest), b">")
            .and_then(|(number, _)| Some((decimal(number)?, rest.get(number.len() + 1..)?)))
        else {
            return text;
        };
        self.has_prefix = true;
        self.author = if number < 8 { Author::Kernel } else { Author::Program(Vec::new()) };
        rest
    }

    /// `kern  :warn  : ` of `dmesg -x`, and `warning|kernel[-]|` of EulerOS.
    fn strip_facility<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        let head = text.get(..80).unwrap_or(text);
        if let Some((before, _)) = split_once(head, b"|kernel[-]|") {
            self.author = Author::Kernel;
            self.has_prefix = true;
            return text.get(before.len() + b"|kernel[-]|".len()..).unwrap_or_default();
        }
        let Some((facility, rest)) = split_once(head, b":") else { return text };
        let Some((level, _)) = split_once(rest, b": ") else { return text };
        let is_level = matches!(
            level.trim_ascii(),
            b"emerg" | b"alert" | b"crit" | b"err" | b"warn" | b"notice" | b"info" | b"debug"
        );
        if !is_level {
            return text;
        }
        self.has_prefix = true;
        self.author = match facility.trim_ascii() {
            b"kern" => Author::Kernel,
            other => Author::Program(other.to_vec()),
        };
        text.get(facility.len() + 1 + level.len() + 2..).unwrap_or_default()
    }

    /// A time without brackets, the host and the tag behind it.
    fn strip_time<'a>(&mut self, text: &'a [u8]) -> Option<&'a [u8]> {
        let (rest, is_rfc5424) = match text.strip_prefix(b"1 ") {
            Some(rest) if self.has_prefix => (rest, true),
            _ => (text, false),
        };
        let (time, rest, only_time) = if let Some(iso) = iso_time(rest) {
            (LogTime { since_epoch: iso.since_epoch, ..LogTime::default() }, iso.rest, iso.has_comma)
        } else if let Some(rest) = syslog_time(rest) {
            (LogTime::default(), rest, false)
        } else {
            let (since_epoch, rest) = epoch(rest)?;
            (LogTime { since_epoch: Some(since_epoch), ..LogTime::default() }, rest, false)
        };
        let length = text.len() - rest.len();
        let words = text.get(..length.min(LONGEST_TIME))?.trim_ascii_end();
        self.time = LogTime { text: Some(words.to_vec()), ..time };
        self.has_prefix = true;
        if only_time {
            return Some(rest);
        }
        Some(if is_rfc5424 { self.strip_rfc5424(rest) } else { self.strip_tag(rest) })
    }

    /// `HOST APP PROCID MSGID - MESSAGE`.
    fn strip_rfc5424<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        let mut words = text.splitn(6, |&byte| byte == b' ');
        let (Some(_), Some(app)) = (words.next(), words.next()) else { return text };
        self.take_tag(app);
        words.nth(3).unwrap_or_default()
    }

    /// `HOST TAG: ` or `TAG: `; the host can be blank. A log of epochs has but a host.
    fn strip_tag<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        let (first, after_first) = split_once(text, b" ").unwrap_or((text, b""));
        let (second, after_second) = split_once(after_first, b" ").unwrap_or((after_first, b""));
        if let Some(tag) = first.strip_suffix(b":") {
            self.take_tag(tag);
            return after_first;
        }
        if let Some(tag) = second.strip_suffix(b":") {
            self.take_tag(tag);
            return after_second;
        }
        if after_first.starts_with(b"[") { after_first } else { text }
    }

    /// A tag is the sender's own word; syslog's facility, which came before it, is not.
    fn take_tag(&mut self, tag: &[u8]) {
        if tag != b"kernel" || !matches!(self.author, Author::Program(_)) {
            self.author = Author::of_tag(tag);
        }
    }

    /// `[   12.345678][ T123] ` and its like, at the beginning.
    fn strip_stamps<'a>(&mut self, text: &'a [u8]) -> &'a [u8] {
        let mut rest = text;
        let mut seen = false;
        while let Some((inner, after)) = bracket(rest) {
            if !self.take_stamp(inner, seen) {
                break;
            }
            seen = true;
            self.has_prefix = true;
            rest = after.strip_prefix(b" ").unwrap_or(after);
        }
        rest
    }

    /// Whether what a bracket holds is a stamp. Callers and the like stand only behind a time.
    fn take_stamp(&mut self, inner: &[u8], behind_time: bool) -> bool {
        let inner = inner.trim_ascii();
        if let Some(since_boot) = inner.split(|&byte| byte == b' ').next().and_then(seconds) {
            self.time.since_boot.get_or_insert(since_boot);
            return true;
        }
        if behind_time {
            return self.take_caller(inner);
        }
        let is_relative = inner.starts_with(b"+") || inner.starts_with(b"<");
        let has_clock = inner.windows(5).any(
            |window| matches!(window, [a, b, b':', c, d] if [a, b, c, d].iter().all(|digit| digit.is_ascii_digit())),
        );
        if has_clock {
            self.time.text = Some(inner.to_vec());
        }
        has_clock || (is_relative && inner.iter().any(u8::is_ascii_digit))
    }

    fn take_caller(&mut self, inner: &[u8]) -> bool {
        if let Some(caller) = PrintkCaller::parse(inner) {
            self.caller = Some(caller);
            return true;
        }
        // Samsung: `4: binder:569_5:27109`.
        split_once(inner, b": ").is_some_and(|(cpu, _)| decimal(cpu).is_some())
    }

    /// A stamp in the middle of the line: a console's, where a program had begun the line.
    fn find_stamp<'a>(&mut self, text: &'a [u8]) -> Option<&'a [u8]> {
        let mut rest = text;
        loop {
            let at = rest.iter().position(|&byte| byte == b'[')?;
            rest = rest.get(at..)?;
            let stamped = bracket(rest).is_some_and(|(inner, _)| seconds(inner.trim_ascii()).is_some());
            if stamped {
                return Some(self.strip_stamps(rest));
            }
            rest = rest.get(1..)?;
        }
    }
}

/// Without indentation before a stamp, and without the marks of quoting that mails have.
fn unquoted(line: &[u8]) -> &[u8] {
    let mut text = line;
    while let Some(rest) = text.trim_ascii_start().strip_prefix(b"> ") {
        text = rest;
    }
    let trimmed = text.trim_ascii_start();
    // What is indented and has no prefix is a part of something, and its indentation means something.
    if trimmed.first().is_some_and(|first| matches!(first, b'[' | b'<') || first.is_ascii_digit()) || trimmed.is_empty()
    {
        return trimmed;
    }
    if syslog_time(trimmed).is_some() { trimmed } else { text }
}

/// What the bracket holds that the text begins with, and what follows it.
fn bracket(text: &[u8]) -> Option<(&[u8], &[u8])> {
    const LONGEST: usize = 64;
    let inside = text.strip_prefix(b"[")?;
    let end = inside.iter().take(LONGEST).position(|&byte| byte == b']')?;
    Some((inside.get(..end)?, inside.get(end + 1..)?))
}

impl LogTime {
    /// How much later this is, where both have the same clock.
    pub(super) fn since(&self, earlier: &LogTime) -> Option<Duration> {
        match (self.since_boot, earlier.since_boot, self.since_epoch, earlier.since_epoch) {
            (Some(now), Some(then), ..) => Some(now.abs_diff(then)),
            (_, _, Some(now), Some(then)) => Some(now.abs_diff(then)),
            _ => None,
        }
    }
}
