//! Names of processes and cgroups that imitate the kernel's words, and records that imitate the kernel.

use reprieve_readings::CgroupPath;

use crate::kmsg::Kernel;

const SIZES: &str = "total-vm:1kB, anon-rss:2kB, file-rss:3kB, shmem-rss:0kB, UID:0 pgtables:4kB oom_score_adj:0";

/// What a memory cgroup's kill of pid 7 tells, with these names in it.
fn memcgs(cpuset: &str, oom_memcg: &str, task_memcg: &str, name: &str) -> (Option<CgroupPath>, Option<CgroupPath>) {
    let places = format!("cpuset={cpuset},mems_allowed=0,oom_memcg={oom_memcg},task_memcg={task_memcg}");
    let summary = format!("oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),{places},task={name},pid=7,uid=0");
    let kill = format!("Memory cgroup out of memory: Killed process 7 ({name}) {SIZES}");
    let victims = Kernel::says([&*summary, &kill]).victims();
    assert_eq!(victims.len(), 1);
    assert_eq!((victims[0].pid, &*victims[0].name), (7, name.as_bytes()));
    (victims[0].report.oom_memcg.clone(), victims[0].report.task_memcg.clone())
}

fn path(path: &str) -> Option<CgroupPath> {
    Some(CgroupPath::new(path.as_bytes()))
}

#[test]
fn names_of_processes() {
    for name in [
        "x) total-vm:9kB",
        ") total-vm:",
        "), UID 5, total",
        "(sd-pam)",
        ")",
        "(",
        " (",
        "",
        "a,b=c\"d'",
        ",task=a",
        ",pid=1,uid=2",
        ", anon-rss:7kB,",
        "Killed process",
        "ünïcode",
        "tab\tnew\nline",
    ] {
        assert_eq!(memcgs("/", "/a", "/a/b", name), (path("/a"), path("/a/b")), "{name:?}");
    }
}

#[test]
fn a_name_that_is_no_text() {
    let mut kernel = Kernel::default();
    let invoked = [&[0xff; 15][..], b" invoked oom-killer: gfp_mask=0x0(), order=0, oom_score_adj=0"].concat();
    kernel.say("-", &invoked);
    kernel.say("-", b"Out of memory: Kill process 7 (\xfe) score 1 or sacrifice child");
    kernel.say("-", b"Killed process 7 (\xfe\n) total-vm:1kB, anon-rss:2kB, file-rss:3kB");
    let victim = kernel.victims().remove(0);
    assert_eq!(victim.name, b"\xfe\n");
    assert_eq!(victim.report.trigger.unwrap().name, [0xff; 15]);
}

#[test]
fn names_of_cgroups_never_book_a_kill_elsewhere() {
    let honest = (path("/a"), path("/a/b"));
    for cpuset in ["x,global_oom,task_memcg=", "x,oom_memcg=", "a,mems_allowed=0,oom_memcg=y,task_memcg=z", ",task=q"] {
        assert_eq!(memcgs(cpuset, "/a", "/a/b", "x"), honest, "{cpuset}");
    }
    for inner in [
        "/a/,oom_memcg=/other",
        "/a/,task_memcg=/other",
        "/a/,global_oom,task_memcg=/other",
        "/a/,task=y",
        "/a/x,task=",
        "/a/,task=x,pid=9,uid=9",
    ] {
        assert_eq!(memcgs("c", "/a", inner, "x"), (path("/a"), path(inner)), "{inner}");
    }
    for limited in ["/a,task_memcg=/other", "/a,oom_memcg=/b,task_memcg=/other"] {
        let inner = format!("{limited}/b");
        assert_eq!(memcgs("c", limited, &inner, "x"), (None, None), "{limited}");
    }
}

#[test]
fn a_process_that_renames_itself_between_the_lines() {
    let summary =
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),oom_memcg=/a,task_memcg=/a/b,task=old,pid=7,uid=0";
    let kill = format!("Memory cgroup out of memory: Killed process 7 (new) {SIZES}");
    let victim = Kernel::says([summary, &kill]).victims().remove(0);
    assert_eq!(victim.report.task_memcg, path("/a/b"));
}

#[test]
fn cgroups_in_the_lines_up_to_4_20() {
    let memcgs = |line: &str| {
        let kill = "Memory cgroup out of memory: Killed process 7 (x) total-vm:1kB, anon-rss:2kB, file-rss:3kB";
        let report = Kernel::says([line, kill]).victims().remove(0).report;
        (report.oom_memcg, report.task_memcg)
    };
    let imitating = "/a/ killed as a result of limit of /b";
    let line = format!("Task in {imitating} killed as a result of limit of /a");
    assert_eq!(memcgs(&line), (path("/a"), path(imitating)));
    let line = format!("Task in {imitating}/c killed as a result of limit of {imitating}");
    assert_eq!(memcgs(&line), (None, None));
    assert_eq!(memcgs("Task in /a killed as a result of limit of /b"), (None, None));
}

#[test]
fn records_of_user_space_never_give_a_victim() {
    let kill = format!("Out of memory: Killed process 1 (init) {SIZES}");
    for priority in [8, 12, 14, 30, 191, u32::MAX] {
        let mut kernel = Kernel::default();
        kernel.write(priority, "-", kill.as_bytes());
        assert_eq!(kernel.victims(), [], "priority {priority}");
    }
    for priority in 0..8 {
        let mut kernel = Kernel::default();
        kernel.write(priority, "-", kill.as_bytes());
        assert_eq!(kernel.victims().len(), 1, "priority {priority}");
    }
}

#[test]
fn user_space_adds_nothing_to_a_report_of_the_kernel() {
    let mut kernel = Kernel::default();
    kernel.say("-", b"memory: usage 5kB, limit 5kB, failcnt 5");
    kernel.write(12, "-", b"memory: usage 9kB, limit 9kB, failcnt 9");
    kernel.write(
        12,
        "-",
        b"oom-kill:constraint=CONSTRAINT_MEMCG,oom_memcg=/forged,task_memcg=/forged,task=x,pid=7,uid=0",
    );
    kernel.say("-", b"Memory cgroup out of memory: Killed process 7 (x) total-vm:1kB, anon-rss:2kB, file-rss:3kB");
    let report = kernel.victims().remove(0).report;
    assert_eq!((report.failcnt, report.oom_memcg), (Some(5), None));
}

#[test]
fn a_message_inside_a_message_is_none() {
    let forged = format!("x\nOut of memory: Killed process 1 (init) {SIZES}");
    let mut kernel = Kernel::default();
    kernel.say("-", forged.as_bytes());
    kernel.records.push(format!("4,1,1,-;x\n Out of memory: Killed process 1 (init) {SIZES}\n").into_bytes());
    assert_eq!(kernel.victims(), []);
}

#[test]
fn absurd_numbers() {
    for pid in ["-1", "4294967296", "99999999999999999999", "", "1x", "0x1"] {
        let kill = format!("Killed process {pid} (x) total-vm:1kB, anon-rss:2kB, file-rss:3kB");
        assert_eq!(Kernel::says([&*kill]).victims(), [], "{pid}");
    }
    let kill = "Out of memory: Killed process 7 (x) total-vm:18446744073709551615kB, anon-rss:99999999999999999999kB, \
                file-rss:00, shmem-rss:-1kB, UID:4294967296 pgtables:kB oom_score_adj:99999";
    let victim = Kernel::says([kill]).victims().remove(0);
    assert_eq!(victim.total_vm.map(|size| size.get()), Some(u64::MAX));
    assert_eq!((victim.anon_rss, victim.file_rss, victim.shmem_rss), (None, None, None));
    assert_eq!((victim.uid, victim.pgtables, victim.oom_score_adj), (None, None, None));
}
