//! A page of the kernel's trace ring buffer: its head, and the records in it.
//!
//! The head holds the time of the first record and how many bytes are written. Each record has a header of 32 bits: 5 of
//! type or length and 27 of time since the one before (include/linux/ring_buffer.h; kernel/trace/ring_buffer.c,
//! Linux 6.18).

use std::time::Duration;

use super::LostEvents;
use super::format::{Field, parse_fields};
use crate::parse::ParseError;

/// Where the head of a page has what.
#[derive(Debug, Clone, Copy)]
pub(super) struct PageLayout {
    commit: Field,
    data: usize,
}

/// What the head of a page tells, and the records behind it.
pub(super) struct PageHead<'a> {
    pub(super) lost: LostEvents,
    pub(super) records: Records<'a>,
}

/// The records of a page with their times, in order.
pub(super) struct Records<'a> {
    rest: &'a [u8],
    nanoseconds: u64,
    damaged: bool,
}

impl PageLayout {
    /// `RB_MISSED_EVENTS` and `RB_MISSED_STORED`; the bits of the length as libtraceevent takes them (kbuffer-parse.c).
    const MISSED: i128 = 1 << 31;
    const MISSED_STORED: i128 = 1 << 30;
    const LENGTH: i128 = (1 << 27) - 1;

    pub(super) fn parse(header_page: &[u8]) -> Result<Self, ParseError> {
        let fields = parse_fields(header_page)?;
        let find = |name: &[u8]| fields.iter().find(|(known, _)| **known == *name).map(|(_, field)| *field);
        match (find(b"timestamp"), find(b"commit"), find(b"data")) {
            (Some(Field { offset: 0, size: 8, .. }), Some(commit @ Field { size: 4 | 8, .. }), Some(data)) => {
                Ok(PageLayout { commit, data: data.offset })
            }
            _ => Err(ParseError::new("the fields of a trace page's head", header_page)),
        }
    }

    /// The head of a page; `None` where the page is shorter.
    pub(super) fn head<'a>(&self, page: &'a [u8]) -> Option<PageHead<'a>> {
        let nanoseconds = u64::from_le_bytes(*page.first_chunk()?);
        let commit = self.commit.integer(page)?;
        let data = page.get(self.data..)?;
        let length = usize::try_from(commit & Self::LENGTH).ok()?;
        let (written, behind) = data.split_at_checked(length).unwrap_or((data, &[]));
        let lost = match (commit & Self::MISSED != 0, commit & Self::MISSED_STORED != 0) {
            (false, _) => LostEvents::default(),
            (true, true) => stored_count(behind, self.commit.size),
            (true, false) => LostEvents { counted: 0, gaps: 1 },
        };
        let records = Records { rest: written, nanoseconds, damaged: written.len() < length };
        Some(PageHead { lost, records })
    }
}

/// The number of lost events, which the kernel writes behind the last record: a `long`, as the field `commit` is.
fn stored_count(behind: &[u8], size: usize) -> LostEvents {
    let count = match size {
        4 => behind.first_chunk().map(|bytes| u64::from(u32::from_le_bytes(*bytes))),
        _ => behind.first_chunk().map(|bytes| u64::from_le_bytes(*bytes)),
    };
    count.map_or(LostEvents { counted: 0, gaps: 1 }, |counted| LostEvents { counted, gaps: 0 })
}

impl Records<'_> {
    /// Whether the page ended where no record ends. Known after the last record.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = (Duration, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            match self.step() {
                Some(None) => {}
                Some(Some(record)) => return Some((Duration::from_nanos(self.nanoseconds), record)),
                None => {
                    self.rest = &[];
                    self.damaged = true;
                }
            }
        }
        None
    }
}

impl<'a> Records<'a> {
    /// Goes over one header and what belongs to it: at least four bytes, so that the end is reached. `None` where the
    /// page ends before the record does.
    fn step(&mut self) -> Option<Option<&'a [u8]>> {
        let header = self.take_u32()?;
        let delta = u64::from(header >> 5);
        match header & 31 {
            // The rest of the page is empty.
            29 if delta == 0 => {
                self.rest = &[];
                Some(None)
            }
            // A discarded record. Time 1 stands for 0, which would mean the above.
            29 => {
                let length = self.take_u32()?;
                self.take(usize::try_from(length).ok()?.checked_sub(4)?)?;
                self.advance(if delta == 1 { 0 } else { delta });
                Some(None)
            }
            30 => {
                let high = u64::from(self.take_u32()?);
                self.advance((high << 27) + delta);
                Some(None)
            }
            31 => {
                let high = u64::from(self.take_u32()?);
                self.nanoseconds = absolute((high << 27) + delta, self.nanoseconds);
                Some(None)
            }
            // The length follows, and counts itself.
            0 => {
                let length = self.take_u32()?;
                let record = self.take(usize::try_from(length).ok()?.checked_sub(4)?)?;
                self.advance(delta);
                Some(Some(record))
            }
            words => {
                let record = self.take(usize::try_from(words).ok()? * 4)?;
                self.advance(delta);
                Some(Some(record))
            }
        }
    }

    fn advance(&mut self, nanoseconds: u64) {
        self.nanoseconds = self.nanoseconds.saturating_add(nanoseconds);
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    fn take_u32(&mut self) -> Option<u32> {
        self.take(4)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
    }
}

/// An absolute time has 59 bits; the upper five are those of the time before it (`rb_fix_abs_ts`).
fn absolute(stamp: u64, before: u64) -> u64 {
    let high = before & (0x1f << 59);
    if high == 0 {
        return stamp;
    }
    let time = stamp | high;
    if time < before { time.saturating_add(1 << 59) } else { time }
}
