//! How long until something that falls reaches a floor: the kubelet's threshold, or nothing left below a limit.
//!
//! The slope is Theil and Sen's, the median of the slopes of all pairs of readings: a third of them may be outliers and
//! it still holds. Kendall's statistic gives the range in which the true slope lies. A slope that may as well be none
//! gives no forecast; nor does a fall that has stopped, that flattens before it gets there, or that is a breath of a
//! program which gives memory back again and again (`breathing`). How much it errs on recorded series, docs/eviction.md
//! tells.

mod breathing;
mod slope;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use reprieve_readings::Bytes;

use breathing::{Breath, Breathing};
use slope::{FEWEST, Reading, Slope, slope};

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
        /// At the soonest.
        soonest: Duration,
        /// At the latest. `None` beyond the horizon.
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
    readings: VecDeque<Reading>,
    breathing: Breathing,
    limit: Option<Bytes>,
}

/// Readings that are kept: half a minute at the agent's default interval.
const KEPT: usize = 32;
/// The latest readings, which must fall like all of them.
const LATEST: usize = 6;
/// Nothing is foretold further ahead than so many times what was seen.
const TIMES_SEEN: u32 = 30;
/// Nor further than this.
const HORIZON: Duration = Duration::from_secs(3600);
/// A fall by less than this is none: statistics of the kernel lag by as much.
const NOTHING: Bytes = Bytes::from_kib(256);
/// Parts by which the range is wider on both sides than the slopes alone would have it, and one reading more: the pace
/// of a program changes.
const PACE: f64 = 0.15;
/// The same where the pace itself changes steadily.
const BENT: f64 = 0.75;

impl Falling {
    /// Takes a reading. `now` is any clock that doesn't go back; a reading of the same moment replaces the last.
    pub fn push(&mut self, now: Duration, left: Bytes) {
        match self.readings.back() {
            Some((last, _)) if *last > now => *self = Falling { limit: self.limit, ..Falling::default() },
            Some((last, _)) if *last == now => {
                self.readings.pop_back();
            }
            _ => {}
        }
        if self.readings.len() == KEPT {
            self.readings.pop_front();
        }
        self.readings.push_back((now, left));
        self.breathing.push(now, left);
    }

    /// Says below which limit it is. Where that is another one than before, all readings until now are forgotten: what a
    /// new limit leaves is not what was given back.
    pub fn below(&mut self, limit: Bytes) -> &mut Self {
        if self.limit.is_some_and(|before| before != limit) {
            *self = Falling::default();
        }
        self.limit = Some(limit);
        self
    }

    /// What was left at the last reading.
    pub fn last(&self) -> Option<Bytes> {
        self.readings.back().map(|(_, left)| *left)
    }

    /// When `floor` is reached if all goes on as it did.
    pub fn forecast(&self, floor: Bytes) -> Forecast {
        let Some(&(now, left)) = self.readings.back() else { return Forecast::Unknown };
        if left <= floor {
            return Forecast::Now;
        }
        if self.readings.len() <= FEWEST {
            return Forecast::Unknown;
        }
        match self.breathing.judge(now, left, floor) {
            Breath::Unknown | Breath::Below => self.by_slope(left.saturating_sub(floor), floor),
            Breath::Level => Forecast::None,
            Breath::Sinking { slope, last: (then, trough) } => {
                let since = now.saturating_sub(then).as_secs_f64();
                let expected = trough.get() as f64 + slope * since;
                let distance = (expected - floor.get() as f64).max(0.0);
                let slope = Slope { best: slope, steepest: slope * 1.5, shallowest: slope / 1.5 };
                let all: Vec<_> = self.readings.iter().copied().collect();
                tell(&all, distance, slope)
            }
        }
    }

    fn by_slope(&self, distance: Bytes, floor: Bytes) -> Forecast {
        let from = self.breathing.last_disaster(floor);
        let holds = |(at, _): &&Reading| from.is_none_or(|from| *at > from);
        let all: Vec<_> = self.readings.iter().filter(holds).copied().collect();
        // Most things don't fall, and need no slopes to know that.
        let peak = all.iter().map(|(_, left)| *left).max().unwrap_or_default();
        if peak.saturating_sub(self.last().unwrap_or_default()) < NOTHING {
            return Forecast::None;
        }
        if all.len() <= FEWEST {
            return Forecast::Unknown;
        }
        let latest = all.get(all.len().saturating_sub(LATEST)..).unwrap_or(&all);
        let (Some(long), Some(short)) = (slope(&all), slope(latest)) else { return Forecast::Unknown };
        let distance = distance.get() as f64;
        let slope = match judge_pace(&all, &short) {
            Pace::Usual => long,
            Pace::New => short,
            Pace::Stopped => return Forecast::None,
        };
        if slope.best >= 0.0 {
            return Forecast::None;
        }
        match Curve::of(&all).map(|curve| curve.time(distance)) {
            Some(None) => Forecast::None,
            Some(Some(seconds)) => {
                let best = distance / seconds.max(f64::MIN_POSITIVE);
                let slope = Slope { best: -best, steepest: -best / BENT, shallowest: -best * BENT };
                tell(&all, distance, slope)
            }
            None => tell(&all, distance, slope),
        }
    }
}

/// How long it takes over a distance at such a slope, seen in these readings.
fn tell(readings: &[Reading], distance: f64, slope: Slope) -> Forecast {
    let ends = readings.first().zip(readings.last());
    let seen = ends.map_or(Duration::ZERO, |((first, _), (last, _))| last.saturating_sub(*first));
    let step = seen.as_secs_f64() / readings.len().saturating_sub(1).max(1) as f64;
    let horizon = seen.saturating_mul(TIMES_SEEN).min(HORIZON);
    let after = |slope: f64, part: f64, more: f64| {
        let seconds = if slope < 0.0 { distance / -slope * part + more } else { f64::INFINITY };
        Duration::try_from_secs_f64(seconds.max(0.0)).ok().filter(|time| *time <= horizon)
    };
    let soonest = after(slope.steepest.min(slope.best), 1.0 - PACE, -step);
    match (after(slope.best, 1.0, 0.0), soonest) {
        (Some(best), Some(soonest)) => {
            let latest = after(slope.shallowest.max(slope.best), 1.0 + PACE, step);
            Forecast::In { best, soonest, latest }
        }
        _ => Forecast::None,
    }
}

/// How the latest readings go, beside those before them.
enum Pace {
    /// As they often did.
    Usual,
    /// Clearly faster or slower than before.
    New,
    /// Not downwards any more.
    Stopped,
}

/// Compares the slope of the latest readings with those of as many before them, and so on. A program that takes memory in
/// steps, or in waves, has all kinds of them.
fn judge_pace(all: &[Reading], short: &Slope) -> Pace {
    let before: Vec<f64> =
        all.rchunks(LATEST).skip(1).filter_map(|window| slope(window).map(|slope| slope.best)).collect();
    let at_rest = |slope: f64| slope > -(NOTHING.get() as f64) / 4.0;
    let was_at_rest = before.first().is_none_or(|last| at_rest(*last));
    if at_rest(short.best) && (was_at_rest || !before.iter().any(|slope| at_rest(*slope))) {
        return Pace::Stopped;
    }
    let least = before.iter().copied().fold(f64::INFINITY, f64::min);
    let most = before.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    // 30 % beyond what was seen is no new pace yet.
    let usual = short.best >= least * 1.3 && short.best <= most * 0.7 || before.is_empty();
    if usual { Pace::Usual } else { Pace::New }
}

/// A fall whose pace grows or sinks by the same part again and again.
struct Curve {
    /// Bytes a second at the last reading; positive.
    pace: f64,
    /// The part by which it changes in a second: above 0 it goes faster and faster.
    growth: f64,
}

impl Curve {
    /// Readings in each of the four quarters that are compared, at least.
    const QUARTER: usize = 5;

    /// `None` where the pace of the quarters does not change steadily: after a step it is a new one, no curve.
    fn of(readings: &[Reading]) -> Option<Curve> {
        let size = readings.len() / 4;
        if size < Self::QUARTER {
            return None;
        }
        let from = readings.len() - 4 * size;
        let quarters: Vec<&[Reading]> = readings.get(from..)?.chunks(size).collect();
        let paces =
            quarters.iter().map(|quarter| slope(quarter).map(|slope| -slope.best)).collect::<Option<Vec<_>>>()?;
        let ratios: Vec<f64> = paces.iter().zip(paces.iter().skip(1)).map(|(before, after)| after / before).collect();
        let all = |least: f64, most: f64| ratios.iter().all(|ratio| (least..=most).contains(ratio));
        if paces.iter().any(|pace| *pace <= 0.0) || !(all(1.05, 2.5) || all(0.3, 0.95)) {
            return None;
        }
        let (first, last) = paces.first().zip(paces.last())?;
        let ratio = (last / first).powf(1.0 / ratios.len() as f64);
        let ends = quarters.last().and_then(|quarter| quarter.first().zip(quarter.last()));
        let seconds = ends.map(|((begin, _), (end, _))| end.saturating_sub(*begin).as_secs_f64())? * size as f64
            / size.saturating_sub(1).max(1) as f64;
        // At the end of the last quarter the pace is half a step further than in its middle.
        Some(Curve { pace: last * ratio.sqrt(), growth: ratio.ln() / seconds })
    }

    /// Seconds until it has fallen so far. `None` where it flattens before.
    fn time(&self, distance: f64) -> Option<f64> {
        let grown = 1.0 + self.growth * distance / self.pace;
        (grown > 0.0).then(|| grown.ln() / self.growth)
    }
}
