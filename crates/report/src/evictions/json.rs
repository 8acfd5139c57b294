//! `reprieve evictions --json`: one object, amounts in bytes, times in seconds, `null` for what is not known.

use reprieve_judgement::{Forecast, KeeperDecision, NodeTruth, Observation, StandingReason, ThresholdState};
use reprieve_readings::{Bytes, Escaped};
use serde::Serialize;

use super::EvictionsReport;

/// The report as one line of JSON. The keys are stable: later versions add some and change none.
pub fn evictions_json(report: &EvictionsReport<'_>) -> String {
    let evictions = report.evictions;
    let forecasts = report.forecasts.iter().copied().chain(std::iter::repeat(Forecast::Unknown));
    let json = Json {
        node: evictions.view.node.map(|seen| Signal::of(&seen, evictions.node_truth)),
        allocatable: evictions.view.allocatable.map(|seen| Signal::of(&seen, evictions.pods_truth)),
        thresholds: evictions
            .thresholds
            .iter()
            .zip(forecasts)
            .map(|(state, time)| Threshold::of(state, time))
            .collect(),
        pods: evictions.pods.iter().map(Pod::of).collect(),
        cache: evictions.holders.iter().map(Holder::of).collect(),
        keeper: Keeper::of(report.keeper),
        notes: report.notes,
    };
    // Numbers and strings always serialise.
    serde_json::to_string(&json).unwrap_or_default()
}

#[derive(Serialize)]
struct Json<'a> {
    node: Option<Signal>,
    allocatable: Option<Signal>,
    thresholds: Vec<Threshold>,
    pods: Vec<Pod>,
    cache: Vec<Holder>,
    keeper: Keeper,
    notes: &'a [String],
}

#[derive(Serialize)]
struct Signal {
    usage_bytes: u64,
    working_set_bytes: u64,
    available_bytes: u64,
    capacity_bytes: u64,
    really_available_bytes: Option<u64>,
    error_bytes: Option<i64>,
    active_file_bytes: Option<u64>,
    slab_reclaimable_bytes: Option<u64>,
}

impl Signal {
    fn of(seen: &Observation, truth: Option<NodeTruth>) -> Self {
        Signal {
            usage_bytes: seen.usage.get(),
            working_set_bytes: seen.working_set.get(),
            available_bytes: seen.available.get(),
            capacity_bytes: seen.capacity.get(),
            really_available_bytes: truth.map(|truth| truth.available.get()),
            error_bytes: truth.and_then(|truth| i64::try_from(truth.error(seen)).ok()),
            active_file_bytes: truth.map(|truth| truth.active_file.get()),
            slab_reclaimable_bytes: truth.map(|truth| truth.slab_reclaimable.get()),
        }
    }
}

/// A forecast, in seconds.
#[derive(Serialize)]
pub(super) struct Time {
    state: &'static str,
    seconds: Option<f64>,
    soonest_seconds: Option<f64>,
    latest_seconds: Option<f64>,
}

impl Time {
    pub(super) fn of(forecast: Forecast) -> Self {
        let (state, soonest, latest) = match forecast {
            Forecast::Unknown => ("unknown", None, None),
            Forecast::None => ("none", None, None),
            Forecast::Now => ("now", None, None),
            Forecast::In { soonest, latest, .. } => ("in", Some(soonest), latest),
        };
        let seconds = |time: Option<std::time::Duration>| time.map(|time| time.as_secs_f64());
        Time {
            state,
            seconds: seconds(forecast.best()),
            soonest_seconds: seconds(soonest),
            latest_seconds: seconds(latest),
        }
    }
}

#[derive(Serialize)]
struct Threshold {
    signal: &'static str,
    kind: &'static str,
    threshold_bytes: u64,
    evicts_until_bytes: u64,
    grace_seconds: Option<f64>,
    pod_grace_seconds: Option<f64>,
    met: bool,
    forecast: Time,
}

impl Threshold {
    fn of(state: &ThresholdState, forecast: Forecast) -> Self {
        let grace = state.threshold.grace;
        Threshold {
            signal: state.threshold.signal.as_str(),
            kind: if grace.is_some() { "soft" } else { "hard" },
            threshold_bytes: state.at.get(),
            evicts_until_bytes: state.until().get(),
            grace_seconds: grace.map(|grace| grace.as_secs_f64()),
            pod_grace_seconds: state.threshold.pod_grace.map(|grace| grace.as_secs_f64()),
            met: state.is_met(),
            forecast: Time::of(forecast),
        }
    }
}

#[derive(Serialize)]
struct Pod {
    uid: String,
    name: Option<String>,
    qos_class: Option<&'static str>,
    priority: Option<i32>,
    working_set_bytes: Option<u64>,
    request_bytes: Option<u64>,
    above_request_bytes: Option<i64>,
    reason: &'static str,
    critical: bool,
}

impl Pod {
    fn of(ranked: &reprieve_judgement::RankedPod) -> Self {
        let pod = &ranked.pod;
        Pod {
            uid: pod.uid.clone(),
            name: pod.name.as_deref().map(|name| Escaped(name.as_bytes()).to_string()),
            qos_class: pod.qos.map(|qos| qos.as_str()),
            priority: pod.priority,
            working_set_bytes: pod.working_set.map(Bytes::get),
            request_bytes: (!pod.request_is_guess()).then(|| pod.assumed_request().get()),
            above_request_bytes: i64::try_from(ranked.beyond_request).ok(),
            reason: match pod.working_set {
                _ if pod.critical => "critical_never_evicted",
                None => "no_statistics",
                Some(_) if ranked.exceeds_request => "above_request",
                Some(_) => "within_request",
            },
            critical: pod.critical,
        }
    }
}

#[derive(Serialize)]
struct Holder {
    cgroup: String,
    pod_uid: Option<String>,
    container_id: Option<String>,
    active_file_bytes: u64,
    inactive_file_bytes: Option<u64>,
    standing: Option<&'static str>,
    advised_limit_bytes: Option<u64>,
}

impl Holder {
    fn of(holder: &reprieve_judgement::CacheHolder) -> Self {
        Holder {
            cgroup: holder.path.to_string(),
            pod_uid: holder.owner.pod.as_ref().map(ToString::to_string),
            container_id: holder.owner.container.as_ref().map(ToString::to_string),
            active_file_bytes: holder.active_file().get(),
            inactive_file_bytes: holder.memory.stat.and_then(|stat| stat.inactive_file).map(Bytes::get),
            standing: holder.standing.map(|standing| match standing.reason {
                StandingReason::NoLimit => "no_limit",
                StandingReason::LimitAboveRequest { .. } => "limit_above_request",
            }),
            advised_limit_bytes: holder.standing.map(|standing| standing.advised.get()),
        }
    }
}

#[derive(Serialize)]
struct Keeper {
    state: &'static str,
    margin_bytes: Option<u64>,
    orders: Vec<Order>,
    spared: Vec<Spared>,
}

#[derive(Serialize)]
struct Order {
    cgroup: String,
    means: &'static str,
    bytes: u64,
}

#[derive(Serialize)]
struct Spared {
    cgroup: String,
    reason: String,
}

impl Keeper {
    fn of(decision: &KeeperDecision) -> Self {
        let (state, margin) = match decision {
            KeeperDecision::NoThreshold => ("no_threshold", None),
            KeeperDecision::Unreachable(_) => ("threshold_unreachable", None),
            KeeperDecision::Far => ("far", None),
            KeeperDecision::Stopped => ("stopped", None),
            KeeperDecision::Near { margin, .. } => ("near", Some(margin.get())),
        };
        let mut keeper = Keeper { state, margin_bytes: margin, orders: Vec::new(), spared: Vec::new() };
        if let KeeperDecision::Near { orders, spared, .. } = decision {
            let order = |order: &reprieve_judgement::KeeperOrder| Order {
                cgroup: order.path.to_string(),
                means: order.means.as_str(),
                bytes: order.amount.get(),
            };
            let spare = |spared: &reprieve_judgement::KeeperSpared| Spared {
                cgroup: spared.path.to_string(),
                reason: spared.reason.to_string(),
            };
            keeper.orders = orders.iter().map(order).collect();
            keeper.spared = spared.iter().map(spare).collect();
        }
        keeper
    }
}
