//! All that is known of one kill, a line each.

use std::fmt::Write;

use reprieve_readings::Bytes;

use super::KillLine;

/// All that is known of a kill, for people.
pub fn kill_details(line: &KillLine) -> String {
    let mut text = format!("Kill {}, {}\n", line.id, line.killed_at);
    for (name, value) in rows(line) {
        if let Some(value) = value {
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {name:16} {value}");
        }
    }
    text
}

fn rows(line: &KillLine) -> Vec<(&'static str, Option<String>)> {
    let bytes = |amount: Option<u64>| amount.map(|amount| Bytes::new(amount).to_string());
    let number = |number: Option<u32>| number.map(|number| number.to_string());
    vec![
        ("victim", Some(victim(line))),
        ("command line", line.command_line.clone()),
        ("user id", number(line.uid)),
        ("container", line.container_id.clone()),
        ("pod", line.pod_uid.clone()),
        ("QoS class", line.qos_class.clone()),
        ("unit", line.unit.clone()),
        ("cgroup", line.cgroup.as_ref().map(|path| format!("{path}{}", certain(line)))),
        ("out of memory", Some(kind(&line.kind).into())),
        ("limit's cgroup", line.limited_cgroup.clone()),
        ("limit", bytes(line.limit_bytes)),
        ("usage", bytes(line.usage_bytes)),
        ("usage after", bytes(line.usage_after_bytes)),
        ("killed as whole", line.whole_cgroup.clone()),
        ("anonymous", bytes(line.anon_rss_bytes)),
        ("files", bytes(line.file_rss_bytes)),
        ("shared", bytes(line.shmem_rss_bytes)),
        ("page tables", bytes(line.pgtables_bytes)),
        ("address space", bytes(line.total_vm_bytes)),
        ("oom_score_adj", line.oom_score_adj.map(|adjustment| adjustment.to_string())),
        ("triggered by", trigger(line)),
        ("first process", Some(first_process(&line.first_process).into())),
        ("when", Some(when(line))),
        ("boot", Some(line.boot_id.clone())),
    ]
}

fn victim(line: &KillLine) -> String {
    match (&line.name, line.pid) {
        (Some(name), Some(pid)) => {
            format!("{name} (pid {pid}){}", if line.identity == "likely" { ", likely" } else { "" })
        }
        _ if line.count == 1 => "one process, which nothing names".into(),
        _ => format!("{} processes, which nothing names", line.count),
    }
}

fn certain(line: &KillLine) -> &'static str {
    if line.cgroup_certain { "" } else { " (likely)" }
}

fn kind(kind: &str) -> &str {
    match kind {
        "container_limit" => "the container: it reached its own limit",
        "pod_limit" => "the pod: its containers together reached its limit",
        "ancestor_limit" => "a cgroup above: it reached its limit",
        "cgroup_limit" => "the cgroup: it reached its limit",
        "node" => "the machine",
        "cpuset" => "the memory nodes that a cpuset allows",
        "memory_policy" => "the memory nodes that a memory policy allows",
        "sysrq" => "nobody: somebody asked for a kill by SysRq",
        _ => "not known whose",
    }
}

fn first_process(fate: &str) -> &'static str {
    match fate {
        "survived" => "survived: invisible to Kubernetes",
        "killed" => "died with it: Kubernetes is told",
        _ => "what became of it is not known",
    }
}

fn trigger(line: &KillLine) -> Option<String> {
    let trigger = line.trigger.as_ref()?;
    let pid = trigger.pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default();
    let order = trigger.order.map(|order| format!(", order {order}")).unwrap_or_default();
    Some(format!("{}{pid}, {}{order}", trigger.name, trigger.gfp))
}

fn when(line: &KillLine) -> String {
    let source = if line.kernel_time_seconds.is_some() { "by the kernel's log" } else { "when it was noticed" };
    let history = if line.history { "; before the agent counted, so in no total" } else { "" };
    format!("{:.3} s after boot, {source}{history}", line.since_boot_seconds)
}
