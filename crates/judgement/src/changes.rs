//! What changed about the memory of a container, so that its program has something to do.
//!
//! A threshold is told once when it is crossed, and once when that is over; in between lies a margin, so that a value
//! that trembles on the threshold isn't told over and over.

use reprieve_readings::{Bytes, Limit};

/// What to tell of.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Thresholds {
    /// Tell when less than this is available. Over when an eighth more is.
    pub available_below: Option<Bytes>,
    /// Tell when some process waited for memory for more than this share of the last ten seconds, in percent
    /// (`some avg10`). Over when it is half of that.
    pub pressure_above: Option<f32>,
}

/// What was seen at one moment. `None` is unknown, and changes nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moment {
    /// The smallest limit; `Max` where there is none.
    pub limit: Option<Limit>,
    /// What is most likely available.
    pub available: Option<Bytes>,
    /// The share of the last ten seconds in which some process waited for memory, in percent.
    pub pressure: Option<f32>,
    /// How many processes an OOM killer has killed so far.
    pub oom_kills: Option<u64>,
}

/// Something that changed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Change {
    /// The limit was changed while the program runs.
    Limit {
        /// What it was.
        from: Limit,
        /// What it is now.
        to: Limit,
    },
    /// Less is available than the threshold.
    AvailableLow {
        /// What is left.
        available: Bytes,
    },
    /// Enough is available again.
    AvailableRecovered {
        /// What is left.
        available: Bytes,
    },
    /// Processes wait for memory more than the threshold allows.
    PressureHigh {
        /// The share of the last ten seconds, in percent.
        percent: f32,
    },
    /// They don't any more.
    PressureRecovered {
        /// The share of the last ten seconds, in percent.
        percent: f32,
    },
    /// Processes of the container were killed for want of memory.
    Killed {
        /// How many since this was last told.
        count: u64,
        /// How many in all.
        total: u64,
    },
}

/// Finds the changes in a series of moments.
#[derive(Debug, Clone)]
pub struct ChangeDetector {
    thresholds: Thresholds,
    limit: Option<Limit>,
    oom_kills: Option<u64>,
    available_is_low: bool,
    pressure_is_high: bool,
}

impl ChangeDetector {
    /// A detector that has seen nothing yet. Its first moment is what later ones are compared with; thresholds that it
    /// is beyond already are told.
    pub fn new(thresholds: Thresholds) -> Self {
        ChangeDetector { thresholds, limit: None, oom_kills: None, available_is_low: false, pressure_is_high: false }
    }

    /// What changed from the last moment to this one; the gravest first.
    pub fn feed(&mut self, moment: &Moment) -> Vec<Change> {
        let changes = [self.killed(moment), self.limit(moment), self.available(moment), self.pressure(moment)];
        changes.into_iter().flatten().collect()
    }

    fn killed(&mut self, moment: &Moment) -> Option<Change> {
        let total = moment.oom_kills?;
        let before = self.oom_kills.replace(total)?;
        let count = total.checked_sub(before).filter(|&count| count > 0)?;
        Some(Change::Killed { count, total })
    }

    fn limit(&mut self, moment: &Moment) -> Option<Change> {
        let to = moment.limit?;
        let from = self.limit.replace(to)?;
        (from != to).then_some(Change::Limit { from, to })
    }

    fn available(&mut self, moment: &Moment) -> Option<Change> {
        let (threshold, available) = (self.thresholds.available_below?, moment.available?);
        let enough = threshold.saturating_add(Bytes::new(threshold.get() / 8));
        if !self.available_is_low && available < threshold {
            self.available_is_low = true;
            Some(Change::AvailableLow { available })
        } else if self.available_is_low && available >= enough {
            self.available_is_low = false;
            Some(Change::AvailableRecovered { available })
        } else {
            None
        }
    }

    fn pressure(&mut self, moment: &Moment) -> Option<Change> {
        let (threshold, percent) = (self.thresholds.pressure_above?, moment.pressure?);
        if !self.pressure_is_high && percent > threshold {
            self.pressure_is_high = true;
            Some(Change::PressureHigh { percent })
        } else if self.pressure_is_high && percent <= threshold / 2.0 {
            self.pressure_is_high = false;
            Some(Change::PressureRecovered { percent })
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mib(mib: u64) -> Bytes {
        Bytes::from_mib(mib)
    }

    fn available(mib: u64) -> Moment {
        Moment { available: Some(Bytes::from_mib(mib)), ..Moment::default() }
    }

    #[test]
    fn a_limit_is_told_when_it_changes() {
        let mut detector = ChangeDetector::new(Thresholds::default());
        let at = |limit| Moment { limit: Some(limit), ..Moment::default() };
        assert_eq!(detector.feed(&at(Limit::Max)), []);
        assert_eq!(detector.feed(&at(Limit::Max)), []);
        assert_eq!(detector.feed(&Moment::default()), [], "unknown is no change");
        let to = Limit::At(mib(5));
        assert_eq!(detector.feed(&at(to)), [Change::Limit { from: Limit::Max, to }]);
        assert_eq!(detector.feed(&at(to)), []);
    }

    #[test]
    fn kills_are_counted_from_the_first_moment() {
        let mut detector = ChangeDetector::new(Thresholds::default());
        let kills = |count| Moment { oom_kills: Some(count), ..Moment::default() };
        assert_eq!(detector.feed(&kills(7)), []);
        assert_eq!(detector.feed(&kills(9)), [Change::Killed { count: 2, total: 9 }]);
        assert_eq!(detector.feed(&Moment::default()), []);
        assert_eq!(detector.feed(&kills(9)), []);
        assert_eq!(detector.feed(&kills(1)), [], "another cgroup's counter is no kill");
        assert_eq!(detector.feed(&kills(2)), [Change::Killed { count: 1, total: 2 }]);
    }

    #[test]
    fn little_memory_is_told_once_an_episode() {
        let mut detector = ChangeDetector::new(Thresholds { available_below: Some(mib(80)), ..Thresholds::default() });
        assert_eq!(detector.feed(&available(80)), []);
        assert_eq!(detector.feed(&available(79)), [Change::AvailableLow { available: mib(79) }]);
        assert_eq!(detector.feed(&available(10)), []);
        assert_eq!(detector.feed(&available(89)), [], "within the margin");
        assert_eq!(detector.feed(&available(79)), []);
        assert_eq!(detector.feed(&available(90)), [Change::AvailableRecovered { available: mib(90) }]);
        assert_eq!(detector.feed(&available(1)), [Change::AvailableLow { available: mib(1) }]);
    }

    #[test]
    fn pressure_is_told_once_an_episode() {
        let mut detector = ChangeDetector::new(Thresholds { pressure_above: Some(20.0), ..Thresholds::default() });
        let pressure = |percent| Moment { pressure: Some(percent), ..Moment::default() };
        assert_eq!(detector.feed(&pressure(20.0)), []);
        assert_eq!(detector.feed(&pressure(20.5)), [Change::PressureHigh { percent: 20.5 }]);
        assert_eq!(detector.feed(&pressure(11.0)), []);
        assert_eq!(detector.feed(&pressure(10.0)), [Change::PressureRecovered { percent: 10.0 }]);
    }

    #[test]
    fn the_gravest_comes_first() {
        let thresholds = Thresholds { available_below: Some(mib(1)), pressure_above: Some(1.0) };
        let mut detector = ChangeDetector::new(thresholds);
        let calm = Moment { limit: Some(Limit::Max), oom_kills: Some(0), ..available(50) };
        assert_eq!(detector.feed(&calm), []);
        let grave = Moment { limit: Some(Limit::At(mib(1))), oom_kills: Some(1), pressure: Some(50.0), ..available(0) };
        let kinds: Vec<_> = detector.feed(&grave).iter().map(std::mem::discriminant).collect();
        let expected = [
            Change::Killed { count: 1, total: 1 },
            Change::Limit { from: Limit::Max, to: Limit::Max },
            Change::AvailableLow { available: Bytes::ZERO },
            Change::PressureHigh { percent: 0.0 },
        ];
        assert_eq!(kinds, expected.iter().map(std::mem::discriminant).collect::<Vec<_>>());
    }
}
