//! How fast what is available falls.

use std::collections::VecDeque;
use std::time::Duration;

use reprieve_readings::Bytes;

use super::times;

/// From how long ago on it is looked at.
const WINDOW: Duration = Duration::from_millis(500);
/// With less than this between two readings nothing is told: it would be chance.
const SHORTEST: Duration = Duration::from_millis(100);
/// How many readings of the window are kept.
const KEPT: u32 = 16;

/// What was available in the last half second.
#[derive(Debug, Clone, Default)]
pub(super) struct Trend {
    /// The oldest first. One a little older than the window is kept, so that all of it is spanned.
    readings: VecDeque<(Duration, Bytes)>,
}

impl Trend {
    /// Takes a reading. Times never go back.
    pub(super) fn feed(&mut self, at: Duration, available: Bytes) {
        // The last one gives way where it came too soon after the one before it.
        let mut latest = self.readings.iter().rev().map(|(at, _)| *at);
        if let (Some(last), Some(before)) = (latest.next(), latest.next())
            && last.saturating_sub(before) < WINDOW / KEPT
        {
            self.readings.pop_back();
        }
        self.readings.push_back((at, available));
        let is_old =
            |reading: Option<&(Duration, Bytes)>, age| reading.is_some_and(|(then, _)| at.saturating_sub(*then) >= age);
        while is_old(self.readings.get(1), WINDOW) || is_old(self.readings.front(), 2 * WINDOW) {
            self.readings.pop_front();
        }
    }

    /// When nothing will be left, at the speed of the window. `None` where it does not fall by at least a hundredth of the
    /// limit in the window: that much is noise.
    pub(super) fn time_left(&self, available: Bytes, limit: Bytes) -> Option<Duration> {
        let &(start, most) = self.readings.front()?;
        let &(end, _) = self.readings.back()?;
        let time = end.saturating_sub(start);
        let fall = most.saturating_sub(available);
        if time < SHORTEST || fall.get() < (limit.get() / 100).max(1) {
            return None;
        }
        Some(times(time, available.get() as f64 / fall.get() as f64))
    }
}
