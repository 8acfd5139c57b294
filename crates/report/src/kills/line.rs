//! One kill as a JSON object, the form in which it is also shown: names are escaped, amounts are numbers of bytes.
//!
//! Keys are added, never changed; what is not known has none. The names are those of the kill's log line.

use std::time::{Duration, SystemTime};

use reprieve_judgement::{KillId, KillRecord, Victim};
use reprieve_readings::{Bytes, CgroupPath, Escaped, Limit, OomTrigger};
use serde::{Deserialize, Serialize};

/// A kill, ready to be shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "docs/kills.md tells of each")]
pub struct KillLine {
    pub id: u64,
    pub boot_id: String,
    pub killed_at: String,
    pub since_boot_seconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_time_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel_log_sequence: Option<u64>,
    pub history: bool,
    pub count: u64,
    pub repeats: u64,
    pub identity: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_line: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    pub cgroup_certain: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod_uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub qos_class: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    pub kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub whole_cgroup: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total_vm_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anon_rss_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file_rss_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shmem_rss_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pgtables_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limited_cgroup: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_after_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trigger: Option<TriggerLine>,
    pub first_process: String,
    pub visibility: String,
}

/// The allocation that could not be served.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "docs/kills.md tells of each")]
pub struct TriggerLine {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    pub gfp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oom_score_adj: Option<i16>,
}

/// A line is no kill in JSON, or holds what would act on a terminal.
#[derive(Debug)]
pub struct NotAKill;

impl KillLine {
    /// A kill's line.
    pub fn of(record: &KillRecord) -> Self {
        let owner = record.owner();
        let path = |path: &Option<CgroupPath>| path.as_ref().map(ToString::to_string);
        let bytes = |amount: Option<Bytes>| amount.map(Bytes::get);
        let victim = record.victim.as_ref();
        let size = |size: fn(&Victim) -> Option<Bytes>| bytes(victim.and_then(size));
        let since_boot = record.since_boot.as_secs_f64();
        KillLine {
            id: record.id.0,
            boot_id: record.boot.to_string(),
            killed_at: rfc3339(record.killed_at),
            since_boot_seconds: since_boot,
            kernel_time_seconds: record.sequence.map(|_| since_boot),
            kernel_log_sequence: record.sequence,
            history: record.history,
            count: record.count,
            repeats: record.repeats,
            identity: record.identity.as_str().into(),
            pid: victim.map(|victim| victim.pid),
            name: victim.map(|victim| escaped(&victim.name)),
            command_line: victim.and_then(|victim| victim.command_line.as_deref()).map(escaped),
            uid: victim.and_then(|victim| victim.uid),
            cgroup: path(&record.cgroup),
            cgroup_certain: record.cgroup_certain,
            container_id: owner.container.as_ref().map(ToString::to_string),
            pod_uid: owner.pod.as_ref().map(ToString::to_string),
            qos_class: owner.qos.map(|qos| qos.as_str().into()),
            unit: owner.unit.as_ref().map(ToString::to_string),
            kind: record.kind.as_str().into(),
            whole_cgroup: path(&record.whole_cgroup),
            total_vm_bytes: size(|victim| victim.total_vm),
            anon_rss_bytes: size(|victim| victim.anon_rss),
            file_rss_bytes: size(|victim| victim.file_rss),
            shmem_rss_bytes: size(|victim| victim.shmem_rss),
            pgtables_bytes: size(|victim| victim.pgtables),
            oom_score_adj: victim.and_then(|victim| victim.oom_score_adj),
            limited_cgroup: path(&record.limited_cgroup),
            limit_bytes: bytes(record.limit.and_then(Limit::bytes)),
            usage_bytes: bytes(record.usage),
            usage_after_bytes: bytes(record.usage_after),
            trigger: record.trigger.as_ref().map(TriggerLine::of),
            first_process: record.first_process.as_str().into(),
            visibility: record.visibility().as_str().into(),
        }
    }

    /// As one line of JSON, without its end.
    pub fn to_json(&self) -> String {
        // Numbers and strings always serialise.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// A line of JSON as [`KillLine::to_json`] gives it.
    ///
    /// # Errors
    /// It is none.
    pub fn parse(line: &[u8]) -> Result<Self, NotAKill> {
        let line: KillLine = serde_json::from_slice(line).map_err(|_| NotAKill)?;
        if line.texts().all(is_escaped) { Ok(line) } else { Err(NotAKill) }
    }

    /// Its number.
    pub fn kill_id(&self) -> KillId {
        KillId(self.id)
    }

    /// All its texts.
    fn texts(&self) -> impl Iterator<Item = &str> {
        let always =
            [&self.boot_id, &self.killed_at, &self.identity, &self.kind, &self.first_process, &self.visibility];
        let sometimes = [
            &self.name,
            &self.command_line,
            &self.cgroup,
            &self.container_id,
            &self.pod_uid,
            &self.qos_class,
            &self.unit,
            &self.whole_cgroup,
            &self.limited_cgroup,
        ];
        let trigger = self.trigger.iter().flat_map(|trigger| [&trigger.name, &trigger.gfp]);
        always.into_iter().chain(sometimes.into_iter().flatten()).chain(trigger).map(String::as_str)
    }
}

impl TriggerLine {
    fn of(trigger: &OomTrigger) -> Self {
        TriggerLine {
            name: escaped(&trigger.name),
            pid: trigger.pid,
            gfp: escaped(&trigger.gfp),
            order: trigger.order,
            oom_score_adj: trigger.oom_score_adj,
        }
    }
}

fn escaped(bytes: &[u8]) -> String {
    Escaped(bytes).to_string()
}

/// Whether nothing but backslashes would be escaped in it.
fn is_escaped(text: &str) -> bool {
    Escaped(text.as_bytes()).to_string().replace("\\\\", "\\") == text
}

/// A time since 1970 in UTC, to milliseconds. What lies beyond the year 9999 is shown as its end.
fn rfc3339(since_1970: Duration) -> String {
    const END: Duration = Duration::from_millis(253_402_300_799_999);
    humantime::format_rfc3339_millis(SystemTime::UNIX_EPOCH + since_1970.min(END)).to_string()
}
