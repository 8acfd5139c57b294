//! How much is missing at the thresholds, and how badly.

use std::cmp::Reverse;
use std::time::Duration;

use reprieve_readings::Bytes;

use crate::eviction::ThresholdState;
use crate::forecast::Forecast;

/// What is to be gained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeeperNeed {
    /// At whose margin most is missing, or the nearest where nothing is.
    pub state: ThresholdState,
    /// Where that margin lies.
    pub margin: Bytes,
    /// What is missing there.
    pub deficit: Bytes,
    /// Whether any threshold is so near that there is no time for pauses.
    pub is_urgent: bool,
}

impl KeeperNeed {
    /// Whether what was ordered before, in a hurry or not, is to be called off: nothing is missing any more, or it goes on
    /// too slowly by now.
    pub fn calls_off(&self, in_hurry: bool) -> bool {
        self.deficit == Bytes::ZERO || self.is_urgent && !in_hurry
    }
}

/// Two rounds of the kubelet: a crossing foretold within is as good as sure.
const SURE: Duration = Duration::from_secs(20);

/// Judges all thresholds that can be kept, with the forecasts in their order. `None` where there is none.
pub(super) fn judge_need(
    states: &[ThresholdState],
    forecasts: &[Forecast],
    margin: impl Fn(&ThresholdState) -> Bytes,
    acting: bool,
) -> Option<KeeperNeed> {
    let forecasts = forecasts.iter().copied().chain(std::iter::repeat(Forecast::Unknown));
    let reachable = || states.iter().zip(forecasts.clone()).filter(|(state, _)| !state.is_unreachable());
    let of = |state: &ThresholdState| {
        let margin = margin(state);
        (margin, margin.saturating_sub(state.at).get())
    };
    let is_urgent = reachable().any(|(state, forecast)| {
        let (_, zone) = of(state);
        state.distance().get() < zone / 4 || forecast.best().is_some_and(|time| time <= SURE)
    });
    let needs = reachable().map(|(state, _)| {
        let (margin, zone) = of(state);
        // Once begun, a little further than the margin: else each reading near it would begin anew.
        let goal = margin.saturating_add(Bytes::new(if acting { zone / 8 } else { 0 }));
        let deficit = goal.saturating_sub(state.observation.available);
        let surplus = state.observation.available.saturating_sub(goal);
        (surplus, KeeperNeed { state: *state, margin, deficit, is_urgent })
    });
    needs.min_by_key(|(surplus, need)| (Reverse(need.deficit), *surplus)).map(|(_, need)| need)
}
