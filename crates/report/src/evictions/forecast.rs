//! The table and the JSON of `reprieve forecast`.

use std::fmt::Write;

use reprieve_judgement::Evictions;
use serde::Serialize;

use super::json::Time;
use super::words::{fit, forecast, name, range};
use super::{ForecastOf, ForecastRow};

/// The rows as a table, at most 80 columns wide: what runs out first stands first.
pub fn forecast_table(rows: &[ForecastRow], evictions: &Evictions) -> String {
    if rows.is_empty() {
        let thresholds = if evictions.has_no_threshold() {
            "the kubelet has no threshold for memory,"
        } else {
            "none of the kubelet's thresholds"
        };
        return format!("Nothing runs out: {thresholds} and no cgroup's limit is neared.\n");
    }
    let mut text = format!("{:<38} {:>10} {:>10}  {}\n", "WHAT RUNS OUT", "LEFT", "TIME LEFT", "LIKELY RANGE");
    for row in sorted(rows) {
        let what = match &row.what {
            ForecastOf::Threshold(signal, soft) => {
                format!("{signal} ({})", if *soft { "soft" } else { "hard" })
            }
            ForecastOf::Limit(path, owner) => format!("limit of {}", name(path, owner, evictions)),
        };
        let line = format!(
            "{:<38} {:>10} {:>10}  {}",
            fit(&what, 38),
            row.left,
            forecast(row.forecast),
            range(row.forecast).unwrap_or_default()
        );
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

/// The rows as one line of JSON.
pub fn forecast_json(rows: &[ForecastRow]) -> String {
    let row = |row: &ForecastRow| {
        let (kind, signal, soft, cgroup) = match &row.what {
            ForecastOf::Threshold(signal, soft) => ("threshold", Some(*signal), Some(*soft), None),
            ForecastOf::Limit(path, _) => ("limit", None, None, Some(path.to_string())),
        };
        Row { kind, signal, soft, cgroup, left_bytes: row.left.get(), forecast: Time::of(row.forecast) }
    };
    let json = Json { forecasts: sorted(rows).into_iter().map(row).collect() };
    // Numbers and strings always serialise.
    serde_json::to_string(&json).unwrap_or_default()
}

#[derive(Serialize)]
struct Json {
    forecasts: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    kind: &'static str,
    signal: Option<&'static str>,
    soft: Option<bool>,
    cgroup: Option<String>,
    left_bytes: u64,
    forecast: Time,
}

fn sorted(rows: &[ForecastRow]) -> Vec<&ForecastRow> {
    let mut sorted: Vec<_> = rows.iter().collect();
    sorted.sort_by_key(|row| row.forecast.best().unwrap_or(std::time::Duration::MAX));
    sorted
}
