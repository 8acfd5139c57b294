//! The journal, with a store that works, one that doesn't, and one that does later.

use std::path::Path;

use reprieve_judgement::{FirstProcess, Identity, KillRecord, OomKind};
use reprieve_readings::{BootId, CgroupInode};
use reprieve_store::Store;

use super::*;

const PACE: Pace = Pace {
    opening: Duration::from_secs(20),
    unlocking: Duration::ZERO,
    first_retry: Duration::from_millis(5),
    longest_retry: Duration::from_millis(20),
    pruning: Duration::from_secs(3600),
};

const SOON: Duration = Duration::from_secs(20);

fn kill(id: u64) -> KillRecord {
    KillRecord {
        id: KillId(id),
        boot: BootId(1),
        since_boot: Duration::from_secs(id),
        killed_at: Duration::from_secs(4_000_000_000),
        sequence: None,
        history: false,
        count: 1,
        repeats: 0,
        victim: None,
        identity: Identity::Unknown,
        cgroup: None,
        cgroup_certain: false,
        kind: OomKind::Unknown,
        whole_cgroup: None,
        limited_cgroup: None,
        limit: None,
        usage: None,
        usage_after: None,
        trigger: None,
        first_process: FirstProcess::Unknown,
    }
}

fn state(next_id: u64) -> SavedLedger {
    SavedLedger { boot: Some(BootId(1)), next_id: KillId(next_id), node_rise: next_id - 1, ..SavedLedger::default() }
}

/// Tells one kill in the cgroup with the inode 5.
pub(crate) fn told(id: u64) -> LedgerChange {
    LedgerChange {
        records: vec![kill(id)],
        counted: vec![(CgroupInode(5), id)],
        forgotten: vec![],
        state: state(id + 1),
    }
}

fn open(directory: &Path) -> (Journal, SavedLedger) {
    Journal::open_at(Some(directory.to_owned()), Retention::default(), PACE)
}

fn ids(journal: &Journal) -> Vec<u64> {
    let mut ids = Vec::new();
    let mut after = KillId(0);
    loop {
        let page = journal.page(after, 7).unwrap().page;
        assert!(page.records.len() <= 7);
        ids.extend(page.records.iter().map(|record| record.id.0));
        match page.next {
            Some(next) => after = next,
            None => return ids,
        }
    }
}

fn wait_for(journal: &Journal, what: impl Fn(&JournalHealth) -> bool) -> JournalHealth {
    let end = Instant::now() + SOON;
    loop {
        let health = journal.health();
        if what(&health) {
            return health;
        }
        assert!(Instant::now() < end, "{health:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, saved) = open(directory.path());
    assert_eq!(saved, SavedLedger::default());
    for id in 1..=30 {
        journal.write(told(id));
    }
    assert!(journal.flush(SOON));
    let health = journal.health();
    assert!(health.stored && health.problem.is_none());
    assert_eq!((health.durable_changes, health.queued_changes, health.held_records), (30, 0, 0));
    assert_eq!(health.recent_delays.len(), 30);
    assert!(health.file_size.unwrap() > Bytes::ZERO);
    assert_eq!(ids(&journal), (1..=30).collect::<Vec<_>>());
    journal.write(told(31));
    drop(journal);
    let (journal, saved) = open(directory.path());
    assert_eq!(saved, SavedLedger { cgroups: vec![(CgroupInode(5), 31)], ..state(32) });
    assert_eq!(ids(&journal), (1..=31).collect::<Vec<_>>(), "what was queued is written before it closes");
}

#[test]
fn without_a_store_the_newest_stay_in_memory_and_are_written_later() {
    let directory = tempfile::tempdir().unwrap();
    let in_the_way = directory.path().join("file");
    std::fs::write(&in_the_way, "").unwrap();
    let (mut journal, saved) = open(&in_the_way.join("state"));
    assert_eq!(saved, SavedLedger::default());
    for id in 1..=10_005 {
        journal.write(told(id));
    }
    let health = wait_for(&journal, |health| health.failed_writes > 2);
    assert!(!health.stored);
    assert!(health.problem.unwrap().contains("Not a directory"));
    assert_eq!((health.held_records, health.dropped_records, health.queued_changes), (10_000, 5, 10_005));
    assert!(!journal.flush(Duration::from_millis(1)));
    assert_eq!(ids(&journal), (6..=10_005).collect::<Vec<_>>());

    std::fs::remove_file(&in_the_way).unwrap();
    let health = wait_for(&journal, |health| health.stored && health.queued_changes == 0);
    assert_eq!((health.durable_changes, health.held_records, health.dropped_records), (10_005, 0, 5));
    assert_eq!(ids(&journal), (6..=10_005).collect::<Vec<_>>());
    drop(journal);
    let (_, saved) = open(&in_the_way.join("state"));
    assert_eq!(saved, SavedLedger { cgroups: vec![(CgroupInode(5), 10_005)], ..state(10_006) });
}

#[test]
fn a_store_that_another_agent_holds_is_gone_on_with_later() {
    let directory = tempfile::tempdir().unwrap();
    let mut other = Store::open(directory.path(), &Retention::default()).unwrap().store;
    let mut before = told(1);
    before.counted.push((CgroupInode(6), 2));
    other.apply(&[before, told(2), told(3)]).unwrap();
    let (mut journal, saved) = open(directory.path());
    assert_eq!(saved, SavedLedger::default(), "it can't be known");
    journal.write(told(1));
    let health = wait_for(&journal, |health| health.failed_writes > 1);
    assert!(health.problem.unwrap().contains("in use by another process"));
    assert_eq!(ids(&journal), [1]);
    drop(other);
    wait_for(&journal, |health| health.queued_changes == 0);
    journal.write(told(2));
    assert!(journal.flush(SOON));
    assert_eq!(ids(&journal), [1, 2, 3, 4, 5], "no number is given twice");
    drop(journal);
    let (_, saved) = open(directory.path());
    let cgroups = vec![(CgroupInode(5), 2), (CgroupInode(6), 2)];
    assert_eq!(saved, SavedLedger { cgroups, ..state(6) }, "the rise is the sum of all five");
}

#[test]
fn a_store_that_vanishes_is_begun_anew_with_all_counters() {
    let directory = tempfile::tempdir().unwrap();
    let (mut journal, _) = open(directory.path());
    let mut first = told(1);
    first.counted.extend([(CgroupInode(8), 3), (CgroupInode(9), 4)]);
    journal.write(first);
    assert!(journal.flush(SOON));
    std::fs::remove_file(directory.path().join("kills.redb")).unwrap();
    journal.write(LedgerChange { forgotten: vec![CgroupInode(8)], ..told(2) });
    wait_for(&journal, |health| health.stored && health.queued_changes == 0 && health.failed_writes == 1);
    assert_eq!(ids(&journal), [2]);
    drop(journal);
    let (_, saved) = open(directory.path());
    assert_eq!(saved, SavedLedger { cgroups: vec![(CgroupInode(5), 2), (CgroupInode(9), 4)], ..state(3) });
}

#[test]
fn a_file_that_is_none_is_told_and_counted() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("kills.redb"), "nonsense").unwrap();
    let (journal, saved) = open(directory.path());
    assert_eq!(saved, SavedLedger::default());
    assert_eq!(journal.health().moved_aside, 1);
    assert!(directory.path().join("kills.redb.corrupt-1").exists());
}

#[test]
fn without_a_directory_all_is_in_memory() {
    let (mut journal, _) = Journal::open_at(None, Retention::default(), PACE);
    journal.write(told(1));
    assert_eq!(ids(&journal), [1]);
    assert!(!journal.flush(SOON), "does not wait for what can't be");
}

#[test]
fn who_follows_gets_each_record_and_who_lags_is_let_go() {
    let (mut journal, _) = Journal::open_at(None, Retention::default(), PACE);
    journal.write(told(1));
    let following = journal.follow();
    let told_before = journal.page(KillId(0), 10).unwrap().told;
    journal.write(told(2));
    journal.write(told(2));
    let numbers: Vec<_> = (0..2).map(|_| following.next(SOON).unwrap().unwrap()).collect();
    assert_eq!(numbers.iter().map(|told| (told.number, told.record.id.0)).collect::<Vec<_>>(), [(2, 2), (3, 2)]);
    assert_eq!(told_before, 1);
    assert!(following.next(Duration::ZERO).unwrap().is_none());
    for id in 3..3 + FOLLOWER_LAG as u64 + 1 {
        journal.write(told(id));
    }
    for _ in 0..FOLLOWER_LAG {
        assert!(following.next(SOON).unwrap().is_some());
    }
    assert_eq!(following.next(SOON).unwrap_err(), LaggedBehind);
}
