//! Decisions and readings to text: tables, JSON, Prometheus. Decides nothing.
//!
//! Whatever a stranger may have named is escaped here before it reaches a terminal, a log line or a label.

mod environment;
mod evictions;
mod explain;
mod free;
mod kill;
mod kills;
mod meminfo;
mod metrics;
mod prometheus_text;
mod sizing;

pub use environment::{EnvironmentFormat, NotUtf8, environment_text};
pub use evictions::{
    EvictionsReport, ForecastOf, ForecastRow, evictions_json, evictions_screen, forecast_json, forecast_table,
};
pub use explain::{ExplainedReport, explained_json, explained_markdown, explained_screen, other_kill_line};
pub use free::{
    FreeBound, FreeCgroup, FreeReport, Scale, TableOptions, Unit, free_explanation, free_json, free_line, free_table,
};
pub use kill::KillSentence;
pub use kills::{KillLine, KillSum, KillTable, NotAKill, TableWidth, TriggerLine, kill_details};
pub use meminfo::meminfo_text;
pub use metrics::{
    CgroupFigures, CgroupLabels, EvictionFigures, ExpositionFormat, KeeperActs, KeeperFigures, KillCounts, KillSeries,
    LedgerFigures, NodeFigures, Snapshot, Trouble, expose,
};
pub use sizing::{argument_lines, sizing_lines};
