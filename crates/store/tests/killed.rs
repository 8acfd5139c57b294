//! A writer is killed with SIGKILL at random moments, many times: each change is there wholly or not at all.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::string_slice, missing_docs)]

mod common;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use common::{all, kill, open, state};
use reprieve_judgement::{KillId, LedgerChange};
use reprieve_readings::{Bytes, CgroupInode};
use reprieve_store::{Retention, Store, open_read_only};

const ROUNDS: u64 = 60;
const SEED: u64 = 20_261_126;
const CHILD: &str = "REPRIEVE_TEST_STORE";
/// Few, so that forgetting is part of it too.
const KEPT: u64 = 64 * 1024;
/// In each change. No kill has its number, so it is never the one that is forgotten.
const COUNTED_EACH_TIME: CgroupInode = CgroupInode(0);

/// Not a test of its own: what the killed process does.
#[test]
fn the_writer() {
    let Some(directory) = std::env::var_os(CHILD) else { return };
    let retention = Retention { size: Bytes::new(KEPT), ..Retention::default() };
    let opened = Store::open(Path::new(&directory), &retention).unwrap();
    assert!(opened.moved.is_empty());
    let mut store = opened.store;
    let mut next = opened.saved.next_id.0.max(1);
    println!("opened");
    loop {
        store.apply(&[change(next)]).unwrap();
        next += 3;
        println!("applied {next}");
    }
}

/// Three kills, a counter that says up to which, one that is forgotten, and the state.
fn change(first: u64) -> LedgerChange {
    LedgerChange {
        records: (first..first + 3).map(kill).collect(),
        counted: vec![(COUNTED_EACH_TIME, first + 3), (CgroupInode(first + 3), 9)],
        forgotten: vec![CgroupInode(first)],
        state: state(first + 3),
    }
}

fn start(directory: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "the_writer", "--nocapture"])
        .env(CHILD, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Kills it some time after it told this many changes; says what it had told to be durable.
fn kill_after(mut child: Child, changes: u64, pause: Duration) -> Option<u64> {
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut told = String::new();
    while !told.contains("opened") && lines.read_line(&mut told).unwrap() > 0 {}
    for _ in 0..changes {
        lines.read_line(&mut told).unwrap();
    }
    std::thread::sleep(pause);
    child.kill().unwrap();
    child.wait().unwrap();
    lines.read_to_string(&mut told).unwrap();
    assert!(!told.contains("panicked"), "{told}");
    // The last line may be cut.
    let whole = told.rfind('\n').map_or("", |end| &told[..end]);
    whole.lines().filter_map(|line| line.strip_prefix("applied ")?.parse().ok()).next_back()
}

fn check(directory: &Path, acknowledged: u64) -> u64 {
    let seen = all(&open_read_only(directory).unwrap());
    let opened = open(directory);
    assert!(opened.moved.is_empty(), "{:?}", opened.moved);
    let next = opened.saved.next_id.0;
    assert!(next >= acknowledged, "{next} of {acknowledged} acknowledged");
    // The first is numbered 1.
    assert!(next <= acknowledged.max(1) + 3, "no more than one change was under way");
    let records = all(&opened.store.reader());
    assert_eq!(records, seen, "who looks sees the same");
    if next > 0 {
        assert_eq!(
            opened.saved,
            reprieve_judgement::SavedLedger {
                cgroups: vec![(COUNTED_EACH_TIME, next), (CgroupInode(next), 9)],
                ..state(next)
            }
        );
    }
    assert_eq!(records.last().map_or(1, |last| last.id.0 + 1), next.max(1));
    for pair in records.windows(2) {
        assert_eq!(pair[1].id, KillId(pair[0].id.0 + 1), "no gap");
    }
    let sum: u64 = records.iter().map(|record| reprieve_store::encode_kill(record).len() as u64 + 8).sum();
    assert!(sum <= KEPT, "{sum}");
    next
}

#[test]
fn a_change_survives_sigkill_wholly_or_not_at_all() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = SEED;
    let (mut acknowledged, mut cut) = (0, 0);
    for _ in 0..ROUNDS {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let pause = Duration::from_micros((random >> 33) % 10_000);
        acknowledged = kill_after(start(directory.path()), (random >> 50) % 4, pause).unwrap_or(acknowledged);
        let next = check(directory.path(), acknowledged);
        cut += u64::from(next > acknowledged);
        acknowledged = next;
    }
    println!("{acknowledged} kills applied; {cut} of {ROUNDS} times durable but not yet told");
    assert!(acknowledged > ROUNDS, "the writer hardly ran: {acknowledged}");
}
