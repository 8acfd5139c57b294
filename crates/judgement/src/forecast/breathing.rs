//! Programs that breathe: memory that is given back again and again, as garbage collectors do.
//!
//! While what is left stays above the last troughs, a fall is a breath and no leak. What leaks under the breathing shows
//! in the troughs themselves, which then lie deeper and deeper.
//!
//! A trough at the floor is no breath: what rises from there was killed or evicted, and may leak again. Nothing from
//! before tells anything of what comes after.

use std::collections::VecDeque;
use std::time::Duration;

use reprieve_readings::Bytes;

use super::slope::Reading;

/// The turns of a series.
#[derive(Debug, Clone, Default)]
pub(super) struct Breathing {
    troughs: VecDeque<Trough>,
    falling: bool,
    high: Bytes,
    low: Reading,
    /// By how much the reading at `low` was below the one before.
    step: Bytes,
    last: Option<Bytes>,
}

/// The deepest reading between two highs.
#[derive(Debug, Clone, Copy)]
struct Trough {
    at: Duration,
    left: Bytes,
    /// A floor so far below may have been reached between two readings.
    reach: Bytes,
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
/// A floor that lies below a trough by one part of so many of the fall, or of the rise after it, is as good as reached.
const NEAR: u64 = 8;
/// Older troughs are forgotten.
const OLDEST: Duration = Duration::from_secs(600);
/// A fall that lasts for so many of the longest breaths is none.
const BREATHS: u32 = 3;
/// Less than this is no breath.
const SMALLEST: Bytes = Bytes::from_mib(2);

impl Breathing {
    pub(super) fn push(&mut self, now: Duration, left: Bytes) {
        let step = match self.last.replace(left) {
            Some(last) => last.saturating_sub(left),
            None => {
                (self.high, self.low, self.falling) = (left, (now, left), true);
                Bytes::ZERO
            }
        };
        if self.falling {
            self.high = self.high.max(left);
            if left <= self.low.1 {
                (self.low, self.step) = ((now, left), step);
            } else if left.saturating_sub(self.low.1) >= self.turn() {
                self.keep_trough();
                (self.falling, self.high) = (false, left);
            }
        } else if left >= self.high {
            self.high = left;
        } else if self.high.saturating_sub(left) >= self.turn() {
            (self.falling, self.low, self.step) = (true, (now, left), step);
        }
    }

    fn keep_trough(&mut self) {
        if self.troughs.len() == KEPT {
            self.troughs.pop_front();
        }
        let (at, left) = self.low;
        let swing = self.high.saturating_sub(left);
        // The begin of a series is no trough.
        if swing >= SMALLEST {
            let reach = self.step.clamp(Bytes::new(swing.get() / NEAR), Bytes::new(swing.get() / 4));
            self.troughs.push_back(Trough { at, left, reach });
        }
    }

    /// How far back it must go to be a turn: a quarter of the swing.
    fn turn(&self) -> Bytes {
        Bytes::new(self.high.saturating_sub(self.low.1).get() / 4).max(SMALLEST)
    }

    /// When it last rose from the floor.
    pub(super) fn last_disaster(&self, floor: Bytes) -> Option<Duration> {
        let is_at = |trough: &&Trough| trough.left <= floor.saturating_add(trough.reach);
        self.troughs.iter().rev().find(is_at).map(|trough| trough.at)
    }

    pub(super) fn judge(&self, now: Duration, left: Bytes, floor: Bytes) -> Breath {
        let troughs = self.troughs_that_hold(now, floor);
        let deepest = troughs.iter().map(|trough| trough.left).min();
        let Some((deepest, last)) = deepest.zip(troughs.last()) else { return Breath::Unknown };
        let swing = self.high.saturating_sub(last.left).get();
        let sinking = slope(&troughs);
        let slack = Bytes::new(if sinking.is_some() { swing / 2 } else { swing / 16 });
        if left.saturating_add(slack) < deepest {
            return Breath::Below;
        }
        sinking.map_or(Breath::Level, |slope| Breath::Sinking { slope, last: (last.at, last.left) })
    }

    /// The troughs since the last disaster, unless the fall that goes on is too long for a breath.
    fn troughs_that_hold(&self, now: Duration, floor: Bytes) -> Vec<Trough> {
        let from = self.last_disaster(floor);
        let holds =
            |trough: &&Trough| from.is_none_or(|from| trough.at > from) && now.saturating_sub(trough.at) <= OLDEST;
        let troughs: Vec<_> = self.troughs.iter().filter(holds).copied().collect();
        let Some(last) = troughs.last() else { return troughs };
        let apart = |pair: &[Trough]| Some(pair.last()?.at.saturating_sub(pair.first()?.at));
        let longest = troughs.windows(2).filter_map(apart).max();
        let lasts = longest.is_none_or(|longest| now.saturating_sub(last.at) <= longest.saturating_mul(BREATHS));
        if lasts { troughs } else { Vec::new() }
    }
}

/// The troughs' slope, if most lie deeper than the one before.
fn slope(troughs: &[Trough]) -> Option<f64> {
    let pairs = || troughs.iter().zip(troughs.iter().skip(1));
    let deeper = pairs().filter(|(before, after)| after.left < before.left).count();
    let (first, last) = troughs.first().zip(troughs.last())?;
    let seconds = last.at.saturating_sub(first.at).as_secs_f64();
    let enough = troughs.len() >= 3 && deeper * 3 >= pairs().count() * 2 && seconds > 0.0;
    let sunk = first.left.get() as f64 - last.left.get() as f64;
    (enough && sunk > 0.0).then(|| -sunk / seconds)
}
