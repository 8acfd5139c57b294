//! Whom the kubelet evicts first for memory (`rankMemoryPressure`, pkg/kubelet/eviction/helpers.go, kubelet 1.36).

use std::cmp::Reverse;

use reprieve_readings::{Bytes, QosClass};

/// What is known of a pod's memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodMemory {
    /// What its cgroup is called after.
    pub uid: String,
    /// `namespace/name` where a list of pods told it. A stranger's text.
    pub name: Option<String>,
    /// Its class.
    pub qos: Option<QosClass>,
    /// Its working set; `None` where there are no statistics.
    pub working_set: Option<Bytes>,
    /// The memory that it requests; `None` where nobody told.
    pub request: Option<Bytes>,
    /// Its limit, where it has one.
    pub limit: Option<Bytes>,
    /// Its priority; `None` where nobody told, which counts as 0.
    pub priority: Option<i32>,
    /// Whether the kubelet passes it over.
    pub critical: bool,
}

impl PodMemory {
    /// What the kubelet holds the working set against. BestEffort pods request nothing, and Guaranteed ones what is
    /// their limit: the class alone tells. Of others an unknown request counts as none.
    pub fn assumed_request(&self) -> Bytes {
        let by_class = match self.qos {
            Some(QosClass::Guaranteed) => self.limit,
            _ => None,
        };
        self.request.or(by_class).unwrap_or_default()
    }

    /// Whether the request is a guess.
    pub fn request_is_guess(&self) -> bool {
        let by_class = matches!(self.qos, Some(QosClass::BestEffort))
            || (matches!(self.qos, Some(QosClass::Guaranteed)) && self.limit.is_some());
        self.request.is_none() && !by_class
    }

    /// The working set beyond the request; below it a negative number.
    fn beyond_request(&self) -> i128 {
        i128::from(self.working_set.unwrap_or_default().get()) - i128::from(self.assumed_request().get())
    }
}

/// A pod in the order of eviction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RankedPod {
    /// Which.
    pub pod: PodMemory,
    /// Whether it uses more than it requests, which puts it before all that don't.
    pub exceeds_request: bool,
    /// The working set beyond the request; below it a negative number of bytes.
    pub beyond_request: i128,
}

/// Puts pods into the order in which the kubelet evicts them: those without statistics, those above their request, the
/// less important, the larger beyond their request. Where all that is equal, by uid: the kubelet leaves it open.
///
/// Critical pods keep their place, as in the kubelet's own ranking; it passes them over when it comes to them.
pub fn rank_pods(mut pods: Vec<PodMemory>) -> Vec<RankedPod> {
    pods.sort_by(|one, other| key(one).cmp(&key(other)));
    let ranked = |pod: PodMemory| RankedPod {
        exceeds_request: pod.beyond_request() > 0,
        beyond_request: pod.beyond_request(),
        pod,
    };
    pods.into_iter().map(ranked).collect()
}

fn key(pod: &PodMemory) -> (bool, bool, i32, Reverse<i128>, &str) {
    let beyond = pod.beyond_request();
    (pod.working_set.is_some(), beyond <= 0, pod.priority.unwrap_or(0), Reverse(beyond), &pod.uid)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pod(uid: &str, working_set: Option<u64>, request: u64, priority: i32) -> PodMemory {
        PodMemory {
            uid: uid.to_owned(),
            name: None,
            qos: Some(QosClass::Burstable),
            working_set: working_set.map(Bytes::from_mib),
            request: Some(Bytes::from_mib(request)),
            limit: None,
            priority: Some(priority),
            critical: false,
        }
    }

    fn order(pods: Vec<PodMemory>) -> String {
        rank_pods(pods).iter().map(|ranked| ranked.pod.uid.as_str()).collect()
    }

    #[test]
    fn each_rule_decides_where_those_before_it_do_not() {
        let pods = vec![
            pod("e", Some(100), 200, -5),
            pod("d", Some(300), 100, 9),
            pod("c", Some(150), 100, 0),
            pod("b", Some(900), 100, 0),
            pod("a", None, 0, 99),
        ];
        assert_eq!(order(pods), "abcde");
    }

    #[test]
    fn exactly_the_request_is_not_above_it() {
        assert_eq!(order(vec![pod("b", Some(100), 100, 0), pod("a", Some(51), 50, 5)]), "ab");
    }

    #[test]
    fn the_class_tells_some_requests() {
        let unknown = |qos| PodMemory {
            request: None,
            qos: Some(qos),
            limit: Some(Bytes::from_mib(64)),
            ..pod("x", Some(10), 0, 0)
        };
        assert_eq!(unknown(QosClass::Guaranteed).assumed_request(), Bytes::from_mib(64));
        assert!(!unknown(QosClass::Guaranteed).request_is_guess() && !unknown(QosClass::BestEffort).request_is_guess());
        assert_eq!(unknown(QosClass::Burstable).assumed_request(), Bytes::ZERO);
        assert!(unknown(QosClass::Burstable).request_is_guess());
    }

    proptest! {
        #[test]
        fn the_order_of_the_input_does_not_matter(
            numbers in prop::collection::vec((prop::option::of(0_u64..4), 0_u64..4, -1_i32..2), 0..8)
        ) {
            let pods: Vec<_> = numbers.iter().enumerate()
                .map(|(number, &(set, request, priority))| pod(&number.to_string(), set, request, priority)).collect();
            let reversed = pods.iter().rev().cloned().collect();
            prop_assert_eq!(order(pods), order(reversed));
        }
    }
}
