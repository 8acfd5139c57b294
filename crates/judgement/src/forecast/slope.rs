//! Theil and Sen's slope with Kendall's range (Sen 1968, "Estimates of the regression coefficient based on Kendall's
//! tau").

use std::time::Duration;

use reprieve_readings::Bytes;

/// A reading: when, and how much was left.
pub(super) type Reading = (Duration, Bytes);

/// A slope in bytes a second, and the range in which it lies. Falling is negative.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Slope {
    pub(super) best: f64,
    pub(super) steepest: f64,
    pub(super) shallowest: f64,
}

/// Fewer readings tell nothing.
pub(super) const FEWEST: usize = 4;
/// Two-sided 90 % of a normal distribution, and as much again: one reading of memory depends on the last, which the
/// formula doesn't know of.
const CONFIDENCE: f64 = 1.645 * 2.0;

/// The slope of these readings. `None` where there are too few.
pub(super) fn slope(readings: &[Reading]) -> Option<Slope> {
    let count = readings.len();
    if count < FEWEST {
        return None;
    }
    let mut slopes = Vec::with_capacity(count * (count - 1) / 2);
    for (index, (then, before)) in readings.iter().enumerate() {
        for (now, after) in readings.iter().skip(index + 1) {
            let seconds = now.saturating_sub(*then).as_secs_f64();
            if seconds > 0.0 {
                slopes.push((after.get() as f64 - before.get() as f64) / seconds);
            }
        }
    }
    slopes.sort_by(f64::total_cmp);
    let n = count as f64;
    let spread = CONFIDENCE * (n * (n - 1.0) * (2.0 * n + 5.0) / 18.0).sqrt();
    let pairs = slopes.len() as f64;
    let at = |rank: f64| slopes.get((rank.max(0.0) as usize).min(slopes.len().saturating_sub(1))).copied();
    Some(Slope {
        best: median(&slopes)?,
        steepest: at((pairs - spread) / 2.0)?,
        shallowest: at((pairs + spread) / 2.0)?,
    })
}

fn median(sorted: &[f64]) -> Option<f64> {
    let upper = sorted.get(sorted.len() / 2)?;
    let lower = sorted.get(sorted.len().saturating_sub(1) / 2)?;
    Some((upper + lower) / 2.0)
}
