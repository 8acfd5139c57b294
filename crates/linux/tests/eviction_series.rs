//! A real kubelet (1.36.2, cgroup v1) evicts four pods, of which one was the cause: what we would have said second by
//! second, against what its log says.
//!
//! fixtures/kubelet-v1-1.36/eviction-series: `series.tsv` is the node once a second, `log.tsv` the kubelet's observations,
//! rankings and evictions, and `figures.tsv` what it served of its pods just before each ranking. At 33 seconds a pod
//! without a limit wrote a file of 2 GiB, and from 37 seconds on it read it again and again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use reprieve_judgement::{
    CgroupFacts, EvictionRules, EvictionSignal, Evictions, Falling, Forecast, NodeUsage, PodMemory, judge_evictions,
    rank_pods, thresholds_of,
};
use reprieve_readings::{
    Bytes, CgroupMemory, CgroupPath, CgroupVersion, Limit, Meminfo, MemoryStat, Owner, PodList,
    parse_kubelet_configuration, parse_pod_list,
};

const KUBELET: &str = "kind: KubeletConfiguration\nevictionHard: {memory.available: 21385Mi}\n";
/// The pod whose cache is the cause.
const CAUSE: &str = "evk/cache-be";

fn fixture(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/kubelet-v1-1.36/eviction-series");
    fs::read_to_string(folder.join(name)).unwrap()
}

fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect())
}

/// The node at one moment.
#[derive(Default)]
struct Moment {
    seconds: f64,
    cgroups: Vec<(CgroupPath, CgroupMemory)>,
    meminfo: Meminfo,
}

fn series() -> Vec<Moment> {
    let mut moments: Vec<Moment> = Vec::new();
    for row in rows(&fixture("series.tsv")) {
        let number = |at: usize| Some(Bytes::new(row[at].parse().unwrap()));
        if row[1] == "/" {
            moments.push(Moment { seconds: row[0].parse().unwrap(), ..Moment::default() });
        }
        let moment = moments.last_mut().unwrap();
        if row[1] == "meminfo" {
            (moment.meminfo.total, moment.meminfo.free, moment.meminfo.available) = (number(2), number(3), number(4));
            continue;
        }
        let stat = MemoryStat { inactive_file: number(3), active_file: number(4), ..MemoryStat::default() };
        // The kubelet gave all pods as much as the machine has.
        let max = (row[1] == "/kubepods").then_some(Limit::At(Bytes::from_kib(24_684_096)));
        let memory = CgroupMemory { usage: number(2), stat: Some(stat), max, ..CgroupMemory::default() };
        moment.cgroups.push((CgroupPath::new(row[1].as_bytes()), memory));
    }
    moments
}

fn pods() -> PodList {
    parse_pod_list(fixture("pods.json").as_bytes()).unwrap()
}

fn judge(moment: &Moment, pods: &PodList) -> Evictions {
    let owners: Vec<_> = moment.cgroups.iter().map(|(path, _)| Owner::of(path)).collect();
    let facts = moment.cgroups.iter().zip(&owners).map(|((path, memory), owner)| CgroupFacts {
        path,
        owner,
        memory,
        is_leaf: owner.pod.is_some(),
    });
    let thresholds = thresholds_of(&parse_kubelet_configuration(KUBELET.as_bytes()).unwrap());
    let rules =
        EvictionRules { version: CgroupVersion::V1, node_usage: NodeUsage::default(), thresholds: &thresholds, pods };
    judge_evictions(facts, &moment.meminfo, &rules)
}

/// The available bytes of a signal, and whether its threshold is met.
fn signal(evictions: &Evictions, signal: EvictionSignal) -> (u64, bool) {
    let state = evictions.thresholds.iter().find(|state| state.threshold.signal == signal).unwrap();
    (state.observation.available.get(), state.is_met())
}

/// The last moment before a time, and the first after it.
fn around(moments: &[Moment], seconds: f64) -> Option<(&Moment, &Moment)> {
    let after = moments.iter().position(|moment| moment.seconds > seconds)?;
    Some((moments.get(after.checked_sub(1)?)?, &moments[after]))
}

#[test]
fn its_observations_lie_between_our_readings_before_and_after() {
    let (moments, pods, log) = (series(), pods(), fixture("log.tsv"));
    let (mut compared, mut between) = (0, 0);
    for row in rows(&log).filter(|row| row[1] == "observed") {
        let Some((before, after)) = around(&moments, row[2].parse().unwrap()) else { continue };
        let of = if row[3] == "memory.available" { EvictionSignal::Node } else { EvictionSignal::Allocatable };
        let (one, other) = (signal(&judge(before, &pods), of), signal(&judge(after, &pods), of));
        let told = row[4].parse::<u64>().unwrap() << 10;
        let off = one.0.min(other.0).saturating_sub(told).max(told.saturating_sub(one.0.max(other.0)));
        // Pods that end and processes that start come and go between two of our readings.
        assert!(off <= 512 << 10, "{row:?}: off by {off} bytes");
        let met = told < 21385 << 20;
        assert!(one.1 == met || other.1 == met, "{row:?}");
        compared += 1;
        between += usize::from(off == 0);
    }
    assert_eq!((compared, between), (16, 12));
}

#[test]
fn the_crossing_is_seen_before_the_kubelet_looks_and_nothing_is_foretold_in_vain() {
    let (moments, pods) = (series(), pods());
    let mut falling = Falling::default();
    let judged: Vec<_> = moments
        .iter()
        .map(|moment| {
            let evictions = judge(moment, &pods);
            let state = evictions.thresholds[0];
            falling.push(Duration::from_secs_f64(moment.seconds), state.observation.available);
            (moment.seconds, state.is_met(), falling.forecast(state.at))
        })
        .collect();
    let met: Vec<f64> = judged.iter().filter(|(_, met, _)| *met).map(|(seconds, ..)| *seconds).collect();
    let (first, last) = (met[0], met[met.len() - 1]);
    // The kubelet looked at 31, clear, and at 41, met; its last eviction was at 52, and at 55 it was content.
    assert!((38.0..39.0).contains(&first), "{first}");
    assert!((54.0..55.0).contains(&last), "{last}");
    assert!(judged.iter().all(|(seconds, met, _)| *met == (first..=last).contains(seconds)));
    for (seconds, met, forecast) in judged {
        // 1.2 GiB of cache became active within one second, from nothing: that can't be foretold a second before.
        assert_eq!(forecast == Forecast::Now, met, "{seconds}");
        assert!(met || forecast.best().is_none_or(|best| best > Duration::from_secs(60)), "{seconds}: {forecast:?}");
    }
}

#[test]
fn pods_are_ranked_as_in_its_log_by_its_figures_and_by_ours_the_cause_comes_first() {
    let (moments, list, log, figures) = (series(), pods(), fixture("log.tsv"), fixture("figures.tsv"));
    let mut rankings = 0;
    for row in rows(&log).filter(|row| row[1] == "ranked") {
        let theirs: Vec<&str> = row[2].split(' ').collect();
        let served = rows(&figures).filter(|figure| figure[0] == row[0]).map(|figure| {
            let spec = list.pods.iter().find(|spec| spec.cgroup_uid == figure[1]).unwrap();
            PodMemory {
                uid: figure[1].to_owned(),
                name: Some(spec.name.clone()),
                qos: spec.qos,
                working_set: Some(Bytes::new(figure[2].parse().unwrap())),
                request: Some(spec.request),
                limit: spec.limit,
                priority: Some(spec.priority),
                critical: spec.is_critical(),
            }
        });
        let ranked = rank_pods(served.collect());
        let names: Vec<_> = ranked.iter().map(|ranked| ranked.pod.name.as_deref().unwrap()).collect();
        assert_eq!(names, theirs, "at {}", row[0]);
        let (moment, _) = around(&moments, row[0].parse().unwrap()).unwrap();
        let ours = judge(moment, &list);
        let names: Vec<_> = ours.pods.iter().map(|ranked| ranked.pod.name.as_deref().unwrap()).collect();
        let mut expected: Vec<_> = theirs.iter().copied().filter(|name| *name != CAUSE).collect();
        let place = usize::from(expected[0] == "evk/tiny-be-lowprio");
        expected.insert(place, CAUSE);
        // Pods that it has evicted may still have a cgroup.
        let names: Vec<_> = names.into_iter().filter(|name| theirs.contains(name)).collect();
        assert_eq!(names, expected, "at {}", row[0]);
        rankings += 1;
    }
    assert_eq!(rankings, 4);
}
