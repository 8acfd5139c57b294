//! What the keeper learns from what came of its acts.

use super::*;

fn refaulted(mut holder: CacheHolder, pages: u64) -> CacheHolder {
    if let Some(stat) = &mut holder.memory.stat {
        stat.file_refaults = Some(pages);
    }
    holder
}

#[test]
fn what_comes_back_is_left_alone_for_twice_as_long_each_time() {
    let mut keeper = keeper();
    let mut now = 0;
    let mut pages = 0;
    let mut waits = Vec::new();
    for _ in 0..3 {
        let near = |pages| node(150, vec![refaulted(holder("", 1, 500), pages)]);
        let decision = keeper.decide(second(now), &near(pages), &[], RECLAIM);
        let KeeperDecision::Near { orders, .. } = &decision else { panic!("{decision:?}") };
        let freed = KeeperOutcome { freed: mib(64), working_set_removed: mib(64), end: KeeperActEnd::Done };
        keeper.record(second(now), &orders[0], freed);
        pages += 16 * 256;
        now += 1;
        let decision = keeper.decide(second(now), &near(pages), &[], RECLAIM);
        let [SparedReason::Refaults { left }] = spared(&decision)[..] else { panic!("{decision:?}") };
        waits.push(left.as_secs());
        now += left.as_secs();
    }
    assert_eq!(waits, [10, 20, 40]);
    assert_eq!(keeper.refaulted(), mib(48));
}

/// Ten seconds of looking on would be too much for what may be chance.
#[test]
fn the_first_few_pages_tell_nothing_of_a_large_cache() {
    for (active, is_judged) in [(500, false), (64, true)] {
        let mut keeper = keeper();
        let near = |pages| node(150, vec![refaulted(holder("", 1, active), pages)]);
        let decision = keeper.decide(second(0), &near(0), &[], RECLAIM);
        let KeeperDecision::Near { orders, .. } = &decision else { panic!("{decision:?}") };
        let freed = KeeperOutcome { freed: mib(8), working_set_removed: mib(8), end: KeeperActEnd::Done };
        keeper.record(second(0), &orders[0], freed);
        let decision = keeper.decide(second(1), &near(8 * 256), &[], RECLAIM);
        assert_eq!(spared(&decision).len(), usize::from(is_judged), "{decision:?}");
    }
}

#[test]
fn it_stops_itself_where_all_comes_back() {
    let mut keeper = keeper();
    let near = |pages| node(120, vec![refaulted(holder("", 1, 500), pages)]);
    let decision = keeper.decide(second(0), &near(0), &[], RECLAIM);
    let KeeperDecision::Near { orders, .. } = decision else { panic!() };
    for order in &orders {
        keeper.record(
            second(0),
            order,
            KeeperOutcome { freed: mib(300), working_set_removed: mib(1), end: KeeperActEnd::Done },
        );
    }
    let decision = keeper.decide(second(5), &near(160 * 256), &[], RECLAIM);
    assert_eq!(decision, KeeperDecision::Stopped);
    assert!(keeper.has_stopped());
    assert_eq!(keeper.decide(second(5000), &near(160 * 256), &[], RECLAIM), KeeperDecision::Stopped);
}

#[test]
fn a_means_that_does_not_work_gives_way_to_the_next() {
    let mut keeper = keeper();
    let means = [CacheMeans::Age, CacheMeans::Reclaim];
    let node = node(150, vec![holder("", 1, 500)]);
    let chosen = |decision: &KeeperDecision| orders(decision).first().map(|order| order.1);
    let decision = keeper.decide(second(0), &node, &[], &means);
    assert_eq!(chosen(&decision), Some(CacheMeans::Age));
    let KeeperDecision::Near { orders, .. } = decision else { panic!() };
    let nothing = KeeperOutcome { freed: Bytes::ZERO, working_set_removed: Bytes::ZERO, end: KeeperActEnd::Done };
    keeper.record(second(0), &orders[0], nothing);
    assert_eq!(chosen(&keeper.decide(second(1), &node, &[], &means)), Some(CacheMeans::Reclaim));
    assert_eq!(chosen(&keeper.decide(second(31), &node, &[], &means)), Some(CacheMeans::Age));
}

#[test]
fn in_need_a_slow_or_weak_means_is_better_than_none() {
    let nothing = KeeperOutcome { freed: Bytes::ZERO, working_set_removed: Bytes::ZERO, end: KeeperActEnd::Done };
    let tired = |means: &[CacheMeans], available| {
        let mut keeper = keeper();
        let near = node(available, vec![holder("", 1, 500)]);
        let KeeperDecision::Near { orders, .. } = keeper.decide(second(0), &near, &[], &[CacheMeans::Reclaim]) else {
            panic!()
        };
        keeper.record(second(0), &orders[0], nothing);
        keeper.decide(second(1), &near, &[], means)
    };
    let both = [CacheMeans::Deprioritise, CacheMeans::Reclaim];
    let chosen = |decision: &KeeperDecision| orders(decision).first().map(|order| order.1);
    assert_eq!(chosen(&tired(&both, 110)), Some(CacheMeans::Deprioritise));
    assert_eq!(chosen(&tired(RECLAIM, 110)), Some(CacheMeans::Reclaim));
    assert_eq!(spared(&tired(RECLAIM, 150)), [SparedReason::NoMeans], "there is time to wait");
}

#[test]
fn what_is_refused_takes_nothing_from_the_others_not_even_in_need() {
    let mut keeper = keeper();
    let near = || node(110, vec![holder("", 1, 500), holder("", 2, 400)]);
    let KeeperDecision::Near { orders: given, .. } = keeper.decide(second(0), &near(), &[], RECLAIM) else { panic!() };
    let end = KeeperActEnd::Refused;
    keeper.record(second(0), &given[0], KeeperOutcome { freed: Bytes::ZERO, working_set_removed: Bytes::ZERO, end });
    let decision = keeper.decide(second(1), &near(), &[], RECLAIM);
    let KeeperDecision::Near { orders: others, .. } = &decision else { panic!() };
    assert_eq!(others.len(), 1);
    assert_ne!(others[0].path, given[0].path);
    assert_eq!(spared(&decision), [SparedReason::NoMeans]);
}

#[test]
fn what_is_refused_everywhere_is_tried_nowhere_for_a_while() {
    let mut keeper = keeper();
    let near = || node(150, vec![holder("", 1, 500), holder("", 2, 400)]);
    let KeeperDecision::Near { orders: given, .. } = keeper.decide(second(0), &near(), &[], RECLAIM) else { panic!() };
    let end = KeeperActEnd::RefusedEverywhere;
    keeper.record(second(0), &given[0], KeeperOutcome { freed: Bytes::ZERO, working_set_removed: Bytes::ZERO, end });
    assert_eq!(orders(&keeper.decide(second(59), &near(), &[], RECLAIM)), []);
    assert_eq!(orders(&keeper.decide(second(60), &near(), &[], RECLAIM)).len(), 1);
}

#[test]
fn an_act_that_was_called_off_tells_nothing_of_its_means() {
    let mut keeper = keeper();
    let near = || node(150, vec![holder("", 1, 500)]);
    let KeeperDecision::Near { orders: given, .. } = keeper.decide(second(0), &near(), &[], RECLAIM) else { panic!() };
    let end = KeeperActEnd::CalledOff;
    keeper.record(second(0), &given[0], KeeperOutcome { freed: Bytes::ZERO, working_set_removed: Bytes::ZERO, end });
    assert_eq!(orders(&keeper.decide(second(1), &near(), &[], RECLAIM)).len(), 1);
}

#[test]
fn after_long_quiet_what_comes_back_is_left_alone_for_as_short_as_at_first() {
    let mut keeper = keeper();
    let mut pages = 0;
    let waits: Vec<u64> = [0, 100, 1000]
        .into_iter()
        .map(|now| {
            let near = |pages| node(150, vec![refaulted(holder("", 1, 500), pages)]);
            let decision = keeper.decide(second(now), &near(pages), &[], RECLAIM);
            let KeeperDecision::Near { orders, .. } = &decision else { panic!("{decision:?}") };
            let end = KeeperActEnd::Done;
            keeper.record(second(now), &orders[0], KeeperOutcome { freed: mib(64), working_set_removed: mib(64), end });
            pages += 16 * 256;
            let decision = keeper.decide(second(now + 1), &near(pages), &[], RECLAIM);
            let [SparedReason::Refaults { left }] = spared(&decision)[..] else { panic!("{decision:?}") };
            left.as_secs()
        })
        .collect();
    assert_eq!(waits, [10, 20, 10]);
}
