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
mod need;
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
pub use need::KeeperNeed;
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
    /// How it ended.
    pub end: KeeperActEnd,
}

/// How an act ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeeperActEnd {
    /// By itself.
    Done,
    /// It was called off: what it did tells nothing of its means.
    CalledOff,
    /// The kernel could not do it at all: this means is not tried again here for a while.
    Refused,
    /// The kernel could not, and will not for any other cgroup: this means is not tried again anywhere for a while.
    RefusedEverywhere,
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
    /// Until when each means is tried on nobody, by its place in `CacheMeans::ALL`.
    absent_until: [Duration; CacheMeans::ALL.len()],
}

/// A holder with less active cache is not worth the work.
const SMALLEST: Bytes = Bytes::from_mib(4);
/// What is ordered at once while there is time, and in need: then comes a look at what came of it.
const LARGEST_ROUND: Bytes = Bytes::from_mib(128);
const LARGEST_ROUND_IN_NEED: Bytes = Bytes::from_mib(512);
/// How long a means that was refused everywhere is not tried again.
const ABSENT: Duration = Duration::from_secs(60);

impl CacheKeeper {
    /// A keeper that has seen nothing yet.
    pub fn new(settings: KeeperSettings) -> Self {
        CacheKeeper {
            settings,
            holders: BTreeMap::new(),
            thrashing: Thrashing::default(),
            refaulted: Bytes::ZERO,
            acting: false,
            absent_until: [Duration::ZERO; CacheMeans::ALL.len()],
        }
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
        self.settings.margin.of(state.at, state.until(), state.observation.capacity)
    }

    /// How much is missing at the worst of these thresholds, and how badly, with the forecast of each as far as there is
    /// one. `None` where none of them can be kept.
    pub fn need(&self, states: &[ThresholdState], forecasts: &[Forecast]) -> Option<KeeperNeed> {
        need::judge_need(states, forecasts, |state| self.margin(state), self.acting)
    }

    /// Decides at the moment `now`. `forecasts` tell when each of the thresholds is reached, in their order, and `means` are
    /// those that the kernel has, the gentlest first.
    pub fn decide(
        &mut self,
        now: Duration,
        evictions: &Evictions,
        forecasts: &[Forecast],
        means: &[CacheMeans],
    ) -> KeeperDecision {
        self.observe(now, &evictions.holders);
        if self.has_stopped() {
            return KeeperDecision::Stopped;
        }
        let Some(need) = self.need(&evictions.thresholds, forecasts) else {
            let unreachable = evictions.thresholds.first();
            return unreachable.map_or(KeeperDecision::NoThreshold, |state| KeeperDecision::Unreachable(*state));
        };
        self.acting = need.deficit > Bytes::ZERO;
        if !self.acting {
            return KeeperDecision::Far;
        }
        let absent = |means: &CacheMeans| self.absent_until.get(place(*means)).is_some_and(|until| now < *until);
        let means: Vec<CacheMeans> = means.iter().copied().filter(|means| !absent(means)).collect();
        let (orders, spared) = self.order(now, evictions, &need, &means);
        KeeperDecision::Near { state: need.state, margin: need.margin, orders, spared }
    }

    /// Is told what came of an order.
    pub fn record(&mut self, now: Duration, order: &KeeperOrder, outcome: KeeperOutcome) {
        self.thrashing.gained(now, outcome.gained());
        if outcome.end == KeeperActEnd::RefusedEverywhere
            && let Some(until) = self.absent_until.get_mut(place(order.means))
        {
            *until = now + ABSENT;
        }
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
        need: &KeeperNeed,
        means: &[CacheMeans],
    ) -> (Vec<KeeperOrder>, Vec<KeeperSpared>) {
        let of_pods_only = need.state.threshold.signal == EvictionSignal::Allocatable;
        let counts =
            |holder: &&CacheHolder| holder.active_file() >= SMALLEST && (!of_pods_only || holder.owner.pod.is_some());
        let mut candidates: Vec<&CacheHolder> = evictions.holders.iter().filter(counts).collect();
        candidates.sort_by_key(|holder| {
            let used = self.holders.get(&holder.path).is_some_and(HolderState::is_used);
            (rank(holder.owner.qos), used, std::cmp::Reverse(holder.active_file()))
        });
        let mut left = need.deficit.min(if need.is_urgent { LARGEST_ROUND_IN_NEED } else { LARGEST_ROUND });
        let mut allowances = Allowances::default();
        let mut orders = Vec::new();
        let mut spared = Vec::new();
        for holder in candidates {
            if left == Bytes::ZERO {
                break;
            }
            let Some(known) = self.holders.get(&holder.path) else { continue };
            let allowance = allowances.of(holder);
            let means = match known.choose(now, holder, allowance, means, need.is_urgent) {
                Ok(means) => means,
                Err(reason) => {
                    spared.push(KeeperSpared { path: holder.path.clone(), reason });
                    continue;
                }
            };
            let amount = left.min(holder.active_file()).min(allowance);
            left = left.saturating_sub(amount);
            // Before a step comes to what is active, it frees what is not.
            let first = if need.is_urgent { holder.inactive_file() } else { Bytes::ZERO };
            let free_at_most = amount.saturating_add(first).min(allowance);
            allowances.take(holder, free_at_most);
            orders.push(KeeperOrder {
                path: holder.path.clone(),
                means,
                amount,
                free_at_most,
                in_hurry: need.is_urgent,
            });
            // It takes so long that things have to be looked at anew after it.
            if means == CacheMeans::Deprioritise {
                break;
            }
        }
        (orders, spared)
    }
}

/// The place of a means in `CacheMeans::ALL`.
fn place(means: CacheMeans) -> usize {
    CacheMeans::ALL.iter().position(|known| *known == means).unwrap_or_default()
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
