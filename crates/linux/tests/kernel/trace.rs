//! The kernel's tracepoints: real kills are seen with their pids, and their victims are traced to their cgroups.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reprieve_judgement::Lineage;
use reprieve_lab::{Lab, remove_tree, wait_for};
use reprieve_linux::{KillTrace, Roots, TraceDrain, memory_hierarchy_id, time_since_boot};
use reprieve_readings::{CgroupInode, ForkKind, MarkVictim, TraceEvent, TraceEventKind};
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

/// Other tests make processes by the thousand meanwhile, and the oldest events may give way.
fn assert_sound(drained: &TraceDrain) {
    assert_eq!((drained.problems.first(), drained.unreadable), (&[][..], 0), "{drained:?}");
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
    let pid = wait_for(PATIENCE, || fs::read_to_string(told).ok()?.trim().parse().ok()).expect("the shell tells it");
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
    assert_sound(&trace.lineage(|TraceEvent { time, kind }| {
        times.push(time);
        lineage.note(kind, |_| None);
    }));
    assert!(times.is_sorted());
    let found = lineage.cgroup_of(pid).expect("the child descends from a shell that was moved");
    assert_eq!((found.path.clone(), found.inode.unwrap()), expected);
    assert_eq!(trace.lineage(drop).problems.count(), 0);
}

/// A thread, not the first of its process, that is told by a line when to run a program that is killed.
#[test]
#[ignore = "is run by another test"]
fn forks_from_a_thread() {
    println!("ready");
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let mut doomed = Command::new("tail").arg("/dev/zero").spawn().unwrap();
    println!("child {}", doomed.id());
    doomed.wait().unwrap();
}

#[test]
fn a_child_of_a_thread_is_where_its_process_was_moved_to() {
    let Some(lab) = open_lab("thread") else { return };
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let cgroup = lab.cgroup("c").unwrap();
    lab.limit(&cgroup, 16 << 20).unwrap();
    let mut trace = open_trace();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["trace::forks_from_a_thread", "--exact", "--ignored", "--nocapture", "--test-threads=2"]);
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.any(|line| line.ends_with("ready")));
    // Its thread is there already, and is moved along.
    fs::write(cgroup.join("cgroup.procs"), process.id().to_string()).unwrap();
    process.stdin.take().unwrap().write_all(b"\n").unwrap();
    let child = lines.find_map(|line| line.strip_prefix("child ")?.parse::<u32>().ok()).unwrap();
    assert!(process.wait().unwrap().success());

    let mut lineage = Lineage::default();
    let mut threads = 0;
    assert_sound(&trace.lineage(|event| {
        let thread_of = |parent| parent == process.id();
        threads += u32::from(
            matches!(event.kind, TraceEventKind::Fork { parent, kind: ForkKind::Thread, .. } if thread_of(parent)),
        );
        lineage.note(event.kind, |_| None);
    }));
    assert!(threads > 0);
    assert_eq!(lineage.cgroup_of(child).map(|cgroup| &cgroup.path), Some(&path(&lab, &cgroup)));
}

#[test]
fn what_was_overwritten_before_it_was_read_is_told() {
    let Some(lab) = open_lab("overwritten") else { return };
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let cgroup = lab.cgroup("c").unwrap();
    let mut trace = open_trace();
    let script = "i=0; while [ $i -lt 8000 ]; do echo 0 >cgroup.procs; i=$((i+1)); done";
    // On one processor; where the move itself lifts that, on the two of the virtual machine.
    let mut moves = Command::new("taskset").args(["1", "sh", "-c", script]).current_dir(&cgroup).spawn().unwrap();
    let pid = moves.id();
    assert!(moves.wait().unwrap().success());
    let mut last = None;
    let drained = trace.lineage(|event| match event.kind {
        TraceEventKind::CgroupAttach { pid: moved, path, .. } if moved == pid => last = Some(path),
        _ => {}
    });
    // Two processors hold about 7,000 of these events.
    assert!(drained.events > 1_000 && !drained.lost.is_none(), "{drained:?}");
    assert_eq!((drained.unreadable, drained.problems.count()), (0, 0));
    assert_eq!(last, Some(path(&lab, &cgroup)), "the newest are kept");
    let rest = trace.lineage(drop);
    assert!(rest.events < 1_000 && rest.lost.is_none(), "{rest:?}");
}

#[test]
fn a_trace_leaves_nothing_behind_and_takes_over_what_a_killed_one_left() {
    let Some(lab) = open_lab("instances") else { return };
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let tracefs = Tracefs::mount();
    // Higher than any pid, so of no process.
    let left = ["reprieve-4194305-0-victims", "reprieve-4194305-0-lineage"].map(|name| tracefs.instance(name));
    left.iter().for_each(|folder| fs::create_dir(folder).unwrap());
    fs::write(left[0].join("events/oom/mark_victim/enable"), "1").unwrap();
    let used = tracefs.instance("reprieve-4194305-1-victims");
    let others = tracefs.instance(&format!("reprieve-test-{}", std::process::id()));
    fs::create_dir(&used).unwrap();
    let in_use = fs::File::open(used.join("trace_pipe")).unwrap();
    in_use.lock().unwrap();
    fs::create_dir(&others).unwrap();
    fs::write(others.join("buffer_size_kb"), "128").unwrap();
    fs::write(others.join("events/sched/sched_process_exit/enable"), "1").unwrap();
    let settings = || {
        let files = ["buffer_size_kb", "trace_clock", "set_event", "trace_options", "tracing_on"];
        [&tracefs.root, &others].map(|folder| files.map(|file| fs::read_to_string(folder.join(file)).unwrap()))
    };
    let before = settings();

    let cgroup = lab.cgroup("c").unwrap();
    lab.limit(&cgroup, 16 << 20).unwrap();
    let told = tempfile::NamedTempFile::new().unwrap();
    let pid = kill_a_child(&lab, &cgroup, told.path());
    let mut trace = open_trace();
    let second = open_trace();
    let mut marked = Vec::new();
    trace.victims(|event| marked.push(event.kind));
    let is_ours = |kind: &TraceEventKind| matches!(kind, TraceEventKind::MarkVictim(victim) if victim.pid == pid);
    assert!(marked.iter().any(is_ours), "{pid} was marked before, and {marked:?} told");
    trace.lineage(drop);
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

/// Tells whether a trace can be opened: the test below runs it by itself in machines of other shapes.
#[test]
#[ignore = "is run by another test"]
fn opens() {
    let roots = Roots::default();
    match KillTrace::open(&roots, memory_hierarchy_id(&roots).unwrap()) {
        Ok(_) => println!("opened."),
        Err(error) => println!("refused: {error}."),
    }
}

/// What `opens` says in a mount namespace after these commands, with or without CAP_SYS_ADMIN.
fn opens_after(commands: &str, is_admin: bool) -> String {
    let rights = if is_admin { "" } else { "/usr/bin/setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin" };
    let script = format!("set -e; {commands}; exec {rights} \"$0\" trace::opens --exact --ignored --nocapture");
    let mut command = Command::new("/usr/bin/unshare");
    let output = command.args(["-m", "sh", "-c", &script]).arg(std::env::current_exe().unwrap()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = String::from_utf8(output.stdout).unwrap();
    output.lines().find(|line| line.ends_with('.') && !line.contains("test result")).unwrap().to_owned()
}

#[test]
fn tracefs_is_found_or_mounted_or_the_message_says_what_to_grant() {
    let Some(_lab) = open_lab("tracefs") else { return };
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let hidden = "mount -t tmpfs none /sys/kernel/tracing; mount -t tmpfs none /sys/kernel/debug";
    let mounted = format!("{hidden}; mount -t tracefs none /sys/kernel/tracing");
    // Of the mount alone: others share the filesystem.
    let read_only = format!("{mounted}; mount -o remount,bind,ro /sys/kernel/tracing");
    let debugfs = "mount -t tmpfs none /sys/kernel/tracing; mount -t debugfs none /sys/kernel/debug";

    assert_eq!(opens_after(hidden, true), "opened.", "with a mount of its own");
    assert_eq!(
        opens_after(hidden, false),
        "refused: no tracefs at /sys/kernel/tracing, and mounting one is refused (Operation not permitted (os error 1)): \
         mount it there, or grant CAP_SYS_ADMIN."
    );
    assert_eq!(opens_after(&mounted, false), "opened.", "as it is mounted");
    assert_eq!(
        opens_after(&read_only, true),
        "opened.",
        "with a mount of its own, beside one that can't be written to"
    );
    let refused = opens_after(&read_only, false);
    assert!(refused.starts_with("refused: /sys/kernel/tracing/instances: Read-only file system"), "{refused}");
    assert_eq!(opens_after(debugfs, false), "opened.", "at the old place");
}

#[test]
fn a_processor_that_comes_online_later_is_read_too() {
    // A file of the virtual machine: a processor of a machine that others use stays as it is.
    if !Path::new("/commands.sh").exists() {
        eprintln!("NOT APPLICABLE: takes a processor offline, which only the virtual machine allows");
        return;
    }
    let Some(lab) = open_lab("online") else { return };
    let cgroup = lab.cgroup("c").unwrap();
    lab.limit(&cgroup, 16 << 20).unwrap();
    let online = |state| fs::write("/sys/devices/system/cpu/cpu1/online", state).unwrap();
    online("0");
    let mut trace = open_trace();
    let while_offline = trace.victims(drop);
    online("1");
    assert_complete(&while_offline);
    let killed = wait_for(PATIENCE, || {
        let mut pinned = lab.spawn(&cgroup, Command::new("taskset").args(["2", "tail", "/dev/zero"])).unwrap();
        let pid = pinned.id();
        pinned.wait().unwrap();
        // Its cgroup may not have the processor again at once.
        (lab.oom_kills(&cgroup).unwrap() == 1).then_some(pid)
    });
    let pids: Vec<u32> = victims(&mut trace).into_iter().map(|(_, victim)| victim.pid).collect();
    assert_eq!(pids, [killed.expect("the kernel kills")]);
}
