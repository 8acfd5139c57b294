//! Which cache is to be taken out of the kubelet's count now, and how?
//!
//! As what the kubelet believes to be available nears its threshold, the keeper orders page cache out of the working set:
//! of BestEffort pods first and Guaranteed ones last, the cold before the used, the largest first, by the gentlest means
//! that works. What comes back soon was wanted: its cgroup is then left alone for a while, twice as long each time. And
//! where most of what is freed comes back, the keeper stops itself for good.
//!
//! It only decides; orders are carried out elsewhere, and [`CacheKeeper::record`] is told what came of them.

mod allowance;
mod holder;
mod margin;
mod pace;
#[cfg(test)]
mod tests;
mod thrashing;

use std::collections::BTreeMap;
use std::time::Duration;

use reprieve_readings::{Bytes, CacheMeans, CgroupPath, QosClass};

use crate::eviction::{CacheHolder, EvictionSignal, Evictions, ThresholdState};
use crate::forecast::Forecast;
use allowance::Allowances;
use holder::HolderState;
use thrashing::Thrashing;

pub use holder::SparedReason;
pub use margin::Margin;
pub use pace::LookPace;

/// What the keeper goes by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeeperSettings {
    /// How near the threshold it begins.
    pub margin: Margin,
    /// The kernel counts refaults in pages of this size.
    pub page_size: Bytes,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeeperOrder {
    /// The cgroup.
    pub path: CgroupPath,
    /// By what means.
    pub means: CacheMeans,
    /// By how much the working set is to get smaller. Means that know no amount take it for what is hoped for.
    pub amount: Bytes,
    /// What may be freed for it.
    pub free_at_most: Bytes,
    /// Whether there is no time for pauses.
    pub in_hurry: bool,
}

/// A cgroup whose cache is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeeperSpared {
    /// The cgroup.
    pub path: CgroupPath,
    /// Why.
    pub reason: SparedReason,
}

/// What came of an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeeperOutcome {
    /// Bytes that were freed.
    pub freed: Bytes,
    /// Bytes by which the working set has shrunk.
    pub working_set_removed: Bytes,
    /// Whether the kernel could not do it at all: this means is not tried again here for a while.
    pub refused: bool,
}

impl KeeperOutcome {
    /// What it was good for.
    fn gained(&self) -> Bytes {
        self.freed.max(self.working_set_removed)
    }
}

/// How things stand, and what to do.
#[derive(Debug, Clone, PartialEq)]
pub enum KeeperDecision {
    /// There is no threshold, or nothing to hold against it.
    NoThreshold,
    /// A threshold at or above all memory: nobody can keep that from being crossed.
    Unreachable(ThresholdState),
    /// Far enough from every threshold.
    Far,
    /// The margin is crossed.
    Near {
        /// Whose margin.
        state: ThresholdState,
        /// Where the margin lies.
        margin: Bytes,
        /// What to do, in this order.
        orders: Vec<KeeperOrder>,
        /// Who is left alone.
        spared: Vec<KeeperSpared>,
    },
    /// It has stopped itself: what it frees comes back at once.
    Stopped,
}

/// The keeper's memory from one decision to the next.
#[derive(Debug)]
pub struct CacheKeeper {
    settings: KeeperSettings,
    holders: BTreeMap<CgroupPath, HolderState>,
    thrashing: Thrashing,
    refaulted: Bytes,
    acting: bool,
}

/// A holder with less active cache is not worth the work.
const SMALLEST: Bytes = Bytes::from_mib(4);
/// What is ordered at once while there is time, and in need: then comes a look at what came of it.
const LARGEST_ROUND: Bytes = Bytes::from_mib(128);
const LARGEST_ROUND_IN_NEED: Bytes = Bytes::from_mib(512);
/// Two rounds of the kubelet: a crossing foretold within is as good as sure.
const SURE: Duration = Duration::from_secs(20);

impl CacheKeeper {
    /// A keeper that has seen nothing yet.
    pub fn new(settings: KeeperSettings) -> Self {
        let thrashing = Thrashing::default();
        CacheKeeper { settings, holders: BTreeMap::new(), thrashing, refaulted: Bytes::ZERO, acting: false }
    }

    /// How much of what was freed came back since the start.
    pub fn refaulted(&self) -> Bytes {
        self.refaulted
    }

    /// Whether it has stopped itself.
    pub fn has_stopped(&self) -> bool {
        self.thrashing.is_proved()
    }

    /// The margin of a threshold.
    pub fn margin(&self, state: &ThresholdState) -> Bytes {
        self.settings.margin.of(state.at, state.observation.capacity)
    }

    /// Decides at the moment `now`. `forecast` tells when the nearest threshold is reached, and `means` are those that the
    /// kernel has, the gentlest first.
    pub fn decide(
        &mut self,
        now: Duration,
        evictions: &Evictions,
        forecast: Forecast,
        means: &[CacheMeans],
    ) -> KeeperDecision {
        self.observe(now, &evictions.holders);
        if self.has_stopped() {
            return KeeperDecision::Stopped;
        }
        let reachable = |state: &&ThresholdState| !state.is_unreachable();
        let furthest_below = evictions
            .thresholds
            .iter()
            .filter(reachable)
            .map(|state| (self.margin(state), state))
            .max_by_key(|(margin, state)| margin.saturating_sub(state.observation.available));
        let Some((margin, state)) = furthest_below else {
            let unreachable = evictions.thresholds.first();
            return unreachable.map_or(KeeperDecision::NoThreshold, |state| KeeperDecision::Unreachable(*state));
        };
        // Once begun, a little further than the margin: else each reading near it would begin anew.
        let further = if self.acting { margin.saturating_sub(state.at).get() / 8 } else { 0 };
        let goal = margin.saturating_add(Bytes::new(further));
        let deficit = goal.saturating_sub(state.observation.available);
        self.acting = deficit > Bytes::ZERO;
        if !self.acting {
            return KeeperDecision::Far;
        }
        let zone = margin.saturating_sub(state.at).get();
        let urgent = state.distance().get() < zone / 4 || forecast.best().is_some_and(|time| time <= SURE);
        let (orders, spared) = self.order(now, evictions, state, Need { deficit, urgent }, means);
        KeeperDecision::Near { state: *state, margin, orders, spared }
    }

    /// Is told what came of an order.
    pub fn record(&mut self, now: Duration, order: &KeeperOrder, outcome: KeeperOutcome) {
        self.thrashing.gained(now, outcome.gained());
        if let Some(holder) = self.holders.get_mut(&order.path) {
            holder.record(now, order, outcome);
        }
    }

    /// Takes the readings of all holders, and forgets those that are gone.
    fn observe(&mut self, now: Duration, holders: &[CacheHolder]) {
        let mut known = std::mem::take(&mut self.holders);
        for holder in holders {
            let mut state = known.remove(&holder.path).unwrap_or_else(|| HolderState::new(now, holder));
            let came_back = state.observe(now, holder, self.settings.page_size);
            self.refaulted = self.refaulted.saturating_add(came_back);
            self.thrashing.came_back(now, came_back);
            self.holders.insert(holder.path.clone(), state);
        }
    }

    fn order(
        &self,
        now: Duration,
        evictions: &Evictions,
        state: &ThresholdState,
        need: Need,
        means: &[CacheMeans],
    ) -> (Vec<KeeperOrder>, Vec<KeeperSpared>) {
        let of_pods_only = state.threshold.signal == EvictionSignal::Allocatable;
        let counts =
            |holder: &&CacheHolder| holder.active_file() >= SMALLEST && (!of_pods_only || holder.owner.pod.is_some());
        let mut candidates: Vec<&CacheHolder> = evictions.holders.iter().filter(counts).collect();
        candidates.sort_by_key(|holder| {
            let used = self.holders.get(&holder.path).is_some_and(HolderState::is_used);
            (rank(holder.owner.qos), used, std::cmp::Reverse(holder.active_file()))
        });
        let mut left = need.deficit.min(if need.urgent { LARGEST_ROUND_IN_NEED } else { LARGEST_ROUND });
        let mut allowances = Allowances::default();
        let mut orders = Vec::new();
        let mut spared = Vec::new();
        for holder in candidates {
            if left == Bytes::ZERO {
                break;
            }
            let Some(known) = self.holders.get(&holder.path) else { continue };
            let allowance = allowances.of(holder);
            match known.choose(now, holder, allowance, means, need.urgent) {
                Ok(chosen) => {
                    let amount = left.min(holder.active_file()).min(allowance);
                    left = left.saturating_sub(amount);
                    // Before a step comes to what is active, it frees what is not.
                    let first = if need.urgent { holder.inactive_file() } else { Bytes::ZERO };
                    let free_at_most = amount.saturating_add(first).min(allowance);
                    allowances.take(holder, free_at_most);
                    let path = holder.path.clone();
                    orders.push(KeeperOrder { path, means: chosen, amount, free_at_most, in_hurry: need.urgent });
                }
                Err(reason) => spared.push(KeeperSpared { path: holder.path.clone(), reason }),
            }
        }
        (orders, spared)
    }
}

/// How much is wanted, and how badly.
#[derive(Debug, Clone, Copy)]
struct Need {
    deficit: Bytes,
    urgent: bool,
}

/// The less a pod was promised, the sooner its cache goes. What belongs to no pod comes after BestEffort.
fn rank(qos: Option<QosClass>) -> u8 {
    match qos {
        Some(QosClass::BestEffort) => 0,
        None => 1,
        Some(QosClass::Burstable) => 2,
        Some(QosClass::Guaranteed) => 3,
    }
}
