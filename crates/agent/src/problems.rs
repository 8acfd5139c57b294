//! Problems are counted each time, and named in the log once.

use std::collections::HashSet;

use reprieve_linux::Problems;

/// Remembers which problems were named.
#[derive(Debug, Default)]
pub(crate) struct NamedProblems {
    count: u64,
    named: HashSet<String>,
    silent: bool,
}

impl NamedProblems {
    /// More different problems than this are only counted.
    const NAMED: usize = 1000;

    /// Counts the problems of a reading and logs those that are new.
    pub(crate) fn take(&mut self, problems: &Problems) {
        self.count += problems.count();
        for problem in problems.first() {
            self.name(problem.to_string());
        }
    }

    /// Counts one problem and logs it if it is new.
    pub(crate) fn take_one(&mut self, problem: String) {
        self.count += 1;
        self.name(problem);
    }

    /// How many there were so far.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    fn name(&mut self, problem: String) {
        if self.named.len() < Self::NAMED {
            if !self.named.contains(&problem) {
                tracing::warn!("{problem}");
                self.named.insert(problem);
            }
        } else if !self.silent {
            self.silent = true;
            tracing::warn!("{} different problems so far: from now on they are only counted", Self::NAMED);
        }
    }
}
