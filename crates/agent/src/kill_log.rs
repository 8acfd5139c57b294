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
    overruns: u64,
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
        KillLog { kmsg, reader: OomKillReader::new(), read_to: None, overruns: 0 }
    }

    pub(crate) fn poll_fds(&self) -> impl Iterator<Item = PollFd<'_>> {
        self.kmsg.iter().map(|kmsg| PollFd::new(kmsg, PollFlags::IN))
    }

    /// Whether victims can be named.
    pub(crate) fn is_readable(&self) -> bool {
        self.kmsg.is_some()
    }

    /// Times the kernel's log was overwritten before it was read.
    pub(crate) fn overruns(&self) -> u64 {
        self.overruns
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
                    self.read_to = Some(record.sequence);
                    let victim = self.reader.feed(&record);
                    return victim.map_or(LogRead::Other, |victim| LogRead::Victim(Box::new(victim)));
                }
                Err(error) => problems.take_one(format!("/dev/kmsg: {error}")),
            },
            Ok(KmsgEvent::Overrun) => {
                self.overruns += 1;
                problems.take_one("/dev/kmsg: records were overwritten before they were read".into());
            }
            Err(error) => {
                problems.take_one(format!("/dev/kmsg: {error}: victims can't be named any more"));
                self.kmsg = None;
            }
        }
        LogRead::Other
    }
}
