//! Pure functions of readings: each file answers one question, does no IO and takes the time as an argument.
//!
//! | file | question |
//! |---|---|
//! | `available` | How much memory may a cgroup still use before one of its processes is killed, or slowed down? |
//! | `changes` | What changed about the memory of a container? |
//! | `eviction` | When will the kubelet evict pods for memory, which first, and how wrong is it? |
//! | `container_meminfo` | What would `/proc/meminfo` say if it spoke of a container? |
//! | `first_process` | Did the first process of a container survive a kill, so that nobody is told? |
//! | `forecast` | How long until what is left reaches a floor? |
//! | `keeper` | Which cache is to be taken out of the kubelet's count now, and how? |
//! | `kills` | Which kills happened, and who were the victims? |
//! | `lineage` | Which memory cgroup did a task belong to, going by who was moved and who was made? |
//! | `ladder` | Which steps are due, as a container runs out of memory? |
//! | `sizing` | What limit should a program's runtime keep to, so that it stays below the container's? |
//! | `victims` | Which processes of a container were killed, where only a counter tells of it? |

mod available;
mod changes;
mod container_meminfo;
#[cfg(feature = "kubernetes")]
mod eviction;
mod first_process;
mod forecast;
#[cfg(feature = "kubernetes")]
mod keeper;
mod kills;
mod ladder;
mod lineage;
#[cfg(feature = "oom-log")]
mod oom;
mod oom_kind;
mod sizing;
mod victims;

pub use available::{
    Available, Binding, Estimate, Headroom, HiddenLimit, judge_available, judge_hidden, judge_limit, judge_within,
};
pub use changes::{Change, ChangeDetector, Moment, Thresholds};
pub use container_meminfo::judge_meminfo;
#[cfg(feature = "kubernetes")]
pub use eviction::ProtectedCgroup;
#[cfg(feature = "kubernetes")]
pub use eviction::{
    CacheHolder, CgroupFacts, EvictionRules, EvictionSignal, EvictionThreshold, Evictions, KubeletView, NodeTruth,
    NodeUsage, Observation, PodMemory, RankedPod, StandingCache, StandingReason, ThresholdState, judge_allocatable,
    judge_evictions, judge_node, judge_standing_cache, rank_pods, thresholds_of,
};
pub use first_process::{
    FirstProcess, OldestSurvivor, RememberedProcess, VictimProcess, judge_remembered, judge_survivors,
};
pub use forecast::{Falling, Forecast};
#[cfg(feature = "kubernetes")]
pub use keeper::{
    CacheKeeper, KeeperActEnd, KeeperDecision, KeeperNeed, KeeperOrder, KeeperOutcome, KeeperSettings, KeeperSpared,
    LookPace, Margin, SparedReason,
};
pub use kills::{
    Identity, Kill, KillFilter, KillId, KillKey, KillLedger, KillPlace, KillRecord, KillTotal, KillTotals,
    LedgerChange, NamelessKills, Place, ProcessTable, Progress, SavedLedger, SeenProcess, Sighting, Told, Victim,
    Visibility, judge_likely_victims,
};
pub use ladder::{Ladder, LadderEvent, LadderMoment, Threshold};
pub use lineage::{Lineage, TaskCgroup};
#[cfg(feature = "oom-log")]
pub use oom::{
    Candidate, Certainty, MainUser, MemoryPart, MemoryUse, OomAdvice, OomExplanation, OomKindFinding, Part, Ranking,
    WhyVictim, judge_oom,
};
pub use oom_kind::OomKind;
pub use sizing::{
    Advice, Choice, LeftAlone, Recognised, Runtime, Setting, SettingChange, Sizing, judge_sizing, recognise,
};
pub use victims::{ContainerKill, Evidence, Suspect, VictimFinder};
