//! What the loop waits for, all at once, by `epoll`.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::slots::SLOTS;

/// Something that has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// A signal, of a child too.
    Signals,
    /// The kernel's notice about the cgroup.
    Memory,
    /// A connection to the readiness port.
    Probes,
    /// A request on one.
    Probe(usize),
    /// A client of the pressure socket.
    PressureClients,
    /// What a client wrote.
    PressureClient(usize),
}

/// The descriptors that are waited for.
#[derive(Debug)]
pub(super) struct Waiting {
    epoll: OwnedFd,
}

/// At most so many in one round; the rest in the next.
const BATCH: usize = 8;

impl Waiting {
    pub(super) fn open(signals: &impl AsFd) -> Result<Self, Errno> {
        let waiting = Waiting { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)? };
        waiting.add(signals, Source::Signals)?;
        Ok(waiting)
    }

    /// Waits for a descriptor too, until it is closed.
    pub(super) fn add(&self, descriptor: impl AsFd, source: Source) -> Result<(), Errno> {
        epoll::add(&self.epoll, descriptor, epoll::EventData::new_u64(source.number()), epoll::EventFlags::IN)
    }

    /// Waits for at most this time; returns what has come, without allocating.
    pub(super) fn wait(&self, time: Option<Duration>) -> impl Iterator<Item = Source> + use<> {
        let nothing = epoll::Event { flags: epoll::EventFlags::empty(), data: epoll::EventData::new_u64(0) };
        let mut events = [nothing; BATCH];
        let time = time.and_then(|time| Timespec::try_from(time).ok());
        // Interrupted by a stop and a continuation only: all signals are blocked.
        let count = epoll::wait(&self.epoll, &mut events, time.as_ref()).unwrap_or(0);
        events.into_iter().take(count).filter_map(|event| Source::of(event.data.u64()))
    }
}

impl Source {
    fn number(self) -> u64 {
        let connections = SLOTS as u64;
        match self {
            Source::Signals => 0,
            Source::Memory => 1,
            Source::Probes => 2,
            Source::PressureClients => 3,
            Source::Probe(number) => 4 + number as u64,
            Source::PressureClient(number) => 4 + connections + number as u64,
        }
    }

    fn of(number: u64) -> Option<Source> {
        Some(match number {
            0 => Source::Signals,
            1 => Source::Memory,
            2 => Source::Probes,
            3 => Source::PressureClients,
            _ => {
                let slot = usize::try_from(number - 4).ok()?;
                slot.checked_sub(SLOTS).map_or(Source::Probe(slot), Source::PressureClient)
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_lead_back() {
        for source in [
            Source::Signals,
            Source::Memory,
            Source::Probes,
            Source::PressureClients,
            Source::Probe(0),
            Source::Probe(SLOTS - 1),
            Source::PressureClient(0),
            Source::PressureClient(SLOTS - 1),
        ] {
            assert_eq!(Source::of(source.number()), Some(source));
        }
    }
}
