//! Cuts a log into lines, and finds those of interest among many that are not.
//!
//! While no report is under way, blocks of the log are searched for the few words that lines of reports hold, and
//! nothing else is done with them. From the line of such a word on (and some before it: what a prefix or an entry of the
//! journal says stands there) the lines are handed out one by one, as long as [`Lines::next`] is told to.

use aho_corasick::packed::Searcher;

/// Lines, with what is not handed out yet.
#[derive(Debug)]
pub(super) struct Lines {
    /// `None` on machines without vector instructions: then every line is wanted, which is slow.
    markers: Option<Searcher>,
    /// Whole lines, then a begun one.
    buffer: Vec<u8>,
    /// Where the first line begins that is neither handed out nor passed over.
    position: usize,
    /// The number of that line, less one.
    number: u64,
    /// Up to here there are no markers.
    searched: usize,
    /// Up to here lines are handed out, whether wanted or not.
    wanted: usize,
    /// How long the begun line is.
    begun: usize,
    /// Whether what follows of the begun line is too long to be kept.
    is_too_long: bool,
}

/// Of each line that can begin a report, or tells of another's kill, a part is here. The search looks at the first four
/// bytes of each, so these are such as seldom stand in other lines.
const MARKERS: &[&str] = &[
    "oom-kill",
    // Out of memory, Memory cgroup out of memory
    "of memory",
    "Kill process ",
    "Killed process ",
    "Task in /",
    "Tasks in /",
    // memory: usage
    "y: usage ",
    // Memory cgroup stats for
    "p stats for /",
    "tgid total_vm",
    "deadlocked on memory",
    "Linux version ",
    // systemd-oomd
    "d-oomd",
    // earlyoom
    "yoom",
    "lowmemorykiller",
    // oom-kill and Killed, in the journal's JSON of a message that is no UTF-8
    "111,111,109,45,107,105,108,108",
    "75,105,108,108,101,100,32",
];

/// A line of the log.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PhysicalLine<'a> {
    pub(super) number: u64,
    pub(super) text: &'a [u8],
}

impl Lines {
    /// Of a longer line, the beginning is kept. The longest line of interest is the journal's JSON of a record of the
    /// kernel.
    pub(super) const LONGEST: usize = 64 * 1024;
    /// How much of the log is looked at in one go.
    pub(super) const BLOCK: usize = 256 * 1024;
    /// How far the lines go back that are handed out before one with a marker.
    const LINES_BACK: usize = 32;
    const BYTES_BACK: usize = 8 * 1024;

    pub(super) fn new() -> Self {
        Lines {
            markers: Searcher::new(MARKERS),
            buffer: Vec::new(),
            position: 0,
            number: 0,
            searched: 0,
            wanted: 0,
            begun: 0,
            is_too_long: false,
        }
    }

    /// Takes bytes, at most [`Lines::BLOCK`] at once. Whether there are lines to hand out now.
    pub(super) fn push(&mut self, mut bytes: &[u8]) -> bool {
        self.make_room();
        let mut has_new = false;
        while !bytes.is_empty() {
            if self.is_too_long {
                let Some(end) = memchr::memchr(b'\n', bytes) else { return has_new };
                bytes = bytes.get(end..).unwrap_or_default();
                self.is_too_long = false;
            }
            let room = Self::LONGEST - self.begun;
            let window = bytes.get(..=room).unwrap_or(bytes);
            let (keep, begun) = match memchr::memrchr(b'\n', window) {
                Some(end) => (end + 1, 0),
                None => (window.len().min(room), self.begun + window.len().min(room)),
            };
            let Some((kept, rest)) = bytes.split_at_checked(keep) else { return has_new };
            self.buffer.extend_from_slice(kept);
            self.is_too_long = begun > 0 && !rest.is_empty();
            has_new |= begun == 0;
            self.begun = begun;
            bytes = rest;
        }
        has_new
    }

    /// Ends the last line. Whether there are lines to hand out now.
    pub(super) fn finish(&mut self) -> bool {
        self.begun > 0 && self.push(b"\n")
    }

    /// The next line: of all, or of those about a marker.
    pub(super) fn next(&mut self, all: bool) -> Option<PhysicalLine<'_>> {
        if !all && self.position >= self.wanted {
            self.find_marker();
            if self.position >= self.wanted {
                return None;
            }
        }
        let rest = self.buffer.get(self.position..)?;
        let length = memchr::memchr(b'\n', rest)?;
        let text = rest.get(..length)?;
        self.position += length + 1;
        self.number += 1;
        Some(PhysicalLine { number: self.number, text })
    }

    /// How many bytes are kept at most.
    pub(super) fn kept(&self) -> usize {
        self.buffer.capacity()
    }

    fn end_of_lines(&self) -> usize {
        self.buffer.len() - self.begun
    }

    fn find_marker(&mut self) {
        let end = self.end_of_lines();
        let from = self.searched.max(self.position);
        let Some(region) = self.buffer.get(from..end) else { return };
        let Some(markers) = &self.markers else {
            self.wanted = end;
            return;
        };
        match markers.find(region) {
            Some(found) => {
                let at = from + found.start();
                let line = self.start_of_line(at);
                let rest = self.buffer.get(at..).unwrap_or_default();
                let length = memchr::memchr(b'\n', rest).map_or(rest.len(), |length| length + 1);
                self.pass_to(self.some_lines_before(line));
                self.wanted = at + length;
                self.searched = self.wanted;
            }
            None => {
                self.searched = end;
                self.pass_to(self.some_lines_before(end));
            }
        }
    }

    fn start_of_line(&self, at: usize) -> usize {
        let before = self.buffer.get(self.position..at).unwrap_or_default();
        memchr::memrchr(b'\n', before).map_or(self.position, |newline| self.position + newline + 1)
    }

    /// Where the lines begin that go with the one that begins at `line`.
    fn some_lines_before(&self, line: usize) -> usize {
        let lowest = line.saturating_sub(Self::BYTES_BACK).max(self.position);
        // The newline that ends the last line before is left out, and the one just before `lowest` is not.
        let from = lowest.saturating_sub(1).max(self.position);
        let before = self.buffer.get(from..line.saturating_sub(1)).unwrap_or_default();
        let mut newlines = memchr::memrchr_iter(b'\n', before);
        let nth = newlines.nth(Self::LINES_BACK - 1);
        let farthest = nth.or_else(|| memchr::memchr(b'\n', before).filter(|_| lowest > self.position));
        match farthest {
            Some(newline) => from + newline + 1,
            None if lowest == self.position => self.position,
            None => line,
        }
    }

    fn pass_to(&mut self, position: usize) {
        if let Some(passed) = self.buffer.get(self.position..position) {
            self.number += memchr::memchr_iter(b'\n', passed).count() as u64;
            self.position = position;
        }
    }

    /// Drops what is handed out or passed over.
    fn make_room(&mut self) {
        if self.position < Self::BLOCK / 4 && self.position < self.buffer.len() {
            return;
        }
        self.buffer.drain(..self.position);
        self.searched = self.searched.saturating_sub(self.position);
        self.wanted = self.wanted.saturating_sub(self.position);
        self.position = 0;
    }
}
