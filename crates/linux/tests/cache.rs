//! Acting on page cache where files are not what they should be: nothing panics, and nothing but the two files is written.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use reprieve_lab::{Captured, wait_for};
use reprieve_linux::{
    CacheActor, CacheAmount, CacheError, CacheTarget, CgroupTree, DescriptorBudget, ForceEmptyWriter, MemoryController,
    Problems, Roots,
};
use reprieve_readings::{Bytes, CacheMeans, CgroupPath, CgroupVersion};

fn roots(captured: &Captured) -> Roots {
    Roots::new(captured.proc(), captured.sys())
}

fn target(captured: &Captured, path: &str) -> CacheTarget {
    let controller = MemoryController::find(&roots(captured), &mut Problems::default()).unwrap();
    let mut tree = CgroupTree::open(&controller, DescriptorBudget::new(64)).unwrap();
    tree.scan();
    tree.find(&CgroupPath::new(path.as_bytes())).unwrap().cache_target().unwrap()
}

fn actor(captured: &Captured, has_swap: bool) -> CacheActor {
    CacheActor::new(&roots(captured), CgroupVersion::V2, has_swap)
}

/// All files with their contents, those that may be written apart.
fn contents(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            found.extend(contents(&path));
        } else if path.file_name().unwrap() != "memory.reclaim" {
            found.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}

#[test]
fn only_the_file_for_it_is_written() {
    let captured = Captured::new().unwrap();
    let cgroup = captured.sound_cgroup(b"a").unwrap();
    fs::write(cgroup.join("memory.reclaim"), "").unwrap();
    let before = contents(captured.root());
    let (mut actor, target) = (actor(&captured, false), target(&captured, "/a"));
    assert_eq!(actor.means(&target), [CacheMeans::Reclaim]);
    actor.act(&target, CacheMeans::Reclaim, CacheAmount::gently(Bytes::from_mib(1)), false).unwrap();
    assert!(fs::read_to_string(cgroup.join("memory.reclaim")).unwrap().contains("1048576 swappiness=0"));
    assert_eq!(contents(captured.root()), before, "no limit, no other file");
}

#[test]
fn a_kernel_without_the_means_refuses_and_says_so() {
    let captured = Captured::new().unwrap();
    let cgroup = captured.sound_cgroup(b"a").unwrap();
    let (mut actor, target) = (actor(&captured, false), target(&captured, "/a"));
    assert_eq!(actor.means(&target), []);
    for means in [CacheMeans::Age, CacheMeans::Deprioritise] {
        let refused = actor.act(&target, means, CacheAmount::gently(Bytes::from_mib(1)), false);
        assert!(matches!(refused, Err(CacheError::Absent(..))), "{means}: {refused:?}");
    }
    assert_eq!(
        actor.act(&target, CacheMeans::Reclaim, CacheAmount::gently(Bytes::from_mib(1)), false),
        Err(CacheError::Gone)
    );
    // Something that can't be written, as all is in a read-only cgroupfs.
    fs::create_dir(cgroup.join("memory.reclaim")).unwrap();
    let refused = actor.act(&target, CacheMeans::Reclaim, CacheAmount::gently(Bytes::from_mib(1)), false).unwrap_err();
    assert_eq!(refused.to_string(), "/a/memory.reclaim: Is a directory (os error 21)");
}

#[test]
fn a_cgroup_that_vanished_is_gone_and_its_successor_is_safe() {
    let captured = Captured::new().unwrap();
    let cgroup = captured.sound_cgroup(b"a").unwrap();
    fs::write(cgroup.join("memory.reclaim"), "").unwrap();
    let (mut actor, target) = (actor(&captured, false), target(&captured, "/a"));
    fs::remove_dir_all(&cgroup).unwrap();
    let successor = captured.sound_cgroup(b"a").unwrap();
    fs::write(successor.join("memory.reclaim"), "").unwrap();
    assert_eq!(
        actor.act(&target, CacheMeans::Reclaim, CacheAmount::gently(Bytes::from_mib(1)), false),
        Err(CacheError::Gone)
    );
    assert_eq!(fs::read(successor.join("memory.reclaim")).unwrap(), b"", "another cgroup has its path now");
}

/// A v1 cgroup of 64 MiB, all of it active cache, with a writer that is this shell script, and its number in `pid`.
fn v1_cgroup(script: &str) -> (Captured, PathBuf, CacheActor) {
    let captured = Captured::new().unwrap();
    let cgroup = captured.sound_cgroup(b"a").unwrap();
    fs::write(cgroup.join("memory.usage_in_bytes"), "67108864\n").unwrap();
    fs::write(cgroup.join("memory.stat"), "total_active_file 67108864\ntotal_inactive_file 0\n").unwrap();
    fs::write(cgroup.join("memory.force_empty"), "").unwrap();
    let script = format!("cd {} && echo $$ >pid && {script}", cgroup.display());
    let writer = ForceEmptyWriter::new("/bin/sh", ["-c", &script]);
    let actor = CacheActor::new(&roots(&captured), CgroupVersion::V1, false).with_writer(writer);
    (captured, cgroup, actor)
}

fn has_ended(cgroup: &Path) -> bool {
    let pid = fs::read_to_string(cgroup.join("pid")).unwrap();
    !Path::new("/proc").join(pid.trim()).exists()
}

#[test]
fn force_empty_is_cut_short_when_enough_is_gone() {
    // It would empty the cgroup, and more.
    let (captured, cgroup, mut actor) =
        v1_cgroup("printf 0 && echo 60000000 >new && mv new memory.usage_in_bytes && exec sleep 600");
    let target = target(&captured, "/a");
    assert_eq!(actor.means(&target), [CacheMeans::ForceEmptyStep, CacheMeans::ForceEmpty]);
    let outcome =
        actor.act(&target, CacheMeans::ForceEmptyStep, CacheAmount::gently(Bytes::from_mib(4)), false).unwrap();
    assert_eq!(outcome.freed, Bytes::new(67_108_864 - 60_000_000));
    assert!(has_ended(&cgroup), "no writer is left over");
    assert_eq!(fs::read(cgroup.join("memory.force_empty")).unwrap(), b"0");
}

#[test]
fn force_empty_is_cut_short_where_it_does_nothing() {
    let (captured, cgroup, mut actor) = v1_cgroup("exec sleep 600");
    let outcome = actor
        .act(&target(&captured, "/a"), CacheMeans::ForceEmptyStep, CacheAmount::gently(Bytes::from_mib(4)), false)
        .unwrap();
    assert_eq!((outcome.freed, outcome.fell_short), (Bytes::ZERO, true));
    assert!(has_ended(&cgroup), "no writer is left over");
}

#[test]
fn a_writer_that_can_not_write_is_told() {
    let (captured, _cgroup, mut actor) = v1_cgroup("echo no luck >&2; exit 2");
    let target = target(&captured, "/a");
    let means = CacheMeans::ForceEmptyStep;
    let refused = actor.act(&target, means, CacheAmount::gently(Bytes::from_mib(4)), false).unwrap_err();
    let expected = "memory.force_empty_step is not to be had here: the writer ended with exit status: 2: no luck";
    assert_eq!(refused.to_string(), expected);
    let missing = ForceEmptyWriter::new("/nonexistent", ["x"]);
    let mut actor = CacheActor::new(&roots(&captured), CgroupVersion::V1, false).with_writer(missing);
    let refused = actor.act(&target, means, CacheAmount::gently(Bytes::from_mib(4)), false).unwrap_err();
    assert!(refused.to_string().ends_with("No such file or directory (os error 2)"), "{refused}");
    let mut actor = CacheActor::new(&roots(&captured), CgroupVersion::V1, true);
    assert_eq!(actor.means(&target), [CacheMeans::ForceEmpty], "nothing writes for it");
    assert_eq!(
        actor.act(&target, means, CacheAmount::gently(Bytes::from_mib(4)), false),
        Err(CacheError::WouldSwap(means))
    );
}

const PATIENCE: Duration = Duration::from_secs(60);

/// A switch that is thrown as soon as there is something in this file.
fn called_off_at(file: PathBuf) -> Arc<AtomicBool> {
    let called_off = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&called_off);
    thread::spawn(move || {
        wait_for(PATIENCE, || fs::read(&file).is_ok_and(|text| !text.is_empty()).then_some(()));
        switch.store(true, Ordering::Relaxed);
    });
    called_off
}

#[test]
fn steps_end_when_they_are_called_off() {
    let (captured, cgroup, mut actor) = v1_cgroup("exec sleep 600");
    actor.heed(called_off_at(cgroup.join("pid")));
    let (target, amount) = (target(&captured, "/a"), CacheAmount::gently(Bytes::from_mib(64)));
    let outcome = actor.act(&target, CacheMeans::ForceEmptyStep, amount, false).unwrap();
    assert!(outcome.called_off && !outcome.fell_short, "before its time is over: {outcome:?}");
    assert!(has_ended(&cgroup), "no writer is left over");
}

#[test]
fn no_step_is_begun_once_it_is_called_off() {
    let captured = Captured::new().unwrap();
    let cgroup = captured.sound_cgroup(b"a").unwrap();
    fs::write(cgroup.join("memory.reclaim"), "").unwrap();
    let mut actor = actor(&captured, false);
    actor.heed(Arc::new(AtomicBool::new(true)));
    let target = target(&captured, "/a");
    let mut act = |amount| actor.act(&target, CacheMeans::Reclaim, CacheAmount::gently(amount), false).unwrap();
    assert!(act(Bytes::from_mib(4)).called_off);
    assert!(!act(Bytes::ZERO).called_off, "it has done all");
    assert_eq!(
        fs::read_to_string(cgroup.join("memory.reclaim")).unwrap(),
        "0 swappiness=0",
        "asked, but not reclaimed"
    );
}

#[test]
fn swap_that_is_switched_on_later_is_heeded() {
    let (captured, _cgroup, mut actor) = v1_cgroup("exit 2");
    actor.know_swap(true);
    let means = CacheMeans::ForceEmptyStep;
    let refused = actor.act(&target(&captured, "/a"), means, CacheAmount::gently(Bytes::from_mib(4)), false);
    assert_eq!(refused, Err(CacheError::WouldSwap(means)));
}

#[test]
fn a_read_only_mount_and_too_few_privileges_are_told_from_the_rest() {
    let refused = |errno| CacheError::Refused { path: "/a/memory.reclaim".into(), errno };
    for errno in [rustix::io::Errno::ROFS, rustix::io::Errno::ACCESS, rustix::io::Errno::PERM] {
        assert_eq!(refused(errno).write_is_forbidden(), Some(errno));
    }
    assert_eq!(refused(rustix::io::Errno::INVAL).write_is_forbidden(), None);
    assert_eq!(CacheError::Gone.write_is_forbidden(), None);
}

fn text(file: PathBuf) -> String {
    fs::read_to_string(file).unwrap().trim().to_owned()
}

/// DAMON's directories, as they are in the middle of an act, and the machine.
fn in_the_middle_of_an_act() -> (Captured, PathBuf) {
    let captured = Captured::new().unwrap();
    captured.sound_cgroup(b"a").unwrap();
    let kdamonds = captured.damon().unwrap();
    let (mut actor, target) = (actor(&captured, false), target(&captured, "/a"));
    let called_off = Arc::new(AtomicBool::new(false));
    actor.heed(Arc::clone(&called_off));
    let act = thread::spawn(move || {
        actor.act(&target, CacheMeans::Deprioritise, CacheAmount::gently(Bytes::from_mib(1)), false).unwrap()
    });
    let is_on = || fs::read_to_string(kdamonds.join("0/state")).is_ok_and(|state| state.trim() == "on");
    wait_for(PATIENCE, || is_on().then_some(())).expect("it acts");
    let states = ["nr_kdamonds", "0/state"].map(|file| (kdamonds.join(file), text(kdamonds.join(file))));
    assert_eq!(states.each_ref().map(|(_, value)| value.as_str()), ["1", "on"]);
    called_off.store(true, Ordering::Relaxed);
    let outcome = act.join().unwrap();
    assert!(outcome.called_off, "{outcome:?}");
    assert_eq!((text(kdamonds.join("nr_kdamonds")), text(kdamonds.join("0/state"))), ("0".into(), "off".into()));
    states.iter().for_each(|(file, value)| fs::write(file, value).unwrap());
    (captured, kdamonds)
}

#[test]
fn what_a_killed_agent_has_left_of_damon_is_switched_off() {
    let (captured, kdamonds) = in_the_middle_of_an_act();
    let mut actor = actor(&captured, false);
    let refused =
        actor.act(&target(&captured, "/a"), CacheMeans::Deprioritise, CacheAmount::gently(Bytes::from_mib(1)), false);
    assert!(matches!(refused, Err(CacheError::Absent(..))), "{refused:?}");
    assert_eq!(text(kdamonds.join("0/state")), "on", "left alone");
    assert!(actor.clean_up());
    assert_eq!((text(kdamonds.join("nr_kdamonds")), text(kdamonds.join("0/state"))), ("0".into(), "off".into()));
    assert!(!actor.clean_up(), "nothing is left");
}

#[test]
fn damon_of_others_is_not_taken_for_left_over() {
    let (captured, kdamonds) = in_the_middle_of_an_act();
    let actor = actor(&captured, false);
    let owner = kdamonds.join("0/contexts/0/targets/0/pid_target");
    let differs = |file: PathBuf, value: &str| {
        let ours = text(file.clone());
        fs::write(&file, value).unwrap();
        assert!(!actor.clean_up(), "{}", file.display());
        assert_eq!(text(kdamonds.join("0/state")), "on", "left alone");
        fs::write(&file, ours).unwrap();
    };
    differs(owner.clone(), "1");
    differs(owner.clone(), "0");
    differs(kdamonds.join("0/contexts/0/schemes/0/action"), "pageout");
    differs(kdamonds.join("0/contexts/0/monitoring_attrs/intervals/sample_us"), "5000");
    differs(kdamonds.join("nr_kdamonds"), "2");
    let mut gone = std::process::Command::new("true").spawn().unwrap();
    gone.wait().unwrap();
    fs::write(owner, gone.id().to_string()).unwrap();
    assert!(actor.clean_up());
}

#[test]
fn damon_that_others_were_faster_to_set_up_is_not_switched_off() {
    let captured = Captured::new().unwrap();
    captured.sound_cgroup(b"a").unwrap();
    let kdamonds = captured.damon().unwrap();
    fs::write(kdamonds.join("0/state"), "on").unwrap();
    // It reads as free, and nobody can write it.
    let read_only = Path::new("/sys/devices/system/cpu/cpu0/topology/core_id");
    if !fs::read_to_string(read_only).is_ok_and(|text| text.trim() == "0") {
        eprintln!("skipped: no file that reads 0 and can't be written");
        return;
    }
    fs::remove_file(kdamonds.join("nr_kdamonds")).unwrap();
    std::os::unix::fs::symlink(read_only, kdamonds.join("nr_kdamonds")).unwrap();
    let (mut actor, target) = (actor(&captured, false), target(&captured, "/a"));
    let amount = CacheAmount::gently(Bytes::from_mib(1));
    let refused = actor.act(&target, CacheMeans::Deprioritise, amount, false).unwrap_err();
    assert!(refused.to_string().ends_with("nr_kdamonds: Permission denied (os error 13)"), "{refused}");
    assert_eq!(text(kdamonds.join("0/state")), "on", "left alone");
}

#[test]
fn two_generations_are_begun_with_a_pause_between_them() {
    let captured = Captured::new().unwrap();
    captured.sound_cgroup(b"a").unwrap();
    let commands = captured.sys().join("kernel/debug/lru_gen");
    fs::create_dir_all(captured.sys().join("kernel/mm/lru_gen")).unwrap();
    fs::create_dir_all(captured.sys().join("kernel/debug")).unwrap();
    fs::write(captured.sys().join("kernel/mm/lru_gen/enabled"), "0x0007\n").unwrap();
    let generations = "memcg    31 /a\n node     0\n          7       9000          5        10 \n";
    let (mut actor, target) = (actor(&captured, false), target(&captured, "/a"));
    let mut age = |in_hurry| {
        fs::write(&commands, generations).unwrap();
        assert_eq!(actor.means(&target), [CacheMeans::Age]);
        let amount = CacheAmount { in_hurry, ..CacheAmount::gently(Bytes::from_mib(1)) };
        let outcome = actor.act(&target, CacheMeans::Age, amount, false).unwrap();
        assert_eq!(fs::read_to_string(&commands).unwrap(), "+ 31 0 8 0 1\n", "the second of the two");
        outcome.took
    };
    assert!(age(false) >= Duration::from_millis(250), "what is used meanwhile is kept");
    assert!(age(true) < Duration::from_millis(250));
}
