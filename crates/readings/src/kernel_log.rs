//! The kernel's log: the records of `/dev/kmsg`, and the kills of the OOM killer among them.
//!
//! The kernel tells who was killed nowhere else. A report is many records, printed by one task while others print
//! theirs; in a storm the kernel leaves all of it out but the line that names the victim (10 reports in 5 seconds,
//! `oom_rs` in mm/oom_kill.c). So a kill is told by that line alone, and what the rest of the report adds is optional.
//!
//! How many were killed is for the counters of the cgroups to say; the log can lose records, and tells of each victim.

#[cfg_attr(not(feature = "oom-log"), allow(dead_code, reason = "only the reader of logs uses all of it"))]
pub(crate) mod kill_line;
mod kmsg;
#[cfg_attr(not(feature = "oom-log"), allow(dead_code, reason = "only the reader of logs uses all of it"))]
pub(crate) mod line;
mod pending;
mod reader;
#[cfg_attr(not(feature = "oom-log"), allow(dead_code, reason = "only the reader of logs uses all of it"))]
pub(crate) mod summary;
#[cfg_attr(not(feature = "oom-log"), allow(dead_code, reason = "only the reader of logs uses all of it"))]
pub(crate) mod text;
mod victim;

pub use self::kmsg::{KmsgRecord, PrintkCaller};
pub use self::reader::OomKillReader;
pub use self::victim::{Constraint, OomReport, OomScope, OomTrigger, OomVictim};
