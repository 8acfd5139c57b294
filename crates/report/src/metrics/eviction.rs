//! What `/metrics` says of evictions: what the kubelet sees and how wrong it is, when its threshold is reached, and what
//! the cache keeper has done.

use std::fmt;
use std::sync::Arc;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use reprieve_judgement::{Evictions, Forecast, ThresholdState};
use reprieve_readings::{Bytes, CacheMeans};

use super::{CgroupLabels, Key, encode_counter, encode_gauge};

/// Everything about evictions at one scan.
#[derive(Debug, Default)]
pub struct EvictionFigures {
    /// The judgement.
    pub evictions: Evictions,
    /// For each of its thresholds, when it is reached.
    pub forecasts: Vec<Forecast>,
    /// Cgroups that will reach their limit, and when.
    pub limits: Vec<(Arc<CgroupLabels>, Forecast)>,
    /// What the keeper has done so far.
    pub keeper: KeeperFigures,
}

/// What the cache keeper has done since the agent started.
#[derive(Debug, Clone, Default)]
pub struct KeeperFigures {
    /// `off`, `dry-run` or `on`.
    pub mode: &'static str,
    /// Whether it has stopped itself.
    pub stopped: bool,
    /// Whether a margin is crossed.
    pub near: bool,
    /// Cgroups whose cache it leaves alone at the moment.
    pub spared: usize,
    /// By means: acts, bytes asked, freed, and taken out of working sets.
    pub acts: Vec<KeeperActs>,
    /// Bytes that came back soon after they were freed.
    pub refaulted: Bytes,
    /// Acts that the kernel refused.
    pub refused: u64,
    /// Orders that were only said, in a dry run.
    pub dry: u64,
}

/// What was done by one means.
#[derive(Debug, Clone, Copy)]
pub struct KeeperActs {
    /// The means.
    pub means: CacheMeans,
    /// How often.
    pub count: u64,
    /// Bytes asked for.
    pub asked: Bytes,
    /// Bytes freed.
    pub freed: Bytes,
    /// Bytes by which working sets shrank.
    pub working_set_removed: Bytes,
}

type ThresholdGauge = (&'static str, &'static str, fn(&ThresholdState) -> Bytes);

type ActsCounter = (&'static str, &'static str, fn(&KeeperActs) -> u64);

const THRESHOLD_GAUGES: &[ThresholdGauge] = &[
    ("kubelet_threshold", "Below this the kubelet evicts pods", |state| state.at),
    ("kubelet_available", "Memory that the kubelet believes to be available", |state| state.observation.available),
];

pub(super) fn encode(figures: &EvictionFigures, encoder: &mut DescriptorEncoder) -> fmt::Result {
    encode_thresholds(figures, encoder)?;
    let help = "Time until the cgroup has nothing left below its limits; absent where nothing points there";
    let mut family =
        encoder.encode_descriptor("cgroup_limit_forecast", help, Some(&Unit::Seconds), MetricType::Gauge)?;
    for (labels, forecast) in &figures.limits {
        if let Some(time) = forecast.best() {
            ConstGauge::new(time.as_secs_f64()).encode(family.encode_family(&Key(labels))?)?;
        }
    }
    encode_keeper(&figures.keeper, encoder)
}

fn labels(state: &ThresholdState) -> [(&'static str, &'static str); 2] {
    let kind = if state.threshold.grace.is_some() { "soft" } else { "hard" };
    [("signal", state.threshold.signal.as_str()), ("kind", kind)]
}

fn encode_thresholds(figures: &EvictionFigures, encoder: &mut DescriptorEncoder) -> fmt::Result {
    let states = &figures.evictions.thresholds;
    for (name, help, value) in THRESHOLD_GAUGES {
        let mut family = encoder.encode_descriptor(name, help, Some(&Unit::Bytes), MetricType::Gauge)?;
        for state in states {
            ConstGauge::new(value(state).get()).encode(family.encode_family(&labels(state))?)?;
        }
    }
    let help = "By how much more is really available than the kubelet believes";
    let mut family = encoder.encode_descriptor("kubelet_error", help, Some(&Unit::Bytes), MetricType::Gauge)?;
    let view = figures.evictions.view;
    let pairs = [
        ("memory.available", view.node, figures.evictions.node_truth),
        ("allocatableMemory.available", view.allocatable, figures.evictions.pods_truth),
    ];
    for (signal, observation, truth) in pairs {
        if let Some((observation, truth)) = observation.zip(truth) {
            let error = i64::try_from(truth.error(&observation)).unwrap_or(i64::MAX);
            ConstGauge::new(error).encode(family.encode_family(&[("signal", signal)])?)?;
        }
    }
    let help = "Time until the kubelet's threshold is reached; absent where nothing points there";
    let mut family = encoder.encode_descriptor("eviction_forecast", help, Some(&Unit::Seconds), MetricType::Gauge)?;
    for (state, forecast) in states.iter().zip(&figures.forecasts) {
        if let Some(time) = forecast.best() {
            ConstGauge::new(time.as_secs_f64()).encode(family.encode_family(&labels(state))?)?;
        }
    }
    Ok(())
}

fn encode_keeper(keeper: &KeeperFigures, encoder: &mut DescriptorEncoder) -> fmt::Result {
    let mut family = encoder.encode_descriptor("keeper", "The cache keeper's mode", None, MetricType::Info)?;
    family.encode_info(&[("mode", keeper.mode)])?;
    let help = "Whether the cache keeper has stopped itself, as what it frees comes back at once";
    encode_gauge(encoder, "keeper_stopped", help, u64::from(keeper.stopped))?;
    let help = "Whether less is available to the kubelet than the keeper's margin";
    encode_gauge(encoder, "keeper_near", help, u64::from(keeper.near))?;
    let help = "Cgroups whose cache the keeper leaves alone at the moment";
    encode_gauge(encoder, "keeper_spared_cgroups", help, keeper.spared as u64)?;
    let families: [ActsCounter; 4] = [
        ("keeper_acts", "What the cache keeper did, by the means", |acts| acts.count),
        ("keeper_asked_bytes", "Bytes that the cache keeper asked for", |acts| acts.asked.get()),
        ("keeper_freed_bytes", "Bytes that the cache keeper freed", |acts| acts.freed.get()),
        ("keeper_working_set_removed_bytes", "Bytes by which the cache keeper made working sets smaller", |acts| {
            acts.working_set_removed.get()
        }),
    ];
    for (name, help, value) in families {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        for acts in &keeper.acts {
            let labels = [("means", acts.means.as_str())];
            ConstCounter::new(value(acts)).encode(family.encode_family(&labels)?)?;
        }
    }
    let help = "Bytes that came back within a minute after the cache keeper had freed them";
    encode_counter(encoder, "keeper_refaulted_bytes", help, keeper.refaulted.get())?;
    encode_counter(encoder, "keeper_refused", "Acts that the kernel refused", keeper.refused)?;
    encode_counter(encoder, "keeper_dry_orders", "Orders that a dry run did not carry out", keeper.dry)
}
