//! The line below the table: how many kills there were, and what is known of them.

use std::fmt;

use super::KillLine;

/// Kills that were shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KillSum {
    kills: u64,
    identified: u64,
    invisible: u64,
    history: u64,
}

impl KillSum {
    /// Adds a kill.
    pub fn add(&mut self, line: &KillLine) {
        let add = |sum: &mut u64, when: bool| *sum = sum.saturating_add(if when { line.count } else { 0 });
        add(&mut self.kills, true);
        add(&mut self.identified, line.pid.is_some());
        add(&mut self.invisible, line.visibility == "invisible");
        add(&mut self.history, line.history);
    }

    /// Whether there were none.
    pub fn is_empty(&self) -> bool {
        self.kills == 0
    }
}

impl fmt::Display for KillSum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KillSum { kills, identified, invisible, history } = self;
        let noun = if *kills == 1 { "kill" } else { "kills" };
        write!(f, "{kills} {noun}, {identified} identified; {invisible} invisible to Kubernetes")?;
        if *history > 0 {
            write!(f, "\n* {history} from before the agent counted: in no total")?;
        }
        Ok(())
    }
}
