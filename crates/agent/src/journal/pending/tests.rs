//! However changes are put together, taken and put back, what is written in the end is the same.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use reprieve_judgement::{FirstProcess, Identity, OomKind};

use super::*;

fn kill(id: u64, count: u64) -> KillRecord {
    KillRecord {
        id: KillId(id),
        boot: BootId(1),
        since_boot: Duration::ZERO,
        killed_at: Duration::ZERO,
        sequence: None,
        history: false,
        count,
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

/// What a store does with a change.
#[derive(Debug, Default, Clone, PartialEq)]
struct Model {
    records: BTreeMap<KillId, KillRecord>,
    counters: BTreeMap<CgroupInode, u64>,
    state: SavedLedger,
}

impl Model {
    fn apply(&mut self, change: &LedgerChange) {
        if change.state.boot != self.state.boot {
            self.counters.clear();
        }
        self.counters.extend(change.counted.iter().copied());
        self.counters.retain(|inode, _| !change.forgotten.contains(inode));
        self.records.extend(change.records.iter().map(|record| (record.id, record.clone())));
        self.state = change.state.clone();
    }
}

fn any_change() -> impl Strategy<Value = LedgerChange> {
    let records = prop::collection::vec((1..6_u64, any::<u64>()).prop_map(|(id, count)| kill(id, count)), 0..3);
    let counted = prop::collection::vec(((1..5_u64).prop_map(CgroupInode), any::<u64>()), 0..3);
    let forgotten = prop::collection::vec((1..5_u64).prop_map(CgroupInode), 0..3);
    (records, counted, forgotten, any::<u64>()).prop_map(|(records, counted, forgotten, next)| {
        let state = SavedLedger { next_id: KillId(next), ..SavedLedger::default() };
        LedgerChange { records, counted, forgotten, state }
    })
}

proptest! {
    /// After each change it is tried to write, or not, and the try fails or not. Some time another boot begins.
    #[test]
    fn what_is_written_is_what_the_changes_say(
        changes in prop::collection::vec((any_change(), 0..3_u8), 0..12),
        booted_before in 0..12_usize,
    ) {
        let (mut truth, mut written) = (Model::default(), Model::default());
        let mut pending = Pending::default();
        let mut stored = BTreeSet::new();
        for (number, (mut change, attempt)) in changes.into_iter().enumerate() {
            change.state.boot = Some(BootId(if number < booted_before { 1 } else { 2 }));
            truth.apply(&change);
            pending.add(change, &stored, Instant::now());
            if attempt == 0 {
                continue;
            }
            let batch = pending.take().unwrap();
            stored.extend(batch.change.counted.iter().map(|(inode, _)| *inode));
            if attempt == 1 {
                pending.put_back(batch, &stored);
            } else {
                written.apply(&batch.change);
            }
        }
        let left = pending.take();
        prop_assert!(pending.is_empty() && pending.take().is_none());
        if let Some(batch) = left {
            written.apply(&batch.change);
        }
        prop_assert_eq!(written, truth);
    }

    #[test]
    fn no_more_is_held_than_there_is_room_for(ids in prop::collection::vec(1..100_u64, 0..60), room in 0..40_usize) {
        let mut pending = Pending::default();
        let mut dropped = 0;
        let room = Room { records: room, bytes: usize::MAX };
        for &id in &ids {
            let change = LedgerChange { records: vec![kill(id, 1)], ..LedgerChange::default() };
            pending.add(change, &BTreeSet::new(), Instant::now());
            dropped += pending.fit(room, None);
            prop_assert!(pending.records.len() <= room.records);
            prop_assert_eq!(pending.bytes, pending.records.values().map(weight).sum::<usize>());
        }
        prop_assert!(dropped as usize + pending.records.len() <= ids.len());
        let small = Room { records: 40, bytes: 3 * weight(&kill(1, 1)) };
        pending.fit(small, None);
        prop_assert!(pending.records.len() <= 3);
    }

    #[test]
    fn pages_of_both_are_those_of_one(
        stored in prop::collection::btree_map(1..40_u64, Just(1), 0..30),
        held in prop::collection::btree_map(1..60_u64, Just(2), 0..30),
        most in 1..9_usize,
    ) {
        let mut expected: BTreeMap<u64, u64> = stored.clone();
        expected.extend(held.clone());
        let mut seen = BTreeMap::new();
        let mut after = 0;
        loop {
            let above = |map: &BTreeMap<u64, u64>| {
                map.range(after + 1..).take(most).map(|(id, count)| kill(*id, *count)).collect::<Vec<_>>()
            };
            let records = above(&stored);
            let more = stored.range(after + 1..).count() > records.len();
            let next = records.last().filter(|_| more).map(|record| record.id);
            let page = merge(Page { records, next, unreadable: 0 }, above(&held), most);
            prop_assert!(page.records.len() <= most);
            for record in page.records {
                prop_assert!(seen.insert(record.id.0, record.count).is_none());
            }
            match page.next {
                Some(next) => {
                    prop_assert!(next.0 > after);
                    after = next.0;
                }
                None => break,
            }
        }
        prop_assert_eq!(seen, expected);
    }
}
