//! Waiting for the memory of this process's container to change.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use reprieve_judgement::{Change, ChangeDetector, Moment, Thresholds};
use reprieve_linux::EventsWatch;
use reprieve_readings::Limit;

use crate::memory::Memory;

/// The changes of a container's memory, one after the other; an endless iterator that blocks until the next.
///
/// The kernel gives notice of a kill (v2). Limits, available memory and pressure are looked at once in an interval,
/// because a read-only mount allows no more.
#[derive(Debug)]
pub struct Watch {
    memory: Memory,
    detector: ChangeDetector,
    events: Option<EventsWatch>,
    interval: Duration,
    found: VecDeque<Change>,
}

impl Memory {
    /// Watches this memory, looking every 250 ms. Thresholds that are crossed already are told at once.
    pub fn watch(self, thresholds: Thresholds) -> Watch {
        let events = self.events();
        let mut watch = Watch {
            memory: self,
            detector: ChangeDetector::new(thresholds),
            events,
            interval: Duration::from_millis(250),
            found: VecDeque::new(),
        };
        watch.look();
        watch
    }
}

impl Watch {
    /// Looks this often; a shorter time costs more. Not less than 1 ms.
    #[must_use]
    pub fn every(mut self, interval: Duration) -> Self {
        self.interval = interval.max(Duration::from_millis(1));
        self
    }

    /// Waits for the next change, but no longer than until `end`; `None` where there was none.
    pub fn next_until(&mut self, end: Instant) -> Option<Change> {
        loop {
            if let Some(change) = self.found.pop_front() {
                return Some(change);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.wait(left.min(self.interval));
            self.memory.refresh();
            self.look();
        }
    }

    /// The memory as last read.
    pub fn memory(&self) -> &Memory {
        &self.memory
    }

    fn wait(&mut self, time: Duration) {
        let woken = self.events.as_mut().map(|events| events.wait(time));
        match woken {
            Some(Ok(())) => {}
            // Without notice, by polling alone.
            Some(Err(_)) | None => {
                self.events = None;
                std::thread::sleep(time);
            }
        }
    }

    fn look(&mut self) {
        let memory = &mut self.memory;
        let limit = memory.limit().filter(|_| memory.is_limited());
        let moment = Moment {
            limit: Some(limit.map_or(Limit::Max, Limit::At)),
            available: memory.available().map(|available| available.until_kill.estimate.best),
            pressure: memory.pressure().map(|pressure| pressure.some.average_10s),
            oom_kills: memory.oom_kills(),
        };
        self.found.extend(self.detector.feed(&moment));
    }
}

impl Iterator for Watch {
    type Item = Change;

    /// Blocks until something changes; never `None`.
    fn next(&mut self) -> Option<Change> {
        const LONG: Duration = Duration::from_secs(3600);
        loop {
            let change = self.next_until(Instant::now() + LONG);
            if change.is_some() {
                return change;
            }
        }
    }
}
