//! Whether what the keeper frees comes back at once, so that it does harm and no good.

use std::collections::VecDeque;
use std::time::Duration;

use reprieve_readings::Bytes;

/// What was gained by freeing and what came back, lately.
#[derive(Debug, Default)]
pub(super) struct Thrashing {
    gained: VecDeque<(Duration, Bytes)>,
    back: VecDeque<(Duration, Bytes)>,
    proved: bool,
}

/// How long freed memory is remembered, and must come back in to count.
const WINDOW: Duration = Duration::from_secs(60);
/// Less than this proves nothing: a few steps at one small cache that is in use, which is left alone from then on.
const FEWEST: Bytes = Bytes::from_mib(256);

impl Thrashing {
    pub(super) fn gained(&mut self, now: Duration, bytes: Bytes) {
        self.gained.push_back((now, bytes));
        self.judge(now);
    }

    pub(super) fn came_back(&mut self, now: Duration, bytes: Bytes) {
        if bytes > Bytes::ZERO {
            self.back.push_back((now, bytes));
        }
        self.judge(now);
    }

    /// Once proved it stays so.
    pub(super) fn is_proved(&self) -> bool {
        self.proved
    }

    fn judge(&mut self, now: Duration) {
        for events in [&mut self.gained, &mut self.back] {
            while events.front().is_some_and(|(then, _)| now.saturating_sub(*then) > WINDOW) {
                events.pop_front();
            }
        }
        let sum = |events: &VecDeque<(Duration, Bytes)>| events.iter().map(|(_, bytes)| *bytes).sum::<Bytes>();
        let (gained, back) = (sum(&self.gained), sum(&self.back));
        self.proved |= gained >= FEWEST && back.get() >= gained.get() / 2;
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
}
