//! Decisions and readings to text: tables, JSON, Prometheus. Decides nothing.
//!
//! Whatever a stranger may have named is escaped here before it reaches a terminal, a log line or a label.

mod environment;
mod free;
mod kill;
mod metrics;
mod prometheus_text;
mod sizing;

pub use environment::{EnvironmentFormat, NotUtf8, environment_text};
pub use free::{FreeReport, free_json, free_table};
pub use kill::KillReport;
pub use metrics::{CgroupFigures, CgroupLabels, ExpositionFormat, KillCounts, NodeFigures, Snapshot, expose};
pub use sizing::{argument_lines, sizing_lines};
