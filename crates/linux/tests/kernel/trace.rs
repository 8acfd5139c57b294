//! The kernel's tracepoints: real kills are seen with their pids, and their victims are traced to their cgroups.

use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reprieve_judgement::Lineage;
use reprieve_lab::{Lab, remove_tree, wait_for};
use reprieve_linux::{KillTrace, Roots, TraceDrain, memory_hierarchy_id, time_since_boot};
use reprieve_readings::{CgroupInode, MarkVictim, TraceEvent, TraceEventKind};
use rustix::event::{PollFd, PollFlags, Timespec};

use super::{open_lab, path};

const PATIENCE: Duration = Duration::from_secs(60);

/// One test at a time: each counts the instances of this process.
static ALONE: Mutex<()> = Mutex::new(());

/// A view of tracefs of the test's own.
struct Tracefs {
    _mount: OwnedFd,
    root: PathBuf,
}

impl Tracefs {
    fn mount() -> Tracefs {
        use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
        let context = fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC).unwrap();
        fsconfig_create(&context).unwrap();
        let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).unwrap();
        let root = PathBuf::from(format!("/proc/self/fd/{}", mount.as_raw_fd()));
        Tracefs { _mount: mount, root }
    }

    fn instance(&self, name: &str) -> PathBuf {
        self.root.join("instances").join(name)
    }

    /// The instances of this process's traces.
    fn ours(&self) -> Vec<String> {
        let prefix = format!("reprieve-{}-", std::process::id());
        let names = fs::read_dir(self.root.join("instances")).unwrap();
        let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(&prefix)).collect()
    }
}

fn open_trace() -> KillTrace {
    let roots = Roots::default();
    KillTrace::open(&roots, memory_hierarchy_id(&roots).unwrap()).unwrap()
}

fn assert_complete(drained: &TraceDrain) {
    assert_eq!(drained.problems.first(), []);
    assert!(drained.lost.is_none() && drained.unreadable == 0, "{drained:?}");
}

/// Waits for the descriptor, and reads the victims.
fn victims(trace: &mut KillTrace) -> Vec<(Duration, MarkVictim)> {
    let timeout = Timespec::try_from(PATIENCE).unwrap();
    assert_eq!(rustix::event::poll(&mut [PollFd::new(trace, PollFlags::IN)], Some(&timeout)), Ok(1), "no victim");
    let mut victims = Vec::new();
    assert_complete(&trace.victims(|event| match event.kind {
        TraceEventKind::MarkVictim(victim) => victims.push((event.time, victim)),
        other => panic!("{other:?} among the victims"),
    }));
    victims
}

/// Lets a child of a shell be killed in a cgroup. Returns its pid by the shell's own word.
fn kill_a_child(lab: &Lab, cgroup: &Path, told: &Path) -> u32 {
    let script = format!("tail /dev/zero & echo $! >{}; wait; exec sleep 600", told.display());
    let mut shell = lab.spawn(cgroup, Command::new("/bin/sh").arg("-c").arg(script)).unwrap();
    wait_for(PATIENCE, || (lab.oom_kills(cgroup).unwrap() == 1).then_some(())).expect("the kernel kills");
    let pid = fs::read_to_string(told).unwrap().trim().parse().unwrap();
    shell.kill().unwrap();
    shell.wait().unwrap();
    pid
}

#[test]
fn a_victim_is_named_and_its_cgroup_known_though_both_are_gone() {
    let Some(lab) = open_lab("trace") else { return };
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let cgroup = lab.cgroup("c").unwrap();
    let expected = (path(&lab, &cgroup), CgroupInode(std::os::unix::fs::MetadataExt::ino(&cgroup.metadata().unwrap())));
    lab.limit(&cgroup, 16 << 20).unwrap();
    let told = tempfile::NamedTempFile::new().unwrap();
    let before = time_since_boot();
    let mut trace = open_trace();
    let pid = kill_a_child(&lab, &cgroup, told.path());
    remove_tree(&cgroup).unwrap();

    // Others' kills come in between.
    let find = |(_, victim): &(Duration, MarkVictim)| victim.pid == pid;
    let (time, victim) = wait_for(PATIENCE, || victims(&mut trace).into_iter().find(find)).unwrap();
    assert!(before <= time && time <= time_since_boot(), "{before:?} {time:?}: the clock is that of the boot time");
    match victim.name {
        Some(name) => {
            assert_eq!((name, victim.uid, victim.oom_score_adj), (b"tail".to_vec(), Some(0), Some(0)));
            let mib = |size: Option<reprieve_readings::Bytes>| size.unwrap().get() >> 20;
            assert!((8..=16).contains(&mib(victim.anon_rss)), "{:?} of 16 MiB", victim.anon_rss);
            assert!(mib(victim.total_vm) >= mib(victim.anon_rss) && mib(victim.pgtables) < 2);
        }
        None => {
            eprintln!("SKIPPED the victim's name and sizes: this kernel's oom:mark_victim tells the pid alone");
            assert_eq!((victim.uid, victim.total_vm, victim.oom_score_adj), (None, None, None));
        }
    }

    let mut lineage = Lineage::default();
    let mut times = Vec::new();
    assert_complete(&trace.lineage(|TraceEvent { time, kind }| {
        times.push(time);
        lineage.note(kind, |_| None);
    }));
    assert!(times.is_sorted());
    let found = lineage.cgroup_of(pid).expect("the child descends from a shell that was moved");
    assert_eq!((found.path.clone(), found.inode.unwrap()), expected);
    assert_eq!(trace.lineage(drop).problems.count(), 0);
}

#[test]
fn a_trace_leaves_nothing_behind_and_clears_what_a_killed_one_left() {
    let Some(_lab) = open_lab("instances") else { return };
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let tracefs = Tracefs::mount();
    // Higher than any pid, so of no process.
    let left = ["reprieve-4194305-0-victims", "reprieve-4194305-0-lineage"].map(|name| tracefs.instance(name));
    left.iter().for_each(|folder| fs::create_dir(folder).unwrap());
    let used = tracefs.instance("reprieve-4194305-1-victims");
    let others = tracefs.instance(&format!("reprieve-test-{}", std::process::id()));
    fs::create_dir(&used).unwrap();
    let in_use = fs::File::open(used.join("trace_pipe")).unwrap();
    fs::create_dir(&others).unwrap();
    fs::write(others.join("buffer_size_kb"), "128").unwrap();
    fs::write(others.join("events/sched/sched_process_exit/enable"), "1").unwrap();
    let settings = || {
        let files = ["buffer_size_kb", "trace_clock", "set_event", "trace_options", "tracing_on"];
        [&tracefs.root, &others].map(|folder| files.map(|file| fs::read_to_string(folder.join(file)).unwrap()))
    };
    let before = settings();

    let trace = open_trace();
    let second = open_trace();
    assert_eq!(left.each_ref().map(|folder| folder.exists()), [false; 2], "what was left is removed");
    assert!(used.exists() && others.exists(), "what is used or another's stays");
    assert_eq!(tracefs.ours().len(), 4, "two instances of each");
    drop((trace, second));
    assert_eq!(tracefs.ours(), Vec::<String>::new(), "they go with the trace");
    assert_eq!(settings(), before, "nothing of anybody else's was touched");
    drop(in_use);
    for folder in [used, others] {
        fs::remove_dir(folder).unwrap();
    }
}
