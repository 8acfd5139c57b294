//! Events of the kernel's tracepoints, out of the binary pages of its ring buffer (`per_cpu/cpuN/trace_pipe_raw`).
//!
//! Binary, because names and paths in them are written by strangers: in the text of `trace_pipe` a name may look like
//! the rest of a line. The kernel describes both layers itself: `events/header_page` the head of a page and each
//! event's `format` the fields of a record. Only the headers of the records between them are fixed
//! (include/linux/ring_buffer.h, Linux 6.18). Pages of little-endian machines are read.

mod event;
mod format;
mod page;

pub use event::{ForkKind, MarkVictim, TraceEvent, TraceEventKind, Tracepoint};

use crate::parse::ParseError;
use format::EventFormat;
use page::PageLayout;

/// Reads the pages of one kernel: it knows their layout and the formats of the events that were added to it.
#[derive(Debug, Clone)]
pub struct TraceDecoder {
    layout: PageLayout,
    formats: Vec<(Tracepoint, EventFormat)>,
}

/// What one page held.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TracePage {
    /// Its events, in the order in which their processor recorded them.
    pub events: Vec<TraceEvent>,
    /// What the kernel overwrote before this page was read.
    pub lost: LostEvents,
    /// Records that make no sense, or are of tracepoints that were not added.
    pub unreadable: u64,
}

/// Events that the kernel overwrote before anybody read them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LostEvents {
    /// How many, where the kernel said it.
    pub counted: u64,
    /// Gaps of unknown size: the page had no room for the number.
    pub gaps: u64,
}

impl TraceDecoder {
    /// A decoder of pages with the head that `events/header_page` describes.
    ///
    /// # Errors
    /// The text doesn't describe the head of a page.
    pub fn new(header_page: &[u8]) -> Result<Self, ParseError> {
        Ok(TraceDecoder { layout: PageLayout::parse(header_page)?, formats: Vec::new() })
    }

    /// Adds a tracepoint, whose `format` file this is.
    ///
    /// # Errors
    /// The text is no format, or lacks a field that every kernel has.
    pub fn add(&mut self, tracepoint: Tracepoint, format: &[u8]) -> Result<(), ParseError> {
        let parsed = EventFormat::parse(format)?;
        if tracepoint.required_fields().iter().any(|name| parsed.field(name).is_none()) {
            return Err(ParseError::new("a format with all fields of its tracepoint", format));
        }
        self.formats.push((tracepoint, parsed));
        Ok(())
    }

    /// Reads one page, as one `read` of `trace_pipe_raw` gives it. A page that was cut off gives what is left of it.
    pub fn page(&self, page: &[u8]) -> TracePage {
        let mut read = TracePage::default();
        let Some(head) = self.layout.head(page) else {
            read.unreadable = 1;
            return read;
        };
        read.lost = head.lost;
        let mut records = head.records;
        for (time, record) in &mut records {
            match self.decode(record) {
                Some(kind) => read.events.push(TraceEvent { time, kind }),
                None => read.unreadable += 1,
            }
        }
        read.unreadable += u64::from(records.is_damaged());
        read
    }

    fn decode(&self, record: &[u8]) -> Option<TraceEventKind> {
        let id = format::event_id(record)?;
        let (tracepoint, format) = self.formats.iter().find(|(_, format)| format.id() == id)?;
        tracepoint.decode(format, record)
    }
}

impl LostEvents {
    /// Whether nothing was lost.
    pub fn is_none(self) -> bool {
        self == LostEvents::default()
    }

    /// Adds what was lost elsewhere.
    pub fn add(&mut self, other: LostEvents) {
        self.counted = self.counted.saturating_add(other.counted);
        self.gaps = self.gaps.saturating_add(other.gaps);
    }
}
