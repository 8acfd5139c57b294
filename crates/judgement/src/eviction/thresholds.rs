//! When the kubelet acts: the thresholds of its two memory signals, and how near they are.

use std::fmt;
use std::time::Duration;

use reprieve_readings::{Bytes, EvictionAmount, EvictionConfiguration};

use super::observation::Observation;

/// What a threshold is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EvictionSignal {
    /// `memory.available`, of the node.
    Node,
    /// `allocatableMemory.available`, of the cgroup that holds all pods.
    Allocatable,
}

impl EvictionSignal {
    /// The signal's name in the kubelet's log.
    pub const fn as_str(self) -> &'static str {
        match self {
            EvictionSignal::Node => "memory.available",
            EvictionSignal::Allocatable => "allocatableMemory.available",
        }
    }
}

impl fmt::Display for EvictionSignal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EvictionThreshold {
    /// What it is held against.
    pub signal: EvictionSignal,
    /// Below this the kubelet acts.
    pub amount: EvictionAmount,
    /// A soft threshold: the kubelet waits so long first.
    pub grace: Option<Duration>,
    /// Of a soft threshold: how long a pod gets at most to end; `None` where it gets its own grace period.
    pub pod_grace: Option<Duration>,
    /// Once it acts, it goes on until so much more is available.
    pub minimum_reclaim: Option<EvictionAmount>,
}

/// The thresholds that a configuration gives (`ParseThresholdConfig` and `addAllocatableThresholds`,
/// pkg/kubelet/eviction/helpers.go, kubelet 1.36): the hard one holds for all pods' cgroup too.
pub fn thresholds_of(configuration: &EvictionConfiguration) -> Vec<EvictionThreshold> {
    let hard = configuration.hard.map(|amount| EvictionThreshold {
        signal: EvictionSignal::Node,
        amount,
        grace: None,
        pod_grace: None,
        minimum_reclaim: configuration.minimum_reclaim,
    });
    let soft = configuration.soft.map(|(amount, grace)| EvictionThreshold {
        signal: EvictionSignal::Node,
        amount,
        grace: Some(grace),
        pod_grace: Some(configuration.soft_pod_grace).filter(|grace| *grace < Duration::MAX),
        minimum_reclaim: configuration.minimum_reclaim,
    });
    let allocatable = hard.filter(|_| configuration.allocatable);
    let allocatable = allocatable.map(|hard| EvictionThreshold { signal: EvictionSignal::Allocatable, ..hard });
    hard.into_iter().chain(soft).chain(allocatable).collect()
}

/// A threshold as it stands now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ThresholdState {
    /// Which it is.
    pub threshold: EvictionThreshold,
    /// In bytes.
    pub at: Bytes,
    /// What it is held against.
    pub observation: Observation,
}

impl ThresholdState {
    /// Whether the kubelet acts, or begins to wait for the grace period (`thresholdsMet`).
    pub fn is_met(&self) -> bool {
        self.observation.available < self.at
    }

    /// Where the kubelet stops once it acts.
    pub fn until(&self) -> Bytes {
        let more = self.threshold.minimum_reclaim.map_or(Bytes::ZERO, |more| more.of(self.observation.capacity));
        self.at.saturating_add(more)
    }

    /// How much more may be used before it is met.
    pub fn distance(&self) -> Bytes {
        self.observation.available.saturating_sub(self.at)
    }

    /// Whether it lies at or above all there is: the kubelet then evicts without end, whatever anybody does.
    pub fn is_unreachable(&self) -> bool {
        self.at >= self.observation.capacity
    }
}

/// Both of the kubelet's observations, as far as they can be made.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KubeletView {
    /// `memory.available`.
    pub node: Option<Observation>,
    /// `allocatableMemory.available`.
    pub allocatable: Option<Observation>,
}

impl KubeletView {
    /// Holds the thresholds against what is seen. One whose signal is not there is left out, as the kubelet does.
    pub fn judge(&self, thresholds: &[EvictionThreshold]) -> Vec<ThresholdState> {
        let state = |threshold: &EvictionThreshold| {
            let observation = match threshold.signal {
                EvictionSignal::Node => self.node?,
                EvictionSignal::Allocatable => self.allocatable?,
            };
            let at = threshold.amount.of(observation.capacity);
            Some(ThresholdState { threshold: *threshold, at, observation })
        };
        thresholds.iter().filter_map(state).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(available: u64) -> Observation {
        let capacity = Bytes::from_mib(1000);
        let available = Bytes::from_mib(available);
        let working_set = capacity.saturating_sub(available);
        Observation { usage: working_set, working_set, available, capacity }
    }

    #[test]
    fn the_hard_threshold_holds_for_all_pods_too_and_the_soft_one_does_not() {
        let soft = Some((EvictionAmount::Share(0.3), Duration::from_secs(90)));
        let configuration = EvictionConfiguration { soft, ..EvictionConfiguration::default() };
        let view = KubeletView { node: Some(seen(250)), allocatable: Some(seen(99)) };
        let states = view.judge(&thresholds_of(&configuration));
        let told: Vec<_> = states.iter().map(|state| (state.threshold.signal, state.at, state.is_met())).collect();
        // 0.3 in float32 is a little more than 0.3.
        assert_eq!(
            told,
            [
                (EvictionSignal::Node, Bytes::from_mib(100), false),
                (EvictionSignal::Node, Bytes::new(314_572_812), true),
                (EvictionSignal::Allocatable, Bytes::from_mib(100), true)
            ]
        );
        let apart = EvictionConfiguration { allocatable: false, ..configuration };
        assert_eq!(thresholds_of(&apart).len(), 2);
    }

    #[test]
    fn exactly_at_the_threshold_nothing_happens() {
        let configuration = EvictionConfiguration {
            minimum_reclaim: Some(EvictionAmount::Quantity(Bytes::from_mib(20))),
            ..EvictionConfiguration::default()
        };
        let state = |available| {
            let view = KubeletView { node: Some(seen(available)), allocatable: None };
            view.judge(&thresholds_of(&configuration)).remove(0)
        };
        assert!(!state(100).is_met());
        assert!(state(99).is_met());
        assert_eq!(state(99).until(), Bytes::from_mib(120));
        assert_eq!(state(130).distance(), Bytes::from_mib(30));
    }

    #[test]
    fn a_threshold_above_all_memory_is_told() {
        let hard = Some(EvictionAmount::Quantity(Bytes::from_mib(1000)));
        let configuration = EvictionConfiguration { hard, ..EvictionConfiguration::default() };
        let view = KubeletView { node: Some(seen(900)), allocatable: None };
        assert!(view.judge(&thresholds_of(&configuration)).iter().all(ThresholdState::is_unreachable));
    }
}
