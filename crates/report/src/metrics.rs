//! What `/metrics` says.
//!
//! One table of families for cgroups, one for the node. Names carry the prefix `reprieve_`, base units and, for counters,
//! `_total`. A figure that is not known has no sample: a zero would be a lie, and Prometheus tells absence well.

mod eviction;

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabel, EncodeLabelSet, EncodeMetric, LabelSetEncoder, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use reprieve_judgement::Visibility;
use reprieve_readings::{Bytes, CgroupPath, Owner, Pressure};

use crate::prometheus_text;

mod kills;
mod ledger;
mod trouble;

pub use self::eviction::{EvictionFigures, KeeperActs, KeeperFigures};
pub use kills::KillSeries;
pub use ledger::LedgerFigures;
pub use trouble::Trouble;

/// Everything that one answer of `/metrics` tells.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Each cgroup that has memory.
    pub cgroups: Vec<CgroupFigures>,
    /// The machine, and the agent's own work.
    pub node: NodeFigures,
    /// The kills of each place, kept after it is gone.
    pub kills: Vec<KillSeries>,
    /// The ledger of kills.
    pub ledger: LedgerFigures,
    /// What the kubelet would evict; `None` before the first scan.
    pub eviction: Option<EvictionFigures>,
}

/// The figures of one cgroup.
#[derive(Debug, Clone)]
pub struct CgroupFigures {
    /// Whose they are.
    pub labels: Arc<CgroupLabels>,
    /// The limit beyond which it is killed, where it has one.
    pub limit: Option<Bytes>,
    /// Memory charged to it.
    pub usage: Option<Bytes>,
    /// Usage as the kubelet counts it.
    pub working_set: Option<Bytes>,
    /// What could be given back without killing anybody.
    pub reclaimable: Option<Bytes>,
    /// What it may still use.
    pub available: Option<Bytes>,
    /// Its own processes killed by an OOM killer, since it was made.
    pub oom_kills: Option<u64>,
    /// What comes before a kill.
    pub trouble: Trouble,
}

/// What tells one cgroup from the others. Everything is text that may stand in a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CgroupLabels {
    cgroup: String,
    container_id: Option<String>,
    pod_uid: Option<String>,
    qos_class: Option<&'static str>,
    runtime: Option<&'static str>,
    driver: Option<&'static str>,
    unit: Option<String>,
}

impl CgroupLabels {
    /// The labels of the cgroup at `path`, which belongs to `owner`.
    pub fn new(path: &CgroupPath, owner: &Owner) -> Self {
        CgroupLabels {
            cgroup: path.to_string(),
            container_id: owner.container.as_ref().map(ToString::to_string),
            pod_uid: owner.pod.as_ref().map(ToString::to_string),
            qos_class: owner.qos.map(|qos| qos.as_str()),
            runtime: owner.runtime.map(|runtime| runtime.as_str()),
            driver: owner.driver.map(|driver| driver.as_str()),
            unit: owner.unit.as_ref().map(ToString::to_string),
        }
    }
}

/// The figures of the machine and of the agent.
#[derive(Debug, Clone, Default)]
pub struct NodeFigures {
    /// `MemTotal`.
    pub total: Option<Bytes>,
    /// `MemFree`.
    pub free: Option<Bytes>,
    /// `MemAvailable`.
    pub available: Option<Bytes>,
    /// Processes killed by the OOM killer since boot, by the kernel's count.
    pub oom_kills: Option<u64>,
    /// How long tasks of the machine waited for memory.
    pub pressure: Option<Pressure>,
    /// Kills that the agent has reported since it started.
    pub reported: KillCounts,
    /// How long the last scan took, in seconds.
    pub scan_seconds: f64,
    /// Scans so far.
    pub scans: u64,
    /// Cgroups that the last scan read.
    pub cgroups: usize,
    /// Readings that failed, over all scans.
    pub problems: u64,
    /// Whether victims can be named.
    pub kernel_log_readable: bool,
    /// Times the kernel overwrote log records before they were read.
    pub kernel_log_overruns: u64,
    /// How many records that were.
    pub kernel_log_lost_records: u64,
}

/// Reported kills, by whether Kubernetes can see them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KillCounts {
    /// The first process of the container died: its runtime reports that.
    pub visible: u64,
    /// The first process lives on: nothing but the kernel knows.
    pub invisible: u64,
    /// It could not be told.
    pub unknown: u64,
}

impl KillCounts {
    /// The count of the kills that are so visible.
    pub fn of(&mut self, visibility: Visibility) -> &mut u64 {
        match visibility {
            Visibility::Visible => &mut self.visible,
            Visibility::Invisible => &mut self.invisible,
            Visibility::Unknown => &mut self.unknown,
        }
    }
}

/// The two formats that Prometheus asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpositionFormat {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The Prometheus text format, version 0.0.4.
    Text,
}

impl ExpositionFormat {
    /// The format to answer with, from the request's `Accept` header: OpenMetrics for those who name it.
    pub fn accepted(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Text }
    }

    /// The answer's `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// Writes the answer of `/metrics`. Fails only if formatting does.
pub fn expose(snapshot: &Arc<Snapshot>, format: ExpositionFormat) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("reprieve");
    registry.register_collector(Box::new(Arc::clone(snapshot)));
    let mut exposition = String::with_capacity(64 * 1024 + snapshot.cgroups.len() * 2048);
    text::encode(&mut exposition, &registry)?;
    Ok(match format {
        ExpositionFormat::OpenMetrics => exposition,
        ExpositionFormat::Text => prometheus_text::from_open_metrics(&exposition),
    })
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        encode_cgroups(&self.cgroups, &mut encoder)?;
        trouble::encode_cgroups(&self.cgroups, &mut encoder)?;
        trouble::encode_node(self.node.pressure.as_ref(), &mut encoder)?;
        kills::encode(&self.kills, &mut encoder)?;
        ledger::encode(&self.ledger, &mut encoder)?;
        encode_node(&self.node, &mut encoder)?;
        self.eviction.as_ref().map_or(Ok(()), |figures| eviction::encode(figures, &mut encoder))
    }
}

type CgroupGauge = (&'static str, &'static str, fn(&CgroupFigures) -> Option<Bytes>);

const CGROUP_GAUGES: &[CgroupGauge] = &[
    ("cgroup_memory_limit", "Limit beyond which the cgroup's processes are killed", |figures| figures.limit),
    ("cgroup_memory_usage", "Memory charged to the cgroup and all inside it", |figures| figures.usage),
    ("cgroup_memory_working_set", "Usage without inactive page cache, as the kubelet counts it", |figures| {
        figures.working_set
    }),
    ("cgroup_memory_reclaimable", "Clean page cache and reclaimable slab", |figures| figures.reclaimable),
    (
        "cgroup_memory_available",
        "Memory that the cgroup may still use, by its own limit, those above it and the machine",
        |figures| figures.available,
    ),
];

fn encode_cgroups(cgroups: &[CgroupFigures], encoder: &mut DescriptorEncoder) -> fmt::Result {
    let help = "What is known of the cgroup from its path";
    let mut family = encoder.encode_descriptor("cgroup", help, None, MetricType::Info)?;
    for figures in cgroups {
        family.encode_info(&Identity(&figures.labels))?;
    }
    for (name, help, figure) in CGROUP_GAUGES {
        let mut family = encoder.encode_descriptor(name, help, Some(&Unit::Bytes), MetricType::Gauge)?;
        for figures in cgroups {
            if let Some(bytes) = figure(figures) {
                ConstGauge::new(bytes.get()).encode(family.encode_family(&Key(&figures.labels))?)?;
            }
        }
    }
    let help = "The cgroup's own processes killed by an OOM killer since it was made";
    let mut family = encoder.encode_descriptor("cgroup_oom_kills", help, None, MetricType::Counter)?;
    for figures in cgroups {
        if let Some(kills) = figures.oom_kills {
            ConstCounter::new(kills).encode(family.encode_family(&Key(&figures.labels))?)?;
        }
    }
    Ok(())
}

fn encode_node(node: &NodeFigures, encoder: &mut DescriptorEncoder) -> fmt::Result {
    let memory = [
        ("node_memory_total", "Memory of the machine (MemTotal)", node.total),
        ("node_memory_free", "Memory that nothing uses (MemFree)", node.free),
        ("node_memory_available", "Memory to be had without swapping (MemAvailable)", node.available),
    ];
    for (name, help, bytes) in memory {
        if let Some(bytes) = bytes {
            let family = encoder.encode_descriptor(name, help, Some(&Unit::Bytes), MetricType::Gauge)?;
            ConstGauge::new(bytes.get()).encode(family)?;
        }
    }
    if let Some(kills) = node.oom_kills {
        let help = "Processes killed by the OOM killer since the machine booted";
        encode_counter(encoder, "node_oom_kills", help, kills)?;
    }
    encode_reported(&node.reported, encoder)?;
    let help = "Time that the last scan of all cgroups took";
    let family = encoder.encode_descriptor("scan_duration", help, Some(&Unit::Seconds), MetricType::Gauge)?;
    ConstGauge::new(node.scan_seconds).encode(family)?;
    encode_counter(encoder, "scans", "Scans of all cgroups", node.scans)?;
    encode_gauge(encoder, "scan_cgroups", "Cgroups that the last scan read", node.cgroups as u64)?;
    encode_counter(encoder, "problems", "Readings that failed; the log names each once", node.problems)?;
    let help = "Whether the kernel's log can be read, so that victims can be named";
    encode_gauge(encoder, "kernel_log_readable", help, u64::from(node.kernel_log_readable))?;
    let help = "Times the kernel overwrote log records before they were read";
    encode_counter(encoder, "kernel_log_overruns", help, node.kernel_log_overruns)?;
    let help = "Records that the kernel overwrote before they were read; the log tells their numbers";
    encode_counter(encoder, "kernel_log_lost_records", help, node.kernel_log_lost_records)?;
    let build = [("version", env!("CARGO_PKG_VERSION"))];
    let mut family = encoder.encode_descriptor("build", "The agent's version", None, MetricType::Info)?;
    family.encode_info(&build)
}

fn encode_reported(reported: &KillCounts, encoder: &mut DescriptorEncoder) -> fmt::Result {
    let help = "Kills that the agent has reported since it started, by whether Kubernetes can see them";
    let mut family = encoder.encode_descriptor("reported_kills", help, None, MetricType::Counter)?;
    let counts = [("visible", reported.visible), ("invisible", reported.invisible), ("unknown", reported.unknown)];
    for (visibility, count) in counts {
        ConstCounter::new(count).encode(family.encode_family(&[("visibility", visibility)])?)?;
    }
    Ok(())
}

fn encode_counter(encoder: &mut DescriptorEncoder, name: &str, help: &str, count: u64) -> fmt::Result {
    ConstCounter::new(count).encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
}

fn encode_gauge(encoder: &mut DescriptorEncoder, name: &str, help: &str, value: u64) -> fmt::Result {
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

/// The labels that every sample of a cgroup carries: enough to join by container or pod without a look-up.
struct Key<'a>(&'a CgroupLabels);

impl EncodeLabelSet for Key<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> fmt::Result {
        let labels = self.0;
        label(encoder, "cgroup", Some(&labels.cgroup))?;
        label(encoder, "container_id", labels.container_id.as_deref())?;
        label(encoder, "pod_uid", labels.pod_uid.as_deref())
    }
}

/// All labels, for the one series that says what is known of a cgroup.
struct Identity<'a>(&'a CgroupLabels);

impl EncodeLabelSet for Identity<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> fmt::Result {
        let labels = self.0;
        Key(labels).encode(encoder)?;
        label(encoder, "qos_class", labels.qos_class)?;
        label(encoder, "runtime", labels.runtime)?;
        label(encoder, "driver", labels.driver)?;
        label(encoder, "unit", labels.unit.as_deref())
    }
}

/// Writes a label, unless there is nothing to say: Prometheus takes an absent label for an empty one.
fn label(encoder: &mut LabelSetEncoder, name: &'static str, value: Option<&str>) -> fmt::Result {
    match value {
        Some(value) => (name, value).encode(encoder.encode_label()),
        None => Ok(()),
    }
}
