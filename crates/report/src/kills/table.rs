//! Kills as a table, a line each: 80 columns wide, or as wide as the terminal, or in full.
//!
//! The widths don't hang on what is in it, so that lines can be added while it is shown.

use reprieve_readings::Bytes;

use super::KillLine;

/// How wide a table may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableWidth {
    /// So many columns. Below 80 it is 80.
    Columns(usize),
    /// Whatever it takes: nothing is cut, and there are more columns.
    Full,
}

/// A table of kills.
#[derive(Debug, Clone, Copy)]
pub struct KillTable {
    width: TableWidth,
}

/// What all columns but `WHERE` take, with the blanks between them.
const TAKEN: usize = 67;
/// What of that is the number's.
const ID: usize = 6;

impl KillTable {
    /// A table of a width.
    pub fn new(width: TableWidth) -> Self {
        KillTable { width }
    }

    /// The heading, without the line's end.
    pub fn heading(self) -> String {
        match self.width {
            TableWidth::Columns(_) => {
                self.row(["ID", "TIME (UTC)", "VICTIM", "WHERE", "ANON", "LIMIT", "OUT OF", "K8S"].map(str::to_owned))
            }
            TableWidth::Full => "ID\tTOLD AT\tVICTIM\tPID\tANON\tLIMIT\tOUT OF\tK8S\tCONTAINER\tPOD\tCGROUP".into(),
        }
    }

    /// A kill's line, without its end.
    pub fn line(self, line: &KillLine) -> String {
        let id = format!("{}{}", line.id, if line.history { "*" } else { "" });
        let anon = amount(line.anon_rss_bytes);
        let limit = amount(line.limit_bytes);
        let kind = kind(&line.kind).to_owned();
        let seen = seen(&line.visibility).to_owned();
        match self.width {
            TableWidth::Columns(_) => {
                let time = line.killed_at.get(5..19).unwrap_or(&line.killed_at).replace('T', " ");
                self.row([id, time, victim(line), place(line), anon, limit, kind, seen])
            }
            TableWidth::Full => {
                let pid = line.pid.map(|pid| pid.to_string());
                let text = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
                let cgroup = text(&line.cgroup) + if line.cgroup_certain || line.cgroup.is_none() { "" } else { "?" };
                let who = [id, line.killed_at.clone(), victim(line), text(&pid), anon, limit, kind, seen];
                let place = [text(&line.container_id), text(&line.pod_uid), cgroup];
                [&who[..], &place[..]].concat().join("\t")
            }
        }
    }

    fn row(self, [id, time, victim, place, anon, limit, kind, seen]: [String; 8]) -> String {
        let width = match self.width {
            // A longer number takes of the place.
            TableWidth::Columns(columns) => columns.max(80) - TAKEN - id.len().saturating_sub(ID).min(13),
            TableWidth::Full => usize::MAX,
        };
        let (time, victim, place) = (cut(&time, 14), cut(&victim, 15), cut(&place, width));
        format!("{id:>ID$} {time:14} {victim:15} {place:width$} {anon:>6} {limit:>6} {kind:9} {seen}")
    }
}

/// The first columns of a text. What is cut off is shown by a dot.
fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(['\u{2026}']).collect()
}

fn victim(line: &KillLine) -> String {
    match &line.name {
        Some(name) if line.identity == "likely" => format!("{name}?"),
        Some(name) => name.clone(),
        None if line.count == 1 => "(unnamed)".into(),
        None => format!("({} unnamed)", line.count),
    }
}

/// The container, as short as runtimes show it; else the unit; else the cgroup.
fn place(line: &KillLine) -> String {
    let container = line.container_id.as_ref().map(|id| id.get(..12).unwrap_or(id).to_owned());
    let place = container.or_else(|| line.unit.clone()).or_else(|| line.cgroup.clone());
    match place {
        Some(place) if line.cgroup_certain => place,
        Some(place) => format!("{place}?"),
        None => "-".into(),
    }
}

/// An amount in six columns.
fn amount(bytes: Option<u64>) -> String {
    let Some(bytes) = bytes else { return "-".into() };
    let shown = Bytes::new(bytes).to_string();
    let Some((number, unit)) = shown.split_once(' ') else { return shown };
    let unit = unit.strip_suffix("iB").map_or("", |unit| unit);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    match (whole.len(), fraction) {
        (0..=2, fraction) if fraction != "0" => format!("{whole}.{fraction}{unit}"),
        _ => format!("{whole}{unit}"),
    }
}

/// Whose memory it was, in nine columns.
fn kind(kind: &str) -> &str {
    match kind {
        "container_limit" => "container",
        "pod_limit" => "pod",
        "ancestor_limit" => "ancestor",
        "cgroup_limit" => "cgroup",
        "memory_policy" => "policy",
        "unknown" => "-",
        other => other.get(..9).unwrap_or(other),
    }
}

/// Whether Kubernetes sees it.
fn seen(visibility: &str) -> &str {
    match visibility {
        "visible" => "yes",
        "invisible" => "no",
        _ => "?",
    }
}
