//! What comes before a kill: limits hit, throttling, and time lost in waiting for memory. A graph of it beside the kills
//! shows how each began.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, LabelSetEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Unit;
use reprieve_readings::{CgroupMemory, Pressure};

use super::{CgroupFigures, CgroupLabels, Key};

/// The early trouble of one cgroup, counted by the kernel since the cgroup was made. What it doesn't count is `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Trouble {
    /// Times it was throttled for exceeding `memory.high`; v2.
    pub high: Option<u64>,
    /// Times its usage was about to go over its limit; v1 `memory.failcnt`.
    pub max: Option<u64>,
    /// Times an allocation was about to fail at the limit; v2.
    pub oom: Option<u64>,
    /// How long its tasks waited for memory; v2.
    pub pressure: Option<Pressure>,
}

impl Trouble {
    /// What the last reading of a cgroup tells. Events are its own where the kernel has them apart (Linux 5.3), without
    /// those of cgroups inside it.
    pub fn of(memory: &CgroupMemory) -> Self {
        let events = memory.events_local.or(memory.events).unwrap_or_default();
        let max = events.max.or(memory.limit_hits);
        Trouble { high: events.high, max, oom: events.oom, pressure: memory.pressure }
    }
}

type Event = (&'static str, fn(&Trouble) -> Option<u64>);

const EVENTS: &[Event] =
    &[("high", |trouble| trouble.high), ("max", |trouble| trouble.max), ("oom", |trouble| trouble.oom)];

pub(super) fn encode_cgroups(cgroups: &[CgroupFigures], encoder: &mut DescriptorEncoder) -> fmt::Result {
    let help =
        "Times the cgroup was throttled (high), hit its limit (max), or an allocation was about to fail there (oom)";
    let mut family = encoder.encode_descriptor("cgroup_memory_events", help, None, MetricType::Counter)?;
    for figures in cgroups {
        for (event, count) in EVENTS {
            if let Some(count) = count(&figures.trouble) {
                let labels = With { labels: &figures.labels, name: "event", value: event };
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
    }
    let help = "Time in which some task of the cgroup waited for memory, or all did (full)";
    let mut family =
        encoder.encode_descriptor("cgroup_memory_stall", help, Some(&Unit::Seconds), MetricType::Counter)?;
    for figures in cgroups {
        for (tasks, seconds) in stalls(figures.trouble.pressure.as_ref()) {
            let labels = With { labels: &figures.labels, name: "tasks", value: tasks };
            ConstCounter::new(seconds).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

pub(super) fn encode_node(pressure: Option<&Pressure>, encoder: &mut DescriptorEncoder) -> fmt::Result {
    let help = "Time in which some task of the machine waited for memory, or all did (full)";
    let mut family = encoder.encode_descriptor("node_memory_stall", help, Some(&Unit::Seconds), MetricType::Counter)?;
    for (tasks, seconds) in stalls(pressure) {
        ConstCounter::new(seconds).encode(family.encode_family(&[("tasks", tasks)])?)?;
    }
    Ok(())
}

fn stalls(pressure: Option<&Pressure>) -> impl Iterator<Item = (&'static str, f64)> {
    let some = pressure.map(|pressure| ("some", pressure.some.total.as_secs_f64()));
    let full = pressure.and_then(|pressure| pressure.full).map(|full| ("full", full.total.as_secs_f64()));
    some.into_iter().chain(full)
}

/// A cgroup's labels and one more.
struct With<'a> {
    labels: &'a CgroupLabels,
    name: &'static str,
    value: &'static str,
}

impl EncodeLabelSet for With<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder) -> fmt::Result {
        Key(self.labels).encode(encoder)?;
        super::label(encoder, self.name, Some(self.value))
    }
}
