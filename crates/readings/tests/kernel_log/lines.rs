//! Each kernel version's lines, written as its formats in mm/oom_kill.c and mm/memcontrol.c print them.

use reprieve_readings::{Bytes, CgroupPath, Constraint, Limit, OomScope, OomVictim};

use crate::kmsg::Kernel;

fn read(messages: &[&str]) -> OomVictim {
    let victims = Kernel::says(messages.iter().copied()).victims();
    assert_eq!(victims.len(), 1, "{messages:#?} gave {victims:#?}");
    victims.into_iter().next().unwrap()
}

fn read_nothing(messages: &[&str]) {
    assert_eq!(Kernel::says(messages.iter().copied()).victims(), [], "{messages:#?}");
}

const KIB: fn(u64) -> Option<Bytes> = |kib| Some(Bytes::from_kib(kib));

fn path(path: &str) -> Option<CgroupPath> {
    Some(CgroupPath::new(path.as_bytes()))
}

#[test]
fn the_kill_line_of_each_version() {
    const ANNOUNCED: &str = "Out of memory: Kill process 7 (a b) score 9 or sacrifice child";
    const GROUP_ANNOUNCED: &str = "Memory cgroup out of memory: Kill process 7 (a b) score 9 or sacrifice child";
    const SIZES: &str = "total-vm:100kB, anon-rss:20kB, file-rss:3kB";
    for (version, announced, line, scope, shmem_rss, uid, pgtables, adj) in [
        ("3.10", Some(ANNOUNCED), "Killed process 7 (a b) SIZES", OomScope::Global, None, None, None, None),
        (
            "4.5",
            Some(GROUP_ANNOUNCED),
            "Killed process 7 (a b) SIZES, shmem-rss:1kB",
            OomScope::MemoryCgroup,
            KIB(1),
            None,
            None,
            None,
        ),
        (
            "el7 1160",
            Some(ANNOUNCED),
            "Killed process 7 (a b), UID 42, SIZES, shmem-rss:1kB",
            OomScope::Global,
            KIB(1),
            Some(42),
            None,
            None,
        ),
        (
            "5.1",
            None,
            "Out of memory: Killed process 7 (a b) SIZES, shmem-rss:1kB",
            OomScope::Global,
            KIB(1),
            None,
            None,
            None,
        ),
        (
            "5.4",
            None,
            "Memory cgroup out of memory: Killed process 7 (a b) SIZES, shmem-rss:1kB, UID:42 pgtables:48kB oom_score_adj:-999",
            OomScope::MemoryCgroup,
            KIB(1),
            Some(42),
            KIB(48),
            Some(-999),
        ),
        (
            "6.19",
            None,
            "Out of memory (oom_kill_allocating_task): Killed process 7 (a b) SIZES, shmem-rss:1kB, UID:42 pgtables:48kB oom_score_adj:1000",
            OomScope::Global,
            KIB(1),
            Some(42),
            KIB(48),
            Some(1000),
        ),
    ] {
        let line = line.replace("SIZES", SIZES);
        let messages: Vec<&str> = announced.into_iter().chain([&*line]).collect();
        let victim = read(&messages);
        assert_eq!((victim.pid, &*victim.name), (7, &b"a b"[..]), "{version}");
        assert_eq!((victim.total_vm, victim.anon_rss, victim.file_rss), (KIB(100), KIB(20), KIB(3)), "{version}");
        assert_eq!((victim.shmem_rss, victim.uid, victim.pgtables), (shmem_rss, uid, pgtables), "{version}");
        assert_eq!((victim.oom_score_adj, victim.scope), (adj, Some(scope)), "{version}");
        assert!(!victim.repeat && victim.oom_group.is_none(), "{version}");
    }
}

#[test]
fn a_kill_line_alone_is_a_kill() {
    let victim = read(&["Killed process 7 (x) total-vm:1kB, anon-rss:2kB, file-rss:3kB"]);
    assert_eq!((victim.pid, victim.scope), (7, None));
    assert_eq!(victim.report, Default::default());
    assert_eq!((victim.sequence, victim.since_boot.as_micros()), (0, 1_000));
}

#[test]
fn the_invocation_of_each_version() {
    const KILL: &str = "Killed process 7 (x) total-vm:1kB, anon-rss:2kB, file-rss:3kB";
    const ANNOUNCED: &str = "Out of memory: Kill process 7 (x) score 9 or sacrifice child";
    for (rest, gfp, order) in [
        ("gfp_mask=0x201da, order=0, oom_score_adj=0", "0x201da", Some(0)),
        ("gfp_mask=0x24201ca(GFP_A|__GFP_B), order=2, oom_score_adj=-17", "0x24201ca(GFP_A|__GFP_B)", Some(2)),
        ("gfp_mask=0x14(GFP_A), nodemask=0-1, order=3, oom_score_adj=0", "0x14(GFP_A)", Some(3)),
        ("gfp_mask=0x14(GFP_A), nodemask=(null),  order=0, oom_score_adj=0", "0x14(GFP_A)", Some(0)),
        ("gfp_mask=0xcc0(GFP_KERNEL), order=-1, oom_score_adj=0", "0xcc0(GFP_KERNEL)", Some(-1)),
        ("gfp_mask=0x0(), order=0, oom_score_adj=0", "0x0()", Some(0)),
        ("gfp_mask=0x14(GFP_A), nodemask=", "0x14(GFP_A)", None),
    ] {
        for name in ["java", "tmux: server", "", "123456789012345", "invoked oom-kil"] {
            let invoked = format!("{name} invoked oom-killer: {rest}");
            let trigger = read(&[&invoked, ANNOUNCED, KILL]).report.trigger.unwrap();
            assert_eq!((&*trigger.name, &*trigger.gfp), (name.as_bytes(), gfp.as_bytes()));
            assert_eq!((trigger.order, trigger.pid), (order, None));
        }
    }
}

#[test]
fn the_trigger_s_pid_comes_from_the_trace_or_the_caller() {
    const INVOKED: &str = "tmux: server invoked oom-killer: gfp_mask=0x0(), order=0, oom_score_adj=0";
    const KILL: &str = "Out of memory: Killed process 7 (x) total-vm:1kB, anon-rss:2kB, file-rss:3kB";
    let pid = |trace: &str| read(&[INVOKED, trace, KILL]).report.trigger.unwrap().pid;
    assert_eq!(pid("CPU: 0 PID: 55 Comm: tmux: server Not tainted 5.2.0 #1"), Some(55));
    assert_eq!(pid("CPU: 0 UID: 1000 PID: 56 Comm: tmux: server Tainted: G W 6.12 #1"), Some(56));
    assert_eq!(pid("CPU: 0 PID: 55 Comm: other Not tainted 5.2.0 #1"), None);
    assert_eq!(pid("CPU: 0 PID: x Comm: tmux: server"), None);

    let mut kernel = Kernel::default();
    for message in [INVOKED, KILL] {
        kernel.say("-,caller=T77", message.as_bytes());
    }
    assert_eq!(kernel.victims()[0].report.trigger.as_ref().unwrap().pid, Some(77));
}

#[test]
fn whose_limit_it_was_up_to_4_20() {
    const KILL: &str = "Killed process 7 (x) total-vm:1kB, anon-rss:2kB, file-rss:3kB, shmem-rss:0kB";
    const ANNOUNCED: &str = "Memory cgroup out of memory: Kill process 7 (x) score 9 or sacrifice child";
    let one_record = read(&["Task in /a/b killed as a result of limit of /a", ANNOUNCED, KILL]);
    let three_records = read(&["Task in /a/b", " killed as a result of limit of /a", "", ANNOUNCED, KILL]);
    for victim in [one_record, three_records] {
        assert_eq!((victim.report.task_memcg, victim.report.oom_memcg), (path("/a/b"), path("/a")));
        assert_eq!(victim.scope, Some(OomScope::MemoryCgroup));
    }
}

#[test]
fn usage_and_what_each_version_calls_unlimited() {
    const KILL: &str = "Memory cgroup out of memory: Killed process 7 (x) total-vm:1kB, anon-rss:2kB, file-rss:3kB";
    for (limit, expected) in [
        (18_014_398_509_481_983_u64, Limit::Max),
        (9_007_199_254_740_991, Limit::Max),
        (9_007_199_254_740_988, Limit::Max),
        (9_007_199_254_740_928, Limit::Max),
        (9_007_199_254_740_000, Limit::At(Bytes::from_kib(9_007_199_254_740_000))),
        (0, Limit::At(Bytes::ZERO)),
        (1024, Limit::At(Bytes::from_mib(1))),
    ] {
        let usage = format!("memory: usage 1000kB, limit {limit}kB, failcnt 18446744073709551615");
        let report = read(&[&usage, "memory+swap: usage 9kB, limit 9kB, failcnt 9", KILL]).report;
        assert_eq!((report.usage, report.limit, report.failcnt), (KIB(1000), Some(expected), Some(u64::MAX)));
    }
}

#[test]
fn the_summary_of_each_version() {
    const KILL: &str = "Memory cgroup out of memory: Killed process 7 (x) total-vm:1kB, anon-rss:2kB, file-rss:3kB, shmem-rss:0kB, UID:1 pgtables:4kB oom_score_adj:0";
    for (places, constraint, oom_memcg, task_memcg) in [
        (
            "CONSTRAINT_MEMCG,nodemask=(null),cpuset=c,mems_allowed=0-1,oom_memcg=/a,task_memcg=/a/b",
            Some(Constraint::MemoryCgroup),
            path("/a"),
            path("/a/b"),
        ),
        ("CONSTRAINT_NONE,nodemask=(null),oom_memcg=/,task_memcg=/b", Some(Constraint::None), path("/"), path("/b")),
        (
            "CONSTRAINT_NONE,nodemask=(null),cpuset=/,mems_allowed=0,global_oom,task_memcg=/",
            Some(Constraint::None),
            None,
            path("/"),
        ),
        (
            "CONSTRAINT_MEMORY_POLICY,nodemask=1,cpuset=/,mems_allowed=0,global_oom,task_memcg=/b",
            Some(Constraint::MemoryPolicy),
            None,
            path("/b"),
        ),
        ("CONSTRAINT_CPUSET,nodemask=(null),cpuset=/,mems_allowed=0", Some(Constraint::Cpuset), None, None),
        ("CONSTRAINT_NONE,nodemask=(null)", Some(Constraint::None), None, None),
        ("CONSTRAINT_BPF_PSI_MEM,nodemask=(null),oom_memcg=/a,task_memcg=/a", None, path("/a"), path("/a")),
    ] {
        let summary = format!("oom-kill:constraint={places},task=x,pid=7,uid=5");
        let victim = read(&[&summary, KILL]);
        assert_eq!(victim.report.constraint, constraint, "{summary}");
        assert_eq!((victim.report.oom_memcg, victim.report.task_memcg), (oom_memcg, task_memcg), "{summary}");
        assert_eq!(victim.uid, Some(1));
    }
}

#[test]
fn the_summary_tells_the_user_where_the_kill_line_does_not() {
    const KILL: &str = "Out of memory: Killed process 7 (x) total-vm:1kB, anon-rss:2kB, file-rss:3kB, shmem-rss:0kB";
    let uid = |uid: &str| read(&[&format!("oom-kill:constraint=CONSTRAINT_NONE,task=x,pid=7,uid={uid}"), KILL]).uid;
    assert_eq!([uid("0"), uid("1000"), uid("-2"), uid("x")], [Some(0), Some(1000), Some(u32::MAX - 1), None]);
}

#[test]
fn linux_5_0_announces_after_its_summary_and_may_spare_the_announced_for_a_child() {
    let victim = read(&[
        "oom-kill:constraint=CONSTRAINT_NONE,nodemask=(null),oom_memcg=/a,task_memcg=/a,task=parent,pid=6,uid=9",
        "Memory cgroup out of memory: Kill process 6 (parent) score 9 or sacrifice child",
        "Killed process 7 (child) total-vm:1kB, anon-rss:2kB, file-rss:3kB, shmem-rss:0kB",
    ]);
    assert_eq!((victim.report.oom_memcg, victim.scope), (path("/a"), Some(OomScope::MemoryCgroup)));
    assert_eq!(victim.uid, None, "that was the parent's");
}

#[test]
fn a_summary_that_another_cpu_s_line_splits() {
    let memcgs = |between: &str| {
        let mut kernel = Kernel::default();
        kernel.say("-", b"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=c,mems_allowed=0,oom_memcg=/a");
        kernel.say("-", b"BUG: KASAN: slab-out-of-bounds in vsnprintf");
        kernel.say("c", between.as_bytes());
        kernel.say("c", b"/b,task=x");
        kernel.say("c", b",pid=7,uid=0");
        kernel.say("-", b"Memory cgroup out of memory: Killed process 7 (x) total-vm:1kB, anon-rss:2kB, file-rss:3kB");
        let report = kernel.victims().remove(0).report;
        (report.oom_memcg, report.task_memcg)
    };
    assert_eq!(memcgs(",task_memcg=/a"), (path("/a"), path("/a/b")));
    assert_eq!(memcgs(" of another line,task_memcg=/a of another line"), (None, None));
}

#[test]
fn lines_that_are_no_kill() {
    for message in [
        "Memory cgroup out of memory: OOM victim 7 (x) is already exiting. Skip killing the task",
        "oom_reaper: reaped process 7 (x), now anon-rss:0kB, file-rss:0kB, shmem-rss:0kB",
        "Out of memory and no killable processes...",
        "Kernel panic - not syncing: Out of memory: system-wide panic_on_oom is enabled",
        "Memory cgroup out of memory: Kill process 7 (x) score 9 or sacrifice child",
        "Kill process 7 (x) sharing same memory",
        "OOM killer enabled.",
        "ODEBUG: Out of memory. ODEBUG disabled",
        "lowmemorykiller: Killing 'x' (7), adj 1000, to free 100kB on behalf of 'y' (8)",
        "systemd-journald[1]: Out of memory: Killed process 7 (x) total-vm:1kB, anon-rss:2kB, file-rss:3kB",
    ] {
        read_nothing(&[message]);
    }
}
