//! The ledger, step by step. tests/ledger drives it at random.

use reprieve_readings::{BootId, CgroupInode, OomReport};

use super::*;

const PATIENCE: Duration = Duration::from_secs(2);
const BOOT: BootId = BootId(1);

fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A ledger that has begun to count, with nothing counted so far.
fn begun() -> KillLedger {
    let mut ledger = KillLedger::new(BOOT, SavedLedger::default(), PATIENCE);
    ledger.begin_counts(Some(0));
    ledger
}

/// The tests name a cgroup by its path; its inode follows from that.
fn place(path: &str) -> Place {
    let inode = path.bytes().fold(0, |inode, byte| inode * 256 + u64::from(byte));
    Place { path: CgroupPath::new(path.as_bytes()), inode: Some(CgroupInode(inode)) }
}

fn count(ledger: &mut KillLedger, path: &str, kills: u64, now: u64) {
    let Place { path, inode } = place(path);
    ledger.count(inode.unwrap(), &path, kills, at(now));
}

fn victim(pid: u32) -> OomVictim {
    OomVictim {
        sequence: u64::from(pid),
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

fn sighting(victim: OomVictim, path: Option<&str>) -> Sighting {
    Sighting { victim, place: path.map(place), place_certain: path.is_some(), first_process: FirstProcess::Survived }
}

fn name(ledger: &mut KillLedger, pid: u32, path: Option<&str>, now: u64) -> Vec<String> {
    short(&ledger.name(sighting(victim(pid), path), at(now)))
}

/// Settles with the log read to its end and all cgroups scanned just now.
fn settle(ledger: &mut KillLedger, now: u64) -> Vec<String> {
    short(&ledger.settle(Progress { log_read: true, scan_began: Some(at(now)) }, at(now)))
}

/// What was told, short: its number, the pid or how many, and the cgroup.
fn short(told: &[Told]) -> Vec<String> {
    let line = |told: &Told| match told {
        Told::Kill(kill) => {
            let who = kill.victim.as_ref().map_or(format!("{}x", kill.count), |victim| victim.pid.to_string());
            let likely = if kill.identity == Identity::Likely { "~" } else { "" };
            let place = kill.cgroup.as_ref().map_or("?".into(), ToString::to_string);
            let doubt = if kill.cgroup_certain || kill.cgroup.is_none() { "" } else { "?" };
            format!("{}: {likely}{who} {place}{doubt}{}", kill.id.0, if kill.history { " history" } else { "" })
        }
        Told::CountedAgain(id) => format!("{}: again", id.0),
        Told::OneFewer(id) => format!("{}: one fewer", id.0),
    };
    told.iter().map(line).collect()
}

const NOTHING: [&str; 0] = [];

#[test]
fn a_kill_is_told_once_whichever_source_comes_first() {
    let mut ledger = begun();
    ledger.count_node(1, at(0));
    assert_eq!(name(&mut ledger, 1, Some("/a"), 0), ["1: 1 /a"]);
    count(&mut ledger, "/a", 1, 1);
    assert_eq!(settle(&mut ledger, 100), NOTHING, "named first, counted later");

    count(&mut ledger, "/a", 2, 101);
    ledger.count_node(2, at(101));
    assert_eq!(settle(&mut ledger, 101), NOTHING, "it may still be named");
    assert_eq!(name(&mut ledger, 2, Some("/a"), 102), ["2: 2 /a"]);
    assert_eq!(settle(&mut ledger, 200), NOTHING, "counted first, named later");
    assert!(!ledger.is_waiting());
}

#[test]
fn what_nobody_names_is_told_by_its_number() {
    let mut ledger = begun();
    count(&mut ledger, "/a", 3, 1);
    count(&mut ledger, "/b", 1, 1);
    ledger.count_node(6, at(1));
    assert_eq!(settle(&mut ledger, 2), NOTHING);
    assert_eq!(settle(&mut ledger, 3), ["1: 3x /a", "2: 1x /b", "3: 2x ?"], "two were in cgroups that are gone");
    assert!(!ledger.is_waiting());
}

#[test]
fn kills_in_cgroups_that_nobody_knows_yet_wait_for_a_scan() {
    let mut ledger = begun();
    ledger.count_node(1, at(5));
    assert!(!ledger.wants_scan(at(6)) && ledger.wants_scan(at(7)));
    let unscanned = Progress { log_read: true, scan_began: Some(at(4)) };
    assert_eq!(short(&ledger.settle(unscanned, at(9))), NOTHING);
    count(&mut ledger, "/new", 1, 9);
    assert!(!ledger.wants_scan(at(9)));
    assert_eq!(settle(&mut ledger, 11), ["1: 1x /new"]);
}

#[test]
fn while_the_log_is_not_read_to_its_end_names_are_still_to_come() {
    let mut ledger = begun();
    count(&mut ledger, "/a", 1, 1);
    ledger.count_node(1, at(1));
    let unread = Progress { log_read: false, scan_began: Some(at(50)) };
    assert_eq!(short(&ledger.settle(unread, at(50))), NOTHING);
    assert_eq!(name(&mut ledger, 7, Some("/a"), 50), ["1: 7 /a"]);
}

#[test]
fn kills_from_before_counting_are_history() {
    let mut ledger = KillLedger::new(BOOT, SavedLedger::default(), PATIENCE);
    assert!(!ledger.counts());
    assert_eq!(name(&mut ledger, 1, None, 0), ["1: 1 ? history"]);
    ledger.begin_cgroup(place("/a").inode.unwrap(), 1);
    ledger.begin_counts(Some(1));
    count(&mut ledger, "/a", 1, 1);
    ledger.count_node(1, at(1));
    assert_eq!(settle(&mut ledger, 100), NOTHING);
    // Counted before we began, printed after.
    assert!(ledger.wants_node_count());
    assert_eq!(name(&mut ledger, 2, Some("/a"), 101), ["2: 2 /a history"]);
    assert_eq!(name(&mut ledger, 1, None, 102), NOTHING, "the same line again");
}

#[test]
fn a_cgroup_made_anew_under_an_old_path_counts_from_zero() {
    let mut ledger = begun();
    let path = CgroupPath::new(b"/a");
    ledger.begin_cgroup(CgroupInode(1), 5);
    ledger.count(CgroupInode(2), &path, 5, at(1));
    ledger.count_node(5, at(1));
    ledger.forget(CgroupInode(1));
    assert_eq!(settle(&mut ledger, 3), ["1: 5x /a"]);
    ledger.count(CgroupInode(2), &path, 5, at(4));
    assert_eq!(settle(&mut ledger, 100), NOTHING);
}

#[test]
fn what_a_counter_showed_before_its_cgroup_went_is_not_lost() {
    let mut ledger = begun();
    count(&mut ledger, "/a", 1, 1);
    ledger.count_node(1, at(1));
    ledger.forget(place("/a").inode.unwrap());
    assert_eq!(name(&mut ledger, 7, None, 1), NOTHING);
    assert_eq!(settle(&mut ledger, 1), ["1: 7 /a"]);
    let change = ledger.take_change(Vec::new()).unwrap();
    assert_eq!(change.forgotten, [place("/a").inode.unwrap()]);
}

#[test]
fn a_victim_without_a_cgroup_goes_to_the_counter_that_rose() {
    let mut ledger = begun();
    ledger.count_node(1, at(0));
    assert_eq!(name(&mut ledger, 7, None, 0), NOTHING);
    count(&mut ledger, "/a", 1, 1);
    assert_eq!(settle(&mut ledger, 1), ["1: 7 /a"]);

    ledger.count_node(3, at(2));
    name(&mut ledger, 8, None, 2);
    name(&mut ledger, 9, None, 2);
    count(&mut ledger, "/a", 2, 3);
    assert_eq!(settle(&mut ledger, 3), NOTHING, "the other cgroup may be found yet");
    count(&mut ledger, "/b", 1, 3);
    assert_eq!(settle(&mut ledger, 3), ["2: 8 /a?", "3: 9 /b?"], "which is which can't be told");

    ledger.count_node(4, at(4));
    name(&mut ledger, 10, None, 4);
    assert_eq!(settle(&mut ledger, 5), NOTHING);
    assert_eq!(settle(&mut ledger, 6), ["4: 10 ?"], "no counter rose");
}

#[test]
fn a_kill_told_in_the_wrong_cgroup_is_not_told_again_where_it_was() {
    let mut ledger = begun();
    ledger.count_node(1, at(0));
    assert_eq!(name(&mut ledger, 7, Some("/wrong"), 0), ["1: 7 /wrong"]);
    count(&mut ledger, "/right", 1, 1);
    assert_eq!(settle(&mut ledger, 100), NOTHING, "the machine counted one kill, and one is told");
}

#[test]
fn the_second_line_of_a_group_kill_is_counted_and_no_kill() {
    let mut ledger = begun();
    ledger.count_node(2, at(0));
    assert_eq!(name(&mut ledger, 1, Some("/a"), 0), ["1: 1 /a"]);
    let again = OomVictim { repeat: true, sequence: 2, ..victim(1) };
    assert_eq!(short(&ledger.name(sighting(again, Some("/a")), at(0))), ["1: again"]);
    count(&mut ledger, "/a", 2, 1);
    assert_eq!(settle(&mut ledger, 100), NOTHING);
}

#[test]
fn the_kernels_marks_name_what_its_log_does_not() {
    let mut ledger = begun();
    ledger.mark(sighting(victim(7), Some("/a")), at(0));
    ledger.mark(sighting(victim(8), None), at(0));
    ledger.count_node(2, at(0));
    count(&mut ledger, "/a", 1, 0);
    count(&mut ledger, "/b", 1, 0);
    assert_eq!(settle(&mut ledger, 1), NOTHING, "the log may name them yet");
    assert_eq!(name(&mut ledger, 8, Some("/b"), 1), ["1: 8 /b"]);
    assert_eq!(settle(&mut ledger, 2), ["2: ~7 /a"]);

    ledger.mark(sighting(victim(9), Some("/a")), at(3));
    assert_eq!(settle(&mut ledger, 100), NOTHING, "it ended by itself");
}

#[test]
fn a_name_that_comes_late_replaces_the_number() {
    let mut ledger = begun();
    count(&mut ledger, "/a", 2, 0);
    ledger.count_node(2, at(0));
    assert_eq!(settle(&mut ledger, 2), ["1: 2x /a"]);
    assert_eq!(name(&mut ledger, 7, None, 3), ["1: one fewer", "2: 7 /a?"]);
    assert_eq!(name(&mut ledger, 8, None, 3), ["1: 8 /a?"]);
}

#[test]
fn a_restart_goes_on_where_the_saved_ledger_ended() {
    let mut ledger = begun();
    ledger.count_node(1, at(0));
    name(&mut ledger, 10, Some("/a"), 0);
    ledger.log_read_to(10);
    let LedgerChange { counted, state, .. } = ledger.take_change(Vec::new()).unwrap();
    let saved = SavedLedger { cgroups: counted, ..state };

    let mut again = KillLedger::new(BOOT, saved.clone(), PATIENCE);
    assert!(again.counts());
    assert_eq!(name(&mut again, 10, Some("/a"), 5), NOTHING, "told before");
    count(&mut again, "/a", 2, 5);
    again.count_node(2, at(5));
    assert_eq!(name(&mut again, 11, Some("/a"), 5), ["2: 11 /a"]);
    assert_eq!(settle(&mut again, 100), NOTHING);

    let mut next_boot = KillLedger::new(BootId(2), saved, PATIENCE);
    assert!(!next_boot.counts());
    assert_eq!(name(&mut next_boot, 10, None, 0), ["2: 10 ? history"], "numbers are not given again");
}

#[test]
fn without_the_machines_count_the_cgroups_tell() {
    let mut ledger = KillLedger::new(BOOT, SavedLedger::default(), PATIENCE);
    ledger.begin_counts(None);
    assert_eq!(name(&mut ledger, 1, Some("/a"), 0), ["1: 1 /a"]);
    count(&mut ledger, "/a", 3, 1);
    assert_eq!(settle(&mut ledger, 3), ["2: 2x /a"]);
}
