//! How long until something that falls reaches a floor: the kubelet's threshold, or nothing left below a limit.
//!
//! The slope is Theil and Sen's, the median of the slopes of all pairs of readings: a third of them may be outliers and
//! it still holds. Kendall's statistic gives the range in which the true slope lies. A slope that may as well be none
//! gives no forecast, and so does a fall that has stopped: the latest readings must fall too. By how much it errs on
//! recorded series, docs/eviction.md tells.

use std::collections::VecDeque;
use std::time::Duration;

use reprieve_readings::Bytes;

/// When a floor is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forecast {
    /// Too few readings to tell.
    Unknown,
    /// Nothing points there.
    None,
    /// It is reached already.
    Now,
    /// In so long.
    In {
        /// Most likely.
        best: Duration,
        /// At the soonest, by the steepest slope that the readings allow.
        soonest: Duration,
        /// At the latest, by the shallowest. `None` beyond the horizon.
        latest: Option<Duration>,
    },
}

impl Forecast {
    /// The most likely time, where there is one.
    pub fn best(self) -> Option<Duration> {
        match self {
            Forecast::Now => Some(Duration::ZERO),
            Forecast::In { best, .. } => Some(best),
            Forecast::Unknown | Forecast::None => None,
        }
    }
}

/// The last readings of something that may run out.
#[derive(Debug, Clone, Default)]
pub struct Falling {
    readings: VecDeque<(Duration, Bytes)>,
}

/// Readings that are kept: half a minute at the agent's default interval.
const KEPT: usize = 32;
/// Fewer tell nothing.
const FEWEST: usize = 5;
/// The latest readings, which must fall like all of them.
const LATEST: usize = 8;
/// Further ahead nothing is foretold.
pub(crate) const HORIZON: Duration = Duration::from_secs(3600);
/// A fall by less than this is none: statistics of the kernel lag by as much.
const NOTHING: Bytes = Bytes::from_kib(256);
/// Two-sided 90 % of a normal distribution.
const CONFIDENCE: f64 = 1.645;

impl Falling {
    /// Takes a reading. `now` is any clock that doesn't go back; a reading of the same moment replaces the last.
    pub fn push(&mut self, now: Duration, left: Bytes) {
        match self.readings.back() {
            Some((last, _)) if *last > now => self.readings.clear(),
            Some((last, _)) if *last == now => {
                self.readings.pop_back();
            }
            _ => {}
        }
        if self.readings.len() == KEPT {
            self.readings.pop_front();
        }
        self.readings.push_back((now, left));
    }

    /// What was left at the last reading.
    pub fn last(&self) -> Option<Bytes> {
        self.readings.back().map(|(_, left)| *left)
    }

    /// When `floor` is reached if all goes on as it did.
    pub fn forecast(&self, floor: Bytes) -> Forecast {
        let Some(&(_, left)) = self.readings.back() else { return Forecast::Unknown };
        if left <= floor {
            return Forecast::Now;
        }
        // Most things don't fall, and need no slopes to know that.
        let peak = self.readings.iter().map(|(_, left)| *left).max().unwrap_or_default();
        if self.readings.len() >= FEWEST && peak.saturating_sub(left) < NOTHING {
            return Forecast::None;
        }
        let all: Vec<_> = self.readings.iter().copied().collect();
        let latest = all.get(all.len().saturating_sub(LATEST)..).unwrap_or(&all);
        let (Some(long), Some(short)) = (slope(&all), slope(latest)) else { return Forecast::Unknown };
        if short.best >= 0.0 || long.shallowest >= 0.0 && short.shallowest >= 0.0 {
            return Forecast::None;
        }
        // Where the latest readings fall clearly faster or slower than all of them, the pace has changed.
        let apart = short.shallowest < long.steepest || short.steepest > long.shallowest;
        let slope = if apart && short.shallowest < 0.0 { short } else { long };
        let distance = left.saturating_sub(floor).get() as f64;
        let after = |slope: f64| {
            let seconds = if slope < 0.0 { distance / -slope } else { f64::INFINITY };
            Duration::try_from_secs_f64(seconds).ok().filter(|time| *time <= HORIZON)
        };
        match (after(slope.best), after(slope.steepest)) {
            (Some(best), Some(soonest)) => Forecast::In { best, soonest, latest: after(slope.shallowest) },
            _ => Forecast::None,
        }
    }
}

/// A slope in bytes a second, and the range in which it lies. Falling is negative.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Slope {
    best: f64,
    steepest: f64,
    shallowest: f64,
}

/// Theil and Sen's slope with Kendall's range (Sen 1968, "Estimates of the regression coefficient based on Kendall's
/// tau").
fn slope(readings: &[(Duration, Bytes)]) -> Option<Slope> {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn forecast(left: impl IntoIterator<Item = u64>) -> Forecast {
        let mut falling = Falling::default();
        for (second, left) in left.into_iter().enumerate() {
            falling.push(Duration::from_secs(second as u64), Bytes::from_mib(left));
        }
        falling.forecast(Bytes::from_mib(100))
    }

    #[test]
    fn a_steady_fall_is_foretold_exactly() {
        let expected = Duration::from_secs(30);
        assert_eq!(
            forecast((0..11).map(|second| 500 - 10 * second)),
            Forecast::In { best: expected, soonest: expected, latest: Some(expected) }
        );
    }

    #[test]
    fn outliers_don_t_matter() {
        let with_outliers = (0..20).map(|second| if second % 7 == 3 { 900 } else { 500 - 10 * second });
        let Forecast::In { best, .. } = forecast(with_outliers) else { panic!() };
        assert!((19..=23).contains(&best.as_secs()), "{best:?}");
    }

    #[test]
    fn nothing_points_there() {
        assert_eq!(forecast([500; 20]), Forecast::None, "steady");
        assert_eq!(forecast((0..20).map(|second| 300 + second)), Forecast::None, "rising");
        assert_eq!(forecast((0..20).map(|second| 500 - second % 2)), Forecast::None, "to and fro");
        assert_eq!(forecast((0..30).map(|second| 500 - 10 * second.min(12))), Forecast::None, "it has stopped");
        assert_eq!(forecast([500, 400, 300]), Forecast::Unknown);
        assert_eq!(forecast([]), Forecast::Unknown);
        assert_eq!(forecast([100]), Forecast::Now);
    }

    #[test]
    fn a_new_pace_is_noticed() {
        let faster = (0..30).map(|second| if second < 20 { 1000 - second } else { 980 - (second - 20) * 50 });
        let Forecast::In { best, .. } = forecast(faster) else { panic!() };
        assert!((7..=10).contains(&best.as_secs()), "430 MiB at 50 MiB/s: {best:?}");
    }

    #[test]
    fn the_clock_may_stand_still_or_go_back() {
        let mut falling = Falling::default();
        for second in [0, 0, 0, 5, 4, 5, 6, 7, 8, 9] {
            falling.push(Duration::from_secs(second), Bytes::from_mib(1000 - 10 * second));
        }
        assert!(matches!(falling.forecast(Bytes::ZERO), Forecast::In { best, .. } if best.as_secs() == 91));
    }

    proptest! {
        #[test]
        fn bounds_enclose_the_best_guess(left: Vec<u64>, floor: u64) {
            let mut falling = Falling::default();
            for (second, left) in left.iter().enumerate() {
                falling.push(Duration::from_secs(second as u64), Bytes::new(*left));
            }
            if let Forecast::In { best, soonest, latest } = falling.forecast(Bytes::new(floor)) {
                prop_assert!(soonest <= best);
                prop_assert!(latest.is_none_or(|latest| best <= latest));
                prop_assert!(best <= HORIZON);
            }
        }
    }
}
