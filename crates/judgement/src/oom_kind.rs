//! Whose memory had run out: a container's, its pod's, that of a cgroup further up, or the machine's.

use reprieve_readings::{CgroupPath, Constraint, OomScope, OomVictim, Owner};

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

    /// The kind of a kill of which the log told `victim`, if anything. `hit` is the cgroup whose limit was hit, or is the
    /// likeliest, and `cgroup` that of the victim.
    pub fn of_kill(victim: Option<&OomVictim>, hit: Option<&CgroupPath>, cgroup: Option<&CgroupPath>) -> Self {
        let trigger = victim.and_then(|victim| victim.report.trigger.as_ref());
        if trigger.is_some_and(|trigger| trigger.order == Some(-1)) {
            return OomKind::SysRq;
        }
        let constraint = victim.and_then(|victim| victim.report.constraint);
        match (victim.and_then(|victim| victim.scope), constraint) {
            (Some(OomScope::Global), Some(Constraint::Cpuset)) => OomKind::Cpuset,
            (Some(OomScope::Global), Some(Constraint::MemoryPolicy)) => OomKind::MemoryPolicy,
            (Some(OomScope::Global), _) => OomKind::Node,
            _ => hit.map_or(OomKind::Unknown, |hit| OomKind::of_limit(hit, cgroup)),
        }
    }

    /// Whose memory it was, in the words of the kernel: `memory_cgroup` or `global`. `None` where nothing tells.
    pub fn scope(self) -> Option<&'static str> {
        match self {
            OomKind::Node | OomKind::Cpuset | OomKind::MemoryPolicy | OomKind::SysRq => Some("global"),
            OomKind::Unknown => None,
            _ => Some("memory_cgroup"),
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    const CONTAINER: &str = "/kubepods/burstable/pod11111111-2222-3333-4444-555555555555/\
                             0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn of_limit(hit: &str, victim: &str) -> OomKind {
        OomKind::of_limit(&CgroupPath::new(hit.as_bytes()), Some(&CgroupPath::new(victim.as_bytes())))
    }

    #[test]
    fn the_kind_is_that_of_the_cgroup_whose_limit_was_hit() {
        let pod = CgroupPath::new(CONTAINER.as_bytes()).parent().unwrap().to_string();
        assert_eq!(of_limit(CONTAINER, CONTAINER), OomKind::ContainerLimit);
        assert_eq!(of_limit(&format!("{CONTAINER}/inner"), &format!("{CONTAINER}/inner")), OomKind::ContainerLimit);
        assert_eq!(of_limit(&pod, CONTAINER), OomKind::PodLimit);
        assert_eq!(of_limit("/kubepods", CONTAINER), OomKind::AncestorLimit);
        assert_eq!(of_limit("/system.slice/a.service", "/system.slice/a.service"), OomKind::CgroupLimit);
        assert_eq!(OomKind::of_kill(None, None, None), OomKind::Unknown);
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        let mut names: Vec<_> = OomKind::ALL.iter().map(|kind| kind.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), OomKind::ALL.len());
    }
}
