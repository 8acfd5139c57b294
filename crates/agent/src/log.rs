//! Log lines: a sentence for people, or JSON with the parts as fields.

use std::io;

use reprieve_judgement::Kill;
use reprieve_readings::{Bytes, Limit, OomVictim};
use reprieve_report::KillReport;

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Time, level and a sentence.
    Text,
    /// One JSON object a line.
    Json,
}

/// Has log lines written to stderr from now on.
pub(crate) fn start(format: LogFormat) {
    // A line that can't be written is lost; to complain of that on the same stderr would panic.
    let lines = tracing_subscriber::fmt().with_writer(io::stderr).with_target(false).log_internal_errors(false);
    match format {
        LogFormat::Text => lines.init(),
        LogFormat::Json => lines.json().flatten_event(true).with_current_span(false).with_span_list(false).init(),
    }
}

/// Logs one kill in one line. In JSON its parts are fields beside the sentence; what is not known has no field.
pub(crate) fn kill(report: &KillReport, format: LogFormat) {
    match format {
        LogFormat::Text => tracing::warn!("{report}"),
        LogFormat::Json => kill_with_fields(report),
    }
}

fn kill_with_fields(report: &KillReport) {
    let Kill { victim, count, cgroup, cgroup_certain, first_process } = &report.kill;
    let owner = &report.owner;
    let bytes = |amount: fn(&OomVictim) -> Option<Bytes>| victim.as_ref().and_then(amount).map(Bytes::get);
    tracing::warn!(
        event = "oom_kill",
        count,
        pid = victim.as_ref().map(|victim| victim.pid),
        name = report.name(),
        uid = victim.as_ref().and_then(|victim| victim.uid),
        cgroup = cgroup.as_ref().map(ToString::to_string),
        cgroup_certain,
        container_id = owner.container.as_ref().map(ToString::to_string),
        pod_uid = owner.pod.as_ref().map(ToString::to_string),
        qos_class = owner.qos.map(|qos| qos.as_str()),
        unit = owner.unit.as_ref().map(ToString::to_string),
        total_vm_bytes = bytes(|victim| victim.total_vm),
        anon_rss_bytes = bytes(|victim| victim.anon_rss),
        file_rss_bytes = bytes(|victim| victim.file_rss),
        shmem_rss_bytes = bytes(|victim| victim.shmem_rss),
        pgtables_bytes = bytes(|victim| victim.pgtables),
        oom_score_adj = victim.as_ref().and_then(|victim| victim.oom_score_adj),
        scope = report.scope(),
        limited_cgroup = report.limited_cgroup.as_ref().map(ToString::to_string),
        limit_bytes = report.limit.and_then(Limit::bytes).map(Bytes::get),
        usage_bytes = report.usage.map(Bytes::get),
        usage_after_bytes = report.usage_after.map(Bytes::get),
        first_process = first_process.as_str(),
        visibility = report.visibility(),
        kernel_time_seconds = victim.as_ref().map(|victim| victim.since_boot.as_secs_f64()),
        "{report}"
    );
}
