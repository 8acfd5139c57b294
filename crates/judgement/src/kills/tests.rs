//! The ledger, step by step and at random.

use proptest::prelude::*;
use reprieve_readings::OomReport;

use super::*;

const PATIENCE: Duration = Duration::from_secs(2);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// The tests name a cgroup by its path; its inode follows from that.
fn place(path: &str) -> Place {
    let inode = path.bytes().fold(0, |inode, byte| inode * 256 + u64::from(byte));
    Place { path: CgroupPath::new(path.as_bytes()), inode: Some(CgroupInode(inode)) }
}

fn begin(ledger: &mut KillLedger, path: &str, kills: u64) {
    ledger.begin(place(path).inode.unwrap(), kills);
}

fn count(ledger: &mut KillLedger, path: &str, kills: u64, now: u64) {
    let Place { path, inode } = place(path);
    ledger.count(inode.unwrap(), &path, kills, at(now));
}

fn victim(pid: u32) -> OomVictim {
    OomVictim {
        sequence: 0,
        since_boot: Duration::ZERO,
        pid,
        name: b"hog".to_vec(),
        uid: None,
        total_vm: None,
        anon_rss: None,
        file_rss: None,
        shmem_rss: None,
        pgtables: None,
        oom_score_adj: None,
        scope: None,
        oom_group: None,
        repeat: false,
        report: OomReport::default(),
    }
}

fn name(ledger: &mut KillLedger, pid: u32, path: Option<&str>, now: u64) -> Option<Kill> {
    ledger.name(victim(pid), path.map(place), FirstProcess::Survived, at(now))
}

/// What was told, short: pid and cgroup, or `count` and cgroup.
fn short(kills: &[Kill]) -> Vec<String> {
    kills
        .iter()
        .map(|kill| {
            let who = kill.victim.as_ref().map_or(format!("{}x", kill.count), |victim| victim.pid.to_string());
            let place = kill.cgroup.as_ref().map_or("?".into(), ToString::to_string);
            format!("{who} {place}{}", if kill.cgroup_certain { "" } else { "?" })
        })
        .collect()
}

#[test]
fn a_kill_is_told_once_whichever_source_comes_first() {
    let mut ledger = KillLedger::new(PATIENCE);
    begin(&mut ledger, "/a", 5);
    assert!(name(&mut ledger, 1, Some("/a"), 0).is_some());
    count(&mut ledger, "/a", 6, 1);
    assert_eq!(short(&ledger.settle(at(100))), [""; 0], "named first, counted later");

    count(&mut ledger, "/a", 7, 101);
    assert_eq!(short(&ledger.settle(at(101))), [""; 0], "it may still be named");
    assert!(name(&mut ledger, 2, Some("/a"), 102).is_some());
    assert_eq!(short(&ledger.settle(at(200))), [""; 0], "counted first, named later");
}

#[test]
fn what_nobody_names_is_told_by_its_count() {
    let mut ledger = KillLedger::new(PATIENCE);
    begin(&mut ledger, "/a", 5);
    count(&mut ledger, "/a", 8, 1);
    count(&mut ledger, "/new", 1, 1);
    assert_eq!(short(&ledger.settle(at(2))), [""; 0]);
    assert_eq!(short(&ledger.settle(at(3))), ["3x /a", "1x /new"]);
    assert!(!ledger.is_waiting());
}

#[test]
fn history_is_not_told() {
    let mut ledger = KillLedger::new(PATIENCE);
    begin(&mut ledger, "/a", 5);
    count(&mut ledger, "/a", 5, 1);
    assert_eq!(short(&ledger.settle(at(100))), [""; 0]);
}

#[test]
fn a_cgroup_made_anew_under_an_old_path_counts_from_zero() {
    let mut ledger = KillLedger::new(Duration::ZERO);
    let path = CgroupPath::new(b"/a");
    ledger.begin(CgroupInode(1), 5);
    ledger.count(CgroupInode(2), &path, 5, at(1));
    ledger.forget(CgroupInode(1));
    assert_eq!(short(&ledger.settle(at(1))), ["5x /a"]);
    ledger.count(CgroupInode(2), &path, 5, at(2));
    assert_eq!(short(&ledger.settle(at(2))), [""; 0]);
    ledger.count(CgroupInode(1), &path, 1, at(3));
    assert_eq!(short(&ledger.settle(at(3))), ["1x /a"], "what was forgotten counts from zero");
}

#[test]
fn a_kill_in_a_cgroup_that_is_gone_waits_for_no_counter() {
    let mut ledger = KillLedger::new(PATIENCE);
    let gone = Place { inode: None, ..place("/a") };
    assert!(ledger.name(victim(1), Some(gone), FirstProcess::Unknown, at(0)).is_some());
    count(&mut ledger, "/a", 1, 1);
    assert_eq!(short(&ledger.settle(at(100))), ["1x /a"], "another cgroup has its path now");
}

#[test]
fn a_victim_without_a_cgroup_goes_to_the_counter_that_rose() {
    let mut ledger = KillLedger::new(PATIENCE);
    assert_eq!(name(&mut ledger, 7, None, 0), None);
    count(&mut ledger, "/a", 1, 1);
    assert_eq!(short(&ledger.settle(at(1))), ["7 /a"]);

    name(&mut ledger, 8, None, 2);
    name(&mut ledger, 9, None, 2);
    count(&mut ledger, "/a", 2, 3);
    count(&mut ledger, "/b", 1, 3);
    assert_eq!(short(&ledger.settle(at(3))), ["8 /a?", "9 /b?"], "which is which can't be told");

    name(&mut ledger, 10, None, 4);
    assert_eq!(short(&ledger.settle(at(5))), [""; 0]);
    assert_eq!(short(&ledger.settle(at(6))), ["10 ??"], "no counter rose");
}

#[test]
fn the_second_line_of_a_group_kill_balances_the_counter_only() {
    let mut ledger = KillLedger::new(PATIENCE);
    assert!(name(&mut ledger, 1, Some("/a"), 0).is_some());
    let again = OomVictim { repeat: true, ..victim(1) };
    assert_eq!(ledger.name(again, Some(place("/a")), FirstProcess::Killed, at(0)), None);
    count(&mut ledger, "/a", 2, 1);
    assert_eq!(short(&ledger.settle(at(100))), [""; 0]);
}

fn steps() -> impl Strategy<Value = Vec<(bool, bool)>> {
    prop::collection::vec((any::<bool>(), any::<bool>()), 0..40)
}

proptest! {
    /// Kills happen in two cgroups, each is both counted and named, in any order within the patience: every victim
    /// is told once, by name, in its own cgroup.
    #[test]
    fn every_kill_is_told_by_name_exactly_once(kills in steps()) {
        let mut ledger = KillLedger::new(PATIENCE);
        let mut counters = [0_u64; 2];
        let mut told = Vec::new();
        for (number, &(second_cgroup, name_first)) in kills.iter().enumerate() {
            let which = usize::from(second_cgroup);
            let path = ["/a", "/b"][which];
            counters[which] += 1;
            if name_first {
                told.extend(name(&mut ledger, number as u32, Some(path), 0));
            }
            count(&mut ledger, path, counters[which], 0);
            if !name_first {
                told.extend(name(&mut ledger, number as u32, Some(path), 0));
            }
            told.extend(ledger.settle(at(0)));
        }
        told.extend(ledger.settle(at(100)));
        prop_assert_eq!(told.len(), kills.len());
        for (number, (second_cgroup, _)) in kills.iter().enumerate() {
            let expected = format!("{number} {}", if *second_cgroup { "/b" } else { "/a" });
            prop_assert!(short(&told).contains(&expected));
        }
    }

    /// The log loses any of the names: what is told still adds up to the counters.
    #[test]
    fn counts_add_up_whatever_the_log_loses(kills in steps()) {
        let mut ledger = KillLedger::new(PATIENCE);
        let mut told = Vec::new();
        for (number, (named, placed)) in kills.iter().enumerate() {
            let now = at(number as u64);
            if *named {
                told.extend(name(&mut ledger, number as u32, placed.then_some("/a"), number as u64));
            }
            count(&mut ledger, "/a", number as u64 + 1, number as u64);
            told.extend(ledger.settle(now));
        }
        told.extend(ledger.settle(at(1000)));
        prop_assert_eq!(told.iter().map(|kill| kill.count).sum::<u64>(), kills.len() as u64);
    }
}
