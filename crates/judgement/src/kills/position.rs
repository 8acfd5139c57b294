//! How far the kernel's log is dealt with, so that a line is told once, over restarts too.

use std::collections::BTreeSet;

/// Which lines of the kernel's log are dealt with, by their numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct LogPosition {
    through: Option<u64>,
    beyond: BTreeSet<u64>,
}

impl LogPosition {
    pub(super) fn new(through: Option<u64>, beyond: impl IntoIterator<Item = u64>) -> Self {
        LogPosition { through, beyond: beyond.into_iter().collect() }
    }

    /// Whether a line was dealt with before.
    pub(super) fn is_done(&self, sequence: u64) -> bool {
        self.through.is_some_and(|through| sequence <= through) || self.beyond.contains(&sequence)
    }

    /// Deals with a line.
    pub(super) fn done(&mut self, sequence: u64) {
        if !self.is_done(sequence) {
            self.beyond.insert(sequence);
        }
    }

    /// Deals with all lines up to `sequence`, but not those from `first_waiting` on.
    pub(super) fn advance(&mut self, sequence: u64, first_waiting: Option<u64>) {
        let through = match first_waiting {
            Some(waiting) if waiting <= sequence => waiting.checked_sub(1),
            _ => Some(sequence),
        };
        if through > self.through {
            self.through = through;
            if let Some(through) = through {
                self.beyond = self.beyond.split_off(&(through.saturating_add(1)));
            }
        }
    }

    pub(super) fn through(&self) -> Option<u64> {
        self.through
    }

    pub(super) fn beyond(&self) -> Vec<u64> {
        self.beyond.iter().copied().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_done_once() {
        let mut position = LogPosition::default();
        assert!(!position.is_done(0));
        position.done(7);
        assert!(position.is_done(7) && !position.is_done(6));
        position.advance(9, Some(5));
        assert_eq!((position.through(), position.beyond()), (Some(4), vec![7]), "5 still waits");
        position.advance(9, None);
        assert_eq!((position.through(), position.beyond()), (Some(9), vec![]));
        position.advance(3, None);
        assert_eq!(position.through(), Some(9), "it never goes back");
    }
}
