//! Log lines: a sentence for people, or JSON with the parts as fields.

use std::io;

use reprieve_judgement::{KillRecord, Victim};
use reprieve_readings::{Bytes, Escaped, Limit};
use reprieve_report::KillSentence;

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
pub(crate) fn kill(record: &KillRecord, format: LogFormat) {
    let line = KillSentence(record);
    match format {
        LogFormat::Text => tracing::warn!("{line}"),
        LogFormat::Json => kill_with_fields(record, line),
    }
}

fn kill_with_fields(record: &KillRecord, line: KillSentence<'_>) {
    let owner = record.owner();
    let victim = record.victim.as_ref();
    let trigger = record.trigger.as_ref();
    let bytes = |amount: fn(&Victim) -> Option<Bytes>| victim.and_then(amount).map(Bytes::get);
    let escaped = |text: &[u8]| Escaped(text).to_string();
    tracing::warn!(
        event = "oom_kill",
        id = record.id.0,
        boot_id = record.boot.to_string(),
        count = record.count,
        identity = record.identity.as_str(),
        kind = record.kind.as_str(),
        pid = victim.map(|victim| victim.pid),
        name = victim.map(|victim| escaped(&victim.name)),
        command_line = victim.and_then(|victim| victim.command_line.as_deref()).map(escaped),
        uid = victim.and_then(|victim| victim.uid),
        cgroup = record.cgroup.as_ref().map(ToString::to_string),
        cgroup_certain = record.cgroup_certain,
        container_id = owner.container.as_ref().map(ToString::to_string),
        pod_uid = owner.pod.as_ref().map(ToString::to_string),
        qos_class = owner.qos.map(|qos| qos.as_str()),
        unit = owner.unit.as_ref().map(ToString::to_string),
        total_vm_bytes = bytes(|victim| victim.total_vm),
        anon_rss_bytes = bytes(|victim| victim.anon_rss),
        file_rss_bytes = bytes(|victim| victim.file_rss),
        shmem_rss_bytes = bytes(|victim| victim.shmem_rss),
        pgtables_bytes = bytes(|victim| victim.pgtables),
        oom_score_adj = victim.and_then(|victim| victim.oom_score_adj),
        scope = record.kind.scope(),
        whole_cgroup = record.whole_cgroup.as_ref().map(ToString::to_string),
        limited_cgroup = record.limited_cgroup.as_ref().map(ToString::to_string),
        limit_bytes = record.limit.and_then(Limit::bytes).map(Bytes::get),
        usage_bytes = record.usage.map(Bytes::get),
        usage_after_bytes = record.usage_after.map(Bytes::get),
        trigger_name = trigger.map(|trigger| escaped(&trigger.name)),
        trigger_pid = trigger.and_then(|trigger| trigger.pid),
        first_process = record.first_process.as_str(),
        visibility = record.visibility().as_str(),
        kernel_time_seconds = record.sequence.map(|_| record.since_boot.as_secs_f64()),
        "{line}"
    );
}
