//! The keeper on made-up nodes of 1000 MiB with a threshold of 100 MiB, so that its margin is 200 MiB.

mod lessons;

use proptest::prelude::*;
use reprieve_readings::{CacheMeans, EvictionConfiguration, MemoryStat, Owner, Pressure, Stall};

use super::*;
use crate::eviction::{KubeletView, Observation, ProtectedCgroup, thresholds_of};

fn mib(mib: u64) -> Bytes {
    Bytes::from_mib(mib)
}

fn second(second: u64) -> Duration {
    Duration::from_secs(second)
}

fn keeper() -> CacheKeeper {
    CacheKeeper::new(KeeperSettings { margin: Margin::Default, page_size: Bytes::new(4096) })
}

fn holder(qos: &str, number: u8, active: u64) -> CacheHolder {
    let uid = format!("5bdc3be0-7759-43c7-9f22-d581fc6b575{number}");
    let path = CgroupPath::new(format!("/kubepods{qos}/pod{uid}/{}", format!("{number}a").repeat(32)).as_bytes());
    let stat = MemoryStat {
        active_file: Some(mib(active)),
        inactive_file: Some(Bytes::ZERO),
        file_refaults: Some(0),
        ..MemoryStat::default()
    };
    let memory = reprieve_readings::CgroupMemory { usage: Some(mib(active)), stat: Some(stat), ..Default::default() };
    CacheHolder { owner: Owner::of(&path), path, memory, reducible: mib(active), protected: Vec::new(), standing: None }
}

fn node(available: u64, holders: Vec<CacheHolder>) -> Evictions {
    let capacity = mib(1000);
    let working_set = capacity.saturating_sub(mib(available));
    let observation = Observation { usage: working_set, working_set, available: mib(available), capacity };
    let view = KubeletView { node: Some(observation), allocatable: None };
    let thresholds = view.judge(&thresholds_of(&EvictionConfiguration::default()));
    Evictions { view, thresholds, holders, ..Evictions::default() }
}

/// The orders, short: the class, the means and the MiB.
fn orders(decision: &KeeperDecision) -> Vec<(String, CacheMeans, u64)> {
    let KeeperDecision::Near { orders, .. } = decision else { return Vec::new() };
    let class = |path: &CgroupPath| Owner::of(path).qos.map_or("none", |qos| qos.as_str()).to_owned();
    orders.iter().map(|order| (class(&order.path), order.means, order.amount.get() >> 20)).collect()
}

fn spared(decision: &KeeperDecision) -> Vec<SparedReason> {
    let KeeperDecision::Near { spared, .. } = decision else { return Vec::new() };
    spared.iter().map(|spared| spared.reason).collect()
}

const RECLAIM: &[CacheMeans] = &[CacheMeans::Reclaim];

#[test]
fn far_from_the_threshold_nothing_is_done() {
    let mut keeper = keeper();
    let node = node(200, vec![holder("/besteffort", 1, 500)]);
    assert_eq!(keeper.decide(second(0), &node, &[], RECLAIM), KeeperDecision::Far);
    assert_eq!(keeper.decide(second(1), &Evictions::default(), &[], RECLAIM), KeeperDecision::NoThreshold);
}

#[test]
fn cache_goes_by_class_the_largest_first() {
    let holders = vec![
        holder("", 1, 300),
        holder("/burstable", 2, 200),
        holder("/besteffort", 3, 10),
        holder("/besteffort", 4, 50),
    ];
    let decision = keeper().decide(second(0), &node(120, holders), &[], RECLAIM);
    let reclaim = CacheMeans::Reclaim;
    let expected = [("BestEffort", 50), ("BestEffort", 10), ("Burstable", 20)];
    assert_eq!(orders(&decision), expected.map(|(class, mib)| (class.to_owned(), reclaim, mib)));
}

#[test]
fn without_hurry_the_steps_are_small() {
    let total = |available, forecast| {
        let decision = keeper().decide(second(0), &node(available, vec![holder("", 1, 800)]), &[forecast], RECLAIM);
        orders(&decision).iter().map(|order| order.2).sum::<u64>()
    };
    let soon = Forecast::In { best: second(15), soonest: second(9), latest: None };
    assert_eq!(total(150, Forecast::None), 50);
    assert_eq!(total(110, Forecast::None), 90, "urgent by the distance");
    let wide = CacheKeeper::new(KeeperSettings {
        margin: Margin::At(reprieve_readings::EvictionAmount::Quantity(mib(600))),
        page_size: Bytes::new(4096),
    });
    let total = |mut keeper: CacheKeeper, forecast| {
        let decision = keeper.decide(second(0), &node(400, vec![holder("", 1, 800)]), &[forecast], RECLAIM);
        orders(&decision).iter().map(|order| order.2).sum::<u64>()
    };
    assert_eq!(total(wide, soon), 200, "urgent by the forecast");
}

#[test]
fn in_need_what_is_inactive_goes_first_and_pauses_are_left_out() {
    let decide = |available, reducible| {
        let mut holder = holder("/besteffort", 1, 500);
        if let Some(stat) = &mut holder.memory.stat {
            stat.inactive_file = Some(mib(300));
        }
        holder.reducible = mib(reducible);
        let decision = keeper().decide(second(0), &node(available, vec![holder]), &[], RECLAIM);
        let KeeperDecision::Near { orders, .. } = decision else { panic!() };
        let order = orders.first().unwrap();
        (order.amount.get() >> 20, order.free_at_most.get() >> 20, order.in_hurry)
    };
    assert_eq!(decide(150, 800), (50, 50, false));
    assert_eq!(decide(110, 800), (90, 390, true));
    assert_eq!(decide(110, 200), (90, 200, true), "not below its protection");
}

#[test]
fn steps_in_need_are_larger_and_have_an_end() {
    let total = |available| {
        let margin = Margin::At(reprieve_readings::EvictionAmount::Quantity(mib(900)));
        let mut keeper = CacheKeeper::new(KeeperSettings { margin, page_size: Bytes::new(4096) });
        let node = node(available, vec![holder("", 1, 800)]);
        orders(&keeper.decide(second(0), &node, &[], RECLAIM)).iter().map(|order| order.2).sum::<u64>()
    };
    assert_eq!((total(600), total(200)), (128, 512));
}

#[test]
fn protection_and_pressure_are_respected() {
    let mut protected = holder("/besteffort", 1, 500);
    protected.reducible = Bytes::ZERO;
    let mut pressed = holder("/besteffort", 2, 400);
    let some = Stall { average_10s: 20.0, ..Stall::default() };
    pressed.memory.pressure = Some(Pressure { some, full: None });
    let mut partly = holder("/besteffort", 3, 300);
    partly.reducible = mib(5);
    let decision = keeper().decide(second(0), &node(150, vec![protected, pressed, partly]), &[], RECLAIM);
    assert_eq!(orders(&decision), [("BestEffort".to_owned(), CacheMeans::Reclaim, 5)]);
    assert_eq!(spared(&decision), [SparedReason::Protected, SparedReason::Pressure]);
}

#[test]
fn v1_drops_a_whole_cache_only_if_cold_or_in_need() {
    let means = [CacheMeans::ForceEmpty];
    let run = |available, seconds: u64, grows: bool| {
        let mut keeper = keeper();
        let near = |second| node(available, vec![holder("", 1, 500 + if grows { 2 * second } else { 0 })]);
        (0..seconds).for_each(|at| drop(keeper.decide(second(at), &near(at), &[], &means)));
        keeper.decide(second(seconds), &near(seconds), &[], &means)
    };
    assert_eq!(spared(&run(190, 10, false)), [SparedReason::MayBeUsed]);
    assert_eq!(orders(&run(190, 30, false)).len(), 1, "nobody added to it for half a minute");
    assert_eq!(spared(&run(190, 60, true)), [SparedReason::MayBeUsed]);
    assert_eq!(orders(&run(120, 0, true)).len(), 1, "the threshold is near");
}

#[test]
fn a_threshold_above_all_memory_is_hopeless() {
    let hard = Some(reprieve_readings::EvictionAmount::Quantity(mib(2000)));
    let thresholds = thresholds_of(&EvictionConfiguration { hard, ..EvictionConfiguration::default() });
    let mut node = node(150, vec![holder("", 1, 500)]);
    node.thresholds = node.view.judge(&thresholds);
    let decision = keeper().decide(second(0), &node, &[], RECLAIM);
    assert!(matches!(decision, KeeperDecision::Unreachable(_)), "{decision:?}");
}

/// A node of 1000 MiB with these thresholds, and so much available to the kubelet of all and to its pods.
fn node_with(configuration: &EvictionConfiguration, available: u64, of_pods: Option<u64>) -> Evictions {
    let mut node = node(available, vec![holder("", 1, 800)]);
    node.view.allocatable = of_pods.map(|available| {
        let (available, capacity) = (mib(available), mib(1000));
        let working_set = capacity.saturating_sub(available);
        Observation { usage: working_set, working_set, available, capacity }
    });
    node.thresholds = node.view.judge(&thresholds_of(configuration));
    node
}

#[test]
fn once_begun_it_goes_a_little_further_whichever_threshold_comes_last() {
    let mut keeper = keeper();
    let node = |available| node_with(&EvictionConfiguration::default(), available, Some(700));
    assert_eq!(keeper.decide(second(0), &node(205), &[], RECLAIM), KeeperDecision::Far);
    assert_eq!(orders(&keeper.decide(second(1), &node(195), &[], RECLAIM)).first().map(|order| order.2), Some(5));
    let decision = keeper.decide(second(2), &node(205), &[], RECLAIM);
    assert_eq!(orders(&decision).first().map(|order| order.2), Some(7), "an eighth of the zone: 12.5 MiB");
    assert_eq!(keeper.decide(second(3), &node(213), &[], RECLAIM), KeeperDecision::Far);
}

#[test]
fn the_need_is_the_worst_of_all_thresholds_that_can_be_kept() {
    let amount = |mib_: u64| reprieve_readings::EvictionAmount::Quantity(mib(mib_));
    let soft = |mib_| EvictionConfiguration { soft: Some((amount(mib_), second(90))), ..Default::default() };
    let keeper = keeper();
    let need = |soft_at, available, of_pods, forecasts: &[Forecast]| {
        let need = keeper.need(&node_with(&soft(soft_at), available, of_pods).thresholds, forecasts).unwrap();
        (need.state.at.get() >> 20, need.deficit.get() >> 20, need.is_urgent)
    };
    assert_eq!(need(300, 500, None, &[]), (300, 100, false), "the soft one's margin is 600");
    assert_eq!(
        need(2000, 500, None, &[Forecast::None, Forecast::Now]),
        (100, 0, false),
        "a soft one that none can keep"
    );
    let soon = Forecast::In { best: second(15), soonest: second(9), latest: None };
    assert_eq!(need(300, 500, None, &[Forecast::None, soon]), (300, 100, true));
    assert_eq!(need(300, 310, None, &[]), (300, 290, true), "near");
    assert_eq!(need(300, 500, Some(110), &[]), (300, 100, true), "the pods' threshold is near");
}

#[test]
fn what_was_ordered_is_called_off_where_it_is_too_slow_or_too_late() {
    let calls_off = |available, in_hurry| {
        let need = keeper().need(&node(available, Vec::new()).thresholds, &[]).unwrap();
        need.calls_off(in_hurry)
    };
    assert!(!calls_off(150, false));
    assert!(!calls_off(150, true), "the rest is taken in a hurry too");
    assert!(calls_off(110, false));
    assert!(!calls_off(110, true));
    assert!(calls_off(200, false) && calls_off(200, true));
}

#[test]
fn siblings_share_what_their_parent_may_lose() {
    let parent = ProtectedCgroup { path: CgroupPath::new(b"/kubepods/besteffort"), reducible: mib(30) };
    let below = |number, active| {
        let holder = holder("/besteffort", number, active);
        CacheHolder { reducible: mib(30), protected: vec![parent.clone()], ..holder }
    };
    let decision = keeper().decide(second(0), &node(150, vec![below(1, 20), below(2, 19), below(3, 18)]), &[], RECLAIM);
    let amounts: Vec<u64> = orders(&decision).iter().map(|order| order.2).collect();
    assert_eq!(amounts, [20, 10]);
    assert_eq!(spared(&decision), [SparedReason::Protected]);
}

#[test]
fn a_round_ends_with_the_order_that_takes_long() {
    let holders = || vec![holder("/besteffort", 1, 30), holder("/besteffort", 2, 20), holder("", 3, 300)];
    let means = [CacheMeans::Deprioritise, CacheMeans::Reclaim];
    let decide = |available| orders(&keeper().decide(second(0), &node(available, holders()), &[], &means));
    assert_eq!(decide(130), [("BestEffort".to_owned(), CacheMeans::Deprioritise, 30)]);
    assert_eq!(decide(110).len(), 3, "in need by means that are quick");
}

proptest! {
    #[test]
    fn no_protected_cgroup_loses_more_than_it_may(
        available in 0_u64..250,
        parents in prop::collection::vec(0_u64..400, 3),
        holders in prop::collection::vec((0_u64..400, 0_u64..400, 0_usize..3), 0..8),
    ) {
        let protected: Vec<_> = parents.iter().enumerate().map(|(number, reducible)| ProtectedCgroup {
            path: CgroupPath::new(format!("/parent{number}").as_bytes()),
            reducible: mib(*reducible),
        }).collect();
        let holders: Vec<_> = holders.iter().zip(0_u8..).map(|(&(active, inactive, nested), number)| {
            let mut holder = holder("/besteffort", number, active);
            if let Some(stat) = &mut holder.memory.stat {
                stat.inactive_file = Some(mib(inactive));
            }
            // Each in the first so many of the parents.
            let protected = protected[..nested].to_vec();
            let reducible = protected.iter().map(|protected| protected.reducible).min().unwrap_or(mib(active));
            CacheHolder { reducible, protected, ..holder }
        }).collect();
        let decision = keeper().decide(second(0), &node(available, holders.clone()), &[], RECLAIM);
        let KeeperDecision::Near { orders, .. } = decision else { return Ok(()) };
        for parent in &protected {
            let is_below = |order: &&KeeperOrder| {
                let holder = holders.iter().find(|holder| holder.path == order.path).unwrap();
                holder.protected.contains(parent)
            };
            let freed: Bytes = orders.iter().filter(is_below).map(|order| order.free_at_most).sum();
            prop_assert!(freed <= parent.reducible);
        }
    }

    #[test]
    fn never_more_than_is_missing_and_never_from_the_protected(
        available in 0_u64..250,
        sizes in prop::collection::vec((0_u64..400, 0_u64..400), 0..6),
    ) {
        let holders: Vec<_> = sizes.iter().zip(0_u8..).map(|(&(active, reducible), number)| {
            let mut holder = holder("/besteffort", number, active);
            holder.reducible = mib(reducible.min(active));
            holder
        }).collect();
        let decision = keeper().decide(second(0), &node(available, holders.clone()), &[], RECLAIM);
        let KeeperDecision::Near { orders, .. } = decision else { return Ok(()) };
        let all: Bytes = orders.iter().map(|order| order.amount).sum();
        prop_assert!(all <= mib(200_u64.saturating_sub(available)));
        prop_assert!(orders.iter().all(|order| order.amount > Bytes::ZERO));
        for holder in &holders {
            let of_it: Bytes = orders.iter().filter(|order| order.path == holder.path).map(|order| order.amount).sum();
            prop_assert!(of_it <= holder.reducible);
        }
    }
}
