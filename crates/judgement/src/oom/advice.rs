//! What to do about a kill.

use reprieve_readings::{Bytes, Missing, OomLogReport};

use super::choice::WhyVictim;
use super::memory::MainUser;
use super::{OomExplanation, Part};
use crate::FirstProcess;
use crate::OomKind;

/// Something to do, or to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OomAdvice {
    /// The runtime of this program can be told the limit: it keeps below it then, or ends with an error of its own.
    SizeRuntime {
        /// The program.
        name: Vec<u8>,
    },
    /// The program needs more than its container may have: raise the container's limit, or find what grows.
    RaiseContainerLimit {
        /// What it is now.
        limit: Option<Bytes>,
    },
    /// The containers of the pod together need more than the pod's limit.
    RaisePodLimit {
        /// What it is now.
        limit: Option<Bytes>,
    },
    /// A limit further up is too small for all that is inside.
    RaiseAncestorLimit {
        /// What it is now.
        limit: Option<Bytes>,
    },
    /// The limit on memory and swap together was hit: raising the one on memory alone changes nothing.
    RaiseSwapLimit,
    /// Fewer workers, or more memory: many processes of one name have the most.
    FewerWorkers {
        /// Their name.
        name: Vec<u8>,
        /// How many there are.
        count: usize,
    },
    /// Files in tmpfs or shared memory hold it, which no kill frees: delete them, or limit the tmpfs.
    LimitTmpfs {
        /// How much they hold.
        bytes: Bytes,
    },
    /// The kernel's own objects hold it: look at slabtop, and for a leak in a driver.
    LookAtSlab {
        /// The largest of them, where the log tells.
        name: Option<Vec<u8>>,
        /// How much it holds.
        bytes: Option<Bytes>,
    },
    /// Page tables hold it: many processes that map much shared memory. Huge pages help.
    UseHugePages,
    /// The machine was too full: set limits and requests that add up to less.
    SetNodeLimits,
    /// The memory nodes that were allowed were full, though others may not have been.
    AllowMoreNodes,
    /// Somebody wanted a kill (SysRq f).
    AskWhoPressed,
    /// The victim was taken for its `oom_score_adj`: whoever set that chose it.
    CheckScoreAdjustment,
    /// Page cache was left, which the kernel could not take fast enough: slow or failing disk, or cache in use.
    CacheWasLeft {
        /// How much.
        bytes: Bytes,
    },
    /// The first process lives on without its child, and Kubernetes says nothing: restart the container.
    RestartUnseen,
    /// The machine panics when memory runs out, because `vm.panic_on_oom` is set.
    CheckPanicSetting,
    /// The table of processes is missing: turn `vm.oom_dump_tasks` on to be told more next time.
    KeepTaskTable,
}

/// The advice for a report, the most useful first.
pub(super) fn judge_advice(report: &OomLogReport, found: &OomExplanation) -> Vec<OomAdvice> {
    let mut advice = Vec::new();
    by_user(report, found, &mut advice);
    by_kind(report, found, &mut advice);
    if found.first_process == FirstProcess::Survived {
        advice.push(OomAdvice::RestartUnseen);
    }
    if found.ranking.as_ref().is_some_and(|ranking| ranking.why == WhyVictim::Adjusted) {
        advice.push(OomAdvice::CheckScoreAdjustment);
    }
    if let Some(bytes) = cache_left(found) {
        advice.push(OomAdvice::CacheWasLeft { bytes });
    }
    if report.panic.is_some() {
        advice.push(OomAdvice::CheckPanicSetting);
    }
    if report.tasks.is_none() && !report.missing.contains(&Missing::Beginning) {
        advice.push(OomAdvice::KeepTaskTable);
    }
    advice
}

fn by_user(report: &OomLogReport, found: &OomExplanation, advice: &mut Vec<OomAdvice>) {
    match &found.main_user {
        MainUser::SharedMemory { bytes } => advice.push(OomAdvice::LimitTmpfs { bytes: *bytes }),
        MainUser::UnreclaimableSlab { .. } => {
            let largest = report.slabs.iter().max_by_key(|slab| slab.total);
            let name = largest.map(|slab| slab.name.clone());
            advice.push(OomAdvice::LookAtSlab { name, bytes: largest.map(|slab| slab.total) });
        }
        MainUser::PageTables { .. } => advice.push(OomAdvice::UseHugePages),
        MainUser::Process { name, .. } if found.kind.kind.is_cgroup() && has_runtime(name) => {
            advice.push(OomAdvice::SizeRuntime { name: name.clone() });
        }
        MainUser::Processes { name, count, .. } => {
            advice.push(OomAdvice::FewerWorkers { name: name.clone(), count: *count });
        }
        MainUser::Process { .. } | MainUser::Unclear => {}
    }
}

fn by_kind(report: &OomLogReport, found: &OomExplanation, advice: &mut Vec<OomAdvice>) {
    let limit = report.memory.and_then(|memory| memory.limit.bytes());
    if found.kind.with_swap {
        advice.push(OomAdvice::RaiseSwapLimit);
    }
    match found.kind.kind {
        OomKind::ContainerLimit | OomKind::CgroupLimit => advice.push(OomAdvice::RaiseContainerLimit { limit }),
        OomKind::PodLimit => advice.push(OomAdvice::RaisePodLimit { limit }),
        OomKind::AncestorLimit => advice.push(OomAdvice::RaiseAncestorLimit { limit }),
        OomKind::Node => advice.push(OomAdvice::SetNodeLimits),
        OomKind::Cpuset | OomKind::MemoryPolicy => advice.push(OomAdvice::AllowMoreNodes),
        OomKind::SysRq => advice.push(OomAdvice::AskWhoPressed),
        OomKind::Unknown => {}
    }
}

/// Programs whose runtime `reprieve exec` can tell a limit, by the names that their processes have.
fn has_runtime(name: &[u8]) -> bool {
    const NAMES: [&[u8]; 9] =
        [b"java", b"node", b"dotnet", b"beam.smp", b"python", b"python3", b"ruby", b"php-fpm", b"postgres"];
    NAMES.contains(&name)
}

/// Page cache that was left, if it was a tenth or more of the memory.
fn cache_left(found: &OomExplanation) -> Option<Bytes> {
    let memory = found.memory.as_ref()?;
    let cache = memory.parts.iter().find(|part| part.part == Part::PageCache)?;
    let left = memory.reclaimable?.min(cache.bytes);
    (left.get() >= memory.total.get() / 10 && left > Bytes::ZERO).then_some(left)
}
