//! Reports that people posted, read as records of the kernel's log.

use reprieve_readings::{Bytes, Constraint, Limit, OomScope, OomVictim, Owner};

use crate::kmsg::Kernel;

/// Sizes in kB; `None` where that kernel's line has no such field.
type Sizes = (u64, u64, u64, Option<u64>, Option<u64>);

macro_rules! report {
    ($name:literal) => {
        Kernel::from_log(include_bytes!(concat!("../../../../fixtures/oom/", $name))).victims()
    };
}

fn only(victims: Vec<OomVictim>) -> OomVictim {
    assert_eq!(victims.len(), 1, "{victims:#?}");
    victims.into_iter().next().unwrap()
}

fn sizes(victim: &OomVictim) -> Sizes {
    let kib = |size: Option<Bytes>| size.map(|size| size.get() / 1024);
    let always = |size: Option<Bytes>| kib(size).unwrap();
    let all = (always(victim.total_vm), always(victim.anon_rss), always(victim.file_rss));
    (all.0, all.1, all.2, kib(victim.shmem_rss), kib(victim.pgtables))
}

fn memcgs(victim: &OomVictim) -> (Option<String>, Option<String>) {
    let report = &victim.report;
    (report.oom_memcg.as_ref().map(ToString::to_string), report.task_memcg.as_ref().map(ToString::to_string))
}

fn usage(victim: &OomVictim) -> (Option<u64>, Option<Limit>, Option<u64>) {
    (victim.report.usage.map(|usage| usage.get() / 1024), victim.report.limit, victim.report.failcnt)
}

fn limit_kib(kib: u64) -> Option<Limit> {
    Some(Limit::At(Bytes::from_kib(kib)))
}

fn trigger(victim: &OomVictim) -> (&[u8], Option<u32>, &[u8], Option<i32>) {
    let trigger = victim.report.trigger.as_ref().unwrap();
    (&trigger.name, trigger.pid, &trigger.gfp, trigger.order)
}

#[test]
fn linux_3_10_el7_announces_a_thread_and_kills_its_process() {
    let victim = only(report!("3.10-el7-thread-announced.log"));
    assert_eq!((victim.pid, &*victim.name), (76513, &b"java"[..]));
    assert_eq!(sizes(&victim), (26_212_772, 4_189_536, 0, Some(0), None));
    assert_eq!(victim.scope, Some(OomScope::MemoryCgroup));
    let memcg = "/docker/812c82c5a7a5ae054e6f242215bdc4415a2d9b690768962a7bcd8d4676b16f60".to_owned();
    assert_eq!(memcgs(&victim), (Some(memcg.clone()), Some(memcg)));
    assert_eq!(usage(&victim), (Some(4_194_304), limit_kib(4_194_304), Some(25_581)));
    assert_eq!(victim.report.trigger, None);
    let owner = Owner::of(victim.report.task_memcg.as_ref().unwrap());
    assert_eq!(owner.runtime.map(|runtime| runtime.as_str()), Some("docker"));
}

#[test]
fn linux_3_13_global() {
    let victim = only(report!("3.13-global.log"));
    assert_eq!((victim.pid, &*victim.name), (1532, &b"badsysprogram"[..]));
    assert_eq!(sizes(&victim), (1_641_388, 1_595_164, 76, None, None));
    assert_eq!((victim.scope, victim.report.constraint), (Some(OomScope::Global), None));
    assert_eq!(memcgs(&victim), (None, None));
    assert_eq!(usage(&victim), (None, None, None));
    assert_eq!(trigger(&victim), (&b"badsysprogram"[..], Some(1532), &b"0x280da"[..], Some(0)));
}

#[test]
fn linux_4_18_memcg_on_v1() {
    let victim = only(report!("4.18-memcg-v1.log"));
    assert_eq!((victim.pid, &*victim.name, victim.uid), (2746, &b"leaker"[..], None));
    assert_eq!(sizes(&victim), (536_704, 518_264, 1_188, Some(0), None));
    assert_eq!(victim.scope, Some(OomScope::MemoryCgroup));
    assert_eq!(memcgs(&victim), (Some("/leaker".to_owned()), Some("/leaker".to_owned())));
    assert_eq!(usage(&victim), (Some(524_288), limit_kib(524_288), Some(7_221)));
    assert_eq!(trigger(&victim), (&b"leaker"[..], Some(2746), &b"0x600040(GFP_NOFS)"[..], Some(0)));
}

#[test]
fn linux_4_18_el8_hit_the_limit_on_memory_and_swap() {
    let victim = only(report!("4.18-el8-memory-and-swap-limit.log"));
    assert_eq!((victim.pid, &*victim.name), (7093, &b"java"[..]));
    assert_eq!(sizes(&victim), (11_451_920, 1_968_776, 0, Some(16_356), None));
    assert_eq!(usage(&victim), (Some(32_461_120), limit_kib(33_554_432), Some(0)));
    assert_eq!(trigger(&victim), (&b"java"[..], Some(7127), &b"0x6200ca(GFP_HIGHUSER_MOVABLE)"[..], Some(0)));
    let (oom_memcg, task_memcg) = memcgs(&victim);
    assert_eq!(oom_memcg, task_memcg);
    assert!(
        task_memcg.unwrap().ends_with("/docker-083afd1a06b8b612ab5d974e12200d7fd1d35be6a44f0e368179399ef6c6e84d.scope")
    );
}

#[test]
fn linux_5_3_global_among_other_callers() {
    let victim = only(report!("5.3-global-callers.log"));
    assert_eq!((victim.pid, &*victim.name, victim.uid), (5701, &b"oom-torture"[..], Some(0)));
    assert_eq!(sizes(&victim), (4_220, 84, 0, Some(0), None));
    assert_eq!((victim.scope, victim.report.constraint), (Some(OomScope::Global), Some(Constraint::None)));
    assert_eq!(memcgs(&victim), (None, Some("/".to_owned())));
    let gfp = &b"0x100dca(GFP_HIGHUSER_MOVABLE|__GFP_ZERO)"[..];
    assert_eq!(trigger(&victim), (&b"oom-torture"[..], Some(5241), gfp, Some(0)));
}

#[test]
fn linux_5_10_group_whose_members_are_partly_gone() {
    let victims = report!("5.10-oom-group-already-exiting.log");
    let pids: Vec<u32> = victims.iter().map(|victim| victim.pid).collect();
    let rest = [3804875, 3804876, 3804879, 3804880, 3804881, 3804883];
    assert_eq!(pids, [&[3804874, 3803554, 3803846, 3804873, 3804874][..], &rest].concat());
    let repeats: Vec<usize> = (0..victims.len()).filter(|&index| victims[index].repeat).collect();
    assert_eq!(repeats, [4]);
    assert!(victims.iter().all(|victim| victim.oom_score_adj == Some(-997)));
}

#[test]
fn linux_5_15_group_in_kubernetes() {
    let victims = report!("5.15-oom-group.log");
    let told: Vec<_> = victims.iter().map(|victim| (victim.pid, victim.uid, victim.repeat)).collect();
    let members = [(7620, Some(0), false), (7656, Some(101), false), (7657, Some(101), false), (7712, Some(0), false)];
    assert_eq!(told, [&[(7788, Some(0), false)][..], &members, &[(7788, Some(0), true)]].concat());

    let first = &victims[0];
    assert_eq!(sizes(first), (7_169_492, 7_165_824, 956, Some(0), Some(14_076)));
    assert_eq!((first.scope, first.report.constraint), (Some(OomScope::MemoryCgroup), Some(Constraint::MemoryCgroup)));
    assert_eq!(usage(first), (Some(7_464_436), limit_kib(7_464_436), Some(1_133)));
    assert_eq!(trigger(first), (&b"bash"[..], Some(7788), &b"0xcc0(GFP_KERNEL)"[..], Some(0)));
    assert_eq!(memcgs(first).0.as_deref(), Some("/kubepods.slice"));
    assert_eq!(first.oom_group, None);

    let container = first.report.task_memcg.clone().unwrap();
    let owner = Owner::of(&container);
    assert_eq!(owner.qos.map(|class| class.as_str()), Some("BestEffort"));
    assert_eq!(owner.container_root.as_ref(), Some(&container));
    for member in &victims[1..] {
        assert_eq!(member.oom_group.as_ref(), Some(&container));
        assert_eq!(member.report.oom_memcg, first.report.oom_memcg);
        assert_eq!(member.report.task_memcg.is_some(), member.repeat, "only the first victim's cgroup is told");
    }
}

#[test]
fn linux_6_14_name_with_half_a_pair_of_parentheses() {
    let victim = only(report!("6.14-parenthesis-in-name.log"));
    assert_eq!((victim.pid, &*victim.name, victim.uid), (3963629, &b"next-build (v16"[..], Some(1000)));
    assert_eq!(sizes(&victim), (22_165_088, 1_615_396, 112_520, Some(0), Some(7_384)));
    assert_eq!(victim.oom_score_adj, Some(0));
    assert_eq!(trigger(&victim), (&b"V8Worker"[..], Some(3964373), &b"0xcc0(GFP_KERNEL)"[..], Some(0)));
    let scope = "/user.slice/user-1000.slice/user@1000.service/app.slice/run-p3963628-i54286731.scope".to_owned();
    assert_eq!(memcgs(&victim), (Some(scope.clone()), Some(scope)));
}
