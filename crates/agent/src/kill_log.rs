//! The kernel's log as the agent follows it, saying what was lost.
//!
//! It is read into memory first, and its victims are dealt with after that: looking at a victim takes longer than killing
//! the next one, and a log that is not read meanwhile would be overwritten.

use std::collections::VecDeque;
use std::path::Path;

use reprieve_linux::{KmsgEvent, KmsgReader};
use reprieve_readings::{KmsgRecord, OomKillReader, OomVictim};
use rustix::event::{PollFd, PollFlags};

use crate::problems::NamedProblems;

/// Follows the kernel's log.
pub(crate) struct KillLog {
    kmsg: Option<KmsgReader>,
    reader: OomKillReader,
    victims: VecDeque<OomVictim>,
    read_to: Option<u64>,
    /// Whether the log held nothing more when it was last read.
    is_empty: bool,
    lost: LostRecords,
}

/// What the kernel overwrote before it was read.
#[derive(Clone, Copy, Default)]
pub(crate) struct LostRecords {
    /// Times that it did.
    pub(crate) overruns: u64,
    /// How many records that were.
    pub(crate) records: u64,
}

impl KillLog {
    /// Records to read before it is time to look at something else: somebody may be writing as fast as we read.
    const RECORDS_AT_ONCE: usize = 4096;

    /// Victims that wait at most; beyond them, records stay with the kernel.
    const VICTIMS: usize = 4096;

    /// Opens the log, at its oldest record or at its end; where it can't be read, says what would change that.
    pub(crate) fn open(with_history: bool) -> Self {
        let device = Path::new("/dev/kmsg");
        let opened = match with_history {
            true => KmsgReader::open_at_start(device),
            false => KmsgReader::open_at_end(device),
        };
        let kmsg = match opened {
            Ok(kmsg) => Some(kmsg),
            Err(error) => {
                tracing::warn!("kills are counted but victims can't be named: can't read /dev/kmsg: {error}");
                None
            }
        };
        Self::new(kmsg)
    }

    fn new(kmsg: Option<KmsgReader>) -> Self {
        KillLog {
            kmsg,
            reader: OomKillReader::new(),
            victims: VecDeque::new(),
            read_to: None,
            is_empty: false,
            lost: LostRecords::default(),
        }
    }

    pub(crate) fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.kmsg.iter().map(|kmsg| PollFd::new(kmsg, PollFlags::IN))
    }

    /// Whether victims can be named.
    pub(crate) fn is_readable(&self) -> bool {
        self.kmsg.is_some()
    }

    /// What was overwritten before it was read.
    pub(crate) fn lost(&self) -> LostRecords {
        self.lost
    }

    /// Whether the log held nothing more when it was last read, and all victims are taken.
    pub(crate) fn is_done(&self) -> bool {
        self.is_empty && self.victims.is_empty()
    }

    /// Whether victims wait to be taken.
    pub(crate) fn has_victims(&self) -> bool {
        !self.victims.is_empty()
    }

    /// The number of the last record that no victim waits before.
    pub(crate) fn done_to(&self) -> Option<u64> {
        match self.victims.front() {
            Some(waiting) => waiting.sequence.checked_sub(1),
            None => self.read_to,
        }
    }

    /// The next victim. Before that, reads what the log holds.
    pub(crate) fn next_victim(&mut self, problems: &mut NamedProblems) -> Option<OomVictim> {
        self.read(problems);
        self.victims.pop_front()
    }

    /// Reads what the log holds into memory.
    pub(crate) fn read(&mut self, problems: &mut NamedProblems) {
        self.is_empty = false;
        for _ in 0..Self::RECORDS_AT_ONCE {
            if self.victims.len() >= Self::VICTIMS {
                return;
            }
            if self.read_record(problems).is_none() {
                self.is_empty = true;
                return;
            }
        }
    }

    /// Reads a record; `None` if there is none.
    fn read_record(&mut self, problems: &mut NamedProblems) -> Option<()> {
        match self.kmsg.as_mut()?.next_event() {
            Ok(KmsgEvent::Empty) => return None,
            Ok(KmsgEvent::Record(record)) => match KmsgRecord::parse(record) {
                Ok(record) => {
                    let sequence = record.sequence;
                    self.victims.extend(self.reader.feed(&record));
                    self.pass_to(sequence);
                }
                Err(error) => problems.take_one(format!("/dev/kmsg: {error}")),
            },
            // The number of the next record tells how many are lost.
            Ok(KmsgEvent::Overrun) => {}
            Err(error) => {
                problems.take_one(format!("/dev/kmsg: {error}: victims can't be named any more"));
                self.kmsg = None;
            }
        }
        Some(())
    }

    /// Goes on to this record, and says what was lost before it.
    fn pass_to(&mut self, sequence: u64) {
        let next = self.read_to.map_or(sequence, |read_to| read_to.saturating_add(1));
        if sequence > next {
            self.lost.overruns += 1;
            self.lost.records += sequence - next;
            tracing::warn!(
                "the kernel's log was overwritten before it was read: records {next} to {} are lost; kills that they \
                 named may stay without a name",
                sequence - 1
            );
        }
        self.read_to = Some(sequence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_in_the_numbers_of_the_records_is_what_was_lost() {
        let mut log = KillLog::new(None);
        for sequence in [500, 501, 502, 510, 511, 600] {
            log.pass_to(sequence);
        }
        assert_eq!((log.lost().overruns, log.lost().records), (2, 7 + 88), "what came before the first is not known");
    }
}
