//! Kill records and changes for tests.
#![allow(clippy::unwrap_used, dead_code, missing_docs, unreachable_pub)]

use std::time::Duration;

use proptest::option::of;
use proptest::prelude::*;
use reprieve_judgement::{FirstProcess, Identity, KillId, KillRecord, LedgerChange, OomKind, SavedLedger, Victim};
use reprieve_readings::{BootId, Bytes, CgroupInode, CgroupPath, Limit, OomTrigger};
use reprieve_store::{Opened, Reader, Retention, Store};

pub const BOOT: BootId = BootId(7);

/// A kill like many.
pub fn kill(id: u64) -> KillRecord {
    KillRecord {
        id: KillId(id),
        boot: BOOT,
        since_boot: Duration::from_secs(id),
        killed_at: Duration::from_secs(1_700_000_000 + id),
        sequence: Some(id * 3),
        history: false,
        count: 1,
        repeats: 0,
        victim: Some(Victim {
            pid: 1000 + id as u32,
            name: b"worker".to_vec(),
            command_line: Some(b"/usr/bin/worker --threads 4 --queue jobs".to_vec()),
            uid: Some(1000),
            total_vm: Some(Bytes::from_mib(900)),
            anon_rss: Some(Bytes::from_mib(250)),
            file_rss: Some(Bytes::from_kib(12)),
            shmem_rss: Some(Bytes::ZERO),
            pgtables: Some(Bytes::from_kib(600)),
            oom_score_adj: Some(994),
        }),
        identity: Identity::Exact,
        cgroup: Some(CgroupPath::new(
            b"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod11111111_2222_3333_4444_555555555555.slice/\
              cri-containerd-0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef.scope",
        )),
        cgroup_certain: true,
        kind: OomKind::ContainerLimit,
        whole_cgroup: None,
        limited_cgroup: None,
        limit: Some(Limit::At(Bytes::from_mib(256))),
        usage: Some(Bytes::from_mib(256)),
        usage_after: None,
        trigger: Some(OomTrigger {
            name: b"worker".to_vec(),
            pid: Some(1000 + id as u32),
            gfp: b"0xcc0(GFP_KERNEL)".to_vec(),
            order: Some(0),
            oom_score_adj: Some(994),
        }),
        first_process: FirstProcess::Survived,
    }
}

/// A change that tells one kill in the cgroup with inode 5.
pub fn told(id: u64) -> LedgerChange {
    LedgerChange {
        records: vec![kill(id)],
        counted: vec![(CgroupInode(5), id)],
        forgotten: vec![],
        state: state(id + 1),
    }
}

pub fn state(next_id: u64) -> SavedLedger {
    SavedLedger { boot: Some(BOOT), next_id: KillId(next_id), node_told: Some(next_id), ..SavedLedger::default() }
}

pub fn open(directory: &std::path::Path) -> Opened {
    Store::open(directory, &Retention::default()).unwrap()
}

pub fn all(reader: &Reader) -> Vec<KillRecord> {
    let mut records = Vec::new();
    let mut after = KillId(0);
    loop {
        let page = reader.page(after, 100).unwrap();
        assert_eq!(page.unreadable, 0);
        records.extend(page.records);
        match page.next {
            Some(next) => after = next,
            None => return records,
        }
    }
}

pub fn ids(reader: &Reader) -> Vec<u64> {
    all(reader).iter().map(|record| record.id.0).collect()
}

/// Any kill.
pub fn any_kill() -> impl Strategy<Value = KillRecord> {
    let identity = prop_oneof![Just(Identity::Exact), Just(Identity::Likely), Just(Identity::Unknown)];
    let fate = prop_oneof![Just(FirstProcess::Survived), Just(FirstProcess::Killed), Just(FirstProcess::Unknown)];
    let when = (any::<u64>(), any::<u128>(), any::<Duration>(), any::<Duration>(), any::<Option<u64>>());
    let counts = (any::<bool>(), any::<u64>(), any::<u64>());
    let who = (of(any_victim()), identity, of(any_trigger()), fate);
    let places =
        (of(any_path()), any::<bool>(), prop::sample::select(&OomKind::ALL[..]), of(any_path()), of(any_path()));
    let sizes = (of(any_limit()), any_bytes(), any_bytes());
    (when, counts, who, places, sizes).prop_map(|(when, counts, who, places, sizes)| KillRecord {
        id: KillId(when.0),
        boot: BootId(when.1),
        since_boot: when.2,
        killed_at: when.3,
        sequence: when.4,
        history: counts.0,
        count: counts.1,
        repeats: counts.2,
        victim: who.0,
        identity: who.1,
        cgroup: places.0,
        cgroup_certain: places.1,
        kind: places.2,
        whole_cgroup: places.3,
        limited_cgroup: places.4,
        limit: sizes.0,
        usage: sizes.1,
        usage_after: sizes.2,
        trigger: who.2,
        first_process: who.3,
    })
}

fn any_bytes() -> impl Strategy<Value = Option<Bytes>> {
    of(any::<u64>().prop_map(Bytes::new))
}

fn any_limit() -> impl Strategy<Value = Limit> {
    prop_oneof![Just(Limit::Max), any::<u64>().prop_map(|at| Limit::At(Bytes::new(at)))]
}

/// Text and bytes that are none.
fn any_name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof!["\\PC{0,15}".prop_map(String::into_bytes), prop::collection::vec(any::<u8>(), 0..40)]
}

fn any_path() -> impl Strategy<Value = CgroupPath> {
    any_name().prop_map(|name| CgroupPath::new(&name))
}

fn any_victim() -> impl Strategy<Value = Victim> {
    let who = (any::<u32>(), any_name(), of(any_name()), any::<Option<u32>>(), any::<Option<i16>>());
    let sizes = (any_bytes(), any_bytes(), any_bytes(), any_bytes(), any_bytes());
    (who, sizes).prop_map(|(who, sizes)| Victim {
        pid: who.0,
        name: who.1,
        command_line: who.2,
        uid: who.3,
        total_vm: sizes.0,
        anon_rss: sizes.1,
        file_rss: sizes.2,
        shmem_rss: sizes.3,
        pgtables: sizes.4,
        oom_score_adj: who.4,
    })
}

fn any_trigger() -> impl Strategy<Value = OomTrigger> {
    (any_name(), any::<Option<u32>>(), any_name(), any::<Option<i32>>(), any::<Option<i16>>())
        .prop_map(|(name, pid, gfp, order, oom_score_adj)| OomTrigger { name, pid, gfp, order, oom_score_adj })
}
