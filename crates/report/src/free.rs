//! What `reprieve free` says: a table for people, JSON for programs.

use std::fmt::{self, Write};

use reprieve_judgement::{Available, Binding};
use reprieve_readings::{Bytes, CgroupPath};
use serde::Serialize;

/// The memory of one process's cgroup, ready to be shown.
#[derive(Debug, Clone)]
pub struct FreeReport {
    /// The cgroup.
    pub cgroup: CgroupPath,
    /// Whether it was assumed to be the process's own, because the paths don't prove it.
    pub assumed: bool,
    /// The smallest limit of it and all levels above that can be seen, the machine's memory included.
    pub limit: Option<Bytes>,
    /// Memory charged to it.
    pub usage: Option<Bytes>,
    /// What could be given back without killing anybody.
    pub reclaimable: Option<Bytes>,
    /// What it may still use, and what ends that.
    pub available: Option<Available>,
}

/// The table, at most 80 columns wide unless the cgroup's path is longer.
pub fn free_table(report: &FreeReport) -> String {
    let mut table = String::new();
    // Writing to a String can't fail.
    let _ = write_table(report, &mut table);
    table
}

fn write_table(report: &FreeReport, table: &mut String) -> fmt::Result {
    writeln!(table, "{:>12} {:>12} {:>12} {:>12}", "limit", "usage", "reclaimable", "available")?;
    let available = report.available.map(|available| available.until_kill.estimate.best);
    let cells = [report.limit, report.usage, report.reclaimable, available].map(cell);
    writeln!(table, "{:>12} {:>12} {:>12} {:>12}", cells[0], cells[1], cells[2], cells[3])?;
    let assumed = if report.assumed { " (assumed: the paths of mount and process don't fit)" } else { "" };
    writeln!(table, "cgroup {}{assumed}", report.cgroup)?;
    if let Some(available) = report.available {
        writeln!(table, "bound by {}", bound_by(available.until_kill.binding))?;
    }
    Ok(())
}

fn cell(bytes: Option<Bytes>) -> String {
    bytes.map_or_else(|| "unknown".into(), |bytes| bytes.to_string())
}

fn bound_by(binding: Binding) -> String {
    match binding {
        Binding::Node => "the machine's memory".into(),
        Binding::Hidden => "the limit of a cgroup that is hidden from here; others may use some of it".into(),
        Binding::Level(0) => "the limit of this cgroup".into(),
        Binding::Level(1) => "the limit of the cgroup above".into(),
        Binding::Level(up) => format!("the limit {up} levels above"),
    }
}

/// The report as one JSON object. Amounts are in bytes; what is not known is `null`.
pub fn free_json(report: &FreeReport) -> String {
    let object = Json {
        cgroup: report.cgroup.to_string(),
        cgroup_assumed: report.assumed,
        limit_bytes: report.limit.map(Bytes::get),
        usage_bytes: report.usage.map(Bytes::get),
        reclaimable_bytes: report.reclaimable.map(Bytes::get),
        available_bytes: report.available.map(|available| available.until_kill.estimate.best.get()),
        bound_by: report.available.map(|available| match available.until_kill.binding {
            Binding::Node => "node",
            Binding::Level(_) => "cgroup",
            Binding::Hidden => "hidden_cgroup",
        }),
        bound_levels_up: report.available.and_then(|available| match available.until_kill.binding {
            Binding::Node | Binding::Hidden => None,
            Binding::Level(up) => Some(up),
        }),
    };
    // Numbers and strings always serialise.
    serde_json::to_string(&object).unwrap_or_default()
}

#[derive(Serialize)]
struct Json {
    cgroup: String,
    cgroup_assumed: bool,
    limit_bytes: Option<u64>,
    usage_bytes: Option<u64>,
    reclaimable_bytes: Option<u64>,
    available_bytes: Option<u64>,
    bound_by: Option<&'static str>,
    bound_levels_up: Option<usize>,
}

#[cfg(test)]
mod tests {
    use reprieve_judgement::{Estimate, Headroom, HiddenLimit};

    use super::*;

    fn report() -> FreeReport {
        let best = Bytes::from_mib(120);
        let estimate = Estimate { low: Bytes::from_mib(50), best, high: Bytes::from_mib(130) };
        let until_kill = Headroom { estimate, binding: Binding::Level(1) };
        FreeReport {
            cgroup: CgroupPath::new(b"/a\x1b[2J\n/b"),
            assumed: false,
            limit: Some(Bytes::from_mib(256)),
            usage: Some(Bytes::from_mib(200)),
            reclaimable: Some(Bytes::from_mib(64)),
            available: Some(Available { until_kill, until_throttle: None, swap: None, hidden: HiddenLimit::None }),
        }
    }

    #[test]
    fn the_table_fits_a_terminal_and_carries_no_control_characters() {
        let table = free_table(&report());
        assert_eq!(
            table,
            "       limit        usage  reclaimable    available\n   256.0 MiB    200.0 MiB     64.0 MiB    120.0 MiB\n\
             cgroup /a\\x1b[2J\\n/b\nbound by the limit of the cgroup above\n"
        );
    }

    #[test]
    fn json_gives_bytes_and_null() {
        let unknown = FreeReport { limit: None, available: None, assumed: true, ..report() };
        assert_eq!(
            free_json(&unknown),
            r#"{"cgroup":"/a\\x1b[2J\\n/b","cgroup_assumed":true,"limit_bytes":null,"usage_bytes":209715200,"reclaimable_bytes":67108864,"available_bytes":null,"bound_by":null,"bound_levels_up":null}"#
        );
    }
}
