//! Which limit was hit: a container's, its pod's, one further up, or the machine's end.

use reprieve_readings::{Constraint, Limit, LimitUse, OomLogReport, OomScope, Owner};

use super::Certainty;
use crate::OomKind;

/// The kind, how sure it is, and whose cgroups these are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OomKindFinding {
    /// The kind.
    pub kind: OomKind,
    /// How sure it is.
    pub certainty: Certainty,
    /// Whether the limit on memory and swap together was hit (v1), with memory below its own.
    pub with_swap: bool,
    /// What the path of the victim's cgroup tells; where that is missing, the path of the one whose limit was hit.
    pub owner: Owner,
}

/// Judges which limit was hit.
pub(super) fn judge_kind(report: &OomLogReport) -> OomKindFinding {
    let (kind, certainty) = kind(report);
    let path = report.task_memcg.as_ref().or(report.oom_memcg.as_ref());
    OomKindFinding {
        kind,
        certainty,
        with_swap: kind.is_cgroup() && is_with_swap(report),
        owner: path.map(Owner::of).unwrap_or_default(),
    }
}

fn kind(report: &OomLogReport) -> (OomKind, Certainty) {
    if report.is_sysrq() {
        return (OomKind::SysRq, Certainty::Certain);
    }
    match report.scope {
        Some(OomScope::MemoryCgroup) => kind_of_cgroup(report),
        Some(OomScope::Global) => match report.constraint {
            Some(Constraint::Cpuset) => (OomKind::Cpuset, Certainty::Certain),
            Some(Constraint::MemoryPolicy) => (OomKind::MemoryPolicy, Certainty::Certain),
            Some(_) => (OomKind::Node, Certainty::Certain),
            // Up to 4.20 the log doesn't tell the constraint.
            None => (OomKind::Node, Certainty::Guess),
        },
        None if report.oom_memcg.is_some() || report.memory.is_some() => kind_of_cgroup(report),
        None if report.memory_info.is_some() => (OomKind::Node, Certainty::Guess),
        None => (OomKind::Unknown, Certainty::Guess),
    }
}

fn kind_of_cgroup(report: &OomLogReport) -> (OomKind, Certainty) {
    let Some(hit) = &report.oom_memcg else { return (OomKind::CgroupLimit, Certainty::Guess) };
    (OomKind::of_limit(hit, report.task_memcg.as_ref()), Certainty::Certain)
}

/// On v1 memory and swap together may be limited. Where that limit was hit the memory lies below its own.
fn is_with_swap(report: &OomLogReport) -> bool {
    let is_full = |limit: &LimitUse| match limit.limit {
        Limit::Max => false,
        // The charge that failed is not in the usage: some pages may be missing.
        Limit::At(bytes) => limit.usage.get() >= bytes.get() - bytes.get() / 64,
    };
    let with_swap = report.memory_and_swap.as_ref().is_some_and(|both| is_full(both) && both.failcnt > 0);
    with_swap && !report.memory.as_ref().is_some_and(is_full)
}
