//! Which kills somebody wants to see.

use std::time::Duration;

use super::{KillRecord, Visibility};

/// What a kill must be to be shown. The default shows all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KillFilter {
    /// Told at that time or later, since 1970.
    pub since: Option<Duration>,
    /// In a pod whose uid begins so.
    pub pod: Option<String>,
    /// In a container whose id begins so.
    pub container: Option<String>,
    /// Kubernetes can't see it.
    pub invisible: bool,
}

impl KillFilter {
    /// Whether a kill is to be shown.
    pub fn takes(&self, record: &KillRecord) -> bool {
        if self.since.is_some_and(|since| record.killed_at < since) {
            return false;
        }
        if self.invisible && record.visibility() != Visibility::Invisible {
            return false;
        }
        if self.pod.is_none() && self.container.is_none() {
            return true;
        }
        let owner = record.owner();
        let begins = |wanted: &Option<String>, id: Option<String>| {
            wanted.as_ref().is_none_or(|wanted| id.is_some_and(|id| id.starts_with(wanted.as_str())))
        };
        begins(&self.pod, owner.pod.map(|pod| pod.to_string()))
            && begins(&self.container, owner.container.map(|container| container.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use reprieve_readings::{BootId, CgroupPath};

    use super::*;
    use crate::{FirstProcess, Identity, KillId, OomKind};

    fn kill(cgroup: Option<&str>, first_process: FirstProcess) -> KillRecord {
        KillRecord {
            id: KillId(1),
            boot: BootId(1),
            since_boot: Duration::ZERO,
            killed_at: Duration::from_secs(100),
            sequence: None,
            history: false,
            count: 1,
            repeats: 0,
            victim: None,
            identity: Identity::Unknown,
            cgroup: cgroup.map(|cgroup| CgroupPath::new(cgroup.as_bytes())),
            cgroup_certain: true,
            kind: OomKind::Unknown,
            whole_cgroup: None,
            limited_cgroup: None,
            limit: None,
            usage: None,
            usage_after: None,
            trigger: None,
            first_process,
        }
    }

    #[test]
    fn each_wish_must_be_met() {
        let container = "0123456789abcdef".repeat(4);
        let path = format!("/kubepods/burstable/pod11111111-2222-3333-4444-555555555555/{container}");
        let inside = kill(Some(&path), FirstProcess::Survived);
        let elsewhere = kill(Some("/a.slice"), FirstProcess::Killed);
        let nowhere = kill(None, FirstProcess::Unknown);
        let takes = |filter: KillFilter| [&inside, &elsewhere, &nowhere].map(|record| filter.takes(record));
        let all = KillFilter::default;
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(takes(all()), [true; 3]);
        assert_eq!(takes(KillFilter { since: Some(Duration::from_secs(100)), ..all() }), [true; 3]);
        assert_eq!(takes(KillFilter { since: Some(Duration::from_secs(101)), ..all() }), [false; 3]);
        assert_eq!(takes(KillFilter { pod: some("11111111-22"), ..all() }), [true, false, false]);
        assert_eq!(takes(KillFilter { pod: some("1-22"), ..all() }), [false; 3]);
        assert_eq!(takes(KillFilter { container: some("0123"), ..all() }), [true, false, false]);
        assert_eq!(takes(KillFilter { pod: some("1111"), container: some("9"), ..all() }), [false; 3]);
        assert_eq!(takes(KillFilter { invisible: true, ..all() }), [true, false, false]);
    }
}
