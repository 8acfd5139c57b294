//! What is answered where files are missing, unreadable, or say what can't be: all that the others tell, one problem for
//! each, and no number that nothing tells.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::fs;
use std::path::PathBuf;

use reprieve_judgement::{Binding, Headroom, judge_available, judge_hidden};
use reprieve_lab::{Captured, Level};
use reprieve_linux::{ControllerError, KillTrace, Levels, MemoryController, NodeMemoryReader, Problems, Roots};
use reprieve_readings::{Bytes, CgroupVersion, Placement};

const MIB: u64 = 1 << 20;
const V1: &str = "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n";
const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";

// Cgroups that are gone are tested on real ones, in `kernel.rs`: open files of a captured tree can be read on.

/// A made-up machine with the cgroups `/` and `/a` (128 MiB, 60 of them used) and `/a/b` (64 MiB, 50 used, 10 cache).
struct Machine {
    captured: Captured,
    own: PathBuf,
    version: CgroupVersion,
}

impl Machine {
    fn new(version: CgroupVersion) -> Machine {
        let bytes = |mib: u64| (mib * MIB).to_string();
        let (outer, inner) = (bytes(128), bytes(64));
        let outer = Level { limit: &outer, usage: 60 * MIB, cache: 10 * MIB };
        let inner = Level { limit: &inner, usage: 50 * MIB, cache: 10 * MIB };
        let top = Level { limit: "9223372036854771712", usage: 900 * MIB, cache: 0 };
        let (captured, own) = match version {
            CgroupVersion::V1 => {
                let captured = Captured::with_place(V1, "4:memory:/a/b\n0::/\n").unwrap();
                captured.level_v1("sys/fs/cgroup/memory", &top, top.limit).unwrap();
                captured.level_v1("sys/fs/cgroup/memory/a", &outer, outer.limit).unwrap();
                let own = captured.level_v1("sys/fs/cgroup/memory/a/b", &inner, inner.limit).unwrap();
                (captured, own)
            }
            CgroupVersion::V2 => {
                let captured = Captured::with_place(V2, "0::/a/b\n").unwrap();
                fs::write(captured.cgroup(b"").unwrap().join("cgroup.controllers"), "memory\n").unwrap();
                captured.level_v2("sys/fs/cgroup/a", &outer).unwrap();
                let own = captured.level_v2("sys/fs/cgroup/a/b", &inner).unwrap();
                (captured, own)
            }
        };
        Machine { captured, own, version }
    }

    fn roots(&self) -> Roots {
        Roots::new(self.captured.proc(), self.captured.sys())
    }

    fn read(&self) -> Answer {
        let mut problems = Problems::default();
        let controller = MemoryController::find(&self.roots(), &mut problems).unwrap();
        let mut levels = Levels::open(&controller, &mut problems).unwrap();
        Answer::read(self, &mut levels, problems)
    }
}

struct Answer {
    bound: Headroom,
    usage: Option<Bytes>,
    unread: Option<usize>,
    problems: Vec<String>,
}

impl Answer {
    fn read(machine: &Machine, levels: &mut Levels, mut problems: Problems) -> Answer {
        levels.read(&mut problems);
        let memory: Vec<_> = levels.memory().collect();
        let node = NodeMemoryReader::open(&machine.roots(), &mut problems).read(&mut problems);
        let hidden = judge_hidden(machine.version, &memory, None);
        let bound = judge_available(&memory, hidden, &node).unwrap().until_kill;
        let problems: Vec<String> = problems.first().iter().map(ToString::to_string).collect();
        assert!(problems.iter().all(|problem| !problem.chars().any(char::is_control)), "{problems:?}");
        assert!(bound.estimate.low <= bound.estimate.best && bound.estimate.best <= bound.estimate.high);
        Answer { bound, usage: levels.own().usage, unread: levels.unread(), problems }
    }

    fn bound(&self) -> (Binding, u64) {
        (self.bound.binding, self.bound.estimate.best.get() / MIB)
    }
}

#[test]
fn sound_files_give_no_problem() {
    for version in [CgroupVersion::V1, CgroupVersion::V2] {
        let answer = Machine::new(version).read();
        assert_eq!(answer.bound(), (Binding::Level(0), 24));
        assert_eq!((answer.unread, answer.problems), (None, Vec::new()));
    }
}

#[test]
fn a_limit_that_is_garbage_is_told_and_the_others_count() {
    for garbage in ["lots\n", "", "-1\n", "64 MiB\n", "\u{1b}[2J\n", "18446744073709551616\n"] {
        let machine = Machine::new(CgroupVersion::V2);
        fs::write(machine.own.join("memory.max"), garbage).unwrap();
        let answer = machine.read();
        assert_eq!(answer.bound(), (Binding::Level(1), 78), "{garbage:?}");
        assert_eq!(answer.usage, Some(Bytes::from_mib(50)), "what can be read still is");
        assert_eq!(answer.unread, Some(0), "the own limit may be less than all others");
        assert_eq!(answer.problems.len(), 1, "{:?}", answer.problems);
        assert!(answer.problems[0].starts_with("/a/b/memory.max: expected `max` or a number of bytes, found "));
    }
    // On v1 memory.stat knows the limit too.
    let machine = Machine::new(CgroupVersion::V1);
    fs::write(machine.own.join("memory.limit_in_bytes"), "lots\n").unwrap();
    let answer = machine.read();
    assert_eq!(answer.bound().0, Binding::Hidden);
    assert_eq!((answer.unread, answer.problems.len()), (Some(0), 1));
}

#[test]
fn statistics_that_lag_give_neither_less_than_nothing_nor_more_than_the_limit() {
    let with = |limit: u64, usage: u64, cache: u64| {
        let machine = Machine::new(CgroupVersion::V2);
        let limit = (limit * MIB).to_string();
        machine
            .captured
            .level_v2("sys/fs/cgroup/a/b", &Level { limit: &limit, usage: usage * MIB, cache: cache * MIB })
            .unwrap();
        let answer = machine.read();
        assert_eq!((answer.unread, answer.problems.as_slice()), (None, [].as_slice()));
        assert!(
            answer.bound.estimate.high <= Bytes::from_mib(64).max(Bytes::from_mib(limit.parse::<u64>().unwrap() / MIB))
        );
        answer.bound()
    };
    assert_eq!(with(64, 90, 0), (Binding::Level(0), 0), "usage above the limit");
    assert_eq!(with(64, 30, 600), (Binding::Level(0), 64), "more to reclaim than is used");
    assert_eq!(with(64, 64, 64), (Binding::Level(0), 64));
    assert_eq!(with(0, 0, 0), (Binding::Level(0), 0));
}

#[test]
fn a_cgroup_s_directory_that_is_missing_leaves_its_place_empty() {
    // Its own: nothing of the cgroup above is taken for it.
    let machine = Machine::new(CgroupVersion::V2);
    fs::remove_dir_all(&machine.own).unwrap();
    let answer = machine.read();
    assert_eq!((answer.bound(), answer.usage, answer.unread), ((Binding::Level(1), 78), None, Some(0)));
    assert_eq!(answer.problems.len(), 1);
    assert!(answer.problems[0].ends_with("sys/fs/cgroup/a/b: No such file or directory (os error 2)"));

    // All of them.
    let machine = Machine::new(CgroupVersion::V2);
    let mut problems = Problems::default();
    let controller = MemoryController::find(&machine.roots(), &mut problems).unwrap();
    fs::remove_dir_all(machine.captured.sys().join("fs")).unwrap();
    let error = Levels::open(&controller, &mut problems).unwrap_err().to_string();
    assert!(error.ends_with("sys/fs/cgroup/a/b: No such file or directory (os error 2)"), "{error}");
    assert_eq!(problems.count(), 0, "told once");
}

#[test]
fn files_that_vanish_before_they_were_read_are_unknown() {
    let machine = Machine::new(CgroupVersion::V2);
    let mut problems = Problems::default();
    let controller = MemoryController::find(&machine.roots(), &mut problems).unwrap();
    let mut levels = Levels::open(&controller, &mut problems).unwrap();
    fs::remove_dir_all(&machine.own).unwrap();
    let answer = Answer::read(&machine, &mut levels, problems);
    assert_eq!((answer.bound(), answer.usage), ((Binding::Level(1), 78), None));
}

#[test]
fn without_sys_or_proc_one_sentence_says_what_is_missing() {
    let find = |roots: &Roots| {
        let mut problems = Problems::default();
        let found = MemoryController::find(roots, &mut problems);
        (found, problems.first().iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    // No /sys is mounted: mountinfo names nothing that could be read.
    let machine = Machine::new(CgroupVersion::V2);
    fs::remove_dir_all(machine.captured.sys()).unwrap();
    let (found, _) = find(&machine.roots());
    let error = found.unwrap_err();
    assert!(matches!(error, ControllerError::Absent { .. }));
    assert_eq!(error.to_string().lines().count(), 1);

    // No /proc/self/cgroup: the mount's root is taken, which is not certain.
    let machine = Machine::new(CgroupVersion::V1);
    fs::remove_file(machine.captured.proc().join("self/cgroup")).unwrap();
    let (found, problems) = find(&machine.roots());
    assert_eq!(found.unwrap().placement, Placement::Assumed);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].ends_with("proc/self/cgroup: No such file or directory (os error 2)"));

    // One that makes no sense.
    fs::write(machine.captured.proc().join("self/cgroup"), "\0\x1b[2Jgarbage").unwrap();
    let (found, problems) = find(&machine.roots());
    assert_eq!((found.unwrap().placement, problems.len()), (Placement::Assumed, 1));

    // No meminfo: the cgroup's limits are all that counts, and the machine's memory is a problem told.
    fs::write(machine.captured.proc().join("self/cgroup"), "4:memory:/a/b\n").unwrap();
    fs::remove_file(machine.captured.proc().join("meminfo")).unwrap();
    let answer = machine.read();
    assert_eq!((answer.bound(), answer.problems.len()), ((Binding::Level(0), 24), 1));

    // No /proc at all.
    let roots = Roots::new(machine.captured.root().join("none"), machine.captured.sys());
    let (found, _) = find(&roots);
    assert!(matches!(found, Err(ControllerError::Unreadable(_))));
}

#[test]
fn nothing_is_traced_for_another_machine_s_files() {
    let machine = Machine::new(CgroupVersion::V2);
    let open = || KillTrace::open(&machine.roots(), 0).unwrap_err().to_string();
    let place = machine.captured.sys().join("kernel/tracing");
    let expected = format!("no tracefs at {}: mount it there; in a container, mount the host's", place.display());
    assert_eq!(open(), expected);
    // A folder of plain files is none, and nothing is made in it.
    fs::create_dir_all(place.join("instances")).unwrap();
    assert_eq!(open(), expected);
    assert_eq!(fs::read_dir(place.join("instances")).unwrap().count(), 0);
}
