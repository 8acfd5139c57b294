//! The kernel's log as the agent follows it, saying what was lost.

use std::path::Path;

use reprieve_linux::{KmsgEvent, KmsgReader};
use reprieve_readings::{KmsgRecord, OomKillReader, OomVictim};
use rustix::event::{PollFd, PollFlags};

use crate::problems::NamedProblems;

/// Follows the kernel's log.
pub(crate) struct KillLog {
    kmsg: Option<KmsgReader>,
    reader: OomKillReader,
    read_to: Option<u64>,
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

/// What a read of the kernel's log gave.
pub(crate) enum LogRead {
    Victim(Box<OomVictim>),
    Other,
    Nothing,
}

impl KillLog {
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
        KillLog { kmsg, reader: OomKillReader::new(), read_to: None, lost: LostRecords::default() }
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

    /// The number of the last record read.
    pub(crate) fn read_to(&self) -> Option<u64> {
        self.read_to
    }

    /// Takes the next record.
    pub(crate) fn read(&mut self, problems: &mut NamedProblems) -> LogRead {
        let Some(kmsg) = &mut self.kmsg else { return LogRead::Nothing };
        match kmsg.next_event() {
            Ok(KmsgEvent::Empty) => return LogRead::Nothing,
            Ok(KmsgEvent::Record(record)) => match KmsgRecord::parse(record) {
                Ok(record) => {
                    let (sequence, victim) = (record.sequence, self.reader.feed(&record));
                    self.pass_to(sequence);
                    return victim.map_or(LogRead::Other, |victim| LogRead::Victim(Box::new(victim)));
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
        LogRead::Other
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
        let mut log = KillLog { kmsg: None, reader: OomKillReader::new(), read_to: None, lost: LostRecords::default() };
        for sequence in [500, 501, 502, 510, 511, 600] {
            log.pass_to(sequence);
        }
        assert_eq!((log.lost().overruns, log.lost().records), (2, 7 + 88), "what came before the first is not known");
    }
}
