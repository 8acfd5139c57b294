//! Programs that breathe: memory that is given back again and again, as garbage collectors do.
//!
//! While what is left stays above the last troughs, a fall is a breath and no leak. What leaks under the breathing shows
//! in the troughs themselves, which then lie deeper and deeper.

use std::collections::VecDeque;
use std::time::Duration;

use reprieve_readings::Bytes;

use super::slope::Reading;

/// The turns of a series.
#[derive(Debug, Clone, Default)]
pub(super) struct Breathing {
    troughs: VecDeque<Reading>,
    falling: bool,
    high: Bytes,
    low: Reading,
    begun: bool,
}

/// What a trough line foretells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Breath {
    /// No breathing is known.
    Unknown,
    /// What is left is deeper than any breath: it tells nothing of that.
    Below,
    /// A breath, and the troughs don't sink.
    Level,
    /// The troughs sink: by so many bytes a second (negative), the last lies there.
    Sinking {
        /// Bytes a second.
        slope: f64,
        /// When and how deep the last trough was.
        last: Reading,
    },
}

/// Troughs that are kept.
const KEPT: usize = 6;
/// Less than this is no breath.
const SMALLEST: Bytes = Bytes::from_mib(2);

impl Breathing {
    pub(super) fn push(&mut self, now: Duration, left: Bytes) {
        if !std::mem::replace(&mut self.begun, true) {
            (self.high, self.low, self.falling) = (left, (now, left), true);
        }
        if self.falling {
            self.high = self.high.max(left);
            if left <= self.low.1 {
                self.low = (now, left);
            } else if left.saturating_sub(self.low.1) >= self.turn() {
                if self.troughs.len() == KEPT {
                    self.troughs.pop_front();
                }
                // The begin of a series is no trough.
                if self.high.saturating_sub(self.low.1) >= SMALLEST {
                    self.troughs.push_back(self.low);
                }
                (self.falling, self.high) = (false, left);
            }
        } else if left >= self.high {
            self.high = left;
        } else if self.high.saturating_sub(left) >= self.turn() {
            (self.falling, self.low) = (true, (now, left));
        }
    }

    /// How far back it must go to be a turn: a quarter of the swing.
    fn turn(&self) -> Bytes {
        Bytes::new(self.high.saturating_sub(self.low.1).get() / 4).max(SMALLEST)
    }

    pub(super) fn judge(&self, left: Bytes) -> Breath {
        let deepest = self.troughs.iter().map(|(_, trough)| *trough).min();
        let Some((deepest, &last)) = deepest.zip(self.troughs.back()) else { return Breath::Unknown };
        let swing = self.high.saturating_sub(last.1).get();
        let sinking = self.slope();
        let slack = Bytes::new(if sinking.is_some() { swing / 2 } else { swing / 16 });
        if left.saturating_add(slack) < deepest {
            return Breath::Below;
        }
        sinking.map_or(Breath::Level, |slope| Breath::Sinking { slope, last })
    }

    /// The troughs' slope, if most lie deeper than the one before.
    fn slope(&self) -> Option<f64> {
        let pairs = || self.troughs.iter().zip(self.troughs.iter().skip(1));
        let deeper = pairs().filter(|((_, before), (_, after))| after < before).count();
        let (first, last) = self.troughs.front().zip(self.troughs.back())?;
        let seconds = last.0.saturating_sub(first.0).as_secs_f64();
        let enough = self.troughs.len() >= 3 && deeper * 3 >= pairs().count() * 2 && seconds > 0.0;
        let sunk = first.1.get() as f64 - last.1.get() as f64;
        (enough && sunk > 0.0).then(|| -sunk / seconds)
    }
}
