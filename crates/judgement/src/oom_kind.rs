//! Whose memory had run out: a container's, its pod's, that of a cgroup further up, or the machine's.

use reprieve_readings::{CgroupPath, Owner};

/// Whose memory had run out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
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
    /// Nothing tells.
    Unknown,
}

impl OomKind {
    /// Every kind.
    pub const ALL: [OomKind; 9] = [
        OomKind::ContainerLimit,
        OomKind::PodLimit,
        OomKind::AncestorLimit,
        OomKind::CgroupLimit,
        OomKind::Node,
        OomKind::Cpuset,
        OomKind::MemoryPolicy,
        OomKind::SysRq,
        OomKind::Unknown,
    ];

    /// How it is written in JSON and in labels.
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

    /// The kind, where the limit of `hit` was reached and a process in `victim` killed. Where the victim's cgroup is not
    /// known it is taken to be the one whose limit was hit.
    pub fn of_limit(hit: &CgroupPath, victim: Option<&CgroupPath>) -> Self {
        let owner = Owner::of(hit);
        if owner.container.is_some() {
            OomKind::ContainerLimit
        } else if is_pod(hit, &owner) {
            OomKind::PodLimit
        } else if victim.is_none_or(|victim| victim == hit) {
            OomKind::CgroupLimit
        } else {
            OomKind::AncestorLimit
        }
    }
}

/// Whether a path is that of a pod itself.
fn is_pod(path: &CgroupPath, owner: &Owner) -> bool {
    owner.pod.is_some() && path.parent().is_some_and(|parent| Owner::of(&parent).pod.is_none())
}
