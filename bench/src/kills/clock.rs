//! From the times of the kernel's log to CLOCK_MONOTONIC.
//!
//! A record carries the kernel's `local_clock`, which differs from CLOCK_MONOTONIC by an offset that drifts, since
//! nobody disciplines it. A marker line written to `/dev/kmsg` is stamped between two readings of CLOCK_MONOTONIC, which
//! bounds the offset; markers at many moments of a run give the drift. The log shows whole microseconds, cut off.

use anyhow::{Result, ensure};

/// What the log cuts off a time, at most, in microseconds.
const CUT_OFF: f64 = 1.0;

/// One marker: its time in the log, and the readings of CLOCK_MONOTONIC before and after it was written. Microseconds.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    /// By the log.
    pub(crate) logged: f64,
    /// Before writing.
    pub(crate) before: f64,
    /// After writing.
    pub(crate) after: f64,
}

/// The offset at some moments of a run.
pub(crate) struct LogClock(Vec<Point>);

#[derive(Clone, Copy)]
struct Point {
    logged: f64,
    offset: f64,
    error: f64,
}

impl LogClock {
    /// Takes markers in batches, each written within a moment and the batches in order.
    pub(crate) fn new(batches: &[Vec<Mark>]) -> Result<Self> {
        let points: Vec<Point> = batches.iter().filter_map(|batch| Point::of(batch)).collect();
        ensure!(points.len() >= 2, "the clock of the kernel's log needs markers at two moments at least");
        Ok(LogClock(points))
    }

    /// CLOCK_MONOTONIC at a time of the log, in microseconds.
    pub(crate) fn monotonic(&self, logged: f64) -> f64 {
        logged + offset_at(&self.0, logged) + CUT_OFF / 2.0
    }

    /// How far [`LogClock::monotonic`] may be off, in microseconds: the uncertainty of a batch and, for the drift between
    /// batches, how badly each batch is foretold by its two neighbours.
    pub(crate) fn error(&self) -> f64 {
        let of_batch = self.0.iter().map(|point| point.error).fold(0.0, f64::max);
        let of_drift = self.0.windows(3).filter_map(|points| match points {
            [before, between, after] => Some((offset_at(&[*before, *after], between.logged) - between.offset).abs()),
            _ => None,
        });
        of_batch + of_drift.fold(0.0, f64::max) + CUT_OFF / 2.0
    }
}

impl Point {
    /// Every marker bounds the offset: what all of a batch allow is the narrowest.
    fn of(batch: &[Mark]) -> Option<Self> {
        let least = batch.iter().map(|mark| mark.before - mark.logged - CUT_OFF).reduce(f64::max)?;
        let most = batch.iter().map(|mark| mark.after - mark.logged).reduce(f64::min)?;
        let logged = batch.iter().map(|mark| mark.logged).sum::<f64>() / batch.len() as f64;
        // Should clocks of two processors disagree, the bounds cross, and the difference is still the uncertainty.
        Some(Point { logged, offset: (least + most) / 2.0, error: (most - least).abs() / 2.0 })
    }
}

/// Between points on the line between them, outside on the line through the nearest two.
fn offset_at(points: &[Point], logged: f64) -> f64 {
    let pairs = points.windows(2);
    let pair = pairs.clone().find(|pair| pair.last().is_some_and(|end| logged <= end.logged)).or(pairs.last());
    match pair {
        Some([from, to]) => {
            let part = (logged - from.logged) / (to.logged - from.logged);
            from.offset + (to.offset - from.offset) * part
        }
        _ => points.first().map_or(f64::NAN, |point| point.offset),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(logged: f64, offset: f64) -> Vec<Mark> {
        let mark = |slow: f64| Mark { logged, before: logged + offset - 4.0, after: logged + offset + slow };
        vec![mark(90.0), mark(4.0), mark(30.0)]
    }

    #[test]
    fn the_drift_between_batches_is_followed() {
        let clock = LogClock::new(&[batch(1000.0, 50.0), batch(2000.0, 60.0), batch(3000.0, 70.0)]).unwrap();
        assert!((clock.monotonic(1500.0) - 1555.0).abs() <= 1.0, "{}", clock.monotonic(1500.0));
        assert!((clock.monotonic(3500.0) - 3575.0).abs() <= 1.0, "{}", clock.monotonic(3500.0));
        assert!(clock.error() < 6.0, "{}", clock.error());
    }

    #[test]
    fn a_jump_between_batches_shows_in_the_error() {
        let clock = LogClock::new(&[batch(1000.0, 50.0), batch(2000.0, 150.0), batch(3000.0, 50.0)]).unwrap();
        assert!(clock.error() > 100.0);
        assert!(LogClock::new(&[batch(1000.0, 50.0)]).is_err());
    }
}
