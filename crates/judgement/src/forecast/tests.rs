//! The forecast on made-up series.
use proptest::prelude::*;

use super::*;

fn forecast(left: impl IntoIterator<Item = u64>) -> Forecast {
    let mut falling = Falling::default();
    for (second, left) in left.into_iter().enumerate() {
        falling.push(Duration::from_secs(second as u64), Bytes::from_mib(left));
    }
    falling.forecast(Bytes::from_mib(100))
}

#[test]
fn a_steady_fall_is_foretold_exactly() {
    let expected = Forecast::In {
        best: Duration::from_secs(30),
        soonest: Duration::from_millis(24_500),
        latest: Some(Duration::from_millis(35_500)),
    };
    assert_eq!(forecast((0..11).map(|second| 500 - 10 * second)), expected);
}

#[test]
fn outliers_don_t_matter() {
    let with_outliers = (0..20).map(|second| if second % 7 == 3 { 900 } else { 500 - 10 * second });
    let Forecast::In { best, .. } = forecast(with_outliers) else { panic!() };
    assert!((19..=23).contains(&best.as_secs()), "{best:?}");
}

#[test]
fn nothing_points_there() {
    assert_eq!(forecast([500; 20]), Forecast::None, "steady");
    assert_eq!(forecast((0..20).map(|second| 300 + second)), Forecast::None, "rising");
    assert_eq!(forecast((0..20).map(|second| 500 - second % 2)), Forecast::None, "to and fro");
    assert_eq!(forecast((0..30).map(|second| 500 - 10 * second.min(12))), Forecast::None, "it has stopped");
    assert_eq!(forecast([500, 400, 300]), Forecast::Unknown);
    assert_eq!(forecast([]), Forecast::Unknown);
    assert_eq!(forecast([100]), Forecast::Now);
}

#[test]
fn a_new_pace_is_noticed() {
    let faster = (0..30).map(|second| if second < 20 { 1000 - second } else { 980 - (second - 20) * 50 });
    let Forecast::In { best, .. } = forecast(faster) else { panic!() };
    assert!((7..=10).contains(&best.as_secs()), "430 MiB at 50 MiB/s: {best:?}");
}

#[test]
fn the_clock_may_stand_still_or_go_back() {
    let mut falling = Falling::default();
    for second in [0, 0, 0, 5, 4, 5, 6, 7, 8, 9] {
        falling.push(Duration::from_secs(second), Bytes::from_mib(1000 - 10 * second));
    }
    assert!(matches!(falling.forecast(Bytes::ZERO), Forecast::In { best, .. } if best.as_secs() == 91));
}

/// What is foretold at each second of a series above this floor.
fn forecasts(left: impl IntoIterator<Item = u64>, floor: u64) -> Vec<Forecast> {
    let mut falling = Falling::default();
    let at = |(second, left): (usize, u64)| {
        falling.push(Duration::from_secs(second as u64), Bytes::from_mib(left));
        falling.forecast(Bytes::from_mib(floor))
    };
    left.into_iter().enumerate().map(at).collect()
}

/// Falls from so much by 4 MiB a second, down to that.
fn leak(from: u64, to: u64) -> impl Iterator<Item = u64> {
    (to..=from).rev().step_by(4)
}

#[test]
fn a_second_and_a_third_leak_in_the_same_place_are_foretold_like_the_first() {
    let lives =
        [("the limit", 0, 3), ("the last reading before the kill", 0, 20), ("the kubelet's threshold", 100, 92)];
    for (what, floor, deepest) in lives {
        let life: Vec<u64> = leak(256, deepest).collect();
        let all = forecasts(life.iter().copied().cycle().take(life.len() * 3), floor);
        for (number, forecasts) in all.chunks(life.len()).enumerate() {
            let ten_seconds_left = life.iter().position(|left| *left <= floor + 40).unwrap();
            let Forecast::In { best, .. } = forecasts[ten_seconds_left] else {
                panic!("{what}, life {number}: {:?}", forecasts[ten_seconds_left])
            };
            assert!((9..=11).contains(&best.as_secs()), "{what}, life {number}: {best:?}");
            // Too few readings of this life, and after that all the way down.
            let silent = forecasts.iter().take_while(|forecast| forecast.best().is_none()).count();
            assert!(silent <= 5 && forecasts[silent..].iter().all(|forecast| forecast.best().is_some()), "{what}");
        }
    }
}

#[test]
fn a_raised_limit_is_no_breath() {
    for raised_at in [20, 60, 120] {
        let before = leak(256, raised_at).map(|left| (256, left));
        let mut falling = Falling::default();
        let at = |(second, (limit, left)): (usize, (u64, u64))| {
            let falling = falling.below(Bytes::from_mib(limit));
            falling.push(Duration::from_secs(second as u64), Bytes::from_mib(left));
            falling.forecast(Bytes::ZERO)
        };
        let all: Vec<_> = before.chain(leak(256 + raised_at, 0).map(|left| (512, left))).enumerate().map(at).collect();
        let half_way = all[all.len() - 33];
        assert!(matches!(half_way, Forecast::In { best, .. } if (31..=33).contains(&best.as_secs())), "{half_way:?}");
    }
    // Also where nobody says that it was, if it was raised at the last moment.
    let all = forecasts(leak(256, 20).chain(leak(276, 0)), 0);
    assert!(matches!(all[all.len() - 11], Forecast::In { best, .. } if (9..=11).contains(&best.as_secs())), "{all:?}");
}

#[test]
fn breaths_far_from_the_floor_give_no_forecast_until_they_are_long_ago_or_the_fall_is_none() {
    let breath: Vec<u64> = leak(200, 100).collect();
    let breaths = || breath.iter().copied().cycle().take(breath.len() * 4);
    let all = forecasts(breaths(), 0);
    assert!(all[breath.len() + 1..].iter().all(|forecast| *forecast == Forecast::None), "{all:?}");
    // A quarter of the pace: no breath took so long.
    let slow = (104..=200).rev();
    let last = forecasts(breaths().chain(slow), 0).pop().unwrap();
    assert!(matches!(last, Forecast::In { best, .. } if (100..110).contains(&best.as_secs())), "{last:?}");
    let long_ago = forecasts(breath.iter().copied().chain([200; 700]).chain(leak(200, 110)), 0).pop().unwrap();
    assert!(matches!(long_ago, Forecast::In { .. }), "{long_ago:?}");
}

proptest! {
    #[test]
    fn bounds_enclose_the_best_guess(left: Vec<u64>, floor: u64) {
        let mut falling = Falling::default();
        for (second, left) in left.iter().enumerate() {
            falling.push(Duration::from_secs(second as u64), Bytes::new(*left));
        }
        if let Forecast::In { best, soonest, latest } = falling.forecast(Bytes::new(floor)) {
            prop_assert!(soonest <= best);
            prop_assert!(latest.is_none_or(|latest| best <= latest));
            prop_assert!(best <= HORIZON);
        }
    }
}
