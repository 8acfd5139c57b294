//! Which limit was hit: a container's, its pod's, one further up, or the machine's end.

use reprieve_readings::{CgroupPath, Constraint, Limit, LimitUse, OomLogReport, OomScope, Owner};

use super::Certainty;

/// Whose memory had run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OomKind {
    /// A container reached its own limit.
    ContainerLimit,
    /// The containers of a pod together reached the pod's limit.
    PodLimit,
    /// A cgroup above the victim's own reached its limit: a slice, all pods, a user's session.
    AncestorLimit,
    /// The limit of the victim's own cgroup, which is no container's as far as its path tells.
    CgroupLimit,
    /// The machine had no memory left.
    Node,
    /// The memory nodes that a cpuset allows had none left.
    Cpuset,
    /// The memory nodes that a memory policy (numactl, mbind) allows had none left.
    MemoryPolicy,
    /// Somebody asked for a kill by SysRq (`f`).
    SysRq,
    /// The log doesn't tell.
    Unknown,
}

impl OomKind {
    /// How it is written in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            OomKind::ContainerLimit => "container_limit",
            OomKind::PodLimit => "pod_limit",
            OomKind::AncestorLimit => "ancestor_limit",
            OomKind::CgroupLimit => "cgroup_limit",
            OomKind::Node => "node",
            OomKind::Cpuset => "cpuset",
            OomKind::MemoryPolicy => "memory_policy",
            OomKind::SysRq => "sysrq",
            OomKind::Unknown => "unknown",
        }
    }

    /// Whether a cgroup's limit was hit.
    pub fn is_cgroup(self) -> bool {
        use OomKind::{AncestorLimit, CgroupLimit, ContainerLimit, PodLimit};
        matches!(self, ContainerLimit | PodLimit | AncestorLimit | CgroupLimit)
    }
}

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
    let owner = Owner::of(hit);
    let is_own = report.task_memcg.as_ref().is_none_or(|task| task == hit);
    if owner.container.is_some() {
        (OomKind::ContainerLimit, Certainty::Certain)
    } else if is_pod(hit, &owner) {
        (OomKind::PodLimit, Certainty::Certain)
    } else if is_own {
        (OomKind::CgroupLimit, Certainty::Certain)
    } else {
        (OomKind::AncestorLimit, Certainty::Certain)
    }
}

/// Whether a path is that of a pod itself.
fn is_pod(path: &CgroupPath, owner: &Owner) -> bool {
    owner.pod.is_some() && path.parent().is_some_and(|parent| Owner::of(&parent).pod.is_none())
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
