//! Whose cgroup it is: what the names along a cgroup's path tell of its container, pod and systemd unit.
//!
//! The kernel knows cgroups by their paths only. Container runtimes, the kubelet and systemd put the ids of what they
//! run into the names, each in its own way; this module knows those ways, and needs nothing but the path.
//!
//! The innermost owner wins, as clusters run inside containers (kind) and containers inside pods. So whoever may make
//! cgroups below his own can pose as another container there; he can't pose as one anywhere else.

mod ids;
mod step;

use std::fmt;

pub use self::ids::{ContainerId, PodUid, UnitName};
use self::step::Step;
use crate::CgroupPath;

/// What the path of a cgroup tells of its owner. A field is `None` where the path does not tell.
///
/// Sources: kubelet 1.36 (pkg/kubelet/cm/cgroup_manager_linux.go, pod_container_manager_linux.go); runc's systemd
/// driver, where `slice:prefix:name` gives `prefix-name.scope`; containerd, CRI-O, Docker, Podman and nerdctl for
/// their prefixes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    /// The innermost container that the cgroup is or lies in.
    pub container: Option<ContainerId>,
    /// The cgroup of that container itself. What lies below it was made by the OCI runtime (crun's `container`), by a
    /// systemd inside (`init.scope`) or by the container's own processes; [`CgroupPath::below`] tells it.
    pub container_root: Option<CgroupPath>,
    /// What runs the container. Unknown for a cgroup named by the bare id, unless it lies in `docker`.
    pub runtime: Option<Runtime>,
    /// Who made the innermost cgroup of a known owner, be it a container or a level of Kubernetes.
    pub driver: Option<Driver>,
    /// The pod that the cgroup is or lies in.
    pub pod: Option<PodUid>,
    /// The class of that pod, or of the level above pods. Unknown for a pod whose upper levels lie outside the
    /// reader's cgroup namespace.
    pub qos: Option<QosClass>,
    /// The innermost systemd service or scope, a container's own scope apart.
    pub unit: Option<UnitName>,
}

impl Owner {
    /// Reads the path of a cgroup, as seen from the root of its hierarchy. Takes time linear in the path's length.
    pub fn of(path: &CgroupPath) -> Self {
        let mut owner = Owner::default();
        let mut container_depth = None;
        let mut parent = Step::Other;
        for (index, name) in path.names().enumerate() {
            let step = Step::of(name, &parent);
            owner.enter(&step);
            match step {
                Step::Container(_) | Step::PodWithContainer(..) => container_depth = Some(index + 1),
                _ if owner.container.is_none() => container_depth = None,
                _ => {}
            }
            parent = step;
        }
        owner.container_root = container_depth.map(|depth| leading_names(path, depth));
        owner
    }

    fn enter(&mut self, step: &Step<'_>) {
        match step {
            Step::Kubepods(driver) => self.enter_kubernetes(*driver, None, None),
            Step::Qos(driver, class) => self.enter_kubernetes(*driver, Some(*class), None),
            Step::Pod(pod) => self.enter_kubernetes(pod.driver, pod.qos, Some(&pod.uid)),
            Step::Container(container) => self.enter_container(container),
            Step::PodWithContainer(pod, container) => {
                self.enter_kubernetes(pod.driver, pod.qos, Some(&pod.uid));
                self.enter_container(container);
            }
            Step::Unit(name) => self.unit = Some(UnitName::from_cgroup(name)),
            Step::OutsideNamespace | Step::DockerParent | Step::PodmanParent | Step::Other => {}
        }
    }

    /// A kubelet's own levels begin afresh: they belong to no container around them, such as kind's node.
    fn enter_kubernetes(&mut self, driver: Driver, qos: Option<QosClass>, pod: Option<&PodUid>) {
        *self = Owner { driver: Some(driver), qos, pod: pod.cloned(), unit: self.unit.take(), ..Owner::default() };
    }

    fn enter_container(&mut self, container: &step::Container) {
        self.container = Some(container.id.clone());
        self.runtime = container.runtime;
        self.driver = Some(container.driver);
    }
}

fn leading_names(path: &CgroupPath, depth: usize) -> CgroupPath {
    let names: Vec<&[u8]> = path.names().take(depth).collect();
    CgroupPath::new(&names.join(&b'/'))
}

/// How the kubelet ranks a pod by its requests and limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum QosClass {
    /// Requests equal limits, in every container.
    Guaranteed,
    /// Some requests or limits.
    Burstable,
    /// None at all.
    BestEffort,
}

impl QosClass {
    /// The name as Kubernetes spells it in `status.qosClass`.
    pub const fn as_str(self) -> &'static str {
        match self {
            QosClass::Guaranteed => "Guaranteed",
            QosClass::Burstable => "Burstable",
            QosClass::BestEffort => "BestEffort",
        }
    }
}

/// What runs a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Runtime {
    /// containerd, by its CRI plugin or by nerdctl.
    Containerd,
    /// CRI-O.
    CriO,
    /// Docker, also by cri-dockerd.
    Docker,
    /// Podman.
    Podman,
}

impl Runtime {
    /// The name as the runtime spells it towards Kubernetes (`containerd://…`, `cri-o://…`).
    pub const fn as_str(self) -> &'static str {
        match self {
            Runtime::Containerd => "containerd",
            Runtime::CriO => "cri-o",
            Runtime::Docker => "docker",
            Runtime::Podman => "podman",
        }
    }
}

/// Who makes cgroups for kubelet and runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Driver {
    /// They do it themselves, by `mkdir`.
    Cgroupfs,
    /// systemd does it for them: the names are those of slices and scopes.
    Systemd,
}

impl Driver {
    /// The name as the kubelet's setting `cgroupDriver` spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Driver::Cgroupfs => "cgroupfs",
            Driver::Systemd => "systemd",
        }
    }
}

impl fmt::Display for QosClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
