//! Tests of the ladder.

use proptest::prelude::*;

use super::*;

const MIB: u64 = 1 << 20;

fn moment(at_ms: u64, available_mib: u64) -> LadderMoment {
    LadderMoment {
        at: Duration::from_millis(at_ms),
        limit: Some(Bytes::from_mib(100)),
        available: Some(Bytes::from_mib(available_mib)),
        pressure: None,
    }
}

fn events(ladder: &mut Ladder, moment: LadderMoment) -> Vec<LadderEvent> {
    ladder.feed(&moment).collect()
}

fn reached(rung: usize, threshold: Threshold) -> Vec<LadderEvent> {
    vec![LadderEvent::Reached { rung, threshold }]
}

#[test]
fn a_rung_is_reached_once_an_episode_and_again_after_a_calm_time() {
    let tenth = Threshold::Share(10.0);
    let mut ladder = Ladder::new([vec![tenth]]);
    assert_eq!(events(&mut ladder, moment(0, 10)), []);
    assert_eq!(events(&mut ladder, moment(1000, 9)), reached(0, tenth));
    assert_eq!(events(&mut ladder, moment(2000, 8)), []);
    // Within the margin is not well.
    assert_eq!(events(&mut ladder, moment(3000, 12)), []);
    assert_eq!(events(&mut ladder, moment(20_000, 12)), []);
    assert_eq!(events(&mut ladder, moment(21_000, 50)), []);
    assert_eq!(events(&mut ladder, moment(30_999, 50)), []);
    assert_eq!(events(&mut ladder, moment(31_000, 50)), [LadderEvent::Over { rung: 0 }]);
    assert_eq!(events(&mut ladder, moment(32_000, 9)), reached(0, tenth));
}

#[test]
fn a_relapse_begins_the_calm_time_anew() {
    let mut ladder = Ladder::new([vec![Threshold::Available(Bytes::from_mib(10))]]);
    assert_eq!(events(&mut ladder, moment(0, 5)).len(), 1);
    assert_eq!(events(&mut ladder, moment(1000, 50)), []);
    assert_eq!(events(&mut ladder, moment(10_000, 9)), []);
    assert_eq!(events(&mut ladder, moment(11_500, 50)), []);
    assert_eq!(events(&mut ladder, moment(21_000, 50)), []);
    assert_eq!(events(&mut ladder, moment(21_500, 50)), [LadderEvent::Over { rung: 0 }]);
}

#[test]
fn unknown_memory_is_not_well() {
    let mut ladder = Ladder::new([vec![Threshold::Share(10.0)]]);
    assert_eq!(events(&mut ladder, moment(0, 5)).len(), 1);
    for second in 1..60 {
        assert_eq!(events(&mut ladder, LadderMoment { available: None, ..moment(second * 1000, 0) }), []);
    }
    assert_eq!(ladder.reached().collect::<Vec<_>>(), [0]);
}

#[test]
fn who_begins_anew_is_warned_anew() {
    let rungs = [Threshold::Share(20.0), Threshold::Share(10.0), Threshold::TimeLeft(Duration::from_secs(1))];
    let mut ladder = Ladder::new(rungs.map(|threshold| vec![threshold]));
    assert_eq!(events(&mut ladder, moment(0, 40)).len(), 0);
    assert_eq!(events(&mut ladder, moment(200, 15)).len(), 2);
    assert_eq!(ladder.reached().collect::<Vec<_>>(), [0, 2]);
    ladder.begin_anew();
    assert_eq!(ladder.reached().count(), 0);
    // How fast it fell before is of no interest any more.
    assert_eq!(events(&mut ladder, moment(300, 15)), reached(0, rungs[0]));
}

#[test]
fn rungs_climb_one_after_the_other() {
    let (first, second) = (Threshold::Share(20.0), Threshold::Available(Bytes::from_mib(5)));
    let mut ladder = Ladder::new([vec![first], vec![second]]);
    assert_eq!(events(&mut ladder, moment(0, 19)), reached(0, first));
    assert_eq!(events(&mut ladder, moment(1000, 4)), reached(1, second));
    // A jump over both reaches both, in their order.
    let mut ladder = Ladder::new([vec![first], vec![second]]);
    assert_eq!(events(&mut ladder, moment(0, 0)), [reached(0, first), reached(1, second)].concat());
}

/// Half of the limit a second: 2 s ahead is foretold as soon as half is left and the speed is known.
#[test]
fn a_fast_leak_is_foretold() {
    let two_seconds = Threshold::TimeLeft(Duration::from_secs(2));
    let mut ladder = Ladder::new([vec![two_seconds]]);
    let first = (0..200).find(|step| !events(&mut ladder, moment(step * 10, 100 - step / 2)).is_empty());
    assert_eq!(first, Some(100), "at 1 s, with 50 MiB and 1 s left");
    // One of 5 % a second: at 10 %.
    let mut ladder = Ladder::new([vec![two_seconds]]);
    let slow =
        |step: u64| LadderMoment { available: Some(Bytes::new(100 * MIB - step * MIB / 20)), ..moment(step * 10, 0) };
    let first = (0..2000).find(|&step| !events(&mut ladder, slow(step)).is_empty()).unwrap();
    assert!((1800..1810).contains(&first), "{first}");
}

#[test]
fn a_large_step_at_the_start_is_no_leak() {
    let mut ladder = Ladder::new([vec![Threshold::TimeLeft(Duration::from_secs(2))]]);
    let starting = |step: u64| moment(step * 10, 100 - step.min(40));
    assert!((0..500).all(|step| events(&mut ladder, starting(step)).is_empty()));
    // Nor does what trembles fall.
    let trembling = |step: u64| LadderMoment {
        available: Some(Bytes::new(20 * MIB - step % 2 * MIB / 2)),
        ..moment(10_000 + step * 10, 0)
    };
    assert!((0..500).all(|step| events(&mut ladder, trembling(step)).is_empty()));
}

#[test]
fn pressure_is_a_threshold_of_its_own() {
    let pressed = Threshold::Pressure(20.0);
    let mut ladder = Ladder::new([vec![Threshold::Share(1.0), pressed]]);
    let at = |at_ms: u64, percent: f32| LadderMoment { pressure: Some(percent), ..moment(at_ms, 50) };
    assert!(ladder.needs_pressure());
    assert_eq!(events(&mut ladder, at(0, 20.0)), []);
    assert_eq!(events(&mut ladder, at(1000, 20.5)), reached(0, pressed));
    assert_eq!(events(&mut ladder, at(20_000, 11.0)), []);
    assert_eq!(events(&mut ladder, at(40_000, 9.0)), []);
    assert_eq!(events(&mut ladder, at(50_000, 9.0)), [LadderEvent::Over { rung: 0 }]);
}

#[test]
fn what_is_unknown_crosses_nothing() {
    let mut ladder = Ladder::new([vec![
        Threshold::Share(100.0),
        Threshold::Available(Bytes::from_mib(1)),
        Threshold::TimeLeft(Duration::MAX / 4),
        Threshold::Pressure(0.0),
    ]]);
    for at in 0..100 {
        let nothing = LadderMoment { at: Duration::from_millis(at * 100), ..LadderMoment::default() };
        assert_eq!(events(&mut ladder, nothing), []);
    }
    assert_eq!(ladder.next_look(), Duration::from_millis(250));
}

#[test]
fn the_nearer_the_limit_the_more_often_it_looks() {
    let mut ladder = Ladder::new([]);
    let mut look = |at_ms: u64, available_mib: u64| {
        assert_eq!(ladder.feed(&moment(at_ms, available_mib)).count(), 0);
        ladder.next_look()
    };
    assert_eq!(look(0, 100), Duration::from_millis(250));
    assert_eq!(look(10_000, 20), Duration::from_millis(50));
    assert_eq!(look(20_000, 1), Duration::from_millis(10));
    assert_eq!(look(30_000, 60), Duration::from_millis(150));
    // 20 MiB in 250 ms: 40 MiB last for half a second.
    assert_eq!(look(30_250, 40), Duration::from_millis(25));
}

fn thresholds() -> impl Strategy<Value = Vec<Threshold>> {
    let one = prop_oneof![
        (0..200 * MIB).prop_map(|bytes| Threshold::Available(Bytes::new(bytes))),
        (0.0..100.0_f32).prop_map(Threshold::Share),
        (0..100_000_u64).prop_map(|millis| Threshold::TimeLeft(Duration::from_millis(millis))),
        (0.0..100.0_f32).prop_map(Threshold::Pressure),
    ];
    prop::collection::vec(one, 0..4)
}

fn moments() -> impl Strategy<Value = Vec<(u64, LadderMoment)>> {
    let one = (
        0..20_000_u64,
        prop::option::of(0..200 * MIB),
        prop::option::of(0..200 * MIB),
        prop::option::of(0.0..100.0_f32),
    );
    let moment = one.prop_map(|(after, limit, available, pressure)| {
        let bytes = |amount: Option<u64>| amount.map(Bytes::new);
        (after, LadderMoment { at: Duration::ZERO, limit: bytes(limit), available: bytes(available), pressure })
    });
    prop::collection::vec(moment, 0..200)
}

proptest! {
    /// Whatever happens: each rung is reached and over in turn, at least the calm time apart, and never panics.
    #[test]
    fn each_step_is_due_once_an_episode(rungs in prop::collection::vec(thresholds(), 1..4), moments in moments()) {
        let mut ladder = Ladder::new(rungs.clone());
        let mut since = vec![None; rungs.len()];
        let mut now = Duration::ZERO;
        for (after, moment) in moments {
            now += Duration::from_millis(after);
            for event in events(&mut ladder, LadderMoment { at: now, ..moment }) {
                match event {
                    LadderEvent::Reached { rung, threshold } => {
                        prop_assert!(rungs[rung].contains(&threshold));
                        prop_assert!(since[rung].replace(now).is_none());
                    }
                    LadderEvent::Over { rung } => {
                        let began = since[rung].take();
                        prop_assert!(began.is_some_and(|began| now - began >= CALM));
                    }
                }
            }
            let look = ladder.next_look();
            prop_assert!((Duration::from_millis(10)..=Duration::from_millis(250)).contains(&look));
        }
    }

    /// Where less is available a rung that asks for that is reached no later.
    #[test]
    fn less_is_never_better(percent in 1.0..99.0_f32, amounts in prop::collection::vec(0..100_u64, 1..100), less in 0..50_u64) {
        let first = |less: u64| {
            let mut ladder = Ladder::new([vec![Threshold::Share(percent)]]);
            let mut series = amounts.iter().enumerate();
            series.position(|(at, amount)| !events(&mut ladder, moment(at as u64 * 100, amount.saturating_sub(less))).is_empty())
        };
        match (first(0), first(less)) {
            (Some(more), Some(less)) => prop_assert!(less <= more),
            (more, less) => prop_assert!(more.is_none(), "{more:?} {less:?}"),
        }
    }
}
