//! A few connections at a time, each in a place whose number the `epoll` loop knows it by.

use std::os::fd::AsFd;
use std::time::Duration;

/// At most so many at once; another one takes the place of the oldest, or is turned away.
pub(crate) const SLOTS: usize = 16;

/// A connection, and until when it may last.
#[derive(Debug)]
pub(crate) struct Slot<T> {
    pub(crate) connection: T,
    pub(crate) until: Option<Duration>,
}

/// The places.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    slots: [Option<Slot<T>>; SLOTS],
}

impl<T: AsFd> Slots<T> {
    pub(crate) fn new() -> Self {
        Slots { slots: std::array::from_fn(|_| None) }
    }

    /// Keeps a connection; returns its number. `None` where all places are taken: the connection is closed.
    pub(crate) fn keep(&mut self, connection: T, until: Option<Duration>) -> Option<(usize, &T)> {
        let (number, place) = self.slots.iter_mut().enumerate().find(|(_, slot)| slot.is_none())?;
        Some((number, &place.insert(Slot { connection, until }).connection))
    }

    /// Keeps a connection, if need be in the place of the one whose time is over first, which is closed.
    pub(crate) fn keep_instead(&mut self, connection: T, until: Duration) -> Option<(usize, &T)> {
        if self.slots.iter().all(Option::is_some) {
            let times =
                self.slots.iter().enumerate().map(|(number, slot)| (slot.as_ref().and_then(|slot| slot.until), number));
            let (_, first) = times.min()?;
            self.close(first);
        }
        self.keep(connection, Some(until))
    }

    pub(crate) fn get(&self, number: usize) -> Option<&T> {
        self.slots.get(number)?.as_ref().map(|slot| &slot.connection)
    }

    /// Closes a connection.
    pub(crate) fn close(&mut self, number: usize) {
        if let Some(slot) = self.slots.get_mut(number) {
            *slot = None;
        }
    }

    /// Closes those whose time is over.
    pub(crate) fn close_overdue(&mut self, now: Duration) {
        for slot in &mut self.slots {
            if slot.as_ref().and_then(|slot| slot.until).is_some_and(|until| now >= until) {
                *slot = None;
            }
        }
    }

    /// When the next one's time is over.
    pub(crate) fn next_deadline(&self) -> Option<Duration> {
        self.slots.iter().flatten().filter_map(|slot| slot.until).min()
    }

    /// The numbers of all places, taken or not.
    pub(crate) fn numbers(&self) -> impl Iterator<Item = usize> + use<T> {
        0..SLOTS
    }
}
