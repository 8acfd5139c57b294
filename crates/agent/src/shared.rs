//! What the watch tells HTTP: the last snapshot, and when it was made.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use reprieve_report::Snapshot;

/// The last snapshot, shared by two threads. Neither holds the lock for longer than a clone takes.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    latest: Arc<Mutex<Option<Published>>>,
    started: Instant,
    stale_after: Duration,
}

#[derive(Debug)]
struct Published {
    at: Instant,
    snapshot: Arc<Snapshot>,
}

impl Shared {
    /// Nothing published yet. A snapshot is stale after ten intervals, but not before half a minute.
    pub(crate) fn new(interval: Duration) -> Self {
        let stale_after = interval.saturating_mul(10).max(Duration::from_secs(30));
        Shared { latest: Arc::default(), started: Instant::now(), stale_after }
    }

    pub(crate) fn publish(&self, snapshot: Snapshot) {
        *self.lock() = Some(Published { at: Instant::now(), snapshot: Arc::new(snapshot) });
    }

    /// The last snapshot, unless there is none yet.
    pub(crate) fn latest(&self) -> Option<Arc<Snapshot>> {
        self.lock().as_ref().map(|published| Arc::clone(&published.snapshot))
    }

    /// Whether scans have stopped: the last one, or the start where there was none, is too long ago.
    pub(crate) fn is_stale(&self) -> bool {
        self.lock().as_ref().map_or(self.started, |published| published.at).elapsed() > self.stale_after
    }

    fn lock(&self) -> MutexGuard<'_, Option<Published>> {
        // A panic elsewhere leaves a whole snapshot behind: it is replaced in one step.
        self.latest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scans_are_stale_when_the_last_one_or_the_start_is_too_long_ago() {
        let shared = Shared::new(Duration::from_secs(1));
        assert!(!shared.is_stale(), "half a minute is allowed");
        let impatient = Shared { stale_after: Duration::ZERO, ..shared };
        std::thread::sleep(Duration::from_millis(1));
        assert!(impatient.is_stale(), "no scan since the start");
        impatient.publish(Snapshot::default());
        let patient = Shared { stale_after: Duration::from_secs(30), ..impatient.clone() };
        assert!(!patient.is_stale());
        std::thread::sleep(Duration::from_millis(1));
        assert!(impatient.is_stale(), "no scan since the last");
    }
}
