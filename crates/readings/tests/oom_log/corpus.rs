//! Reports that people posted, each with what a right reading gives of it: `fixtures/oom/corpus/index.jsonl`.

use reprieve_readings::{Bytes, CgroupPath, KilledProcess, Limit, LimitUse, OomLogReport, OomScope};
use serde_json::{Map, Value, json};

use crate::read::reports;

/// A field of a file whose expectation is not what the log says, and why.
const EXCEPTIONS: &[(&str, &str, &str)] = &[
    ("034-", "victims", "the summary has the user of the pid, which the index leaves out"),
    ("068-", "reports", "five kill lines without reports are five kills; the index takes them for one"),
    ("068-", "victims", "as above"),
    ("093-", "complete", "lines were taken out, and no line that is left tells"),
    ("113-", "complete", "as above"),
    ("112-", "oom_memcg", "the path was cut at the right; the index gives the cut path, which is no cgroup"),
];

struct File {
    name: String,
    log: Vec<u8>,
    expected: Value,
    is_complete: bool,
}

fn files() -> Vec<File> {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/oom/corpus");
    let index = std::fs::read_to_string(folder.join("index.jsonl")).unwrap();
    let file = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        let name = row["file"].as_str().unwrap().to_owned();
        let log = std::fs::read(folder.join(&name)).unwrap();
        File { name, log, expected: row["expected"].clone(), is_complete: row["complete"].as_bool().unwrap() }
    };
    index.lines().map(file).collect()
}

pub(crate) fn logs() -> Vec<(String, Vec<u8>)> {
    files().into_iter().map(|file| (file.name, file.log)).collect()
}

fn text(bytes: &[u8]) -> Value {
    Value::from(String::from_utf8_lossy(bytes).into_owned())
}

fn path(path: Option<&CgroupPath>) -> Value {
    path.map_or(Value::Null, |path| text(path.as_bytes()))
}

fn kib(size: Option<Bytes>) -> Value {
    size.map_or(Value::Null, |size| Value::from(size.get() / 1024))
}

fn limit_kib(limit: Limit) -> Value {
    match limit {
        Limit::At(limit) => kib(Some(limit)),
        Limit::Max => Value::from("max"),
    }
}

fn limit_use(amount: Option<LimitUse>) -> Value {
    amount.map_or(Value::Null, |amount| json!([amount.usage.get() / 1024, limit_kib(amount.limit), amount.failcnt]))
}

fn victim(victim: &KilledProcess) -> Value {
    let mut fields = json!({
        "pid": victim.pid,
        "name": victim.name.as_deref().map(text),
        "uid": victim.uid,
        "total_vm_kb": kib(victim.total_vm),
        "anon_rss_kb": kib(victim.anon_rss),
        "file_rss_kb": kib(victim.file_rss),
        "shmem_rss_kb": kib(victim.shmem_rss),
        "pgtables_kb": kib(victim.pgtables),
        "oom_score_adj": victim.oom_score_adj,
    });
    if victim.lines > 1 {
        fields["kill_lines"] = Value::from(victim.lines);
    }
    fields
}

fn constraint(report: &OomLogReport) -> Value {
    match (&report.constraint_text, report.scope) {
        (Some(text), _) => Value::from(String::from_utf8_lossy(text).trim_start_matches("CONSTRAINT_")),
        (None, Some(OomScope::MemoryCgroup)) => Value::from("MEMCG (inferred)"),
        (None, Some(OomScope::Global)) => Value::from("NONE (inferred)"),
        (None, None) => Value::Null,
    }
}

/// The report in the form of the index.
fn row(report: &OomLogReport) -> Map<String, Value> {
    let trigger = report.trigger.as_ref();
    let pid_and_name = |(pid, name): (u32, Option<&[u8]>)| json!([pid, name.map(text)]);
    let row = json!({
        "invoker": trigger.map(|trigger| text(&trigger.name)),
        "invoker_oom_score_adj": trigger.and_then(|trigger| trigger.oom_score_adj),
        "gfp_mask": trigger.map(|trigger| text(&trigger.gfp)).filter(|gfp| gfp != ""),
        "order": trigger.and_then(|trigger| trigger.order),
        "constraint": constraint(report),
        "oom_memcg": path(report.oom_memcg.as_ref()),
        "task_memcg": path(report.task_memcg.as_ref()),
        "memcg_usage_kb": kib(report.memory.map(|memory| memory.usage)),
        "memcg_limit_kb": report.memory.map_or(Value::Null, |memory| limit_kib(memory.limit)),
        "failcnt": report.memory.map(|memory| memory.failcnt),
        "swap": limit_use(report.swap),
        "memsw": limit_use(report.memory_and_swap),
        "kmem": limit_use(report.kmem),
        "task_rows": report.tasks.as_ref().map_or(0, |tasks| tasks.rows.len()),
        "oom_group": report.oom_group.is_some(),
        "oom_group_memcg": path(report.oom_group.as_ref()),
        "announced": report.announced.as_ref().map(|announced| {
            json!({"pid": announced.pid, "name": text(&announced.name), "score": announced.score})
        }),
        "summary": report.chosen.as_ref().map(|chosen| {
            json!({"pid": chosen.pid, "task": chosen.name.as_deref().map(text)})
        }),
        "victims": report.victims.iter().map(victim).collect::<Vec<_>>(),
        "skipped_exiting": report.already_exiting.iter().map(|process| {
            pid_and_name((process.pid, process.name.as_deref()))
        }).collect::<Vec<_>>(),
        "reaped": report.reaped.iter().map(|reaped| pid_and_name((reaped.pid, Some(&reaped.name)))).collect::<Vec<_>>(),
        "no_killable": report.no_killable,
        "panic": report.panic.is_some(),
    });
    match row {
        Value::Object(row) => row,
        _ => unreachable!(),
    }
}

/// What "no limit" is printed as.
fn is_unlimited(kib: &Value) -> bool {
    kib.as_u64().is_some_and(|kib| kib >= 9_007_199_254_740_928)
}

/// The expectation of a field in the form that `row` has.
fn normal(field: &str, expected: &Value) -> Value {
    match (field, expected) {
        ("panic", panic) => Value::from(!panic.is_null()),
        ("memcg_limit_kb", limit) if is_unlimited(limit) => Value::from("max"),
        ("swap" | "memsw" | "kmem", Value::Array(values)) if is_unlimited(&values[1]) => {
            json!([values[0], "max", values[2]])
        }
        ("constraint", Value::String(text)) => Value::from(text.replace(" from call trace", "")),
        ("summary", Value::Object(summary)) => json!({"pid": summary["pid"], "task": summary["task"]}),
        _ => expected.clone(),
    }
}

fn differences(name: &str, found: &Map<String, Value>, expected: &Value, told: &mut Vec<String>) {
    for (field, expected) in expected.as_object().unwrap() {
        let Some(found) = found.get(field) else { continue };
        let mut expected = normal(field, expected);
        if name.starts_with("064-") && field == "victims" {
            // These lines are wrapped within `shmem-rss:0kB`, and the index gives up there.
            let victims = expected.as_array_mut().unwrap().iter_mut();
            victims
                .filter(|victim| victim["shmem_rss_kb"].is_null())
                .for_each(|victim| victim["shmem_rss_kb"] = json!(0));
        }
        let is_exception = EXCEPTIONS.iter().any(|(file, of, _)| name.starts_with(file) && of == field);
        // The index infers less: Mem-Info and traces of calls tell the scope too.
        let is_inferred = expected.is_null() && found == "NONE (inferred)";
        if *found != expected && !is_exception && !is_inferred {
            let (found, expected) = first_difference(found, &expected);
            told.push(format!("{name}: {field}: found {found}, expected {expected}"));
        }
    }
}

/// Of two lists, the first elements that differ.
fn first_difference<'a>(found: &'a Value, expected: &'a Value) -> (&'a Value, &'a Value) {
    let (Value::Array(found_list), Value::Array(expected_list)) = (found, expected) else { return (found, expected) };
    let differing = found_list.iter().zip(expected_list).find(|(found, expected)| found != expected);
    differing.unwrap_or((found, expected))
}

#[test]
fn every_file_reads_as_the_index_says() {
    let mut told = Vec::new();
    for file in files() {
        let reports = reports(&file.log);
        let rows: Vec<_> = reports.iter().map(row).collect();
        let count = file.expected["reports"].as_u64().unwrap() as usize;
        let is_exception = EXCEPTIONS.iter().any(|(of, field, _)| file.name.starts_with(of) && *field == "reports");
        if rows.len() != count && !is_exception {
            let lines: Vec<u64> = reports.iter().map(|report| report.line).collect();
            told.push(format!("{}: {} reports (at lines {lines:?}), expected {count}", file.name, rows.len()));
        }
        if let Some(expected) = file.expected["per_report"].as_array() {
            for (row, expected) in rows.iter().zip(expected) {
                differences(&file.name, row, expected, &mut told);
            }
        } else if let Some(row) = rows.first() {
            differences(&file.name, row, &file.expected, &mut told);
        }
        let is_complete = !reports.is_empty() && reports.iter().any(OomLogReport::is_complete);
        let is_exception = EXCEPTIONS.iter().any(|(of, field, _)| file.name.starts_with(of) && *field == "complete");
        if is_complete != (file.is_complete && count > 0) && !is_exception {
            let missing: Vec<_> = reports.iter().map(|report| &report.missing).collect();
            told.push(format!("{}: complete {is_complete}, {missing:?}", file.name));
        }
    }
    assert!(told.is_empty(), "{} differences:\n{}", told.len(), told.join("\n"));
}
