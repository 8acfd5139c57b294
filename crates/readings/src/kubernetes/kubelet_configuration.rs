//! The kubelet's configuration file, as far as it tells when pods are evicted for memory.
//!
//! `KubeletConfiguration` of `kubelet.config.k8s.io/v1beta1`, or the answer of the kubelet's `/configz`, which holds the
//! same in a field `kubeletconfig`. A field that makes no sense is told in a note and left out: the kubelet would refuse
//! to start with it, so what runs is something else.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

use super::amount::EvictionAmount;
use super::document::{self, DocumentError};
use crate::escape::Escaped;
use crate::parse::ParseError;

/// The settings of memory eviction.
#[derive(Debug, Clone, PartialEq)]
pub struct EvictionConfiguration {
    /// Below it pods are evicted at once. `None` where there is no such threshold.
    pub hard: Option<EvictionAmount>,
    /// Below it pods are evicted after the grace period.
    pub soft: Option<(EvictionAmount, Duration)>,
    /// How far above a threshold the kubelet goes on evicting.
    pub minimum_reclaim: Option<EvictionAmount>,
    /// The longest grace that a pod gets in a soft eviction; `Duration::MAX` where it keeps its own.
    pub soft_pod_grace: Duration,
    /// Whether the cgroup of all pods has a threshold too (`enforceNodeAllocatable` has `pods`).
    pub allocatable: bool,
    /// What was not understood, a sentence each.
    pub notes: Vec<String>,
}

/// What the kubelet does without a configuration: 100 MiB (`DefaultEvictionHard`, pkg/kubelet/eviction/defaults_linux.go,
/// kubelet 1.36).
impl Default for EvictionConfiguration {
    fn default() -> Self {
        EvictionConfiguration {
            hard: Some(DEFAULT_HARD),
            soft: None,
            minimum_reclaim: None,
            soft_pod_grace: Duration::ZERO,
            allocatable: true,
            notes: Vec::new(),
        }
    }
}

const DEFAULT_HARD: EvictionAmount = EvictionAmount::Quantity(crate::Bytes::from_mib(100));
const SIGNAL: &str = "memory.available";
/// More notes than this are no help.
const MOST_NOTES: usize = 20;

type Entries = BTreeMap<String, String>;

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Document {
    kind: Option<String>,
    kubeletconfig: Option<Box<Document>>,
    eviction_hard: Option<Entries>,
    eviction_soft: Option<Entries>,
    eviction_soft_grace_period: Option<Entries>,
    eviction_minimum_reclaim: Option<Entries>,
    eviction_max_pod_grace_period: Option<i64>,
    merge_default_eviction_settings: Option<bool>,
    enforce_node_allocatable: Option<Vec<String>>,
}

/// Reads the text of a kubelet's configuration file, or of `/configz`.
///
/// # Errors
/// It is no YAML or JSON, not of the kubelet, or too large.
pub fn parse_kubelet_configuration(text: &[u8]) -> Result<EvictionConfiguration, DocumentError> {
    let mut document: Document = document::parse(text)?;
    let inner = document.kubeletconfig.take();
    let is_answer = inner.is_some();
    if let Some(inner) = inner {
        document = *inner;
    }
    match document.kind.as_deref() {
        Some("KubeletConfiguration") => {}
        Some(other) => {
            let kind = Escaped(other.as_bytes());
            return Err(DocumentError::new(format_args!("kind {kind}, where KubeletConfiguration was expected")));
        }
        // Kubernetes' own guide adds the kind to what `/configz` answers: not all versions do.
        None if is_answer => {}
        None => return Err(DocumentError::new("no `kind: KubeletConfiguration`")),
    }
    if is_answer {
        document.mean_none_by_what_is_missing();
    }
    Ok(document.into_configuration())
}

impl Document {
    /// `/configz` shows the settings after defaults were set, and leaves out what is empty (`omitempty` in
    /// `KubeletConfiguration`, k8s.io/kubelet/config/v1beta1/types.go): what is missing there is none, not the default.
    fn mean_none_by_what_is_missing(&mut self) {
        self.eviction_hard.get_or_insert_default();
        self.enforce_node_allocatable.get_or_insert_default();
    }

    fn into_configuration(self) -> EvictionConfiguration {
        let mut configuration = EvictionConfiguration::default();
        let merge = self.merge_default_eviction_settings == Some(true);
        if let Some(hard) = &self.eviction_hard {
            configuration.set_hard(hard, merge);
        }
        configuration.set_soft(self.eviction_soft.as_ref(), self.eviction_soft_grace_period.as_ref());
        if let Some(reclaim) = &self.eviction_minimum_reclaim {
            configuration.set_minimum_reclaim(reclaim);
        }
        match self.eviction_max_pod_grace_period.map(u64::try_from) {
            Some(Ok(seconds)) => configuration.soft_pod_grace = Duration::from_secs(seconds),
            // Negative: pods keep their own grace (`maxPodGracePeriodSeconds`).
            Some(Err(_)) => configuration.soft_pod_grace = Duration::MAX,
            None => {}
        }
        if let Some(enforced) = &self.enforce_node_allocatable {
            configuration.allocatable = enforced.iter().any(|what| what == "pods");
        }
        configuration
    }
}

impl EvictionConfiguration {
    /// Takes the hard thresholds. Where there are none for memory, memory has none, unless the defaults are merged in
    /// (`mergeDefaultEvictionSettings`): the kubelet takes its defaults only where nothing at all is said, and an empty
    /// list says something (`EvictionHard == nil` in cmd/kubelet/app/server.go).
    pub fn set_hard(&mut self, entries: &BTreeMap<String, String>, merge_defaults: bool) {
        self.hard = match entries.get(SIGNAL) {
            None if merge_defaults => Some(DEFAULT_HARD),
            None => None,
            Some(text) => self.amount("evictionHard", text, EvictionAmount::parse).unwrap_or(Some(DEFAULT_HARD)),
        };
    }

    /// Takes the soft thresholds, or their grace periods, or both. What is not given stays, as where only one of the
    /// kubelet's flags changes what its file says.
    pub fn set_soft(
        &mut self,
        thresholds: Option<&BTreeMap<String, String>>,
        grace_periods: Option<&BTreeMap<String, String>>,
    ) {
        let (amount, grace) = self.soft.take().unzip();
        let amount = match thresholds.map(|entries| entries.get(SIGNAL)) {
            Some(text) => text.and_then(|text| self.amount("evictionSoft", text, EvictionAmount::parse).flatten()),
            None => amount,
        };
        let Some(amount) = amount else { return };
        let grace = match grace_periods.map(|entries| entries.get(SIGNAL)) {
            Some(text) => text.map(|text| parse_go_duration(text)),
            None => grace.map(Some),
        };
        match grace {
            Some(Some(grace)) => self.soft = Some((amount, grace)),
            Some(None) => self.note("evictionSoftGracePeriod: memory.available has no duration such as 1m30s".into()),
            None => self.note("evictionSoft: memory.available has no grace period, so it is left out".into()),
        }
    }

    /// Takes how much more than the threshold is to be freed.
    pub fn set_minimum_reclaim(&mut self, entries: &BTreeMap<String, String>) {
        self.minimum_reclaim = entries
            .get(SIGNAL)
            .and_then(|text| self.amount("evictionMinimumReclaim", text, EvictionAmount::parse_minimum_reclaim));
    }

    /// `None` where the text makes no sense, which is noted.
    fn amount<T>(&mut self, field: &str, text: &str, parse: impl FnOnce(&[u8]) -> Result<T, ParseError>) -> Option<T> {
        let parsed = parse(text.as_bytes());
        parsed.map_err(|error| self.note(format!("{field}: memory.available: {error}"))).ok()
    }

    fn note(&mut self, note: String) {
        if self.notes.len() < MOST_NOTES {
            self.notes.push(note);
        }
    }
}

/// Durations as Go writes them (`time.ParseDuration`): `1m30s`, `90s`, `1.5h`. Negative ones make no sense here.
fn parse_go_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 7] =
        [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let number_end = rest.find(|character: char| !character.is_ascii_digit() && character != '.')?;
        let (number, after) = rest.split_at_checked(number_end)?;
        let unit_end = after.find(|character: char| character.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_end)?;
        let factor = UNITS.iter().find(|(name, _)| *name == unit)?.1;
        seconds += number.parse::<f64>().ok()? * factor;
        rest = after;
    }
    if text.is_empty() { None } else { Duration::try_from_secs_f64(seconds).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Bytes;

    fn parse(text: &str) -> EvictionConfiguration {
        parse_kubelet_configuration(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_whole_configuration_is_read() {
        let configuration = parse(
            "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nevictionHard:\n  \
             memory.available: 500Mi\nevictionSoft: {memory.available: 5%}\nevictionSoftGracePeriod:\n  \
             memory.available: 1m30s\nevictionMinimumReclaim: {memory.available: 100Mi}\n\
             evictionMaxPodGracePeriod: 60\nenforceNodeAllocatable: [none]\n",
        );
        assert_eq!(configuration.hard, Some(EvictionAmount::Quantity(Bytes::from_mib(500))));
        assert_eq!(configuration.soft, Some((EvictionAmount::Share(0.05), Duration::from_secs(90))));
        assert_eq!(configuration.minimum_reclaim, Some(EvictionAmount::Quantity(Bytes::from_mib(100))));
        assert_eq!(configuration.soft_pod_grace, Duration::from_secs(60));
        assert!(!configuration.allocatable && configuration.notes.is_empty());
    }

    #[test]
    fn defaults_are_the_kubelet_s() {
        assert_eq!(parse("kind: KubeletConfiguration"), EvictionConfiguration::default());
        let others = "kind: KubeletConfiguration\nevictionHard: {nodefs.available: 10%}\n";
        assert_eq!(parse(others).hard, None, "naming one signal takes the defaults from all others");
        assert_eq!(parse(&format!("{others}mergeDefaultEvictionSettings: true\n")).hard, Some(DEFAULT_HARD));
    }

    #[test]
    fn an_empty_list_of_hard_thresholds_is_none() {
        let empty = "kind: KubeletConfiguration\nevictionHard: {}\n";
        assert_eq!(parse(empty).hard, None);
        assert_eq!(parse(&format!("{empty}mergeDefaultEvictionSettings: true\n")).hard, Some(DEFAULT_HARD));
        assert_eq!(parse("kind: KubeletConfiguration\nevictionHard:\n").hard, Some(DEFAULT_HARD), "null is not set");
        assert!(!parse("kind: KubeletConfiguration\nenforceNodeAllocatable: []\n").allocatable);
        let mut by_flag = EvictionConfiguration::default();
        by_flag.set_hard(&Entries::new(), false);
        assert_eq!(by_flag.hard, None, "--eviction-hard=''");
    }

    #[test]
    fn what_configz_does_not_show_is_none() {
        let real = include_bytes!("../../../../fixtures/kubelet-v1-1.36/eviction/configz-before.json");
        let real = String::from_utf8(real.to_vec()).unwrap();
        let configuration = parse(&real);
        assert_eq!(configuration.hard, Some(EvictionAmount::Quantity(Bytes::from_mib(100))));
        assert!(configuration.allocatable);
        let (before, rest) = real.split_once("\"evictionHard\":{").unwrap();
        let (_, after) = rest.split_once("},").unwrap();
        assert_eq!(parse(&format!("{before}{after}")).hard, None);
        assert!(!parse(&real.replace("\"enforceNodeAllocatable\":[\"pods\"],", "")).allocatable);
    }

    #[test]
    fn a_minimum_reclaim_may_be_nothing() {
        let reclaim = |text| {
            let of = format!("kind: KubeletConfiguration\nevictionMinimumReclaim: {{memory.available: {text}}}\n");
            let configuration = parse(&of);
            (configuration.minimum_reclaim, configuration.notes.len())
        };
        assert_eq!(reclaim("0Mi"), (Some(EvictionAmount::Quantity(Bytes::ZERO)), 0));
        assert_eq!(reclaim("100%"), (Some(EvictionAmount::Share(1.0)), 0));
        assert_eq!(reclaim("0%"), (None, 1), "the kubelet refuses it");
        assert_eq!(reclaim("-5Mi"), (None, 1));
    }

    #[test]
    fn the_answer_of_configz_is_read_too() {
        let answer = r#"{"kubeletconfig":{"kind":"KubeletConfiguration","evictionHard":{"memory.available":"1Gi"}}}"#;
        assert_eq!(parse(&answer.replace(r#""kind":"KubeletConfiguration","#, "")), parse(answer));
        assert_eq!(parse(answer).hard, Some(EvictionAmount::Quantity(Bytes::from_mib(1024))));
    }

    #[test]
    fn a_bad_field_is_noted_and_the_rest_is_kept() {
        let bad = parse(
            "kind: KubeletConfiguration\nevictionHard: {memory.available: 150%}\nevictionSoft: {memory.available: 1Gi}\n",
        );
        assert_eq!((bad.hard, bad.soft), (Some(DEFAULT_HARD), None));
        assert_eq!(bad.notes.len(), 2, "{:?}", bad.notes);
    }

    #[test]
    fn a_soft_threshold_and_its_grace_are_changed_one_by_one() {
        let entries = |text: &str| Entries::from([(SIGNAL.to_owned(), text.to_owned())]);
        let of_file = "kind: KubeletConfiguration\nevictionSoft: {memory.available: 1Gi}\n\
                       evictionSoftGracePeriod: {memory.available: 90s}\n";
        let changed = |soft: Option<Entries>, grace: Option<Entries>| {
            let mut configuration = parse(of_file);
            configuration.set_soft(soft.as_ref(), grace.as_ref());
            configuration.soft
        };
        let gib = |gib: u64| EvictionAmount::Quantity(Bytes::from_mib(gib * 1024));
        let seconds = Duration::from_secs;
        assert_eq!(changed(Some(entries("2Gi")), None), Some((gib(2), seconds(90))));
        assert_eq!(changed(None, Some(entries("10s"))), Some((gib(1), seconds(10))));
        assert_eq!(changed(None, None), Some((gib(1), seconds(90))));
        assert_eq!(changed(Some(Entries::new()), None), None);
        assert_eq!(changed(None, Some(Entries::new())), None, "without a grace period there is none");
    }

    #[test]
    fn what_is_no_configuration_is_an_error_in_one_line() {
        let bomb = format!("a: &a [{}]\nkind: *a\n", "x, ".repeat(10));
        for wrong in [
            "",
            "[",
            "kind: Pod",
            "{}",
            "{\"kind\":",
            "kind: [a]",
            "\u{0}",
            "evictionHard: 3",
            "kind: \"\u{9b}31m\"",
            "evictionHard: {memory.available: {a: 1}}",
            "kind: a\n---\nkind: b\n",
            &"[".repeat(100_000),
            &"{\"a\":".repeat(100_000),
            &bomb,
        ] {
            let error = parse_kubelet_configuration(wrong.as_bytes()).unwrap_err().to_string();
            assert!(error.len() < 1000 && !error.chars().any(char::is_control), "{error}");
        }
        assert!(parse_kubelet_configuration(b"kind: \xff").is_err());
    }

    #[test]
    fn durations_are_go_s() {
        let seconds = |text| parse_go_duration(text).map(|duration| duration.as_secs_f64());
        assert_eq!(seconds("1m30s"), Some(90.0));
        assert_eq!(seconds("1.5h"), Some(5400.0));
        assert_eq!(seconds("300ms"), Some(0.3));
        assert_eq!(seconds("0"), Some(0.0));
        for wrong in ["", "5", "s", "1d", "-1s", "1..5s", "1m30"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
