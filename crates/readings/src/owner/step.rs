//! One name of a cgroup's path, and what it means after the name before it.
//!
//! Under the cgroupfs driver a name means something only in its place (`burstable` in `kubepods`); under systemd a
//! slice's name repeats all levels above it, so each stands for itself. Names that match no form exactly are `Other`:
//! a wrong owner is worse than none.

use super::ids::{ContainerId, PodUid};
use super::{Driver, QosClass, Runtime};

pub(super) enum Step<'a> {
    /// `..`: what lies above is hidden by a cgroup namespace.
    OutsideNamespace,
    /// The cgroup of all pods. `--cgroup-root` and kind put names in front of it.
    Kubepods(Driver),
    Qos(Driver, QosClass),
    Pod(Pod),
    /// `docker`, where Docker puts containers by their bare ids.
    DockerParent,
    /// `libpod_parent`, where Podman puts its pods by their bare ids, and containers with its prefix.
    PodmanParent,
    Container(Container),
    /// A pod's slice and the container in one name.
    PodWithContainer(Pod, Container),
    Unit(&'a [u8]),
    Other,
}

pub(super) struct Pod {
    pub(super) uid: PodUid,
    pub(super) qos: Option<QosClass>,
    pub(super) driver: Driver,
}

pub(super) struct Container {
    pub(super) id: ContainerId,
    pub(super) runtime: Option<Runtime>,
    pub(super) driver: Driver,
}

/// Prefixes of the containers' scopes. conmon's scopes (`crio-conmon-ID`, `libpod-conmon-ID`) hold the monitor, not
/// the container, and match none of these as `conmon-ID` is no id.
const SCOPE_PREFIXES: [(&[u8], Runtime); 5] = [
    (b"cri-containerd-", Runtime::Containerd),
    (b"crio-", Runtime::CriO),
    (b"docker-", Runtime::Docker),
    (b"libpod-", Runtime::Podman),
    (b"nerdctl-", Runtime::Containerd),
];

/// Prefixes under the cgroupfs driver, where the others use the bare id. `libpod-payload-` is what Podman makes inside
/// a service of its own (`--cgroups=split`, as Quadlet does).
const CGROUPFS_PREFIXES: [(&[u8], Runtime); 3] =
    [(b"crio-", Runtime::CriO), (b"libpod-payload-", Runtime::Podman), (b"libpod-", Runtime::Podman)];

impl<'a> Step<'a> {
    pub(super) fn of(name: &'a [u8], parent: &Step<'_>) -> Self {
        match name {
            b".." => return Step::OutsideNamespace,
            b"kubepods" => return Step::Kubepods(Driver::Cgroupfs),
            b"docker" => return Step::DockerParent,
            b"libpod_parent" => return Step::PodmanParent,
            _ => {}
        }
        kubernetes_directory(name, parent)
            .or_else(|| name.strip_suffix(b".slice").and_then(kubernetes_slice))
            .or_else(|| container(name, parent).map(Step::Container))
            .or_else(|| pod_with_container(name))
            .or_else(|| is_unit(name).then_some(Step::Unit(name)))
            .unwrap_or(Step::Other)
    }
}

fn kubernetes_directory<'a>(name: &[u8], parent: &Step<'_>) -> Option<Step<'a>> {
    let qos = match parent {
        Step::Kubepods(Driver::Cgroupfs) => Some(QosClass::Guaranteed),
        Step::Qos(Driver::Cgroupfs, class) => Some(*class),
        Step::OutsideNamespace => None,
        _ => return None,
    };
    if let Some(uid) = name.strip_prefix(b"pod") {
        let uid = PodUid::parse(uid, b'-')?;
        return Some(Step::Pod(Pod { uid, qos, driver: Driver::Cgroupfs }));
    }
    let class = match name {
        b"burstable" => QosClass::Burstable,
        b"besteffort" => QosClass::BestEffort,
        _ => return None,
    };
    (!matches!(parent, Step::Qos(..))).then_some(Step::Qos(Driver::Cgroupfs, class))
}

/// `stem` is the slice's name without `.slice`: `kubepods-burstable-podUID`, with any levels in front.
fn kubernetes_slice<'a>(stem: &[u8]) -> Option<Step<'a>> {
    let mut levels = stem.rsplit(|&byte| byte == b'-');
    let last = levels.next()?;
    match last {
        b"kubepods" => return Some(Step::Kubepods(Driver::Systemd)),
        b"burstable" | b"besteffort" => {
            let class = if last == b"burstable" { QosClass::Burstable } else { QosClass::BestEffort };
            return (levels.next()? == b"kubepods").then_some(Step::Qos(Driver::Systemd, class));
        }
        _ => {}
    }
    let uid = PodUid::parse(last.strip_prefix(b"pod")?, b'_')?;
    let qos = match (levels.next()?, levels.next()) {
        (b"kubepods", _) => QosClass::Guaranteed,
        (b"burstable", Some(b"kubepods")) => QosClass::Burstable,
        (b"besteffort", Some(b"kubepods")) => QosClass::BestEffort,
        _ => return None,
    };
    Some(Step::Pod(Pod { uid, qos: Some(qos), driver: Driver::Systemd }))
}

fn container(name: &[u8], parent: &Step<'_>) -> Option<Container> {
    if let Some(scope) = name.strip_suffix(b".scope") {
        return prefixed(scope, &SCOPE_PREFIXES, Driver::Systemd);
    }
    if let Some(container) = prefixed(name, &CGROUPFS_PREFIXES, Driver::Cgroupfs) {
        return Some(container);
    }
    let runtime = match parent {
        Step::DockerParent => Some(Runtime::Docker),
        Step::PodmanParent => return None,
        _ => None,
    };
    ContainerId::parse(name).map(|id| Container { id, runtime, driver: Driver::Cgroupfs })
}

fn prefixed(name: &[u8], prefixes: &[(&[u8], Runtime)], driver: Driver) -> Option<Container> {
    prefixes.iter().find_map(|&(prefix, runtime)| {
        let id = ContainerId::parse(name.strip_prefix(prefix)?)?;
        Some(Container { id, runtime: Some(runtime), driver })
    })
}

/// `kubepods-burstable-podUID.slice:cri-containerd:ID`: the kubelet asks for systemd's driver, the runtime uses
/// cgroupfs and takes the request for a name. A misconfiguration, yet a common one.
fn pod_with_container<'a>(name: &[u8]) -> Option<Step<'a>> {
    let mut parts = name.split(|&byte| byte == b':');
    let (slice, prefix, id) = (parts.next()?, parts.next()?, parts.next()?);
    let Some(Step::Pod(pod)) = kubernetes_slice(slice.strip_suffix(b".slice")?) else { return None };
    let runtime = SCOPE_PREFIXES.iter().find(|(known, _)| known.strip_suffix(b"-") == Some(prefix));
    let container = Container {
        id: ContainerId::parse(id).filter(|_| parts.next().is_none())?,
        runtime: Some(runtime?.1),
        driver: Driver::Cgroupfs,
    };
    Some(Step::PodWithContainer(pod, container))
}

fn is_unit(name: &[u8]) -> bool {
    [&b".service"[..], b".scope"].iter().any(|kind| name.strip_suffix(*kind).is_some_and(|stem| !stem.is_empty()))
}
