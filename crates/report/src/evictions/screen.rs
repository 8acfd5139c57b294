//! The screen of `reprieve evictions`: what the kubelet sees and what is true, whom it would evict, who holds the cache,
//! and what the cache keeper would do.

use std::fmt::Write;
use std::time::Duration;

use reprieve_judgement::{
    EvictionSignal, Forecast, KeeperDecision, NodeTruth, Observation, RankedPod, StandingReason, ThresholdState,
};
use reprieve_readings::{Bytes, Escaped};

use super::EvictionsReport;
use super::words::{fit, forecast, name, range, signed, time};
use crate::explain::wrap;

/// So many pods and holders are shown.
const SHOWN: usize = 15;

/// The report as a screen of text, at most 80 columns wide.
pub fn evictions_screen(report: &EvictionsReport<'_>) -> String {
    let mut text = verdict(report);
    text += &signals(report);
    text += &pods(report);
    text += &holders(report);
    text += &standing(report);
    text += &keeper(report);
    for note in report.notes {
        text += &wrap("note: ", note);
    }
    text
}

fn pairs<'a>(report: &'a EvictionsReport<'_>) -> impl Iterator<Item = (&'a ThresholdState, Forecast)> {
    let forecasts = report.forecasts.iter().copied().chain(std::iter::repeat(Forecast::Unknown));
    report.evictions.thresholds.iter().zip(forecasts)
}

fn truth(report: &EvictionsReport<'_>, signal: EvictionSignal) -> Option<NodeTruth> {
    match signal {
        EvictionSignal::Node => report.evictions.node_truth,
        EvictionSignal::Allocatable => report.evictions.pods_truth,
    }
}

/// One sentence: is it near, and is it wrong?
fn verdict(report: &EvictionsReport<'_>) -> String {
    let Some(nearest) = report.evictions.nearest() else {
        let text = if report.evictions.has_no_threshold() {
            "The kubelet evicts nobody for memory: it has no threshold. What runs out is left to the kernel, which kills."
        } else {
            "What the kubelet sees can't be read here."
        };
        return wrap("", text);
    };
    let signal = nearest.threshold.signal;
    let kind = kind(nearest);
    let below = nearest.at.saturating_sub(nearest.observation.available);
    let mut sentence = if nearest.is_met() {
        let act = if nearest.threshold.grace.is_some() { "evicts after the grace period" } else { "evicts now" };
        format!("The kubelet {act}: {signal} is {below} below its {kind} threshold.")
    } else {
        let left = pairs(report).find(|(state, _)| *state == nearest).map_or(Forecast::Unknown, |(_, left)| left);
        let when = match (left, range(left)) {
            (Forecast::In { .. }, Some(range)) => format!(" At this pace it is there in {} ({range}).", forecast(left)),
            (Forecast::None, _) => " Nothing points there.".to_owned(),
            _ => String::new(),
        };
        format!("{} until the kubelet's {kind} threshold for {signal} is met.{when}", nearest.distance())
    };
    if let Some(truth) = truth(report, signal) {
        let error = truth.error(&nearest.observation);
        let _ = write!(sentence, " It is wrong by {}: ", signed(error));
        if error >= 0 {
            let _ = write!(sentence, "{} are really available.", truth.available);
        } else {
            let _ = write!(sentence, "only {} are really available.", truth.available);
        }
    }
    wrap("", &sentence)
}

fn kind(state: &ThresholdState) -> &'static str {
    if state.threshold.grace.is_some() { "soft" } else { "hard" }
}

fn signals(report: &EvictionsReport<'_>) -> String {
    let mut text = "\n".to_owned();
    if !report.evictions.thresholds.is_empty() {
        let _ = writeln!(
            text,
            "{:<34} {:>10} {:>10} {:>10} {:>10}",
            "SIGNAL", "THRESHOLD", "AVAILABLE", "REALLY", "TIME LEFT"
        );
    }
    for (state, time) in pairs(report) {
        let really = truth(report, state.threshold.signal).map_or("?".to_owned(), |truth| truth.available.to_string());
        let what = format!("{} ({})", state.threshold.signal, kind(state));
        let _ = writeln!(
            text,
            "{what:<34} {:>10} {:>10} {really:>10} {:>10}",
            state.at,
            state.observation.available,
            forecast(time)
        );
    }
    for state in &report.evictions.thresholds {
        if let Some(sentence) = how_it_evicts(state) {
            text += &wrap("", &sentence);
        }
    }
    for (signal, observation) in [("node", report.evictions.view.node), ("pods", report.evictions.view.allocatable)] {
        if let Some(observation) = observation {
            let truth = if signal == "node" { report.evictions.node_truth } else { report.evictions.pods_truth };
            text += &wrap("", &made_of(signal, &observation, truth));
        }
    }
    text
}

/// What a threshold has beside its amount: grace periods, and how far the kubelet goes once it evicts.
fn how_it_evicts(state: &ThresholdState) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(grace) = state.threshold.grace {
        let pods = match state.threshold.pod_grace {
            Some(Duration::ZERO) => "pods get no time to end".to_owned(),
            Some(pods) => format!("a pod gets at most {} to end", time(pods)),
            None => "pods get their own grace period".to_owned(),
        };
        parts.push(format!("the kubelet evicts when it was met for {}, and {pods}", time(grace)));
    }
    if state.until() > state.at {
        parts.push(format!("once it evicts, it goes on until {} are available", state.until()));
    }
    let sentence = format!("{} ({}): {}.", state.threshold.signal, kind(state), parts.join("; "));
    (!parts.is_empty()).then_some(sentence)
}

fn made_of(signal: &str, observation: &Observation, truth: Option<NodeTruth>) -> String {
    let whose = if signal == "node" { "Of the node the kubelet calls" } else { "Of all pods it calls" };
    let Observation { working_set, capacity, .. } = observation;
    let mut sentence = format!("{whose} {working_set} of {capacity} used");
    if let Some(truth) = truth {
        let _ = write!(
            sentence,
            ": {} of that are active page cache ({} of all cache must be written first) and {} reclaimable slab",
            truth.active_file, truth.unclean, truth.slab_reclaimable
        );
    }
    sentence + "."
}

fn pods(report: &EvictionsReport<'_>) -> String {
    let pods = &report.evictions.pods;
    if pods.is_empty() {
        return "\nNo pods here.\n".to_owned();
    }
    let mut text = format!(
        "\n{:>3} {:<27} {:>10} {:>11} {:>10}  {:>13}\n",
        "#", "EVICTED FIRST", "PRIORITY", "WORKING SET", "REQUEST", "ABOVE REQUEST"
    );
    for (number, ranked) in (1..).zip(pods.iter().take(SHOWN)) {
        let pod = &ranked.pod;
        let name = pod.name.as_deref().map_or_else(|| pod.uid.clone(), |name| Escaped(name.as_bytes()).to_string());
        let request = if pod.request_is_guess() { "?".to_owned() } else { pod.assumed_request().to_string() };
        let _ = writeln!(
            text,
            "{number:>3} {:<27} {:>10} {:>11} {request:>10}  {:>13}",
            fit(&name, 27),
            pod.priority.map_or("?".to_owned(), |priority| priority.to_string()),
            pod.working_set.map_or("?".to_owned(), |set| set.to_string()),
            why(ranked),
        );
    }
    if let Some(more) = pods.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(text, "    and {more} more");
    }
    if let Some(first) = pods.iter().find(|ranked| !ranked.pod.critical) {
        text += &wrap("", &format!("The first is {}.", why_first(first)));
    }
    if pods.iter().any(|ranked| ranked.pod.critical) {
        let critical = pods.iter().filter(|ranked| ranked.pod.critical).count();
        text += &wrap("", &format!("{critical} critical (static, or of priority 2000000000 and more): never evicted."));
    }
    if pods.iter().any(|ranked| ranked.pod.request_is_guess() || ranked.pod.priority.is_none()) {
        text += &wrap("", "What is ? is not known and counts as 0: give --pods for the true order.");
    }
    text
}

/// Why a pod has its place, beside its priority.
fn why(ranked: &RankedPod) -> String {
    match ranked.pod.working_set {
        _ if ranked.pod.critical => "never evicted".to_owned(),
        None => "no statistics".to_owned(),
        Some(_) => signed(ranked.beyond_request),
    }
}

fn why_first(ranked: &RankedPod) -> String {
    if ranked.pod.working_set.is_none() {
        return "a pod without statistics, and those go first".to_owned();
    }
    let beyond = signed(ranked.beyond_request);
    if ranked.exceeds_request {
        format!("above its request by {beyond}; among those the least important goes first, then the furthest above")
    } else {
        format!("below its request ({beyond}): no pod is above its own")
    }
}

fn holders(report: &EvictionsReport<'_>) -> String {
    let holders: Vec<_> = report.evictions.holders.iter().filter(|holder| holder.active_file() > Bytes::ZERO).collect();
    if holders.is_empty() {
        return "\nNo page cache counts as used.\n".to_owned();
    }
    let mut text = format!("\n{:<46} {:>13} {:>15}\n", "CACHE THAT COUNTS AS USED", "ACTIVE CACHE", "INACTIVE CACHE");
    for holder in holders.iter().take(SHOWN) {
        let stat = holder.memory.stat.unwrap_or_default();
        let called = name(&holder.path, &holder.owner, report.evictions);
        let _ = writeln!(
            text,
            "{:<46} {:>13} {:>15}",
            fit(&called, 46),
            holder.active_file(),
            stat.inactive_file.unwrap_or_default()
        );
    }
    if let Some(more) = holders.len().checked_sub(SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(text, "and {more} more");
    }
    text
}

fn standing(report: &EvictionsReport<'_>) -> String {
    let mut text = String::new();
    for holder in report.evictions.holders.iter().take(SHOWN) {
        let Some(standing) = holder.standing else { continue };
        let called = name(&holder.path, &holder.owner, report.evictions);
        let why = match standing.reason {
            StandingReason::NoLimit => "has no limit below the node's memory".to_owned(),
            StandingReason::LimitAboveRequest { limit, request } => {
                format!("has a limit of {limit} and a request of {request}")
            }
        };
        text += &wrap(
            "- ",
            &format!(
                "{called} {why}, so its cache grows until the kubelet minds ({} now). Beside its cache it needs {}: a \
                 request and a limit of {} each would have the kernel reclaim that cache first.",
                standing.active_file, standing.without_cache, standing.advised
            ),
        );
    }
    if text.is_empty() { text } else { format!("\nStanding pressure\n{text}") }
}

fn keeper(report: &EvictionsReport<'_>) -> String {
    let sentence = match report.keeper {
        KeeperDecision::NoThreshold => "There is no threshold to keep from.".to_owned(),
        KeeperDecision::Far => "Nothing: its margin is not crossed.".to_owned(),
        KeeperDecision::Stopped => "Nothing: it has stopped itself.".to_owned(),
        KeeperDecision::Unreachable(state) => format!(
            "Nothing: the threshold {} is not below all memory ({}), so it can't be kept from. Lower evictionHard.",
            state.at, state.observation.capacity
        ),
        KeeperDecision::Near { margin, orders, spared, .. } => {
            let mut sentence = format!("Available is below its margin of {margin}.");
            let mut sums: Vec<(String, Bytes)> = Vec::new();
            for order in orders {
                let what = format!("of {} by {}", report_name(report, &order.path), order.means);
                match sums.iter_mut().find(|(known, _)| *known == what) {
                    Some((_, sum)) => *sum = sum.saturating_add(order.amount),
                    None => sums.push((what, order.amount)),
                }
            }
            for (what, amount) in sums {
                let _ = write!(sentence, " It would take {amount} {what}.");
            }
            for spared in spared {
                let _ =
                    write!(sentence, " It would leave {} alone: {}.", report_name(report, &spared.path), spared.reason);
            }
            if orders.is_empty() && spared.is_empty() {
                sentence += " There is no active cache worth taking: the node needs more memory or fewer pods.";
            }
            sentence
        }
    };
    format!("\nWhat the cache keeper would do\n{}", wrap("", &sentence))
}

fn report_name(report: &EvictionsReport<'_>, path: &reprieve_readings::CgroupPath) -> String {
    let holder = report.evictions.holders.iter().find(|holder| holder.path == *path);
    holder.map_or_else(|| path.to_string(), |holder| name(path, &holder.owner, report.evictions))
}
