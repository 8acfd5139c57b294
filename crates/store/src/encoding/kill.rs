//! A stored kill.

use std::time::Duration;

use reprieve_judgement::{FirstProcess, Identity, KillId, KillRecord, OomKind, Victim};
use reprieve_readings::{BootId, Bytes, CgroupPath, Limit, OomTrigger};
use serde::{Deserialize, Serialize};

use super::DecodeError;
use super::bytes::TextBytes;

const WHAT: &str = "a kill";

#[derive(Serialize, Deserialize)]
struct StoredKill {
    id: u64,
    boot: String,
    since_boot: Duration,
    killed_at: Duration,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence: Option<u64>,
    #[serde(default)]
    history: bool,
    count: u64,
    #[serde(default)]
    repeats: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    victim: Option<StoredVictim>,
    identity: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    cgroup: Option<TextBytes>,
    #[serde(default)]
    cgroup_certain: bool,
    kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    whole_cgroup: Option<TextBytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limited_cgroup: Option<TextBytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limit: Option<StoredLimit>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage_after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trigger: Option<StoredTrigger>,
    first_process: String,
}

#[derive(Serialize, Deserialize)]
struct StoredVictim {
    pid: u32,
    name: TextBytes,
    #[serde(skip_serializing_if = "Option::is_none")]
    command_line: Option<TextBytes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_vm: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    anon_rss: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_rss: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shmem_rss: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pgtables: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oom_score_adj: Option<i16>,
}

#[derive(Serialize, Deserialize)]
struct StoredTrigger {
    name: TextBytes,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    gfp: TextBytes,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    oom_score_adj: Option<i16>,
}

/// A number of bytes, or `"max"`.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum StoredLimit {
    At(u64),
    Max(Max),
}

#[derive(Serialize, Deserialize)]
enum Max {
    #[serde(rename = "max")]
    Max,
}

/// The stored form of a kill.
pub fn encode_kill(record: &KillRecord) -> Vec<u8> {
    let bytes = |amount: Option<Bytes>| amount.map(Bytes::get);
    let path = |path: &Option<CgroupPath>| path.as_ref().map(|path| TextBytes(path.as_bytes().to_vec()));
    let stored = StoredKill {
        id: record.id.0,
        boot: record.boot.to_string(),
        since_boot: record.since_boot,
        killed_at: record.killed_at,
        sequence: record.sequence,
        history: record.history,
        count: record.count,
        repeats: record.repeats,
        victim: record.victim.as_ref().map(StoredVictim::from),
        identity: record.identity.as_str().into(),
        cgroup: path(&record.cgroup),
        cgroup_certain: record.cgroup_certain,
        kind: record.kind.as_str().into(),
        whole_cgroup: path(&record.whole_cgroup),
        limited_cgroup: path(&record.limited_cgroup),
        limit: record
            .limit
            .map(|limit| limit.bytes().map_or(StoredLimit::Max(Max::Max), |at| StoredLimit::At(at.get()))),
        usage: bytes(record.usage),
        usage_after: bytes(record.usage_after),
        trigger: record.trigger.as_ref().map(StoredTrigger::from),
        first_process: record.first_process.as_str().into(),
    };
    // Every key is a string and every value has a form: this does not fail.
    serde_json::to_vec(&stored).unwrap_or_default()
}

/// The kill of a stored form.
///
/// # Errors
/// It is none. Words of a later version, for a kind or how sure an identity is, are none: they are taken for `unknown`.
pub fn decode_kill(stored: &[u8]) -> Result<KillRecord, DecodeError> {
    let stored: StoredKill = serde_json::from_slice(stored).map_err(|error| DecodeError::new(WHAT, error))?;
    let bytes = |amount: Option<u64>| amount.map(Bytes::new);
    let path = |path: Option<TextBytes>| path.map(|path| CgroupPath::new(&path.0));
    Ok(KillRecord {
        id: KillId(stored.id),
        boot: BootId::parse(stored.boot.as_bytes()).map_err(|error| DecodeError::new(WHAT, error))?,
        since_boot: stored.since_boot,
        killed_at: stored.killed_at,
        sequence: stored.sequence,
        history: stored.history,
        count: stored.count,
        repeats: stored.repeats,
        victim: stored.victim.map(Victim::from),
        identity: identity(&stored.identity),
        cgroup: path(stored.cgroup),
        cgroup_certain: stored.cgroup_certain,
        kind: OomKind::ALL.into_iter().find(|kind| kind.as_str() == stored.kind).unwrap_or(OomKind::Unknown),
        whole_cgroup: path(stored.whole_cgroup),
        limited_cgroup: path(stored.limited_cgroup),
        limit: stored.limit.map(|limit| match limit {
            StoredLimit::At(at) => Limit::At(Bytes::new(at)),
            StoredLimit::Max(Max::Max) => Limit::Max,
        }),
        usage: bytes(stored.usage),
        usage_after: bytes(stored.usage_after),
        trigger: stored.trigger.map(OomTrigger::from),
        first_process: first_process(&stored.first_process),
    })
}

fn identity(word: &str) -> Identity {
    let all = [Identity::Exact, Identity::Likely];
    all.into_iter().find(|identity| identity.as_str() == word).unwrap_or(Identity::Unknown)
}

fn first_process(word: &str) -> FirstProcess {
    let all = [FirstProcess::Survived, FirstProcess::Killed];
    all.into_iter().find(|fate| fate.as_str() == word).unwrap_or(FirstProcess::Unknown)
}

impl From<&Victim> for StoredVictim {
    fn from(victim: &Victim) -> Self {
        let bytes = |amount: Option<Bytes>| amount.map(Bytes::get);
        StoredVictim {
            pid: victim.pid,
            name: TextBytes(victim.name.clone()),
            command_line: victim.command_line.clone().map(TextBytes),
            uid: victim.uid,
            total_vm: bytes(victim.total_vm),
            anon_rss: bytes(victim.anon_rss),
            file_rss: bytes(victim.file_rss),
            shmem_rss: bytes(victim.shmem_rss),
            pgtables: bytes(victim.pgtables),
            oom_score_adj: victim.oom_score_adj,
        }
    }
}

impl From<StoredVictim> for Victim {
    fn from(stored: StoredVictim) -> Self {
        let bytes = |amount: Option<u64>| amount.map(Bytes::new);
        Victim {
            pid: stored.pid,
            name: stored.name.0,
            command_line: stored.command_line.map(|line| line.0),
            uid: stored.uid,
            total_vm: bytes(stored.total_vm),
            anon_rss: bytes(stored.anon_rss),
            file_rss: bytes(stored.file_rss),
            shmem_rss: bytes(stored.shmem_rss),
            pgtables: bytes(stored.pgtables),
            oom_score_adj: stored.oom_score_adj,
        }
    }
}

impl From<&OomTrigger> for StoredTrigger {
    fn from(trigger: &OomTrigger) -> Self {
        StoredTrigger {
            name: TextBytes(trigger.name.clone()),
            pid: trigger.pid,
            gfp: TextBytes(trigger.gfp.clone()),
            order: trigger.order,
            oom_score_adj: trigger.oom_score_adj,
        }
    }
}

impl From<StoredTrigger> for OomTrigger {
    fn from(stored: StoredTrigger) -> Self {
        OomTrigger {
            name: stored.name.0,
            pid: stored.pid,
            gfp: stored.gfp.0,
            order: stored.order,
            oom_score_adj: stored.oom_score_adj,
        }
    }
}
