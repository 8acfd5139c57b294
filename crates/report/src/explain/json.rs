//! `reprieve explain --json`: one object a report, on a line of its own. Keys are added, never changed; `null` is what
//! the log does not tell.

use reprieve_judgement::{Candidate, FirstProcess, WhyVictim};
use reprieve_readings::{
    Bytes, CgroupPath, Constraint, Escaped, KilledProcess, LimitUse, Missing, OomPanic, OomTrigger,
};
use serde::Serialize;

use super::{ExplainedReport, advice, sentences};

/// The report as one line of JSON, without its end.
pub fn explained_json(explained: &ExplainedReport<'_>) -> String {
    // Numbers and strings always serialise.
    serde_json::to_string(&Json::of(explained)).unwrap_or_default()
}

#[derive(Serialize)]
struct Json {
    source: Option<String>,
    line: u64,
    time: Option<String>,
    since_boot_seconds: Option<f64>,
    epoch_seconds: Option<f64>,
    kernel: Option<String>,
    kind: &'static str,
    kind_certain: bool,
    constraint: Option<&'static str>,
    trigger: Option<Trigger>,
    oom_memcg: Option<String>,
    task_memcg: Option<String>,
    container_id: Option<String>,
    pod_uid: Option<String>,
    usage_bytes: Option<u64>,
    limit_bytes: Option<u64>,
    failcnt: Option<u64>,
    victims: Vec<Victim>,
    victims_left_out: u64,
    oom_group: Option<String>,
    no_killable: bool,
    panic: Option<&'static str>,
    why_victim: Option<&'static str>,
    main_user: Option<String>,
    first_process: &'static str,
    tasks: Vec<Task>,
    memory_total_bytes: Option<u64>,
    memory: Vec<Part>,
    page_size_bytes: u64,
    advice: Vec<String>,
    complete: bool,
    missing: Vec<&'static str>,
}

#[derive(Serialize)]
struct Trigger {
    name: String,
    pid: Option<u32>,
    gfp: String,
    order: Option<i32>,
}

#[derive(Serialize)]
struct Victim {
    pid: u32,
    name: Option<String>,
    uid: Option<u32>,
    total_vm_bytes: Option<u64>,
    anon_rss_bytes: Option<u64>,
    file_rss_bytes: Option<u64>,
    shmem_rss_bytes: Option<u64>,
    pgtables_bytes: Option<u64>,
    oom_score_adj: Option<i16>,
}

#[derive(Serialize)]
struct Task {
    pid: u32,
    name: String,
    rss_bytes: u64,
    swap_bytes: u64,
    pgtables_bytes: u64,
    oom_score_adj: Option<i16>,
    victim: bool,
}

#[derive(Serialize)]
struct Part {
    part: &'static str,
    bytes: u64,
}

impl Json {
    fn of(explained: &ExplainedReport<'_>) -> Self {
        let (report, found) = (explained.report, explained.explanation);
        let owner = &found.kind.owner;
        Json {
            source: explained.source.map(|source| Escaped(source).to_string()),
            line: report.line,
            time: sentences::time(&report.time),
            since_boot_seconds: report.time.since_boot.map(|time| time.as_secs_f64()),
            epoch_seconds: report.time.since_epoch.map(|time| time.as_secs_f64()),
            kernel: report.kernel.as_deref().map(|kernel| Escaped(kernel).to_string()),
            kind: found.kind.kind.as_str(),
            kind_certain: found.kind.certainty == reprieve_judgement::Certainty::Certain,
            constraint: report.constraint.map(constraint),
            trigger: report.trigger.as_ref().map(Trigger::of),
            oom_memcg: shown(report.oom_memcg.as_ref()),
            task_memcg: shown(report.task_memcg.as_ref()),
            container_id: owner.container.as_ref().map(ToString::to_string),
            pod_uid: owner.pod.as_ref().map(ToString::to_string),
            usage_bytes: report.memory.map(|memory| memory.usage.get()),
            limit_bytes: report.memory.and_then(limit),
            failcnt: report.memory.map(|memory| memory.failcnt),
            victims: report.victims.iter().map(Victim::of).collect(),
            victims_left_out: report.victims_left_out,
            oom_group: shown(report.oom_group.as_ref()),
            no_killable: report.no_killable,
            panic: report.panic.map(panic_reason),
            why_victim: found.ranking.as_ref().map(|ranking| why(ranking.why)),
            main_user: sentences::main_user(&found.main_user),
            first_process: FirstProcess::as_str(found.first_process),
            tasks: found.ranking.iter().flat_map(|ranking| &ranking.candidates).map(Task::of).collect(),
            memory_total_bytes: found.memory.as_ref().map(|memory| memory.total.get()),
            memory: found
                .memory
                .iter()
                .flat_map(|memory| &memory.parts)
                .map(|part| Part { part: sentences::part(part.part), bytes: part.bytes.get() })
                .collect(),
            page_size_bytes: found.page_size.get(),
            advice: found.advice.iter().map(advice::sentence).collect(),
            complete: report.is_complete(),
            missing: report.missing.iter().map(|missing| missing_key(*missing)).collect(),
        }
    }
}

impl Trigger {
    fn of(trigger: &OomTrigger) -> Self {
        Trigger {
            name: Escaped(&trigger.name).to_string(),
            pid: trigger.pid,
            gfp: Escaped(&trigger.gfp).to_string(),
            order: trigger.order,
        }
    }
}

impl Victim {
    fn of(victim: &KilledProcess) -> Self {
        let number = |bytes: Option<Bytes>| bytes.map(Bytes::get);
        Victim {
            pid: victim.pid,
            name: victim.name.as_deref().map(|name| Escaped(name).to_string()),
            uid: victim.uid,
            total_vm_bytes: number(victim.total_vm),
            anon_rss_bytes: number(victim.anon_rss),
            file_rss_bytes: number(victim.file_rss),
            shmem_rss_bytes: number(victim.shmem_rss),
            pgtables_bytes: number(victim.pgtables),
            oom_score_adj: victim.oom_score_adj,
        }
    }
}

impl Task {
    fn of(candidate: &Candidate) -> Self {
        Task {
            pid: candidate.pid,
            name: Escaped(&candidate.name).to_string(),
            rss_bytes: candidate.resident.get(),
            swap_bytes: candidate.swap.get(),
            pgtables_bytes: candidate.page_tables.get(),
            oom_score_adj: candidate.oom_score_adj,
            victim: candidate.victim,
        }
    }
}

fn shown(path: Option<&CgroupPath>) -> Option<String> {
    path.map(ToString::to_string)
}

fn limit(memory: LimitUse) -> Option<u64> {
    memory.limit.bytes().map(Bytes::get)
}

fn constraint(constraint: Constraint) -> &'static str {
    match constraint {
        Constraint::None => "none",
        Constraint::Cpuset => "cpuset",
        Constraint::MemoryPolicy => "memory_policy",
        Constraint::MemoryCgroup => "memory_cgroup",
    }
}

fn panic_reason(panic: OomPanic) -> &'static str {
    match panic {
        OomPanic::Compulsory => "compulsory",
        OomPanic::SystemWide => "system_wide",
        OomPanic::NoKillable => "no_killable",
    }
}

fn why(why: WhyVictim) -> &'static str {
    match why {
        WhyVictim::Largest => "largest",
        WhyVictim::Adjusted => "oom_score_adj",
        WhyVictim::Allocating => "allocating_task",
        WhyVictim::NotHighest => "not_highest",
        WhyVictim::Unknown => "unknown",
    }
}

fn missing_key(missing: Missing) -> &'static str {
    match missing {
        Missing::Beginning => "beginning",
        Missing::Memory => "memory",
        Missing::Tasks => "tasks",
        Missing::Summary => "summary",
        Missing::Outcome => "outcome",
        Missing::RestOfLine => "rest_of_line",
    }
}
