//! Everything about eviction at one moment, from the readings of all cgroups: what the kubelet sees, whom it would evict,
//! and who holds the cache.

use std::collections::HashMap;

use reprieve_readings::{Bytes, CgroupMemory, CgroupPath, CgroupVersion, Limit, Meminfo, Owner, PodList, PodSpec};

use super::observation::{NodeUsage, judge_allocatable, judge_node};
use super::ranking::{PodMemory, RankedPod, rank_pods};
use super::standing::{StandingCache, judge_standing_cache};
use super::thresholds::{EvictionThreshold, KubeletView, ThresholdState};
use super::truth::{NodeTruth, judge_node_truth, judge_pods_truth};

/// One cgroup's reading, and whose it is.
#[derive(Debug, Clone, Copy)]
pub struct CgroupFacts<'a> {
    /// Its path.
    pub path: &'a CgroupPath,
    /// What the path tells of its owner.
    pub owner: &'a Owner,
    /// Its memory.
    pub memory: &'a CgroupMemory,
    /// Whether it holds no other cgroups.
    pub is_leaf: bool,
}

/// What does not change from reading to reading.
#[derive(Debug, Clone, Copy)]
pub struct EvictionRules<'a> {
    /// The interface that the cgroups speak.
    pub version: CgroupVersion,
    /// How this kubelet takes a v2 node's usage.
    pub node_usage: NodeUsage,
    /// Its thresholds.
    pub thresholds: &'a [EvictionThreshold],
    /// What is known of the pods beside their cgroups.
    pub pods: &'a PodList,
}

/// The judgement of one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evictions {
    /// What the kubelet sees.
    pub view: KubeletView,
    /// Its thresholds, as they stand.
    pub thresholds: Vec<ThresholdState>,
    /// The cgroup that holds all pods.
    pub kubepods: Option<CgroupPath>,
    /// The truth beside its `memory.available`.
    pub node_truth: Option<NodeTruth>,
    /// The truth beside its `allocatableMemory.available`.
    pub pods_truth: Option<NodeTruth>,
    /// The pods in the order in which it would evict them.
    pub pods: Vec<RankedPod>,
    /// Containers, and services outside of containers, with page cache: the largest active cache first.
    pub holders: Vec<CacheHolder>,
}

/// A cgroup that holds page cache.
#[derive(Debug, Clone, PartialEq)]
pub struct CacheHolder {
    /// Its path.
    pub path: CgroupPath,
    /// Whose it is.
    pub owner: Owner,
    /// Its memory.
    pub memory: CgroupMemory,
    /// How much may be taken before it, or a cgroup that holds it, comes below its `memory.low` or `memory.min`.
    pub reducible: Bytes,
    /// Those of them that are protected, itself among them: what others free below counts there too.
    pub protected: Vec<ProtectedCgroup>,
    /// Why its cache weighs on the node all the time, if it does.
    pub standing: Option<StandingCache>,
}

/// A cgroup with `memory.low` or `memory.min`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProtectedCgroup {
    /// Its path.
    pub path: CgroupPath,
    /// How much it may lose before it comes below that.
    pub reducible: Bytes,
}

impl CacheHolder {
    /// Active page cache: what the kubelet counts as used, and would not have to.
    pub fn active_file(&self) -> Bytes {
        self.memory.stat.and_then(|stat| stat.active_file).unwrap_or_default()
    }

    /// Inactive page cache, which the kubelet does not count.
    pub fn inactive_file(&self) -> Bytes {
        self.memory.stat.and_then(|stat| stat.inactive_file).unwrap_or_default()
    }
}

impl Evictions {
    /// Whether the kubelet evicts nobody for memory: not because it sees nothing, but because no threshold is set.
    pub fn has_no_threshold(&self) -> bool {
        self.thresholds.is_empty() && self.view.node.is_some()
    }

    /// The threshold that is nearest to being met, the hard ones before the soft ones of the same distance.
    pub fn nearest(&self) -> Option<&ThresholdState> {
        let key = |state: &&ThresholdState| {
            let below = state.at.saturating_sub(state.observation.available);
            (std::cmp::Reverse(below), state.distance(), state.threshold.grace.is_some())
        };
        self.thresholds.iter().min_by_key(key)
    }
}

/// Judges a moment. `cgroups` come in top-down order, the topmost first.
pub fn judge_evictions<'a>(
    cgroups: impl IntoIterator<Item = CgroupFacts<'a>>,
    meminfo: &Meminfo,
    rules: &EvictionRules<'_>,
) -> Evictions {
    let specs: HashMap<&str, &PodSpec> = rules.pods.pods.iter().map(|spec| (spec.cgroup_uid.as_str(), spec)).collect();
    let capacity = meminfo.total.unwrap_or(Bytes::new(u64::MAX));
    let mut evictions = Evictions::default();
    let mut bounds: HashMap<&CgroupPath, Bounds> = HashMap::new();
    let mut pods = Vec::new();
    let mut requests: HashMap<String, Bytes> = HashMap::new();
    let mut kubepods = None;
    for cgroup in cgroups {
        let above = cgroup.path.parent().and_then(|parent| bounds.get(&parent).cloned()).unwrap_or_default();
        let own = above.with(&cgroup, capacity);
        bounds.insert(cgroup.path, own.clone());
        if above.in_container {
            // Whatever somebody made inside his container is his own affair, be it called a pod.
            continue;
        }
        if cgroup.path.is_root() {
            evictions.view.node = judge_node(cgroup.memory, rules.version, meminfo, rules.node_usage);
            evictions.node_truth = evictions.view.node.map(|seen| judge_node_truth(cgroup.memory, &seen, meminfo));
        } else if kubepods.is_none() && holds_all_pods(cgroup.owner) {
            kubepods = Some(*cgroup.memory);
            evictions.kubepods = Some(cgroup.path.clone());
        } else if let Some(pod) = pod_of(&cgroup) {
            let pod = pod_memory(&pod, cgroup.memory, specs.get(pod.uid.as_str()).copied());
            if !pod.request_is_guess() {
                requests.insert(pod.uid.clone(), pod.assumed_request());
            }
            pods.push(pod);
        }
        if is_holder(&cgroup) {
            let request = cgroup.owner.pod.as_ref().and_then(|uid| requests.get(uid.as_str())).copied();
            evictions.holders.push(CacheHolder {
                path: cgroup.path.clone(),
                owner: cgroup.owner.clone(),
                memory: *cgroup.memory,
                reducible: own.reducible,
                protected: own.protected,
                standing: judge_standing_cache(cgroup.memory, above.limit, request, capacity),
            });
        }
    }
    evictions.view.allocatable = kubepods.as_ref().and_then(judge_allocatable);
    evictions.pods_truth =
        evictions.view.allocatable.zip(kubepods).map(|(seen, memory)| judge_pods_truth(&memory, &seen, meminfo));
    evictions.thresholds = evictions.view.judge(rules.thresholds);
    evictions.pods = rank_pods(pods);
    evictions
        .holders
        .sort_by(|one, other| other.active_file().cmp(&one.active_file()).then_with(|| one.path.cmp(&other.path)));
    evictions
}

/// What the cgroups above, and the cgroup itself, bound.
#[derive(Debug, Clone)]
struct Bounds {
    limit: Option<Bytes>,
    reducible: Bytes,
    protected: Vec<ProtectedCgroup>,
    in_container: bool,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds { limit: None, reducible: Bytes::new(u64::MAX), protected: Vec::new(), in_container: false }
    }
}

impl Bounds {
    fn with(&self, cgroup: &CgroupFacts<'_>, capacity: Bytes) -> Bounds {
        let memory = cgroup.memory;
        // The limit of all pods lies above the kubelet's own threshold for them: it bounds nothing before that acts.
        let limit = memory.max.filter(|_| !is_above_pods(cgroup.owner)).and_then(|max| max.below(capacity).bytes());
        let protection = [memory.low, memory.min].into_iter().flatten().map(|limit| match limit {
            Limit::Max => Bytes::new(u64::MAX),
            Limit::At(bytes) => bytes,
        });
        let protection = protection.max().unwrap_or_default();
        let reducible = memory.usage.map_or(Bytes::new(u64::MAX), |usage| usage.saturating_sub(protection));
        let is_protected = protection > Bytes::ZERO;
        let protected = is_protected.then(|| ProtectedCgroup { path: cgroup.path.clone(), reducible });
        Bounds {
            limit: self.limit.into_iter().chain(limit).min(),
            reducible: self.reducible.min(reducible),
            protected: self.protected.iter().cloned().chain(protected).collect(),
            in_container: self.in_container || cgroup.owner.container_root.as_ref() == Some(cgroup.path),
        }
    }
}

/// The cgroup `kubepods` itself: of Kubernetes, but of no class and no pod.
fn holds_all_pods(owner: &Owner) -> bool {
    is_above_pods(owner) && owner.qos.is_none()
}

/// The cgroup `kubepods`, or that of a class.
fn is_above_pods(owner: &Owner) -> bool {
    owner.driver.is_some() && owner.pod.is_none() && owner.container.is_none()
}

struct Pod {
    uid: String,
    qos: Option<reprieve_readings::QosClass>,
}

/// The pod whose own cgroup this is: nothing inside it.
fn pod_of(cgroup: &CgroupFacts<'_>) -> Option<Pod> {
    let owner = cgroup.owner;
    let uid = owner.pod.as_ref().filter(|_| owner.container.is_none())?;
    let name = cgroup.path.names().next_back()?;
    // A cgroup that a pod's processes made beside its containers has the same owner, and another name.
    let uid_bytes = uid.as_str().as_bytes();
    let is_pod =
        name.ends_with(uid_bytes) || name.strip_suffix(b".slice").is_some_and(|name| ends_with_uid(name, uid_bytes));
    is_pod.then(|| Pod { uid: uid.to_string(), qos: owner.qos })
}

/// systemd's names write `_` for the dashes.
fn ends_with_uid(name: &[u8], uid: &[u8]) -> bool {
    let same = |one: &u8, other: &u8| one == other || (*one == b'_' && *other == b'-');
    let tail = name.len().checked_sub(uid.len()).and_then(|start| name.get(start..));
    tail.is_some_and(|tail| tail.iter().zip(uid).all(|(one, other)| same(one, other)))
}

fn pod_memory(pod: &Pod, memory: &CgroupMemory, spec: Option<&PodSpec>) -> PodMemory {
    PodMemory {
        uid: pod.uid.clone(),
        name: spec.map(|spec| spec.name.clone()),
        qos: spec.and_then(|spec| spec.qos).or(pod.qos),
        working_set: memory.working_set(),
        request: spec.map(|spec| spec.request),
        limit: memory.max.and_then(Limit::bytes).or(spec.and_then(|spec| spec.limit)),
        priority: spec.map(|spec| spec.priority),
        critical: spec.is_some_and(PodSpec::is_critical),
    }
}

/// A container's own cgroup, or outside of containers one that holds processes only.
fn is_holder(cgroup: &CgroupFacts<'_>) -> bool {
    let has_cache = cgroup.memory.stat.and_then(|stat| stat.file_lists()).is_some_and(|lists| lists > Bytes::ZERO);
    let is_one = match &cgroup.owner.container_root {
        Some(root) => root == cgroup.path,
        None => cgroup.is_leaf && !cgroup.path.is_root(),
    };
    has_cache && is_one
}

#[cfg(test)]
mod tests {
    use reprieve_readings::MemoryStat;

    use super::*;
    use crate::eviction::{StandingReason, thresholds_of};

    const UID: &str = "5bdc3be0-7759-43c7-9f22-d581fc6b5750";

    fn memory(usage: u64, active: u64, max: Option<u64>, low: Option<u64>) -> CgroupMemory {
        let stat = MemoryStat {
            anon: Some(Bytes::from_mib(usage - active)),
            file: Some(Bytes::from_mib(active)),
            active_file: Some(Bytes::from_mib(active)),
            inactive_file: Some(Bytes::ZERO),
            ..MemoryStat::default()
        };
        CgroupMemory {
            usage: Some(Bytes::from_mib(usage)),
            max: max.map(|mib| Limit::At(Bytes::from_mib(mib))),
            low: low.map(|mib| Limit::At(Bytes::from_mib(mib))),
            stat: Some(stat),
            ..CgroupMemory::default()
        }
    }

    fn judge(cgroups: &[(&str, CgroupMemory)]) -> Evictions {
        let owned: Vec<_> = cgroups
            .iter()
            .map(|(path, memory)| {
                let path = CgroupPath::new(path.as_bytes());
                let is_leaf = !cgroups.iter().any(|(other, _)| {
                    CgroupPath::new(other.as_bytes()).below(&path).is_some_and(|below| !below.is_empty())
                });
                (Owner::of(&path), path, *memory, is_leaf)
            })
            .collect();
        let facts =
            owned.iter().map(|(owner, path, memory, is_leaf)| CgroupFacts { path, owner, memory, is_leaf: *is_leaf });
        let meminfo =
            Meminfo { total: Some(Bytes::from_mib(1000)), available: Some(Bytes::from_mib(900)), ..Meminfo::default() };
        let thresholds = thresholds_of(&reprieve_readings::EvictionConfiguration::default());
        let rules = EvictionRules {
            version: CgroupVersion::V1,
            node_usage: NodeUsage::default(),
            thresholds: &thresholds,
            pods: &PodList::default(),
        };
        judge_evictions(facts, &meminfo, &rules)
    }

    #[test]
    fn a_node_is_judged_as_a_whole() {
        let container = format!("/kubepods/besteffort/pod{UID}/{}", "ab".repeat(32));
        let slice = format!("kubepods-besteffort-pod{}.slice", UID.replace('-', "_"));
        let evictions = judge(&[
            ("/", memory(950, 700, None, None)),
            ("/kubepods", memory(800, 650, Some(880), None)),
            ("/kubepods/besteffort", memory(800, 650, None, None)),
            (&format!("/kubepods/besteffort/pod{UID}"), memory(700, 650, None, Some(640))),
            (&container, memory(700, 650, None, None)),
            (&format!("{container}/init.scope"), memory(10, 5, None, None)),
            // Not the node's pods: somebody's inside the container.
            (&format!("{container}/kubepods"), memory(9, 5, Some(10), None)),
            (&format!("{container}/kubepods/pod{UID}"), memory(9, 5, None, None)),
            (&format!("{container}/kubepods/pod{UID}/{}", "cd".repeat(32)), memory(9, 5, None, None)),
            ("/kubepods.slice", memory(90, 10, None, None)),
            (&format!("/kubepods.slice/kubepods-besteffort.slice/{slice}"), memory(90, 10, None, None)),
            (&format!("/kubepods.slice/kubepods-besteffort.slice/{slice}/own"), memory(80, 10, None, None)),
            ("/system.slice/log.service", memory(50, 50, None, None)),
        ]);
        assert_eq!(evictions.view.node.unwrap().available, Bytes::from_mib(50));
        assert_eq!(evictions.view.allocatable.unwrap().available, Bytes::from_mib(80));
        assert_eq!(evictions.node_truth.unwrap().error(&evictions.view.node.unwrap()), 850 << 20);
        assert!(evictions.thresholds.iter().all(ThresholdState::is_met));
        assert_eq!(evictions.nearest().unwrap().observation.available, Bytes::from_mib(50), "the furthest below");
        let pods: Vec<_> = evictions.pods.iter().map(|ranked| ranked.pod.working_set.unwrap().get() >> 20).collect();
        assert_eq!(pods, [700, 90], "the pod's own cgroups, under both drivers");
        let holders: Vec<_> =
            evictions.holders.iter().map(|holder| (holder.path.to_string(), holder.reducible.get() >> 20)).collect();
        assert_eq!(holders.first(), Some(&(container, 60)), "down to the pod's memory.low");
        let pod = CgroupPath::new(format!("/kubepods/besteffort/pod{UID}").as_bytes());
        let protected = [ProtectedCgroup { path: pod, reducible: Bytes::from_mib(60) }];
        assert_eq!(evictions.holders.first().unwrap().protected, protected);
        assert!(holders.iter().any(|(path, _)| path == "/system.slice/log.service"));
        assert!(
            !holders.iter().any(|(path, _)| path.starts_with(&format!("{}/", holders[0].0))),
            "parts of the container"
        );
    }

    #[test]
    fn the_limit_of_all_pods_bounds_no_pod_s_cache() {
        let of = |class: &str, max: Option<u64>| {
            let pod = format!("/kubepods{class}/pod{UID}");
            let container = format!("{pod}/{}", "ab".repeat(32));
            let evictions = judge(&[
                ("/", memory(950, 700, None, None)),
                ("/kubepods", memory(800, 650, Some(880), None)),
                ("/kubepods/besteffort", memory(800, 650, None, None)),
                ("/kubepods/burstable", memory(800, 650, None, None)),
                (&pod, memory(700, 650, max, None)),
                (&container, memory(700, 650, None, None)),
            ]);
            let holder = evictions.holders.iter().find(|holder| holder.path.to_string() == container).unwrap();
            holder.standing.map(|standing| standing.reason)
        };
        assert_eq!(of("/besteffort", None), Some(StandingReason::NoLimit));
        assert_eq!(of("/burstable", None), Some(StandingReason::NoLimit));
        assert_eq!(of("/burstable", Some(720)), None, "the request is not known");
        assert_eq!(of("", Some(720)), None, "a Guaranteed pod requests its limit");
        let (limit, request) = (Bytes::from_mib(720), Bytes::ZERO);
        assert_eq!(of("/besteffort", Some(720)), Some(StandingReason::LimitAboveRequest { limit, request }));
    }

    #[test]
    fn nothing_known_gives_nothing_and_no_panic() {
        assert_eq!(judge(&[("/", CgroupMemory::default())]).thresholds, []);
        assert_eq!(judge(&[]), Evictions::default());
    }
}
