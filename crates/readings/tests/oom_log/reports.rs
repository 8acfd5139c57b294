//! Which lines make a report, and which don't.

use reprieve_readings::{
    Bytes, CgroupPath, Missing, OomLogEvent, OomLogReport, OomPanic, OomScope, OtherKiller, PrintkCaller,
};

use crate::read::{events, other_kills, reports};

const SIZES: &str = "total-vm:4kB, anon-rss:3kB, file-rss:2kB, shmem-rss:0kB, UID:0 pgtables:4kB oom_score_adj:0";

fn read(lines: &[&str]) -> Vec<OomLogReport> {
    reports((lines.join("\n") + "\n").as_bytes())
}

fn invoked(name: &str) -> String {
    format!("{name} invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL), order=0, oom_score_adj=0")
}

fn summary(memcg: &str, pid: u32) -> String {
    format!(
        "oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),oom_memcg={memcg},task_memcg={memcg},task=x,pid={pid},uid=0"
    )
}

fn killed(pid: u32) -> String {
    format!("Memory cgroup out of memory: Killed process {pid} (x) {SIZES}")
}

fn pids(report: &OomLogReport) -> Vec<u32> {
    report.victims.iter().map(|victim| victim.pid).collect()
}

#[test]
fn reports_of_several_callers_do_not_mix() {
    let mut log = String::new();
    let of_caller = |caller: u32| {
        [invoked("x"), format!("memory: usage {caller}kB, limit 9kB, failcnt 0"), summary("/a", caller), killed(caller)]
    };
    let lines: Vec<_> = (1..=5).map(of_caller).collect();
    for index in 0..4 {
        for (caller, lines) in (1..).zip(&lines) {
            log.push_str(&format!("[    1.000000][ T{caller}] {}\n[    1.000000][   C{caller}] other\n", lines[index]));
        }
    }
    let reports = reports(log.as_bytes());
    assert_eq!(reports.len(), 5);
    for (caller, report) in (1..).zip(&reports) {
        assert_eq!((report.caller, pids(report)), (Some(PrintkCaller::Task(caller)), vec![caller]));
        assert_eq!(report.memory.unwrap().usage, Bytes::from_kib(caller.into()));
    }
}

#[test]
fn a_group_is_one_report_and_names_its_first_victim_twice() {
    let group = "Tasks in /a are going to be killed due to memory.oom.group set";
    let reports = read(&[&invoked("x"), &summary("/a", 7), &killed(7), group, &killed(5), &killed(7), &invoked("y")]);
    assert_eq!((reports.len(), pids(&reports[0])), (2, vec![7, 5]));
    assert_eq!(reports[0].victims.iter().map(|victim| victim.lines).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(reports[0].oom_group, Some(CgroupPath::new(b"/a")));
    assert_eq!(reports[1].missing, [Missing::Memory, Missing::Tasks, Missing::Outcome]);
}

#[test]
fn kills_without_reports_are_one_each() {
    let reports = read(&[&killed(1), &killed(2), &killed(3)]);
    assert_eq!(reports.iter().map(pids).collect::<Vec<_>>(), [[1], [2], [3]]);
    let all = [Missing::Beginning, Missing::Memory, Missing::Tasks, Missing::Summary];
    assert!(reports.iter().all(|report| report.missing == all && report.scope == Some(OomScope::MemoryCgroup)));
}

#[test]
fn a_kill_is_not_of_the_report_of_another() {
    let reports = read(&[&invoked("x"), &summary("/a", 7), &killed(8)]);
    assert_eq!((reports.len(), pids(&reports[0]), pids(&reports[1])), (2, vec![], vec![8]));
    assert!(reports[0].missing.contains(&Missing::Outcome));
}

#[test]
fn up_to_5_0_a_child_can_be_the_victim() {
    let announced = "Out of memory: Kill process 7 (parent) score 187000 or sacrifice child";
    let kill = "Killed process 8 (child) total-vm:1kB, anon-rss:2kB, file-rss:3kB";
    let reports = read(&[&invoked("x"), announced, kill]);
    let told = reports[0].announced.as_ref().unwrap();
    assert_eq!((told.pid, &*told.name, told.score), (7, &b"parent"[..], Some(187_000)));
    assert_eq!((reports.len(), pids(&reports[0]), reports[0].scope), (1, vec![8], Some(OomScope::Global)));
}

#[test]
fn what_the_reaper_says_goes_to_its_victim_s_report() {
    let reaped = "oom_reaper: reaped process 7 (x), now anon-rss:0kB, file-rss:1kB, shmem-rss:2kB";
    let reports = read(&[
        &invoked("x"),
        &summary("/a", 7),
        &killed(7),
        &invoked("y"),
        reaped,
        "oom_reaper: unable to reap pid:7 (x)",
    ]);
    assert_eq!((reports[0].reaped.len(), reports[1].reaped.len(), reports[0].unreaped.len()), (1, 0, 1));
    assert_eq!(
        (reports[0].reaped[0].file_rss, reports[0].reaped[0].shmem_rss),
        (Some(Bytes::from_kib(1)), Some(Bytes::from_kib(2)))
    );
    assert_eq!(read(&[reaped]), []);
}

#[test]
fn outcomes_without_a_kill() {
    let deadlocked =
        ["Out of memory and no killable processes...", "Kernel panic - not syncing: System is deadlocked on memory"];
    let reports_of = read(&[&invoked("x"), "Mem-Info:", deadlocked[0], deadlocked[1]]);
    assert_eq!(
        (reports_of.len(), reports_of[0].no_killable, reports_of[0].panic),
        (1, true, Some(OomPanic::NoKillable))
    );
    assert_eq!(reports_of[0].scope, Some(OomScope::Global));
    for (panic, which) in [("compulsory", OomPanic::Compulsory), ("system-wide", OomPanic::SystemWide)] {
        let panic = format!("Kernel panic - not syncing: Out of memory: {panic} panic_on_oom is enabled");
        assert_eq!(read(&[&invoked("x"), &panic])[0].panic, Some(which));
    }
    let skipped = "Memory cgroup out of memory: OOM victim 7 (a b) is already exiting. Skip killing the task";
    let report = read(&[&invoked("x"), &summary("/a", 7), skipped]).remove(0);
    assert_eq!((report.already_exiting[0].pid, report.already_exiting[0].name.as_deref()), (7, Some(&b"a b"[..])));
    assert!(report.victims.is_empty() && !report.missing.contains(&Missing::Outcome));
}

#[test]
fn the_machine_s_memory() {
    let report = read(&[
        &invoked("x"),
        "Mem-Info:",
        "active_anon:11 inactive_anon:12 isolated_anon:0",
        " active_file:13 inactive_file:14 isolated_file:0",
        " slab_reclaimable:15 slab_unreclaimable:16",
        " mapped:1 shmem:17 pagetables:18 bounce:0",
        " free:19 free_pcp:0 free_cma:0",
        "Node 0 active_anon:44kB inactive_anon:48kB",
        "Node 0 DMA32 free:64676kB min:16264kB low:20328kB high:24392kB managed:9kB",
        "lowmem_reserve[]: 0 0 12114",
        "Node 0 DMA32: 29*16kB (UE) 36*32kB (UE) = 9kB",
        "20 total pagecache pages",
        "21 pages in swap cache",
        "Free swap  = 22kB",
        "Total swap = 23kB",
        "24 pages RAM",
        "0 pages HighMem/MovableOnly",
        "25 pages reserved",
        "Unreclaimable slab info:",
        "Name                      Used          Total",
        "kmalloc rnd-8            120KB        130KB",
        "Out of memory: Killed process 7 (x) total-vm:4kB, anon-rss:3kB, file-rss:2kB, shmem-rss:0kB",
    ])
    .remove(0);
    let info = report.memory_info.unwrap();
    let names = ["active_anon", "inactive_file", "slab_unreclaimable", "shmem", "pagetables", "free", "absent"];
    assert_eq!(
        names.map(|name| info.pages_of(name)),
        [Some(11), Some(14), Some(16), Some(17), Some(18), Some(19), None]
    );
    assert_eq!((info.pagecache, info.swap_cache, info.ram, info.reserved), (Some(20), Some(21), Some(24), Some(25)));
    assert_eq!((info.swap_free, info.swap_total), (Some(Bytes::from_kib(22)), Some(Bytes::from_kib(23))));
    assert_eq!(info.page_size(), Some(Bytes::from_kib(16)));
    assert_eq!((info.zones.len(), info.zones[0].node, &*info.zones[0].name), (1, Some(0), &b"DMA32"[..]));
    assert_eq!((info.zones[0].min, info.zones[0].managed), (Some(Bytes::from_kib(16264)), Some(Bytes::from_kib(9))));
    assert_eq!(info.zones[0].blocks[1], (Bytes::from_kib(32), 36));
    assert_eq!(
        (report.slabs.len(), &*report.slabs[0].name, report.slabs[0].total),
        (1, &b"kmalloc rnd-8"[..], Bytes::from_kib(130))
    );
    assert_eq!(report.scope, Some(OomScope::Global));
}

#[test]
fn statistics_of_each_era_are_bytes() {
    let of = |lines: &[&str]| read(&[&[&*invoked("x")], lines].concat())[0].stats.clone();
    let old = of(&[
        "Memory cgroup stats for /a: cache:4KB rss:8KB swap:0KB",
        "Memory cgroup stats for /a/b c: d: cache:1KB rss:2KB mapped_fil",
    ]);
    assert_eq!((old.len(), old[1].cgroup.clone()), (2, CgroupPath::new(b"/a/b c: d")));
    assert_eq!(
        (old[0].memory_stat().anon, old[0].memory_stat().file),
        (Some(Bytes::from_kib(8)), Some(Bytes::from_kib(4)))
    );
    let v1 = of(&["Memory cgroup stats for /a:", "cache 1", "rss 2", "total_cache 4096", "total_rss 8192"]);
    assert_eq!(
        (v1[0].memory_stat().anon, v1[0].memory_stat().file),
        (Some(Bytes::from_kib(8)), Some(Bytes::from_kib(4)))
    );
}

#[test]
fn a_page_allocation_failure_is_no_report() {
    assert_eq!(
        read(&[
            "x: page allocation failure: order:5, mode:0x40cc0(GFP_KERNEL)",
            "CPU: 1 PID: 7 Comm: x Not tainted 6.1.0 #1",
            "Mem-Info:",
            "active_anon:1 free:2"
        ]),
        []
    );
}

#[test]
fn kills_of_programs_are_not_the_kernel_s() {
    let log = "\
Mar 11 10:16:36 host systemd-oomd[500]: Killed /user.slice/user-1000.slice/app.scope due to memory pressure for /user.slice being 80.12% > 50.00% for > 20s with reclaim activity
Mar 11 10:16:36 host systemd-oomd[500]: Considered 12 cgroups for killing, top candidates were:
Mar 11 10:16:37 host earlyoom[10231]: sending SIGTERM to process 7378 uid 1000 \"tail\": badness 156, VmRSS 4962 MiB
Mar 11 10:16:38 host app[1]: earlyoom: sending SIGTERM to process 5
<6>lowmemorykiller: Killing 'd.play.games.ui' (2613), adj 1000,
";
    let kills = other_kills(log.as_bytes());
    let told: Vec<_> = kills.iter().map(|kill| (kill.line, kill.killer, kill.pid)).collect();
    let expected = [
        (1, OtherKiller::SystemdOomd, None),
        (3, OtherKiller::Earlyoom, Some(7378)),
        (5, OtherKiller::LowMemoryKiller, Some(2613)),
    ];
    assert_eq!(told, expected);
    assert_eq!(reports(log.as_bytes()), []);
}

#[test]
fn what_other_programs_say_is_not_the_kernel_s() {
    let kill = format!("Out of memory: Killed process 1 (init) {SIZES}");
    for prefix in [
        "Mar 11 10:16:36 host app[5]: ",
        "Mar 11 10:16:36 host kernel[5]: ",
        "Mar 11 10:16:36 host node-problem-detector: New status: ",
        "2025-03-11T10:16:36Z host app: ",
        "<14>Mar 11 10:16:36 host kernel: ",
        "<14>",
        "user  :warn  : [    1.000000] ",
        "12,1,1,-;",
        "<12>1 2025-03-11T10:16:36Z host kernel - - - ",
        "Mar 11 10:16:36 host app[5]: a message of two lines\n                             ",
    ] {
        assert_eq!(reports(format!("{prefix}{kill}\n").as_bytes()), [], "{prefix}");
    }
}

#[test]
fn events_come_in_the_order_of_the_log() {
    let log = [
        invoked("x"),
        "Mar 11 10:16:37 host earlyoom[1]: sending SIGTERM to process 5 uid 0 \"x\"".to_owned(),
        killed(7),
    ]
    .join("\n");
    let events = events(log.as_bytes());
    assert!(matches!(&events[..], [OomLogEvent::Report(_), OomLogEvent::OtherKill(_)]), "{events:#?}");
}

#[test]
fn a_boot_tells_the_kernel_and_ends_what_was_before() {
    let reports = read(&[&invoked("x"), "Linux version 6.1.0-13-amd64 (debian-kernel@lists.debian.org)", &killed(7)]);
    assert_eq!(reports.len(), 2);
    assert_eq!(reports[1].kernel.as_deref(), Some(&b"6.1.0-13-amd64"[..]));
}

#[test]
fn linux_3_16_says_whose_limit_it_was_in_three_records() {
    let kill = "Killed process 7 (x) total-vm:1kB, anon-rss:2kB, file-rss:3kB";
    for limit_of in [" killed as a result of limit of /a", "killed as a result of limit of /a"] {
        let reports =
            read(&["[    1.000000] Task in /a/b", &format!("[    1.000000] {limit_of}"), "[    1.000000] ", kill]);
        assert_eq!(reports[0].task_memcg, Some(CgroupPath::new(b"/a/b")));
        assert_eq!(reports[0].oom_memcg.is_some(), limit_of.starts_with(' '));
    }
}

#[test]
fn a_long_pause_ends_a_report() {
    let line = |seconds: u32, message: &str| format!("[{seconds:5}.000000] {message}\n");
    let log = line(10, &invoked("x")) + &line(500, &killed(7));
    assert_eq!(reports(log.as_bytes()).len(), 2);
    let log = line(10, &invoked("x")) + &line(20, &killed(7));
    assert_eq!(reports(log.as_bytes()).len(), 1);
}
