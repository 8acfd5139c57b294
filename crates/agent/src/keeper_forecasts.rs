//! What the agent foretells: when thresholds are reached, and when cgroups have nothing left below their limits.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use reprieve_judgement::{Falling, Forecast, ThresholdState};
use reprieve_linux::CgroupId;
use reprieve_readings::Bytes;
use reprieve_report::{CgroupFigures, CgroupLabels};

use crate::node::Node;

/// The readings of all that may run out.
///
/// A forecast looks back by a number of readings. Near a margin scans come up to twenty times a second, and so they would
/// soon look back by a second or two: what comes early is foretold from, and not remembered.
#[derive(Debug)]
pub(crate) struct Forecasts {
    least_apart: Duration,
    taken: Option<Duration>,
    is_early: bool,
    falling: Vec<Falling>,
    thresholds: Vec<Forecast>,
    limits: HashMap<CgroupId, Falling>,
}

impl Forecasts {
    /// For scans that come at this interval.
    pub(crate) fn new(interval: Duration) -> Self {
        Forecasts {
            // No scan is ever quite on time.
            least_apart: interval.mul_f64(0.9),
            taken: None,
            is_early: false,
            falling: Vec::new(),
            thresholds: Vec::new(),
            limits: HashMap::new(),
        }
    }

    /// Takes what a scan has found.
    pub(crate) fn take(&mut self, now: Duration, states: &[ThresholdState]) {
        self.is_early = self.taken.is_some_and(|taken| now.saturating_sub(taken) < self.least_apart);
        if !self.is_early {
            self.taken = Some(now);
        }
        self.falling.resize_with(states.len(), Falling::default);
        self.thresholds.clear();
        for (state, falling) in states.iter().zip(&mut self.falling) {
            let mut with_this = falling.clone();
            with_this.push(now, state.observation.available);
            self.thresholds.push(with_this.forecast(state.at));
            if !self.is_early {
                *falling = with_this;
            }
        }
    }

    /// For each of the thresholds last taken.
    pub(crate) fn thresholds(&self) -> &[Forecast] {
        &self.thresholds
    }

    /// What was foretold was of others.
    pub(crate) fn forget_thresholds(&mut self) {
        self.falling.clear();
    }

    /// For all cgroups with a limit of their own, after `take`.
    pub(crate) fn limits(
        &mut self,
        now: Duration,
        figures: &[CgroupFigures],
        node: &Node,
    ) -> Vec<(Arc<CgroupLabels>, Forecast)> {
        let mut seen: HashMap<CgroupId, Falling> = HashMap::with_capacity(self.limits.len());
        let mut forecasts = Vec::new();
        let by_labels: HashMap<*const CgroupLabels, &CgroupFigures> = figures
            .iter()
            .filter(|figures| figures.limit.is_some())
            .map(|figures| (Arc::as_ptr(&figures.labels), figures))
            .collect();
        for cgroup in node.tree.iter() {
            let Some(known) = node.known.get(cgroup.id()) else { continue };
            let Some(figures) = by_labels.get(&Arc::as_ptr(&known.labels)) else { continue };
            let Some((left, limit)) = figures.available.zip(figures.limit) else { continue };
            let mut falling = self.limits.remove(&cgroup.id()).unwrap_or_default();
            if falling.below(limit).last().is_none() || !self.is_early {
                falling.push(now, left);
            }
            forecasts.push((Arc::clone(&known.labels), falling.forecast(Bytes::ZERO)));
            seen.insert(cgroup.id(), falling);
        }
        self.limits = seen;
        forecasts
    }
}

#[cfg(test)]
mod tests {
    use reprieve_judgement::{KubeletView, Observation, thresholds_of};
    use reprieve_readings::EvictionConfiguration;

    use super::*;

    #[test]
    fn early_scans_do_not_shorten_what_a_forecast_looks_back_by() {
        let mut forecasts = Forecasts::new(Duration::from_secs(1));
        // For half a minute each second, then for another one twenty times a second; 2 MiB less in each second.
        let moments = (0..30).map(|second| second * 1000).chain((600..1200).map(|tick| tick * 50));
        for millis in moments {
            let available = Bytes::new((700 << 20) - 2 * millis * (1 << 20) / 1000);
            let capacity = Bytes::from_mib(1000);
            let working_set = capacity.saturating_sub(available);
            let node = Observation { usage: working_set, working_set, available, capacity };
            let view = KubeletView { node: Some(node), allocatable: None };
            let states = view.judge(&thresholds_of(&EvictionConfiguration::default()));
            forecasts.take(Duration::from_millis(millis), &states);
        }
        let [Forecast::In { best, .. }] = forecasts.thresholds() else { panic!("{forecasts:?}") };
        assert_eq!(best.as_secs(), 240, "the 480 MiB that are left, and it says so at once");
    }
}
