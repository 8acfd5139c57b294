//! The few parsing steps that every file of the kernel needs, and the error they share.

use std::fmt;

use crate::escape::Escaped;

/// Text of the kernel that is not what its format promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    expected: &'static str,
    found: Box<[u8]>,
}

impl ParseError {
    /// As much of the offending text as an error message should carry.
    const EXCERPT: usize = 60;

    /// `found` was met where `expected` (a noun phrase) should have been. Keeps an excerpt of `found`.
    pub fn new(expected: &'static str, found: &[u8]) -> Self {
        let excerpt = found.get(..Self::EXCERPT).unwrap_or(found);
        ParseError { expected, found: excerpt.into() }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.found.is_empty() {
            write!(f, "expected {}, found nothing", self.expected)
        } else {
            write!(f, "expected {}, found \"{}\"", self.expected, Escaped(&self.found))
        }
    }
}

impl std::error::Error for ParseError {}

/// The only word of `text`, without the newline that ends it.
pub(crate) fn single_word(text: &[u8]) -> Option<&[u8]> {
    let word = text.trim_ascii_end();
    (!word.is_empty() && !word.iter().any(u8::is_ascii_whitespace)).then_some(word)
}

/// A file that holds one number and nothing else.
pub(crate) fn single_u64(text: &[u8], expected: &'static str) -> Result<u64, ParseError> {
    single_word(text).and_then(decimal).ok_or_else(|| ParseError::new(expected, text))
}

/// A decimal number without sign; `None` where it is anything else or does not fit.
pub(crate) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, &byte| {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Lines of `KEY VALUE`, as in `memory.stat` and `memory.events`. `visit` is told each key with its value.
///
/// The kernel ends each line; text whose last line has no end was cut off, and its last number can't be trusted.
pub(crate) fn key_values(text: &[u8], mut visit: impl FnMut(&[u8], u64)) -> Result<(), ParseError> {
    if !text.ends_with(b"\n") {
        return Err(ParseError::new("lines of `KEY VALUE`, each ended", last_line(text)));
    }
    for line in lines(text) {
        match number_at_end(line) {
            Some((key, value)) if !key.is_empty() => visit(key, value),
            _ => return Err(ParseError::new("a line `KEY VALUE`", line)),
        }
    }
    Ok(())
}

/// The lines of a text, without their ends. What follows the last end is no line.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut start = 0;
    memchr::memchr_iter(b'\n', text).map(move |end| {
        let line = text.get(start..end).unwrap_or_default();
        start = end + 1;
        line
    })
}

/// The decimal number after the last space of a line, and what stands before that space. Numbers are shorter than keys,
/// so this looks from the right.
pub(crate) fn number_at_end(line: &[u8]) -> Option<(&[u8], u64)> {
    let space = line.iter().rposition(|&byte| byte == b' ')?;
    let (before, number) = line.split_at_checked(space)?;
    Some((before, decimal(number.strip_prefix(b" ")?)?))
}

fn last_line(text: &[u8]) -> &[u8] {
    text.rsplit(|&byte| byte == b'\n').next().unwrap_or(text)
}
