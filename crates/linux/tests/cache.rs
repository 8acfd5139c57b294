//! Acting on page cache where files are not what they should be: nothing panics, and nothing but the two files is written.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::fs;
use std::path::Path;

use reprieve_lab::Captured;
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
fn v1_cgroup(script: &str) -> (Captured, std::path::PathBuf, CacheActor) {
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
