//! The reading of cgroups against the real kernel, on whichever memory controller this machine has.
//! Needs root and a memory hierarchy that it may write to; works only in cgroups of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

#[path = "kernel/trace.rs"]
mod trace;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use reprieve_lab::{Lab, Version, wait_for};
use reprieve_linux::{
    CgroupTree, DescriptorBudget, EventsWatch, KmsgEvent, KmsgReader, Levels, MemoryController, Problems, Roots,
    ScanSummary,
};
use reprieve_readings::{Bytes, CgroupPath, Limit};

fn open_lab(purpose: &str) -> Option<Lab> {
    Lab::open(purpose).expect("REPRIEVE_REQUIRE_KERNEL=1, but no memory cgroup can be made")
}

fn open_tree(budget: usize) -> CgroupTree {
    let mut problems = Problems::default();
    let controller = MemoryController::find(&Roots::default(), &mut problems).unwrap();
    assert_eq!(problems.first(), []);
    CgroupTree::open(&controller, DescriptorBudget::new(budget)).unwrap()
}

fn path(lab: &Lab, cgroup: &Path) -> CgroupPath {
    CgroupPath::new(lab.path_of(cgroup).as_bytes())
}

/// Scans without a problem in the lab's own cgroups. (Somebody else's may have any.)
fn scan(tree: &mut CgroupTree, lab: &Lab) -> ScanSummary {
    let summary = tree.scan();
    let ours = lab.path_of(lab.directory());
    let problems: Vec<String> = summary.problems.first().iter().map(ToString::to_string).collect();
    assert!(!problems.iter().any(|problem| problem.starts_with(&ours)), "{problems:?}");
    summary
}

#[test]
fn every_file_of_a_real_cgroup_is_read() {
    let Some(lab) = open_lab("files") else { return };
    let inner = lab.cgroup("outer/inner").unwrap();
    lab.limit(&inner, 64 << 20).unwrap();
    let mut sleeper = lab.spawn(&inner, Command::new("sleep").arg("600")).unwrap();
    let mut tree = open_tree(10_000);
    let mut other = open_tree(0);
    // The shell in its place may have no memory in there yet.
    let is_sleep = || (fs::read(format!("/proc/{}/comm", sleeper.id())).ok()? == b"sleep\n").then_some(());
    wait_for(Duration::from_secs(60), is_sleep).unwrap();
    scan(&mut tree, &lab);
    scan(&mut other, &lab);

    let cgroup = tree.find(&path(&lab, &inner)).expect("the scan found the cgroup");
    let memory = cgroup.memory();
    assert_eq!(memory.max, Some(Limit::At(Bytes::from_mib(64))));
    assert!(memory.usage.unwrap() > Bytes::ZERO);
    assert!(memory.stat.unwrap().anon.is_some());
    assert!(memory.stat.unwrap().inactive_file.is_some());
    assert_eq!(memory.oom_kills(), Some(0));
    match lab.version() {
        Version::V1 => {
            assert_eq!(memory.limit_hits, Some(0));
            assert!(memory.peak.unwrap() > Bytes::ZERO);
            assert_eq!(memory.stat.unwrap().hierarchical_limit, Some(Limit::At(Bytes::from_mib(64))));
            assert_eq!(memory.high, None);
        }
        Version::V2 => {
            assert_eq!(memory.high, Some(Limit::Max));
            assert_eq!(memory.low, Some(Limit::At(Bytes::ZERO)));
            assert_eq!(memory.min, Some(Limit::At(Bytes::ZERO)));
            assert_eq!(memory.oom_group, Some(false));
            assert!(memory.pressure.is_some());
            assert!(memory.peak.unwrap() > Bytes::ZERO);
        }
    }
    assert_eq!(cgroup.processes().unwrap(), [sleeper.id()]);
    let parent = tree.get(cgroup.parent().unwrap()).unwrap();
    assert_eq!(parent.path(), &path(&lab, inner.parent().unwrap()));

    // Without a single descriptor to keep, the same is read.
    let again = other.find(&path(&lab, &inner)).unwrap().memory();
    scan(&mut tree, &lab);
    let memory = tree.find(&path(&lab, &inner)).unwrap().memory();
    assert_eq!((again.max, again.oom_kills()), (memory.max, memory.oom_kills()));
    // The process may still be starting.
    assert!(again.peak.unwrap() > Bytes::ZERO && again.peak <= memory.peak, "{:?}, {:?}", again.peak, memory.peak);
    sleeper.kill().unwrap();
    sleeper.wait().unwrap();
}

#[test]
fn cgroups_come_and_go_between_scans() {
    let Some(lab) = open_lab("churn") else { return };
    for budget in [10_000, 0] {
        let first = lab.cgroup("a/b").unwrap();
        let mut tree = open_tree(budget);
        scan(&mut tree, &lab);
        let before = tree.find(&path(&lab, &first)).unwrap();
        let (id, inode) = (before.id(), before.inode());

        // Removed and made again under the same name, and one made as another is removed: link counts stay the same.
        fs::remove_dir(&first).unwrap();
        let recreated = lab.cgroup("a/b").unwrap();
        let summary = scan(&mut tree, &lab);
        assert!(summary.removed.contains(&(id, inode)));
        let after = tree.find(&path(&lab, &recreated)).expect("found in the very next scan");
        assert!(after.id() != id && after.inode() != inode);
        assert!(after.memory().usage.is_some(), "and read in it");

        fs::remove_dir(&recreated).unwrap();
        let other = lab.cgroup("a/c").unwrap();
        let found = tree.look_up(&path(&lab, &other)).expect("looked for, it is found before any scan");
        scan(&mut tree, &lab);
        assert!(tree.find(&path(&lab, &recreated)).is_none());
        assert_eq!(tree.find(&path(&lab, &other)).unwrap().id(), found);

        let gone_with_children = tree.find(&path(&lab, &lab.directory().join("a"))).unwrap().id();
        reprieve_lab::remove_tree(&lab.directory().join("a")).unwrap();
        let summary = scan(&mut tree, &lab);
        assert!(summary.removed.iter().any(|(id, _)| *id == gone_with_children));
        assert!(!tree.iter().any(|cgroup| cgroup.path().below(&path(&lab, &lab.directory().join("a"))).is_some()));
    }
}

#[test]
fn a_limit_that_changes_is_seen_by_the_next_scan() {
    let Some(lab) = open_lab("resize") else { return };
    let cgroup = lab.cgroup("c").unwrap();
    let mut tree = open_tree(10_000);
    for mib in [64, 128, 32] {
        lab.limit(&cgroup, mib << 20).unwrap();
        scan(&mut tree, &lab);
        let seen = tree.find(&path(&lab, &cgroup)).unwrap().memory().max;
        assert_eq!(seen, Some(Limit::At(Bytes::from_mib(mib))));
    }
}

#[test]
fn a_real_kill_is_counted_logged_and_signalled() {
    let Some(lab) = open_lab("kill") else { return };
    let cgroup = lab.cgroup("c").unwrap();
    lab.limit(&cgroup, 16 << 20).unwrap();
    let mut tree = open_tree(10_000);
    scan(&mut tree, &lab);
    let id = tree.find(&path(&lab, &cgroup)).unwrap().id();
    let mut watch = EventsWatch::new().unwrap();
    watch.add(tree.get(id).unwrap()).unwrap();
    let mut kmsg = KmsgReader::open_at_end(Path::new("/dev/kmsg")).unwrap();

    let mut shell = lab.spawn_doomed_child(&cgroup).unwrap();
    let limit = Duration::from_secs(60);
    wait_for(limit, || (lab.oom_kills(&cgroup).unwrap() == 1).then_some(())).expect("the kernel kills");

    let logged = wait_for(limit, || {
        loop {
            match kmsg.next_event().unwrap() {
                KmsgEvent::Record(record) => {
                    let text = String::from_utf8_lossy(record).into_owned();
                    if text.contains("Killed process") && text.contains("(tail)") {
                        return Some(text);
                    }
                }
                KmsgEvent::Overrun => {}
                KmsgEvent::Empty => return None,
            }
        }
    });
    assert!(logged.is_some(), "the kernel's log names the victim");
    if lab.version() == Version::V2 {
        let changes = wait_for(limit, || Some(watch.changes().unwrap()).filter(|changed| !changed.is_empty()));
        assert_eq!(changes.expect("inotify tells"), [id]);
    }
    let mut problems = Problems::default();
    assert!(tree.refresh_after_kill(id, &mut problems));
    assert_eq!(tree.get(id).unwrap().memory().oom_kills(), Some(1));
    assert_eq!(problems.count(), 0);
    assert!(shell.try_wait().unwrap().is_none(), "the shell lives on");
    shell.kill().unwrap();
    shell.wait().unwrap();
}

#[test]
fn a_level_that_is_gone_is_told_once_and_unknown_from_then_on() {
    let Some(lab) = open_lab("gone") else { return };
    let outer = lab.cgroup("outer").unwrap();
    let inner = lab.cgroup("outer/inner").unwrap();
    lab.limit(&outer, 64 << 20).unwrap();
    lab.limit(&inner, 32 << 20).unwrap();
    let mut problems = Problems::default();
    let found = MemoryController::find(&Roots::default(), &mut problems).unwrap();
    let mut levels = Levels::open(&MemoryController { own: path(&lab, &inner), ..found }, &mut problems).unwrap();
    let limits = |levels: &Levels| -> Vec<_> { levels.memory().take(2).map(|memory| memory.max).collect() };
    levels.read(&mut problems);
    let at = |mib| Some(Limit::At(Bytes::from_mib(mib)));
    assert_eq!((limits(&levels), levels.unread()), (vec![at(32), at(64)], None));
    fs::remove_dir(&inner).unwrap();
    levels.read(&mut problems);
    assert_eq!((limits(&levels), levels.unread()), (vec![None, at(64)], Some(0)));
    assert_eq!(levels.own(), Default::default());
    let told: Vec<String> = problems.first().iter().map(ToString::to_string).collect();
    assert_eq!(told, [format!("{}: No such file or directory (os error 2)", inner.display())]);
}

/// A cgroup without limits that has read a file twice and holds some anonymous memory.
fn cgroup_with_cache(lab: &Lab) -> std::path::PathBuf {
    let cgroup = lab.cgroup("cache").unwrap();
    let file = format!("/var/tmp/reprieve-cache-{}", std::process::id());
    let script = format!(
        "dd if=/dev/zero of={file} bs=1M count=64 conv=fsync; cat {file} >/dev/null; cat {file} >/dev/null; \
         dd if=/dev/zero bs=16M count=1 | (sleep 1; touch {file}.done; sleep 600)"
    );
    let mut child = lab.spawn(&cgroup, Command::new("/bin/sh").args(["-c", &script])).unwrap();
    let done = format!("{file}.done");
    wait_for(Duration::from_secs(120), || Path::new(&done).exists().then_some(())).expect("the file was read");
    fs::remove_file(done).unwrap();
    assert!(child.try_wait().unwrap().is_none());
    cgroup
}

#[test]
fn cache_is_taken_out_of_the_working_set_and_no_limit_is_touched() {
    use reprieve_linux::{CacheActor, CacheAmount, CacheError, ForceEmptyWriter};
    use reprieve_readings::CacheMeans;
    let Some(lab) = open_lab("cache") else { return };
    let cgroup = cgroup_with_cache(&lab);
    let limits = || -> Vec<String> {
        let names = [
            "memory.max",
            "memory.high",
            "memory.low",
            "memory.min",
            "memory.limit_in_bytes",
            "memory.soft_limit_in_bytes",
        ];
        names.iter().filter_map(|name| fs::read_to_string(cgroup.join(name)).ok()).collect()
    };
    let limits_before = limits();
    let mut tree = open_tree(1000);
    scan(&mut tree, &lab);
    let before = *tree.find(&path(&lab, &cgroup)).unwrap().memory();
    let target = tree.find(&path(&lab, &cgroup)).unwrap().cache_target().unwrap();
    let version = tree.version();
    // The shell itself writes, as the agent's writer does.
    let writer = ForceEmptyWriter::new("/bin/sh", ["-c", "echo 0"]);
    let mut actor = CacheActor::new(&Roots::default(), version, false).with_writer(writer);
    let means = if lab.version() == Version::V1 { CacheMeans::ForceEmptyStep } else { CacheMeans::Reclaim };
    assert!(actor.means(&target).contains(&means));
    let mut freed = Bytes::ZERO;
    for _ in 0..4 {
        let outcome = actor.act(&target, means, CacheAmount::gently(Bytes::from_mib(16)), false).unwrap();
        freed = freed.saturating_add(outcome.freed);
    }
    scan(&mut tree, &lab);
    let after = *tree.find(&path(&lab, &cgroup)).unwrap().memory();
    eprintln!("{means}: freed {freed}; {:?} to {:?}", before.working_set(), after.working_set());
    assert!(freed >= Bytes::from_mib(16), "{freed}");
    // It holds 16 MiB; statistics lag by half a MiB.
    let anon = |memory: &reprieve_readings::CgroupMemory| memory.stat.unwrap().anon.unwrap().get();
    let (anon_before, anon_after) = (anon(&before), anon(&after));
    assert!(anon_after.abs_diff(anon_before) < 2 << 20, "left alone: {anon_before}, then {anon_after}");
    assert_eq!(limits(), limits_before);
    if lab.version() == Version::V2 {
        // More than there is: the kernel answers EAGAIN in the end.
        let short = (0..20)
            .any(|_| actor.act(&target, means, CacheAmount::gently(Bytes::from_mib(32)), false).unwrap().fell_short);
        assert!(short, "the kernel says that it fell short");
    }
    // With swap, and no way to keep from it, nothing is done.
    if lab.version() == Version::V1 {
        actor.act(&target, CacheMeans::ForceEmpty, CacheAmount::gently(Bytes::from_mib(64)), false).unwrap();
        scan(&mut tree, &lab);
        let left = tree.find(&path(&lab, &cgroup)).unwrap().memory().stat.unwrap().file_lists().unwrap();
        assert!(left < Bytes::from_mib(8), "all at once: {left} left");
    }
    let mut swapping = CacheActor::new(&Roots::default(), version, true);
    match swapping.act(&target, means, CacheAmount::gently(Bytes::from_mib(1)), false) {
        Ok(_) => assert_eq!(lab.version(), Version::V2, "only v2 can be told swappiness=0"),
        Err(error) => assert_eq!(error, CacheError::WouldSwap(means)),
    }
    drop(lab);
    let _ = fs::remove_file(format!("/var/tmp/reprieve-cache-{}", std::process::id()));
    assert_eq!(actor.act(&target, means, CacheAmount::gently(Bytes::from_mib(1)), false), Err(CacheError::Gone));
}

#[test]
fn damon_is_set_up_as_it_is_recognised_and_given_back() {
    use reprieve_linux::{CacheActor, CacheAmount, DamonState};
    use reprieve_readings::CacheMeans;
    let Some(lab) = open_lab("damon") else { return };
    let cgroup = lab.cgroup("cache").unwrap();
    let mut tree = open_tree(1000);
    scan(&mut tree, &lab);
    let target = tree.find(&path(&lab, &cgroup)).unwrap().cache_target().unwrap();
    let mut actor = CacheActor::new(&Roots::default(), tree.version(), false);
    if actor.damon() != DamonState::Free {
        eprintln!("skipped: DAMON is {:?}", actor.damon());
        return;
    }
    let amount = CacheAmount::gently(Bytes::from_mib(1));
    let looks = CacheActor::new(&Roots::default(), tree.version(), false);
    std::thread::scope(|scope| {
        let act = scope.spawn(|| actor.act(&target, CacheMeans::Deprioritise, amount, false));
        let state = "/sys/kernel/mm/damon/admin/kdamonds/0/state";
        wait_for(Duration::from_secs(20), || (fs::read_to_string(state).ok()?.trim() == "on").then_some(()))
            .expect("it runs");
        assert!(looks.clean_up(), "an act of this process's number is taken for left over");
        assert_eq!(looks.damon(), DamonState::Free);
        act.join().unwrap().unwrap();
    });
    actor.act(&target, CacheMeans::Deprioritise, amount, false).unwrap();
    assert_eq!(actor.damon(), DamonState::Free);
    assert!(!looks.clean_up());
}
