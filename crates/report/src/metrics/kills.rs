//! Kills by place, kind and visibility: counters that outlive the container, and that a restart of the agent does not
//! reset. Names of processes are no labels: a crash loop would make a series of each.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, LabelSetEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use reprieve_judgement::{KillKey, KillPlace, KillTotals, OomKind, Visibility};
use reprieve_readings::Owner;

use super::label;

/// The kills of one place, kind and visibility. Everything is text that may stand in a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KillSeries {
    cgroup: String,
    container_id: Option<String>,
    pod_uid: Option<String>,
    kind: OomKind,
    visibility: Visibility,
    kills: u64,
}

impl KillSeries {
    /// All series, in the order of their labels.
    pub fn all(totals: &KillTotals) -> Vec<Self> {
        let mut series: Vec<KillSeries> = totals.iter().map(|(key, total)| Self::of(key, total.kills())).collect();
        series.sort_by(|left, right| left.order().cmp(&right.order()));
        series
    }

    fn of(key: &KillKey, kills: u64) -> Self {
        let KillKey { place, kind, visibility } = key;
        let (cgroup, owner) = match place {
            KillPlace::Cgroup(path) => (path.to_string(), Owner::of(path)),
            // A path begins with a slash: no cgroup can pose as these.
            KillPlace::Unknown => ("unknown".into(), Owner::default()),
            KillPlace::Other => ("other".into(), Owner::default()),
        };
        KillSeries {
            cgroup,
            container_id: owner.container.as_ref().map(ToString::to_string),
            pod_uid: owner.pod.as_ref().map(ToString::to_string),
            kind: *kind,
            visibility: *visibility,
            kills,
        }
    }

    fn order(&self) -> (&str, OomKind, Visibility) {
        (&self.cgroup, self.kind, self.visibility)
    }
}

pub(super) fn encode(kills: &[KillSeries], encoder: &mut DescriptorEncoder) -> fmt::Result {
    let help = "Processes killed by an OOM killer, by place, kind and whether Kubernetes can see it";
    let mut family = encoder.encode_descriptor("oom_kills", help, None, MetricType::Counter)?;
    for series in kills {
        ConstCounter::new(series.kills).encode(family.encode_family(series)?)?;
    }
    Ok(())
}

impl EncodeLabelSet for KillSeries {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> fmt::Result {
        label(encoder, "cgroup", Some(&self.cgroup))?;
        label(encoder, "container_id", self.container_id.as_deref())?;
        label(encoder, "pod_uid", self.pod_uid.as_deref())?;
        label(encoder, "kind", Some(self.kind.as_str()))?;
        label(encoder, "visibility", Some(self.visibility.as_str()))
    }
}
