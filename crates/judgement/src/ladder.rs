//! Which steps are due, as a container runs out of memory?
//!
//! A ladder has rungs, and each rung some thresholds: of what is available, of the time until nothing is, of pressure.
//! A rung is reached when one of its thresholds is crossed, which begins an episode, and is told once. The episode is over,
//! and the rung can be reached again, when all its thresholds have been left behind by a margin for a while: a value that
//! trembles on a threshold does not climb a rung over and over.
//!
//! The time until nothing is available is foretold from how fast it fell in the last half second. Programs take much
//! memory fast as they start, so it counts only while less than half of the limit is left.

mod trend;

use std::time::Duration;

use reprieve_readings::Bytes;

use trend::Trend;

/// For how long all must be well until an episode is over.
const CALM: Duration = Duration::from_secs(10);

/// When a rung is reached. Each must be left behind by a margin until the episode can be over.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Threshold {
    /// Less than this is available. Margin: a quarter more.
    Available(Bytes),
    /// Less than this share of the limit is available, in percent. Margin: a quarter more.
    Share(f32),
    /// Nothing will be available after this time if it goes on as in the last half second. Margin: twice the time.
    TimeLeft(Duration),
    /// Some process waited for memory for more than this share of the last ten seconds, in percent (`some avg10`).
    /// Margin: half of it.
    Pressure(f32),
}

/// What was seen at one moment. `None` is unknown, and crosses no threshold.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct LadderMoment {
    /// When, on a clock that never goes back.
    pub at: Duration,
    /// The limit that binds, or the machine's memory.
    pub limit: Option<Bytes>,
    /// What is most likely available.
    pub available: Option<Bytes>,
    /// The share of the last ten seconds in which some process waited for memory, in percent.
    pub pressure: Option<f32>,
}

/// Something that happened on the ladder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LadderEvent {
    /// A rung was reached: its steps are due now.
    Reached {
        /// Which, counted from 0 in the order given.
        rung: usize,
        /// The threshold that was crossed, the first one of the rung.
        threshold: Threshold,
    },
    /// The episode of a rung is over.
    Over {
        /// Which.
        rung: usize,
    },
}

/// Follows a series of moments.
#[derive(Debug, Clone)]
pub struct Ladder {
    rungs: Vec<Rung>,
    trend: Trend,
    last: LadderMoment,
}

#[derive(Debug, Clone)]
struct Rung {
    thresholds: Vec<Threshold>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Armed,
    /// Reached, and well since then.
    Reached {
        well_since: Option<Duration>,
    },
}

/// A moment together with what follows from those before it.
struct Seen {
    moment: LadderMoment,
    time_left: Option<Duration>,
}

impl Ladder {
    /// A ladder whose rungs are reached when any of their thresholds is crossed.
    pub fn new(rungs: impl IntoIterator<Item = Vec<Threshold>>) -> Self {
        let rungs = rungs.into_iter().map(|thresholds| Rung { thresholds, state: State::Armed }).collect();
        Ladder { rungs, trend: Trend::default(), last: LadderMoment::default() }
    }

    /// Whether any rung asks for pressure.
    pub fn needs_pressure(&self) -> bool {
        self.rungs.iter().flat_map(|rung| &rung.thresholds).any(|threshold| matches!(threshold, Threshold::Pressure(_)))
    }

    /// What happened from the last moment to this one, in the order of the rungs.
    pub fn feed(&mut self, moment: &LadderMoment) -> impl Iterator<Item = LadderEvent> {
        if let Some(available) = moment.available {
            self.trend.feed(moment.at, available);
        }
        self.last = *moment;
        let seen = Seen { moment: *moment, time_left: self.time_left() };
        self.rungs.iter_mut().enumerate().filter_map(move |(number, rung)| rung.feed(number, &seen))
    }

    /// The rungs whose episodes last, counted from 0 in the order given.
    pub fn reached(&self) -> impl Iterator<Item = usize> {
        let rungs = self.rungs.iter().enumerate();
        rungs.filter(|(_, rung)| rung.state != State::Armed).map(|(number, _)| number)
    }

    /// Arms all rungs, and forgets how fast memory fell: another program has it from now on.
    pub fn begin_anew(&mut self) {
        for rung in &mut self.rungs {
            rung.state = State::Armed;
        }
        self.trend = Trend::default();
    }

    /// The time until nothing is available, if it goes on as in the last half second. `None` while it does not fall, and
    /// while half of the limit or more is left.
    pub fn time_left(&self) -> Option<Duration> {
        let (available, limit) = (self.last.available?, self.last.limit?);
        if available.get() > limit.get() / 2 {
            return None;
        }
        self.trend.time_left(available, limit)
    }

    /// How long it is safe to look away: until a twentieth of the time that is left at the present speed, or at a speed of
    /// the whole limit in five seconds. Between 10 and 250 ms.
    pub fn next_look(&self) -> Duration {
        const SHORTEST: Duration = Duration::from_millis(10);
        const LONGEST: Duration = Duration::from_millis(250);
        let (Some(available), Some(limit)) = (self.last.available, self.last.limit) else { return LONGEST };
        let share = available.get() as f64 / limit.get().max(1) as f64;
        let at_full_speed = times(LONGEST, share);
        let at_this_speed = self.trend.time_left(available, limit).map_or(LONGEST, |left| left / 20);
        at_full_speed.min(at_this_speed).clamp(SHORTEST, LONGEST)
    }
}

impl Rung {
    fn feed(&mut self, rung: usize, seen: &Seen) -> Option<LadderEvent> {
        let crossed = self.thresholds.iter().copied().find(|threshold| seen.is_beyond(*threshold, 1.0));
        let is_well = self.thresholds.iter().all(|threshold| seen.has_left_behind(*threshold));
        match (&mut self.state, crossed) {
            (state @ State::Armed, Some(threshold)) => {
                *state = State::Reached { well_since: None };
                Some(LadderEvent::Reached { rung, threshold })
            }
            (State::Armed, None) => None,
            (State::Reached { well_since }, _) => {
                let since = *well_since.get_or_insert(seen.moment.at);
                if !is_well {
                    *well_since = None;
                } else if seen.moment.at.saturating_sub(since) >= CALM {
                    self.state = State::Armed;
                    return Some(LadderEvent::Over { rung });
                }
                None
            }
        }
    }
}

impl Threshold {
    /// What the threshold is multiplied by, to tell whether it has been left behind.
    fn margin(self) -> f64 {
        match self {
            Threshold::Available(_) | Threshold::Share(_) => 1.25,
            Threshold::TimeLeft(_) => 2.0,
            Threshold::Pressure(_) => 0.5,
        }
    }
}

impl Seen {
    /// Unknown memory is not well. Unknown pressure is that of a kernel that has none to tell.
    fn has_left_behind(&self, threshold: Threshold) -> bool {
        let is_known = self.moment.available.is_some() || matches!(threshold, Threshold::Pressure(_));
        is_known && !self.is_beyond(threshold, threshold.margin())
    }

    fn is_beyond(&self, threshold: Threshold, factor: f64) -> bool {
        let available = self.moment.available.map(|available| available.get() as f64);
        match threshold {
            Threshold::Available(bytes) => available.is_some_and(|available| available < bytes.get() as f64 * factor),
            Threshold::Share(percent) => match (available, self.moment.limit) {
                (Some(available), Some(limit)) => available < limit.get() as f64 * f64::from(percent) / 100.0 * factor,
                _ => false,
            },
            Threshold::TimeLeft(time) => self.time_left.is_some_and(|left| left < times(time, factor)),
            Threshold::Pressure(percent) => {
                self.moment.pressure.is_some_and(|pressure| f64::from(pressure) > f64::from(percent) * factor)
            }
        }
    }
}

/// Without the panic of `Duration::mul_f64`: what is too long becomes 584 years.
fn times(time: Duration, factor: f64) -> Duration {
    Duration::from_nanos((time.as_nanos() as f64 * factor) as u64)
}

#[cfg(test)]
mod tests;
