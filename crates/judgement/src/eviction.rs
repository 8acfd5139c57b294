//! When will the kubelet evict pods for memory, which first, and how wrong is it about what is left?
//!
//! The kubelet counts active page cache as used and never reclaims it: it evicts in its place. `observation` computes
//! what it sees by its own formulas, `thresholds` when it acts, `ranking` whom it takes first; `truth` puts beside that
//! what could be had without harm, `standing` names who holds the cache, and
//! `assessment` puts it all together for one moment. Formulas are those of kubelet 1.36.2,
//! checked against figures that it served.

mod assessment;
mod observation;
mod ranking;
mod standing;
mod thresholds;
mod truth;

pub use assessment::{CacheHolder, CgroupFacts, EvictionRules, Evictions, ProtectedCgroup, judge_evictions};
pub use observation::{NodeUsage, Observation, judge_allocatable, judge_node};
pub use ranking::{PodMemory, RankedPod, rank_pods};
pub use standing::{StandingCache, StandingReason, judge_standing_cache};
pub use thresholds::{EvictionSignal, EvictionThreshold, KubeletView, ThresholdState, thresholds_of};
pub use truth::NodeTruth;
