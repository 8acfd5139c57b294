//! What is applied is there after a restart, and what is too old or too much is not.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use common::{BOOT, all, any_kill, ids, kill, open, state, told};
use proptest::prelude::*;
use reprieve_judgement::{KillId, LedgerChange, SavedLedger};
use reprieve_readings::{BootId, Bytes, CgroupInode};
use reprieve_store::{Retention, Store, decode_kill, encode_kill, open_read_only};

#[test]
fn what_was_applied_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    assert_eq!(opened.saved, SavedLedger::default());
    assert!(opened.moved.is_empty());
    let counted = |counted: &[(u64, u64)]| counted.iter().map(|&(inode, told)| (CgroupInode(inode), told)).collect();
    let first = LedgerChange { counted: counted(&[(5, 1), (6, 7), (8, 2)]), ..told(1) };
    let second = LedgerChange {
        records: vec![kill(2), kill(3)],
        counted: counted(&[(6, 8)]),
        forgotten: vec![CgroupInode(8)],
        state: SavedLedger { node_rise: 9, read_through: Some(4), told_beyond: vec![6, 9], ..state(4) },
    };
    opened.store.apply(&[first, second.clone()]).unwrap();
    let mut better = kill(2);
    better.victim = None;
    let replaced = LedgerChange { records: vec![better.clone()], counted: vec![], forgotten: vec![], ..second.clone() };
    opened.store.apply(&[replaced]).unwrap();
    drop(opened);

    let opened = open(directory.path());
    assert_eq!(opened.saved, SavedLedger { cgroups: counted(&[(5, 1), (6, 8)]), ..second.state });
    assert_eq!(all(&opened.store.reader()), [kill(1), better, kill(3)]);
}

#[test]
fn another_boot_begins_its_counters_anew_and_keeps_the_kills() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    opened.store.apply(&[told(1)]).unwrap();
    let mut next = told(2);
    next.state.boot = Some(BootId(BOOT.0 + 1));
    next.counted = vec![(CgroupInode(77), 1)];
    opened.store.apply(&[next.clone()]).unwrap();
    drop(opened);
    let opened = open(directory.path());
    assert_eq!(opened.saved, SavedLedger { cgroups: next.counted, ..next.state });
    assert_eq!(ids(&opened.store.reader()), [1, 2]);
}

#[test]
fn only_its_owner_may_read_it() {
    let directory = tempfile::tempdir().unwrap();
    let inside = directory.path().join("a/b");
    let opened = open(&inside);
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&inside), 0o700);
    assert_eq!(mode(&inside.join("kills.redb")), 0o600);
    let names: Vec<_> = inside.read_dir().unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["kills.redb"], "nothing else is left");
    drop(opened);
}

#[test]
fn pages_follow_each_other() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    let changes: Vec<_> = (1..=10).map(told).collect();
    opened.store.apply(&changes).unwrap();
    let reader = opened.store.reader();
    let page = reader.page(KillId(3), 4).unwrap();
    assert_eq!(page.records.iter().map(|kill| kill.id.0).collect::<Vec<_>>(), [4, 5, 6, 7]);
    assert_eq!(page.next, Some(KillId(7)));
    let page = reader.page(KillId(7), 4).unwrap();
    assert_eq!(page.records.len(), 3);
    assert_eq!(page.next, None);
    assert_eq!(reader.page(KillId(u64::MAX), 4).unwrap().records, []);
}

#[test]
fn the_old_are_forgotten_some_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let retention = Retention { age: Duration::from_secs(100), size: Bytes::from_mib(64) };
    let mut store = Store::open(directory.path(), &retention).unwrap().store;
    let mut changes: Vec<_> = (1..=2500).map(told).collect();
    changes[1].records[0].killed_at = Duration::from_secs(9_000_000_000);
    store.apply(&changes).unwrap();
    let now = Duration::from_secs(1_700_000_000 + 2300 + 100);
    assert!(store.prune(now).unwrap());
    assert_eq!(ids(&store.reader()).len(), 1501);
    while store.prune(now).unwrap() {}
    let mut left = vec![2];
    left.extend(2300..=2500);
    assert_eq!(ids(&store.reader()), left, "told in the future, by a wrong clock: kept");
    assert!(!store.prune(Duration::ZERO).unwrap(), "a clock that stands at 1970 makes nothing old");
    assert_eq!(ids(&store.reader()), left);
}

#[test]
fn the_oldest_are_forgotten_where_all_take_too_much() {
    let directory = tempfile::tempdir().unwrap();
    let one = encode_kill(&kill(1000)).len() as u64 + 8;
    let retention = Retention { size: Bytes::new(100 * one), ..Retention::default() };
    let mut store = Store::open(directory.path(), &retention).unwrap().store;
    for id in 1000..1500 {
        store.apply(&[told(id)]).unwrap();
        assert!(ids(&store.reader()).len() <= 100);
    }
    assert_eq!(ids(&store.reader()), (1400..1500).collect::<Vec<_>>());
    drop(store);
    let retention = Retention { size: Bytes::new(10 * one), ..Retention::default() };
    let mut store = Store::open(directory.path(), &retention).unwrap().store;
    while store.prune(Duration::ZERO).unwrap() {}
    assert_eq!(ids(&store.reader()), (1490..1500).collect::<Vec<_>>(), "a smaller limit holds for what is there too");
}

#[test]
fn looking_changes_nothing_and_keeps_writers_out() {
    let directory = tempfile::tempdir().unwrap();
    let mut opened = open(directory.path());
    opened.store.apply(&[told(1), told(2)]).unwrap();
    assert!(matches!(open_read_only(directory.path()), Err(reprieve_store::StoreError::Locked { .. })));
    drop(opened);
    let bytes = || std::fs::read(directory.path().join("kills.redb")).unwrap();
    let before = bytes();
    let reader = open_read_only(directory.path()).unwrap();
    let beside = open_read_only(directory.path()).unwrap();
    assert_eq!(ids(&reader), [1, 2]);
    assert_eq!(ids(&beside), [1, 2]);
    let refused = Store::open(directory.path(), &Retention::default()).unwrap_err();
    assert!(refused.to_string().contains("in use by another process"), "{refused}");
    drop((reader, beside));
    assert_eq!(bytes(), before);
    assert_eq!(open(directory.path()).saved.next_id, KillId(3));
}

#[test]
fn a_field_of_a_later_version_is_passed_over() {
    let mut stored: String = String::from_utf8(encode_kill(&kill(1))).unwrap();
    stored.insert_str(1, "\"mood\":[\"bad\"],");
    assert_eq!(decode_kill(stored.as_bytes()).unwrap(), kill(1));
    assert!(decode_kill(b"{}").is_err());
    assert!(decode_kill(b"").is_err());
}

proptest! {
    #[test]
    fn any_kill_comes_back_as_it_was(record in any_kill()) {
        prop_assert_eq!(decode_kill(&encode_kill(&record)).unwrap(), record);
    }

    #[test]
    fn no_bytes_panic(stored: Vec<u8>) {
        let _ = decode_kill(&stored);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]
    #[test]
    fn any_kills_come_back_from_the_file(records in prop::collection::btree_map(1_u64.., any_kill(), 0..20)) {
        let records: Vec<_> =
            records.into_iter().map(|(id, record)| reprieve_judgement::KillRecord { id: KillId(id), ..record }).collect();
        let directory = tempfile::tempdir().unwrap();
        let mut opened = open(directory.path());
        opened.store.apply(&[LedgerChange { records: records.clone(), ..LedgerChange::default() }]).unwrap();
        drop(opened);
        prop_assert_eq!(all(&open_read_only(directory.path()).unwrap()), records);
    }
}
