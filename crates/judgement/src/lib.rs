//! Pure functions of readings: each file answers one question, does no IO and takes the time as an argument.
//!
//! | file | question |
//! |---|---|
//! | `available` | How much memory may a cgroup still use before one of its processes is killed? |
//! | `first_process` | Did the first process of a container survive a kill, so that nobody is told? |
//! | `kills` | Which kills happened, and who were the victims? |
//! | `sizing` | What limit should a program's runtime keep to, so that it stays below the container's? |

mod available;
mod first_process;
mod kills;
mod sizing;

pub use available::{Available, Binding, judge_available, judge_within};
pub use first_process::{
    FirstProcess, OldestSurvivor, RememberedProcess, VictimProcess, judge_remembered, judge_survivors,
};
pub use kills::{Kill, KillLedger, Place};
pub use sizing::{Advice, Change, Choice, LeftAlone, Recognised, Runtime, Setting, Sizing, judge_sizing, recognise};
