//! How soon to look at the node again: the faster what is available falls, the sooner.

use std::time::Duration;

use reprieve_readings::Bytes;

/// Remembers how fast it fell lately.
#[derive(Debug, Clone, Copy, Default)]
pub struct LookPace {
    last: Option<(Duration, Bytes)>,
    /// Bytes a second.
    fall: f64,
}

impl LookPace {
    /// Time between two looks where nothing falls, and where it falls fast.
    pub const LONGEST: Duration = Duration::from_millis(250);
    const SHORTEST: Duration = Duration::from_millis(50);
    /// There are to be so many looks until the threshold would be met.
    const LOOKS: f64 = 4.0;

    /// Takes a look: so much is left above the threshold. Returns how long to wait until the next.
    pub fn look(&mut self, now: Duration, left: Bytes) -> Duration {
        if let Some((then, before)) = self.last {
            let seconds = now.saturating_sub(then).as_secs_f64().max(0.001);
            let fall = before.saturating_sub(left).get() as f64 / seconds;
            // An act of the keeper's own hides the fall for a while.
            self.fall = fall.max(self.fall * 0.5_f64.powf(seconds));
        }
        self.last = Some((now, left));
        let until = left.get() as f64 / self.fall / Self::LOOKS;
        Duration::try_from_secs_f64(until).unwrap_or(Self::LONGEST).clamp(Self::SHORTEST, Self::LONGEST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(looks: &[(u64, u64)]) -> u128 {
        let mut pace = LookPace::default();
        let look = |&(millis, mib): &(u64, u64)| pace.look(Duration::from_millis(millis), Bytes::from_mib(mib));
        looks.iter().map(look).last().unwrap_or_default().as_millis()
    }

    #[test]
    fn the_faster_it_falls_the_sooner_comes_the_next_look() {
        assert_eq!(after(&[(0, 1000)]), 250);
        assert_eq!(after(&[(0, 1000), (250, 1000)]), 250, "it does not fall");
        assert_eq!(after(&[(0, 1000), (1000, 900)]), 250, "far: 9 s");
        assert_eq!(after(&[(0, 1000), (1000, 400)]), 166, "400 MiB at 600 MiB/s, in four looks");
        assert_eq!(after(&[(0, 1000), (1000, 10)]), 50);
        assert_eq!(after(&[(0, 1000), (1000, 400), (1200, 600)]), 250, "it has risen; 600 MiB at 522 MiB/s");
        assert_eq!(after(&[(0, 1000), (1000, 400), (1100, 420)]), 187, "the fall is not forgotten at once");
        assert_eq!(after(&[(5, 100), (5, 0)]), 50, "no time in between");
    }
}
