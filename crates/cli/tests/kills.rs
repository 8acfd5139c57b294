//! `reprieve kills`, from a store and from a running agent.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use reprieve_judgement::{FirstProcess, Identity, KillId, KillRecord, LedgerChange, OomKind, SavedLedger, Victim};
use reprieve_readings::{BootId, Bytes, CgroupPath, Limit, OomTrigger};
use reprieve_store::{Retention, Store};

const POD: &[u8] =
    b"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod11111111_2222_3333_4444_555555555555.slice";

fn kill(id: u64) -> KillRecord {
    KillRecord {
        id: KillId(id),
        boot: BootId(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
        since_boot: Duration::from_millis(1_000_250 + 60_000 * id),
        told_at: Duration::from_millis(1_795_600_000_500 + 60_000 * id),
        sequence: Some(4000 + id),
        history: false,
        count: 1,
        repeats: 0,
        victim: Some(Victim {
            pid: 1000 + id as u32,
            name: b"worker".to_vec(),
            command_line: None,
            uid: Some(1000),
            total_vm: Some(Bytes::from_mib(900)),
            anon_rss: Some(Bytes::from_mib(250)),
            file_rss: Some(Bytes::from_kib(12)),
            shmem_rss: Some(Bytes::ZERO),
            pgtables: Some(Bytes::from_kib(600)),
            oom_score_adj: Some(994),
        }),
        identity: Identity::Exact,
        cgroup: None,
        cgroup_certain: true,
        kind: OomKind::ContainerLimit,
        whole_cgroup: None,
        limited_cgroup: None,
        limit: Some(Limit::At(Bytes::from_mib(256))),
        usage: Some(Bytes::from_mib(256)),
        usage_after: None,
        trigger: None,
        first_process: FirstProcess::Survived,
    }
}

fn in_pod(container: char) -> Option<CgroupPath> {
    let name = format!("/cri-containerd-{}.scope", container.to_string().repeat(64));
    Some(CgroupPath::new(&[POD, name.as_bytes()].concat()))
}

/// One of each sort.
fn kills() -> Vec<KillRecord> {
    let path = |path: &str| Some(CgroupPath::new(path.as_bytes()));
    let hostile = Victim {
        name: b"\x1b[31mred\n\xff".to_vec(),
        command_line: Some(b"/bin/sh -c \x1b]0;owned\x07".to_vec()),
        anon_rss: Some(Bytes::new(3 << 30)),
        ..kill(5).victim.unwrap()
    };
    let trigger = OomTrigger {
        name: b"worker".to_vec(),
        pid: Some(1003),
        gfp: b"0xcc0(GFP_KERNEL)".to_vec(),
        order: Some(0),
        oom_score_adj: Some(994),
    };
    vec![
        KillRecord { cgroup: path("/system.slice/web.service"), history: true, kind: OomKind::CgroupLimit, ..kill(1) },
        KillRecord { cgroup: in_pod('a'), ..kill(2) },
        KillRecord {
            cgroup: in_pod('c'),
            first_process: FirstProcess::Killed,
            trigger: Some(trigger),
            victim: Some(Victim {
                command_line: Some(b"/usr/bin/worker --queue jobs".to_vec()),
                ..kill(3).victim.unwrap()
            }),
            ..kill(3)
        },
        KillRecord {
            cgroup: in_pod('a'),
            kind: OomKind::PodLimit,
            limited_cgroup: Some(CgroupPath::new(POD)),
            limit: Some(Limit::At(Bytes::new(1 << 30))),
            identity: Identity::Likely,
            ..kill(4)
        },
        KillRecord {
            cgroup: path("/a\nb/some-very-long-name-of-a-cgroup"),
            cgroup_certain: false,
            kind: OomKind::Node,
            limit: None,
            usage: None,
            victim: Some(hostile),
            first_process: FirstProcess::Unknown,
            ..kill(5)
        },
        KillRecord {
            cgroup: None,
            cgroup_certain: false,
            count: 3,
            victim: None,
            identity: Identity::Unknown,
            kind: OomKind::Unknown,
            limit: None,
            usage: None,
            sequence: None,
            first_process: FirstProcess::Unknown,
            ..kill(6)
        },
    ]
}

fn store(directory: &Path, records: Vec<KillRecord>) {
    let mut opened = Store::open(directory, &Retention::default()).unwrap();
    let state = SavedLedger { boot: Some(kill(1).boot), next_id: KillId(100), ..SavedLedger::default() };
    opened.store.apply(&[LedgerChange { records, state, ..LedgerChange::default() }]).unwrap();
}

#[test]
fn the_command_line_is_as_written_down() {
    let place = tempfile::tempdir().unwrap();
    store(&place.path().join("state"), kills());
    store(&place.path().join("empty"), Vec::new());
    fs::create_dir(place.path().join("damaged")).unwrap();
    fs::write(place.path().join("damaged/kills.redb"), "nonsense").unwrap();
    // The transcripts name directories by short names.
    std::env::set_current_dir(place.path()).unwrap();
    trycmd::TestCases::new().case(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kills/*.md")).run();
    let left: Vec<_> = fs::read_dir("damaged").unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["kills.redb"], "looking moves nothing aside");
}
