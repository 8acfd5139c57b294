//! Lists of pods, as `kubectl get pods -o json` and the kubelet's `/pods` print them: what each pod requests, how
//! important it is, and which cgroup is its.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::document::{self, DocumentError};
use crate::bytes::Bytes;
use crate::escape::Escaped;
use crate::owner::QosClass;
use crate::quantity::parse_quantity;

/// The pods of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodList {
    /// Each pod that has not ended.
    pub pods: Vec<PodSpec>,
    /// What was not understood, a sentence each.
    pub notes: Vec<String>,
}

/// What a pod is promised.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodSpec {
    /// What its cgroup is called after: the uid, or of a static pod the hash of its manifest.
    pub cgroup_uid: String,
    /// `namespace/name`, as a stranger chose it.
    pub name: String,
    /// Its priority; 0 where the list doesn't say.
    pub priority: i32,
    /// `status.qosClass`.
    pub qos: Option<QosClass>,
    /// The memory that it requests: its containers' sum or its largest init container, and its overhead.
    pub request: Bytes,
    /// The sum of its containers' limits; `None` where one of them has none.
    pub limit: Option<Bytes>,
    /// Whether the kubelet itself was given it, by file or URL, and not by the API.
    pub is_static: bool,
}

impl PodSpec {
    /// From this priority on a pod is critical and never evicted (`SystemCriticalPriority`, pkg/apis/scheduling).
    pub const CRITICAL_PRIORITY: i32 = 2_000_000_000;

    /// Whether the kubelet passes it over when it evicts (`IsCriticalPod`, pkg/kubelet/types/pod_update.go).
    pub fn is_critical(&self) -> bool {
        self.is_static || self.priority >= Self::CRITICAL_PRIORITY
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct List {
    items: Option<Vec<Pod>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Pod {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    priority: Option<i32>,
    containers: Option<Vec<Container>>,
    init_containers: Option<Vec<Container>>,
    overhead: Option<BTreeMap<String, String>>,
    resources: Option<Resources>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Container {
    resources: Option<Resources>,
    restart_policy: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Resources {
    requests: Option<BTreeMap<String, String>>,
    limits: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    phase: Option<String>,
    qos_class: Option<String>,
}

/// More notes than this are no help.
const MOST_NOTES: usize = 20;

/// Reads a list of pods.
///
/// # Errors
/// It is no YAML or JSON, no list, or too large.
pub fn parse_pod_list(text: &[u8]) -> Result<PodList, DocumentError> {
    let list: List = document::parse(text)?;
    let items = list.items.ok_or_else(|| DocumentError::new("no list of pods: it has no `items`"))?;
    let mut pods = PodList::default();
    for pod in items {
        if matches!(pod.status.phase.as_deref(), Some("Succeeded" | "Failed")) {
            continue;
        }
        match pod.into_spec() {
            Ok(spec) => pods.pods.push(spec),
            Err(note) if pods.notes.len() < MOST_NOTES => pods.notes.push(note),
            Err(_) => {}
        }
    }
    Ok(pods)
}

impl Pod {
    fn into_spec(self) -> Result<PodSpec, String> {
        let name =
            [self.metadata.namespace.as_deref().unwrap_or("default"), self.metadata.name.as_deref().unwrap_or("?")]
                .join("/");
        let told = |what: &str| format!("pod {}: {what}", Escaped(name.as_bytes()));
        let annotation = |key: &str| self.metadata.annotations.as_ref().and_then(|all| all.get(key)).cloned();
        // A static pod's cgroup is named by the hash; its mirror in the API has a uid of its own.
        let uid = annotation("kubernetes.io/config.hash").or(self.metadata.uid.clone());
        let is_static = annotation("kubernetes.io/config.mirror").is_some()
            || annotation("kubernetes.io/config.source").is_some_and(|source| source != "api");
        let request = self.spec.request().map_err(|text| told(&text))?;
        Ok(PodSpec {
            cgroup_uid: uid.ok_or_else(|| told("no uid"))?,
            priority: self.spec.priority.unwrap_or(0),
            qos: match self.status.qos_class.as_deref() {
                Some("Guaranteed") => Some(QosClass::Guaranteed),
                Some("Burstable") => Some(QosClass::Burstable),
                Some("BestEffort") => Some(QosClass::BestEffort),
                _ => None,
            },
            request,
            limit: self.spec.limit(),
            is_static,
            name,
        })
    }
}

impl Spec {
    /// Containers run together, after init containers one at a time; those that go on (sidecars) stay beside both
    /// (`PodRequests`, component-helpers/resource/helpers.go, Kubernetes 1.36). A request for the pod as a whole
    /// replaces that.
    fn request(&self) -> Result<Bytes, String> {
        let mut running = Bytes::ZERO;
        for container in self.containers.iter().flatten() {
            running =
                running.saturating_add(memory(container.resources.as_ref().and_then(|all| all.requests.as_ref()))?);
        }
        let mut sidecars = Bytes::ZERO;
        let mut largest = Bytes::ZERO;
        for container in self.init_containers.iter().flatten() {
            let own = memory(container.resources.as_ref().and_then(|all| all.requests.as_ref()))?;
            if container.restart_policy.as_deref() == Some("Always") {
                sidecars = sidecars.saturating_add(own);
                largest = largest.max(sidecars);
            } else {
                largest = largest.max(sidecars.saturating_add(own));
            }
        }
        let of_containers = running.saturating_add(sidecars).max(largest);
        let of_pod = self.resources.as_ref().and_then(|all| all.requests.as_ref());
        let whole = match of_pod.filter(|requests| requests.contains_key("memory")) {
            Some(requests) => memory(Some(requests))?,
            None => of_containers,
        };
        Ok(whole.saturating_add(memory(self.overhead.as_ref())?))
    }

    fn limit(&self) -> Option<Bytes> {
        let of = |resources: Option<&Resources>| {
            resources
                .and_then(|all| all.limits.as_ref()?.get("memory"))
                .and_then(|text| parse_quantity(text.as_bytes()).ok())
        };
        let containers = || self.containers.iter().flatten().map(|container| of(container.resources.as_ref())).sum();
        of(self.resources.as_ref()).or_else(containers)
    }
}

fn memory(amounts: Option<&BTreeMap<String, String>>) -> Result<Bytes, String> {
    let Some(text) = amounts.and_then(|amounts| amounts.get("memory")) else { return Ok(Bytes::ZERO) };
    parse_quantity(text.as_bytes()).map_err(|error| format!("request of memory: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_summed_as_kubernetes_does() {
        let list = parse_pod_list(
            br#"{"items":[{"metadata":{"name":"a","namespace":"n","uid":"u"},"status":{"qosClass":"Burstable"},
            "spec":{"priority":7,"overhead":{"memory":"1Mi"},
              "containers":[{"resources":{"requests":{"memory":"10Mi"},"limits":{"memory":"20Mi"}}},{}],
              "initContainers":[{"restartPolicy":"Always","resources":{"requests":{"memory":"5Mi"}}},
                                {"resources":{"requests":{"memory":"30Mi"}}}]}}]}"#,
        )
        .unwrap();
        let pod = list.pods.first().unwrap();
        assert_eq!((pod.request, pod.limit, pod.priority), (Bytes::from_mib(36), None, 7));
        assert_eq!((pod.name.as_str(), pod.qos), ("n/a", Some(QosClass::Burstable)));
        assert!(!pod.is_critical());
    }

    #[test]
    fn static_pods_go_by_their_hash_and_are_critical() {
        let text = "items:\n- metadata:\n    name: s\n    uid: other\n    annotations:\n      \
                    kubernetes.io/config.hash: 0ff5\n      kubernetes.io/config.source: file\n";
        let list = parse_pod_list(text.as_bytes()).unwrap();
        assert_eq!(list.pods[0].cgroup_uid, "0ff5");
        assert!(list.pods[0].is_critical());
    }

    #[test]
    fn pods_that_make_no_sense_are_noted_and_the_rest_is_kept() {
        let text = r#"{"items":[{"metadata":{"name":"\u001b[31m"}},{"metadata":{"uid":"u","name":"b"},"spec":{"containers":
            [{"resources":{"requests":{"memory":"lots"}}}]}},{"metadata":{"uid":"v"}},{"metadata":{"uid":"w"},"status":{"phase":"Failed"}}]}"#;
        let list = parse_pod_list(text.as_bytes()).unwrap();
        assert_eq!(list.pods.len(), 1);
        assert_eq!(list.notes.len(), 2);
        assert!(!list.notes.iter().any(|note| note.chars().any(char::is_control)));
        for wrong in ["", "{}", "[]", "items: 3", r#"{"items":[{"spec":{"priority":"high"}}]}"#] {
            assert!(parse_pod_list(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
