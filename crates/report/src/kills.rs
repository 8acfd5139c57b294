//! What `reprieve kills` says: a table, all that is known of one kill, JSON for programs.

mod details;
mod line;
mod sum;
mod table;

pub use details::kill_details;
pub use line::{KillLine, NotAKill, TriggerLine};
pub use sum::KillSum;
pub use table::{KillTable, TableWidth};

#[cfg(test)]
mod tests;
