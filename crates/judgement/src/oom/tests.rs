use reprieve_readings::{
    CgroupPath, CgroupStats, Constraint, KilledProcess, Limit, LimitUse, MemoryInfo, OomScope, OomTrigger, SlabUse,
    TaskTable,
};

use super::*;

const CONTAINER: &str = "/kubepods/burstable/pod11111111-2222-3333-4444-555555555555/\
                         0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const POD: &str = "/kubepods/burstable/pod11111111-2222-3333-4444-555555555555";

fn path(path: &str) -> Option<CgroupPath> {
    Some(CgroupPath::new(path.as_bytes()))
}

fn limit(usage_mib: u64, limit_mib: u64, failcnt: u64) -> Option<LimitUse> {
    Some(LimitUse { usage: Bytes::from_mib(usage_mib), limit: Limit::At(Bytes::from_mib(limit_mib)), failcnt })
}

/// A row with memory in MiB, in pages of 4 KiB.
fn row(pid: u32, name: &str, mib: u64, oom_score_adj: i16) -> TaskRow {
    let rss = Some(mib * 256);
    let name = name.as_bytes().to_vec();
    TaskRow {
        pid,
        tgid: pid,
        total_vm: Some(mib * 512),
        rss,
        oom_score_adj: Some(oom_score_adj),
        name,
        ..TaskRow::default()
    }
}

fn killed(pid: u32) -> KilledProcess {
    KilledProcess {
        time: Default::default(),
        pid,
        name: None,
        uid: None,
        total_vm: None,
        anon_rss: None,
        file_rss: None,
        shmem_rss: None,
        pgtables: None,
        oom_score_adj: None,
        lines: 1,
    }
}

/// A container of 256 MiB whose worker was killed.
fn report(rows: Vec<TaskRow>, victim: u32) -> OomLogReport {
    OomLogReport {
        scope: Some(OomScope::MemoryCgroup),
        oom_memcg: path(CONTAINER),
        task_memcg: path(CONTAINER),
        memory: limit(256, 256, 7),
        tasks: Some(TaskTable { rows, ..TaskTable::default() }),
        victims: vec![killed(victim)],
        ..OomLogReport::default()
    }
}

fn stats(entries: &[(&str, u64)]) -> Vec<CgroupStats> {
    let entries = entries.iter().map(|(name, mib)| (name.as_bytes().to_vec(), mib << 20)).collect();
    vec![CgroupStats { cgroup: CgroupPath::new(CONTAINER.as_bytes()), entries }]
}

fn kind(report: &OomLogReport) -> (OomKind, Certainty) {
    let finding = judge_oom(report).kind;
    (finding.kind, finding.certainty)
}

#[test]
fn the_cgroup_that_was_full_tells_the_kind() {
    let base = report(Vec::new(), 2);
    assert_eq!(kind(&base), (OomKind::ContainerLimit, Certainty::Certain));
    let of = |oom: &str| OomLogReport { oom_memcg: path(oom), ..base.clone() };
    assert_eq!(kind(&of(POD)).0, OomKind::PodLimit);
    assert_eq!(kind(&of("/kubepods/burstable")).0, OomKind::AncestorLimit);
    assert_eq!(kind(&of("/kubepods")).0, OomKind::AncestorLimit);
    let service = OomLogReport { task_memcg: path("/system.slice/a.service"), ..of("/system.slice/a.service") };
    assert_eq!(kind(&service).0, OomKind::CgroupLimit);
    assert!(judge_oom(&base).kind.owner.container.is_some());
}

#[test]
fn global_kills_have_their_constraint() {
    let global = |constraint| OomLogReport {
        scope: Some(OomScope::Global),
        constraint,
        oom_memcg: None,
        memory: None,
        ..report(Vec::new(), 2)
    };
    assert_eq!(kind(&global(Some(Constraint::None))), (OomKind::Node, Certainty::Certain));
    assert_eq!(kind(&global(Some(Constraint::Cpuset))).0, OomKind::Cpuset);
    assert_eq!(kind(&global(Some(Constraint::MemoryPolicy))).0, OomKind::MemoryPolicy);
    assert_eq!(kind(&global(None)), (OomKind::Node, Certainty::Guess), "old kernels don't say");
    assert_eq!(kind(&OomLogReport::default()), (OomKind::Unknown, Certainty::Guess));
    let trigger =
        OomTrigger { name: b"kworker".to_vec(), pid: None, gfp: Vec::new(), order: Some(-1), oom_score_adj: None };
    let sysrq = OomLogReport { trigger: Some(trigger), ..global(Some(Constraint::None)) };
    assert_eq!(kind(&sysrq).0, OomKind::SysRq);
}

#[test]
fn a_limit_on_memory_and_swap_is_told_from_one_on_memory() {
    let both =
        OomLogReport { memory: limit(200, 256, 0), memory_and_swap: limit(300, 300, 9), ..report(Vec::new(), 2) };
    assert!(judge_oom(&both).kind.with_swap);
    assert!(judge_oom(&both).advice.contains(&OomAdvice::RaiseSwapLimit));
    let memory = OomLogReport { memory: limit(256, 256, 3), memory_and_swap: limit(256, 512, 0), ..both };
    assert!(!judge_oom(&memory).kind.with_swap);
}

#[test]
fn the_largest_process_is_why() {
    let found = judge_oom(&report(vec![row(1, "sh", 1, 0), row(7, "java", 200, 0), row(9, "log", 20, 0)], 7));
    let ranking = found.ranking.unwrap();
    assert_eq!(ranking.why, WhyVictim::Largest);
    assert_eq!(ranking.candidates.iter().map(|one| one.pid).collect::<Vec<_>>(), [7, 9, 1]);
    assert!(ranking.candidates[0].victim);
    assert_eq!(ranking.candidates[0].resident, Bytes::from_mib(200));
    let user = MainUser::Process { pid: 7, name: b"java".to_vec(), resident: Bytes::from_mib(200) };
    assert_eq!(found.main_user, user);
    assert_eq!(found.advice[0], OomAdvice::SizeRuntime { name: b"java".to_vec() });
}

#[test]
fn an_adjusted_score_can_be_why() {
    // 100 thousandths of 256 MiB are 25.6 MiB: 60 + 25.6 < 100, but 900 thousandths are 230 MiB.
    let rows = |adjustment| vec![row(1, "sh", 100, 0), row(7, "worker", 60, adjustment)];
    let found = judge_oom(&report(rows(900), 7));
    assert_eq!(found.ranking.unwrap().why, WhyVictim::Adjusted);
    assert!(found.advice.contains(&OomAdvice::CheckScoreAdjustment));
    assert_eq!(judge_oom(&report(rows(100), 7)).ranking.unwrap().why, WhyVictim::NotHighest);
    let never = judge_oom(&report(vec![row(1, "sshd", 100, -1000), row(7, "worker", 60, 0)], 7)).ranking.unwrap();
    assert_eq!(never.candidates.last().map(|one| (one.pid, one.badness)), Some((1, None)), "never killed");
    assert_eq!(never.why, WhyVictim::Adjusted);
}

#[test]
fn the_page_size_comes_from_what_is_told_twice() {
    let mut large = report(vec![row(7, "java", 10, 0)], 7);
    assert_eq!(judge_oom(&large).page_size_certainty, Certainty::Guess);
    // 5120 pages, and 320 MiB in the other place: 64 KiB each.
    large.victims[0].total_vm = Some(Bytes::from_mib(320));
    let found = judge_oom(&large);
    assert_eq!((found.page_size, found.page_size_certainty), (Bytes::from_kib(64), Certainty::Certain));
    assert_eq!(found.ranking.unwrap().candidates[0].resident, Bytes::from_mib(160));
}

#[test]
fn tmpfs_is_told_from_programs() {
    let entries = [("anon", 40), ("file", 200), ("shmem", 190), ("active_file", 4), ("inactive_file", 6)];
    let leak = OomLogReport { stats: stats(&entries), ..report(vec![row(7, "java", 40, 0)], 7) };
    let found = judge_oom(&leak);
    assert_eq!(found.main_user, MainUser::SharedMemory { bytes: Bytes::from_mib(190) });
    assert_eq!(found.advice[0], OomAdvice::LimitTmpfs { bytes: Bytes::from_mib(190) });
    let memory = found.memory.unwrap();
    let cache = memory.parts.iter().find(|part| part.part == Part::PageCache).unwrap();
    assert_eq!((cache.bytes, memory.reclaimable), (Bytes::from_mib(10), Some(Bytes::from_mib(10))));
}

#[test]
fn cache_that_was_left_is_told() {
    let entries = [("anon", 100), ("file", 150), ("shmem", 0), ("active_file", 100), ("inactive_file", 50)];
    let busy = OomLogReport { stats: stats(&entries), ..report(vec![row(7, "java", 100, 0)], 7) };
    assert!(judge_oom(&busy).advice.contains(&OomAdvice::CacheWasLeft { bytes: Bytes::from_mib(150) }));
}

#[test]
fn many_workers_are_one_user() {
    let mut rows: Vec<TaskRow> = (10..30).map(|pid| row(pid, "apache2", 10, 0)).collect();
    rows.push(row(1, "init", 15, 0));
    let found = judge_oom(&report(rows, 12));
    let user = MainUser::Processes { name: b"apache2".to_vec(), count: 20, resident: Bytes::from_mib(200) };
    // The largest alone is init; together the workers have more.
    assert_eq!(found.main_user, user);
    assert_eq!(found.advice[0], OomAdvice::FewerWorkers { name: b"apache2".to_vec(), count: 20 });
}

#[test]
fn the_kernel_s_own_objects_can_be_who() {
    let info = MemoryInfo {
        pages: vec![(b"slab_unreclaimable".to_vec(), 100_000), (b"active_anon".to_vec(), 10_000)],
        ram: Some(200_000),
        ..MemoryInfo::default()
    };
    let slabs = vec![
        SlabUse { name: b"small".to_vec(), used: Bytes::from_mib(1), total: Bytes::from_mib(2) },
        SlabUse { name: b"kmalloc-64".to_vec(), used: Bytes::from_mib(300), total: Bytes::from_mib(310) },
    ];
    let leak = OomLogReport {
        scope: Some(OomScope::Global),
        oom_memcg: None,
        memory: None,
        memory_info: Some(info),
        slabs,
        ..report(vec![row(7, "java", 4, 0)], 7)
    };
    let found = judge_oom(&leak);
    assert_eq!(found.main_user, MainUser::UnreclaimableSlab { bytes: Bytes::new(100_000 * 4096) });
    let largest = OomAdvice::LookAtSlab { name: Some(b"kmalloc-64".to_vec()), bytes: Some(Bytes::from_mib(310)) };
    assert_eq!(found.advice[0], largest);
}

#[test]
fn the_first_process_is_the_one_with_the_lowest_pid() {
    let rows = || vec![row(40, "sh", 1, 0), row(47, "worker", 100, 0)];
    assert_eq!(judge_oom(&report(rows(), 47)).first_process, FirstProcess::Survived);
    assert_eq!(judge_oom(&report(rows(), 40)).first_process, FirstProcess::Killed);
    let group = OomLogReport { oom_group: path(CONTAINER), ..report(rows(), 47) };
    assert_eq!(judge_oom(&group).first_process, FirstProcess::Killed);
    let pod = OomLogReport { oom_memcg: path(POD), ..report(rows(), 47) };
    assert_eq!(judge_oom(&pod).first_process, FirstProcess::Unknown, "the table is that of all containers");
    assert_eq!(judge_oom(&report(Vec::new(), 47)).first_process, FirstProcess::Unknown);
}
