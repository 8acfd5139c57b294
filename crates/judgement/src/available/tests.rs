use proptest::prelude::*;
use reprieve_readings::{CgroupVersion, Meminfo, MemoryStat};

use super::*;

fn level(limit: Limit, usage: u64, cache: u64) -> CgroupMemory {
    let stat =
        MemoryStat { active_file: Some(Bytes::new(cache)), inactive_file: Some(Bytes::ZERO), ..MemoryStat::default() };
    CgroupMemory { max: Some(limit), usage: Some(Bytes::new(usage)), stat: Some(stat), ..CgroupMemory::default() }
}

fn at(limit: u64, usage: u64, cache: u64) -> CgroupMemory {
    level(Limit::At(Bytes::new(limit)), usage, cache)
}

fn node(total: u64, available: u64) -> NodeMemory {
    let meminfo =
        Meminfo { total: Some(Bytes::new(total)), available: Some(Bytes::new(available)), ..Meminfo::default() };
    NodeMemory { meminfo, counting_error: Bytes::ZERO }
}

fn judge(levels: &[CgroupMemory], node: &NodeMemory) -> Option<Headroom> {
    let hidden = judge_hidden(CgroupVersion::V1, levels, None);
    judge_available(levels, hidden, node).map(|available| available.until_kill)
}

fn check(levels: &[CgroupMemory], node: NodeMemory, bytes: u64, binding: Binding) {
    let found = judge(levels, &node).map(|headroom| (headroom.estimate.best.get(), headroom.binding));
    assert_eq!(found, Some((bytes, binding)));
}

#[test]
fn the_tightest_level_binds() {
    let wide = node(10_000, 9_000);
    check(&[at(1000, 400, 100)], wide, 700, Binding::Level(0));
    check(&[at(1000, 400, 100), at(1200, 1100, 0)], wide, 100, Binding::Level(1));
    check(&[at(1000, 400, 100)], node(10_000, 50), 50, Binding::Node);
    check(&[level(Limit::Max, 400, 100)], wide, 9_000, Binding::Node);
    check(&[at(1000, 400, 0), at(1000, 400, 0)], wide, 600, Binding::Level(0));
}

#[test]
fn a_limit_that_the_machine_can_t_reach_does_not_bind() {
    check(&[at(20_000, 0, 0)], node(10_000, 9_000), 9_000, Binding::Node);
}

#[test]
fn zero_is_a_limit_and_usage_may_exceed_it() {
    check(&[at(0, 4096, 0)], node(10_000, 9_000), 0, Binding::Level(0));
    check(&[at(100, 4096, 0)], node(10_000, 9_000), 0, Binding::Level(0));
}

#[test]
fn what_is_above_a_limit_has_to_be_reclaimed_first() {
    check(&[at(1000, 1300, 500)], node(10_000, 9_000), 200, Binding::Level(0));
    check(&[at(1000, 1300, 100)], node(10_000, 9_000), 0, Binding::Level(0));
}

#[test]
fn the_range_spans_what_reclaim_may_bring() {
    let mut memory = at(100_000, 60_000, 0);
    memory.stat = Some(MemoryStat {
        active_file: Some(Bytes::new(10_000)),
        inactive_file: Some(Bytes::new(20_000)),
        file_dirty: Some(Bytes::new(5_000)),
        file_writeback: Some(Bytes::new(1_000)),
        slab_reclaimable: Some(Bytes::new(3_000)),
        shmem: Some(Bytes::new(7_000)),
        unevictable: Some(Bytes::new(9_000)),
        file_mapped: Some(Bytes::new(2_000)),
        ..MemoryStat::default()
    });
    let node = NodeMemory { counting_error: Bytes::new(512), ..node(1_000_000, 900_000) };
    let estimate = judge(&[memory], &node).unwrap().estimate;
    let certain = 40_000 + (20_000 - 6_000 - 2_000);
    assert_eq!(
        estimate.low.get(),
        certain - certain / 128 - 512,
        "clean, inactive and unmapped only, less the overhead"
    );
    assert_eq!(estimate.best.get(), 40_000 + 30_000 + 3_000, "neither shared memory nor mlocked pages");
    assert_eq!(estimate.high.get(), 40_000 + 30_000 + 3_000 + 512);
}

/// A real reading, after which 48 906 240 bytes could be had.
#[test]
fn what_statistics_do_not_tell_yet_may_be_cache() {
    let mut memory = at(50_331_648, 14_663_680, 0);
    let stat = |kernel| MemoryStat {
        anon: Some(Bytes::new(548_864)),
        file: Some(Bytes::ZERO),
        active_file: Some(Bytes::ZERO),
        inactive_file: Some(Bytes::ZERO),
        slab_reclaimable: Some(Bytes::ZERO),
        kernel,
        ..MemoryStat::default()
    };
    memory.stat = Some(stat(Some(Bytes::new(73_728))));
    let node = NodeMemory { counting_error: Bytes::new(524_288), ..node(2_070_233_088, 1_773_965_312) };
    let estimate = judge(&[memory], &node).unwrap().estimate;
    assert_eq!(estimate.best.get(), 50_331_648 - 14_663_680);
    assert_eq!(estimate.high.get(), 50_331_648 - 548_864 - 73_728);
    memory.stat = Some(stat(None));
    let untold = judge(&[memory], &node).unwrap().estimate;
    assert_eq!(
        untold.high.get(),
        50_331_648 - 14_663_680 + 524_288,
        "older kernels don't tell of all their own memory"
    );
}

#[test]
fn the_cache_of_other_cgroups_is_not_certain() {
    let cached = |limit, usage, inactive| {
        let mut memory = at(limit, usage, 0);
        memory.stat.as_mut().unwrap().inactive_file = Some(Bytes::new(inactive));
        memory
    };
    let range = |levels: &[CgroupMemory]| judge(levels, &node(1_000_000, 900_000)).unwrap().estimate;
    let pod = cached(10_000, 6_000, 2_000);
    let counting = NodeMemory { counting_error: Bytes::new(100), ..node(1_000_000, 900_000) };
    let high = |levels: &[CgroupMemory]| judge(levels, &counting).unwrap().estimate.high.get();
    assert_eq!(high(&[pod]), 6_100);
    assert_eq!(high(&[cached(20_000, 1_000, 256), pod]), 6_700, "charged ahead for several cgroups");
    let estimate = range(&[cached(20_000, 1_000, 256), pod]);
    assert_eq!(estimate.low.get(), 4_256 - 4_256 / 128, "free, and its own cache");
    assert_eq!(estimate.best.get(), 6_000, "a sibling's cache is likely");
    assert_eq!(range(&[pod]).low.get(), 6_000 - 6_000 / 128, "all is its own");
}

#[test]
fn the_machine_has_more_than_it_says_is_available() {
    let mut node = node(8_000, 6_400);
    node.meminfo.free = Some(Bytes::new(5_000));
    node.meminfo.active_file = Some(Bytes::new(700));
    node.meminfo.inactive_file = Some(Bytes::new(800));
    node.meminfo.kernel_reclaimable = Some(Bytes::new(100));
    let estimate = judge(&[], &node).unwrap().estimate;
    assert_eq!((estimate.low.get(), estimate.best.get()), (6_400 - 100, 6_400));
    assert_eq!(estimate.high.get(), 5_000 + 700 + 800 + 100 + 8_000 / 8, "processors keep free pages to themselves");
}

#[test]
fn v1_counts_kernel_memory_only_as_a_whole() {
    let mut memory = at(1_000_000, 600_000, 0);
    memory.kernel_usage = Some(Bytes::new(50_000));
    memory.stat.as_mut().unwrap().anon = Some(Bytes::new(512_000));
    let estimate = judge(&[memory], &node(10_000_000, 9_000_000)).unwrap().estimate;
    assert_eq!(estimate.best.get(), 400_000 + 49_000, "without the page tables of the anonymous memory");
    assert_eq!(estimate.high.get(), 400_000 + 50_000);
}

#[test]
fn an_unreadable_stat_widens_the_range() {
    let memory = CgroupMemory { stat: None, ..at(1000, 400, 0) };
    let estimate = judge(&[memory], &node(10_000, 9_000)).unwrap().estimate;
    assert_eq!((estimate.best.get(), estimate.high.get()), (600, 1000));
}

#[test]
fn lagging_statistics_do_not_promise_more_than_is_used() {
    check(&[at(1000, 400, 5000)], node(10_000, 9_000), 1000, Binding::Level(0));
}

#[test]
fn throttling_has_a_headroom_of_its_own() {
    let soft = CgroupMemory { high: Some(Limit::At(Bytes::new(800))), ..at(1000, 400, 100) };
    let available = judge_available(&[soft], HiddenLimit::None, &node(10_000, 9_000)).unwrap();
    assert_eq!(available.until_kill.estimate.best.get(), 700);
    assert_eq!(available.until_throttle.unwrap().estimate.best.get(), 500);
    let hard = judge_available(&[at(1000, 400, 100)], HiddenLimit::None, &node(10_000, 9_000)).unwrap();
    assert_eq!(hard.until_throttle, None);
}

#[test]
fn a_smaller_limit_hidden_above_is_proven_on_v1() {
    let mut inner = at(1000, 400, 100);
    let mut top = level(Limit::Max, 500, 100);
    for memory in [&mut inner, &mut top] {
        memory.stat.as_mut().unwrap().hierarchical_limit = Some(Limit::At(Bytes::new(600)));
    }
    check(&[inner, top], node(10_000, 9_000), 200, Binding::Hidden);
    assert_eq!(judge(&[inner, top], &node(10_000, 9_000)).unwrap().estimate.low, Bytes::ZERO, "others may have it all");
    // Its own limit, which v1 repeats there, is no hidden one.
    inner.stat.as_mut().unwrap().hierarchical_limit = inner.max;
    check(&[inner], node(10_000, 9_000), 700, Binding::Level(0));
    assert_eq!(judge_hidden(CgroupVersion::V1, &[inner], None), HiddenLimit::None);
}

#[test]
fn v2_hides_limits_unless_told() {
    let own = at(1000, 400, 100);
    let root = CgroupMemory::default();
    let hidden = |levels: &[CgroupMemory], told| judge_hidden(CgroupVersion::V2, levels, told);
    assert_eq!(hidden(&[own], None), HiddenLimit::Possible);
    assert_eq!(hidden(&[own, root], None), HiddenLimit::None, "the root can be seen");
    assert_eq!(hidden(&[own], Some(Bytes::new(700))), HiddenLimit::Told(Bytes::new(700)));
    assert_eq!(hidden(&[own], Some(Bytes::new(1000))), HiddenLimit::None, "not smaller than its own");
    let available = judge_available(&[own], HiddenLimit::Told(Bytes::new(700)), &node(10_000, 9_000)).unwrap();
    assert_eq!(available.until_kill.estimate.best.get(), 400);
    assert_eq!(available.until_kill.binding, Binding::Hidden);
}

#[test]
fn swap_is_bounded_by_every_level_and_by_the_machine() {
    let swap = |levels: &[CgroupMemory], free: Option<u64>| {
        let mut node = node(10_000, 9_000);
        node.meminfo.swap_free = free.map(Bytes::new);
        judge_available(levels, HiddenLimit::None, &node).unwrap().swap.map(Bytes::get)
    };
    let limited = |max, usage| CgroupMemory {
        swap_max: Some(Limit::At(Bytes::new(max))),
        swap_usage: Some(Bytes::new(usage)),
        ..at(1000, 400, 0)
    };
    assert_eq!(swap(&[limited(300, 100)], Some(5000)), Some(200));
    assert_eq!(swap(&[limited(300, 100), limited(200, 150)], Some(5000)), Some(50));
    assert_eq!(swap(&[limited(300, 400)], Some(5000)), Some(0));
    assert_eq!(swap(&[limited(300, 100)], Some(7)), Some(7));
    assert_eq!(swap(&[at(1000, 400, 0)], None), None);
    let together = CgroupMemory {
        memory_and_swap_limit: Some(Limit::At(Bytes::new(1500))),
        memory_and_swap_usage: Some(Bytes::new(500)),
        ..at(1000, 400, 0)
    };
    assert_eq!(swap(&[together], Some(5000)), Some(400), "500 more than memory, 100 of it in use");
}

#[test]
fn nothing_known_is_nothing_said() {
    assert_eq!(judge(&[CgroupMemory::default()], &NodeMemory::default()), None);
    let limit_only = CgroupMemory { usage: None, ..at(100, 0, 0) };
    assert_eq!(judge(&[limit_only], &NodeMemory::default()), None);
}

#[test]
fn the_limit_is_the_smallest_of_all() {
    let levels = [at(1000, 0, 0), at(800, 0, 0)];
    assert_eq!(judge_limit(&levels, HiddenLimit::None, &node(10_000, 0)), Some(Bytes::new(800)));
    assert_eq!(judge_limit(&levels, HiddenLimit::Told(Bytes::new(5)), &node(10_000, 0)), Some(Bytes::new(5)));
    assert_eq!(judge_limit(&levels, HiddenLimit::None, &node(700, 0)), Some(Bytes::new(700)));
}

prop_compose! {
    fn any_level()(
        limit in 0..2000_u64, usage: u16, active: u16, inactive: u16, dirty: u16, slab in prop::option::of(any::<u16>()),
        kernel in prop::option::of(any::<u16>()),
    ) -> CgroupMemory {
        let mut memory = at(limit, usage.into(), active.into());
        memory.kernel_usage = kernel.map(|kernel| Bytes::new(kernel.into()));
        if let Some(stat) = &mut memory.stat {
            stat.inactive_file = Some(Bytes::new(inactive.into()));
            stat.file_dirty = Some(Bytes::new(dirty.into()));
            stat.slab_reclaimable = slab.map(|slab| Bytes::new(slab.into()));
        }
        memory
    }
}

proptest! {
    #[test]
    fn the_range_is_in_order_and_within_every_limit(
        levels in prop::collection::vec(any_level(), 0..6),
        total in 1..3000_u64,
        counting_error in 0..100_u64,
    ) {
        let node = NodeMemory { counting_error: Bytes::new(counting_error), ..node(total, total) };
        let estimate = judge(&levels, &node).unwrap().estimate;
        prop_assert!(estimate.low <= estimate.best && estimate.best <= estimate.high);
        prop_assert!(estimate.high <= Bytes::new(total));
        for level in &levels {
            prop_assert!(Some(estimate.high) <= level.max.unwrap().bytes());
        }
        let outermost = node.meminfo.available;
        let top_down = levels.iter().rev().fold(outermost, |outer, level| judge_within(outer, level, &node));
        prop_assert_eq!(top_down, Some(estimate.best), "both ways of judging agree");
    }
}
