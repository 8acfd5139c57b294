//! Whether what the keeper frees comes back at once, so that it does harm and no good.

use std::collections::VecDeque;
use std::time::Duration;

use reprieve_readings::Bytes;

/// What was gained by freeing lately, and what of that came back.
#[derive(Debug, Default)]
pub(super) struct Thrashing {
    gains: VecDeque<Gain>,
    proved: bool,
}

/// What was gained within a second.
#[derive(Debug)]
struct Gain {
    begun: Duration,
    gained: Bytes,
    back: Bytes,
}

impl Gain {
    const LENGTH: Duration = Duration::from_secs(1);

    fn is_within(&self, window: Duration, now: Duration) -> bool {
        now.saturating_sub(self.begun) <= window
    }

    fn outstanding(&self) -> u64 {
        self.gained.saturating_sub(self.back).get()
    }
}

/// What comes back later than this was not missed.
const WINDOW: Duration = Duration::from_secs(60);
/// Less than this proves nothing: a few steps at one small cache that is in use, which is left alone from then on.
const FEWEST: Bytes = Bytes::from_mib(256);

impl Thrashing {
    pub(super) fn gained(&mut self, now: Duration, bytes: Bytes) {
        match self.gains.back_mut().filter(|gain| now.saturating_sub(gain.begun) < Gain::LENGTH) {
            Some(gain) => gain.gained = gain.gained.saturating_add(bytes),
            None => self.gains.push_back(Gain { begun: now, gained: bytes, back: Bytes::ZERO }),
        }
        self.judge(now);
    }

    /// Nobody knows of which gain it was: each that is not too old has its part of it.
    pub(super) fn came_back(&mut self, now: Duration, bytes: Bytes) {
        if bytes == Bytes::ZERO {
            return;
        }
        let outstanding: u64 =
            self.gains.iter().filter(|gain| gain.is_within(WINDOW, now)).map(Gain::outstanding).sum();
        // More than was gained did not come of it.
        let part = (bytes.get() as f64 / outstanding.max(1) as f64).min(1.0);
        for gain in self.gains.iter_mut().filter(|gain| gain.is_within(WINDOW, now)) {
            let its = Bytes::new((gain.outstanding() as f64 * part) as u64);
            gain.back = gain.back.saturating_add(its);
        }
        self.judge(now);
    }

    /// Once proved it stays so.
    pub(super) fn is_proved(&self) -> bool {
        self.proved
    }

    /// Judges apart what still has time to come back, and what had all its time.
    fn judge(&mut self, now: Duration) {
        while self.gains.front().is_some_and(|gain| !gain.is_within(2 * WINDOW, now)) {
            self.gains.pop_front();
        }
        let proves = |young: bool| {
            let of_age = || self.gains.iter().filter(|gain| gain.is_within(WINDOW, now) == young);
            let gained: Bytes = of_age().map(|gain| gain.gained).sum();
            let back: Bytes = of_age().map(|gain| gain.back).sum();
            gained >= FEWEST && back.get() >= gained.get() / 2
        };
        self.proved |= proves(true) || proves(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_much_coming_back_within_a_minute_is_thrashing() {
        let run = |gained, back, later| {
            let mut thrashing = Thrashing::default();
            thrashing.gained(Duration::ZERO, Bytes::from_mib(gained));
            thrashing.came_back(Duration::from_secs(later), Bytes::from_mib(back));
            thrashing.is_proved()
        };
        assert!(run(256, 128, 30));
        assert!(!run(256, 127, 30));
        assert!(!run(255, 255, 30), "too little to tell");
        assert!(!run(256, 256, 61), "too late");
    }

    /// Acts and what came back, in MiB, each at a second.
    fn run(gains: &[(u64, u64)], returns: &[(u64, u64)]) -> bool {
        let mut thrashing = Thrashing::default();
        for second in 0..=600 {
            let at = |events: &[(u64, u64)]| -> u64 {
                events.iter().filter(|(then, _)| *then == second).map(|(_, mib)| *mib).sum()
            };
            let now = Duration::from_secs(second);
            if at(gains) > 0 {
                thrashing.gained(now, Bytes::from_mib(at(gains)));
            }
            thrashing.came_back(now, Bytes::from_mib(at(returns)));
        }
        thrashing.is_proved()
    }

    #[test]
    fn what_comes_back_of_a_burst_is_not_held_against_a_small_act_after_it() {
        let burst: Vec<_> = (0..=5).map(|second| (second, 350)).chain([(58, 256)]).collect();
        let slowly: Vec<_> = (6..=65).map(|second| (second, 7)).collect();
        assert!(!run(&burst, &slowly), "420 of 2356 MiB");
        let all: Vec<_> = (6..=65).map(|second| (second, 25)).collect();
        assert!(run(&burst, &all), "1500 of 2356 MiB");
    }

    #[test]
    fn acts_without_end_are_judged_by_those_that_had_their_time() {
        let acts: Vec<_> = (0..300).map(|second| (second, 20)).collect();
        let half_a_minute_later = |mib| (30..300).map(|second| (second, mib)).collect::<Vec<_>>();
        assert!(run(&acts, &half_a_minute_later(11)));
        assert!(!run(&acts, &half_a_minute_later(8)));
    }
}
