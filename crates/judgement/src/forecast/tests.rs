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
