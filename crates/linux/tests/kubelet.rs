//! What we compute of a node, its pods and containers, against the figures that a real kubelet (1.36.2, cgroup v1) served
//! of the same machine at the same time.
//!
//! fixtures/kubelet-v1-1.36 has 18 moments. In each, `figures.tsv` says what the kubelet served, when it had read that,
//! and when the cgroup's files were captured; `trace.tsv` has the cgroup as it was read ten times a second, a row for
//! each change. The kubelet reads a cgroup only every ten seconds or so: where the cgroup changed in between, its figure
//! must be what the trace says of that earlier moment.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic, missing_docs)]

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use reprieve_judgement::{
    CgroupFacts, EvictionRules, Evictions, NodeUsage, PodMemory, judge_allocatable, judge_evictions, judge_node,
    rank_pods, thresholds_of,
};
use reprieve_lab::Captured;
use reprieve_linux::{CgroupTree, DescriptorBudget, MemoryController, Problems, Roots, read_node};
use reprieve_readings::{
    Bytes, CgroupPath, CgroupVersion, Limit, Meminfo, Owner, PodList, parse_kubelet_configuration, parse_pod_list,
};

/// Seconds: the trace is taken ten times in one, and the kubelet's time is the begin of its reading.
const TRACE_STEP: f64 = 0.15;

fn fixtures() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/kubelet-v1-1.36")
}

fn scan(captured: &Captured) -> (CgroupTree, Meminfo) {
    let mut problems = Problems::default();
    let roots = Roots::new(captured.proc(), captured.sys());
    let controller = MemoryController::find(&roots, &mut problems).unwrap();
    let mut tree = CgroupTree::open(&controller, DescriptorBudget::new(64)).unwrap();
    let summary = tree.scan();
    assert_eq!(summary.problems.count() + problems.count(), 0, "{:?}", summary.problems.first());
    (tree, read_node(&roots, &mut problems).meminfo.unwrap())
}

struct Figure {
    kind: String,
    cgroup: String,
    usage: u64,
    working_set: u64,
    available: Option<u64>,
    kubelet_read_at: f64,
    captured_at: f64,
}

/// A cgroup at one moment: usage and working set.
type Row = (f64, u64, u64);

fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect())
}

fn read_figures(captured: &Captured) -> (Vec<Figure>, HashMap<String, Vec<Row>>) {
    let read = |name: &str| fs::read_to_string(captured.root().join("kubelet").join(name)).unwrap();
    let figures = rows(&read("figures.tsv"))
        .map(|row| Figure {
            kind: row[0].to_owned(),
            cgroup: row[1].to_owned(),
            usage: row[2].parse().unwrap(),
            working_set: row[3].parse().unwrap(),
            available: row[4].parse().ok(),
            kubelet_read_at: row[5].parse().unwrap(),
            captured_at: row[6].parse().unwrap(),
        })
        .collect();
    let mut trace: HashMap<String, Vec<Row>> = HashMap::new();
    for row in rows(&read("trace.tsv")) {
        let number = |at: usize| row[at].parse::<u64>().unwrap();
        let changed = (row[1].parse().unwrap(), number(2), number(2).saturating_sub(number(3)));
        trace.entry(row[0].to_owned()).or_default().push(changed);
    }
    (figures, trace)
}

/// What the cgroup was between two moments, by the rows of its changes: at least that which held at the first.
fn between(trace: &[Row], from: f64, to: f64) -> &[Row] {
    let begin = trace.iter().rposition(|row| row.0 <= from).unwrap_or(0);
    let end = trace.iter().position(|row| row.0 > to).unwrap_or(trace.len());
    &trace[begin..end.max(begin + 1).min(trace.len())]
}

#[derive(Default, Debug)]
struct Outcome {
    same_instant: usize,
    explained_by_age: usize,
    off_by: Vec<(String, u64)>,
}

fn check(name: &str, outcome: &mut Outcome) {
    let text = fs::read_to_string(fixtures().join(name).with_extension("txt")).unwrap();
    let captured = Captured::unpack(&text).unwrap();
    let (tree, meminfo) = scan(&captured);
    let (figures, trace) = read_figures(&captured);
    for figure in figures {
        let path = CgroupPath::new(figure.cgroup.as_bytes());
        let memory = tree.find(&path).unwrap_or_else(|| panic!("{name}: no {path}")).memory();
        let (usage, working_set, available) = match figure.kind.as_str() {
            "node" => {
                let node = judge_node(memory, tree.version(), &meminfo, NodeUsage::default()).unwrap();
                (node.usage, node.working_set, Some(node.available))
            }
            "pods" => {
                let pods = judge_allocatable(memory).unwrap();
                (pods.usage, pods.working_set, Some(pods.available))
            }
            _ => {
                let left = memory.max.and_then(Limit::bytes);
                let working_set = memory.working_set().unwrap();
                (memory.usage.unwrap(), working_set, left.map(|limit| limit.saturating_sub(working_set)))
            }
        };
        let trace = &trace[&figure.cgroup];
        let told = format!("{name}: {} {path}", figure.kind);
        // Whatever the moment: what is left and what is used make up the same whole for both.
        assert_eq!(
            figure.available.map(|available| available + figure.working_set),
            available.map(|available| available.get() + working_set.get()),
            "{told}"
        );
        let whole = between(trace, figure.kubelet_read_at - TRACE_STEP, figure.captured_at + TRACE_STEP);
        let unchanged = whole.iter().all(|row| (row.1, row.2) == (whole[0].1, whole[0].2));
        if unchanged && (usage.get(), working_set.get()) == (figure.usage, figure.working_set) {
            outcome.same_instant += 1;
            continue;
        }
        let then = between(trace, figure.kubelet_read_at - TRACE_STEP, figure.kubelet_read_at + TRACE_STEP);
        let outside = |value: u64, of: fn(&Row) -> u64| {
            let (least, most) = (then.iter().map(of).min().unwrap(), then.iter().map(of).max().unwrap());
            least.saturating_sub(value).max(value.saturating_sub(most))
        };
        match outside(figure.usage, |row| row.1).max(outside(figure.working_set, |row| row.2)) {
            0 => outcome.explained_by_age += 1,
            off => outcome.off_by.push((told, off)),
        }
    }
}

#[test]
fn our_figures_are_the_kubelet_s() {
    let mut outcome = Outcome::default();
    let mut names: Vec<_> = fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| path.is_file());
    names.sort();
    assert_eq!(names.len(), 18);
    for name in &names {
        check(name.file_stem().unwrap().to_str().unwrap(), &mut outcome);
    }
    eprintln!("{outcome:#?}");
    let all = outcome.same_instant + outcome.explained_by_age + outcome.off_by.len();
    assert_eq!(all, 322);
    assert!(outcome.same_instant >= 169, "equal to the byte: {}", outcome.same_instant);
    // Between two rows of the trace a cgroup can rise and fall unseen, as it does when a process starts.
    assert!(outcome.off_by.len() <= all / 20, "{:#?}", outcome.off_by);
    assert!(outcome.off_by.iter().all(|(_, off)| *off <= 512 * 1024), "{:#?}", outcome.off_by);
}

fn pods() -> PodList {
    let list = parse_pod_list(&fs::read(fixtures().join("eviction/pods.json")).unwrap()).unwrap();
    assert_eq!(list.notes, [""; 0]);
    list
}

/// The kubelet's log at its first ranking: `Eviction manager: pods ranked for eviction`.
const RANKED: [&str; 9] = [
    "evk/tiny-be-lowprio",
    "evk/anon200-burst-req50",
    "evk/tmpfs150-burst-req20",
    "evk/anon100-be",
    "evk/cache-be",
    "evk/anon300-be-highprio",
    "evk/guaranteed64",
    "evk/anon100-burst-req300",
    "kube-system/static-agent-localhost",
];

#[test]
fn pods_are_ranked_as_the_kubelet_ranked_them_by_its_figures() {
    let list = pods();
    let text = fs::read_to_string(fixtures().join("eviction/figures.tsv")).unwrap();
    let pods = rows(&text).map(|row| {
        let spec = list.pods.iter().find(|spec| spec.cgroup_uid == row[0]).unwrap();
        PodMemory {
            uid: row[0].to_owned(),
            name: Some(spec.name.clone()),
            qos: spec.qos,
            working_set: Some(Bytes::new(row[2].parse().unwrap())),
            request: Some(spec.request),
            limit: spec.limit,
            priority: Some(spec.priority),
            critical: spec.is_critical(),
        }
    });
    let ranked = rank_pods(pods.collect());
    let names: Vec<_> = ranked.iter().map(|ranked| ranked.pod.name.as_deref().unwrap()).collect();
    assert_eq!(names, RANKED);
    let critical: Vec<_> = ranked.iter().filter(|ranked| ranked.pod.critical).collect();
    assert_eq!(critical.len(), 1, "the static pod is passed over");
}

fn evictions(captured: &Captured, list: &PodList) -> Evictions {
    let (tree, meminfo) = scan(captured);
    let configuration = fs::read(fixtures().join("eviction/config.yaml")).unwrap();
    let configuration = parse_kubelet_configuration(&configuration).unwrap();
    let owners: Vec<_> = tree.iter().map(|cgroup| Owner::of(cgroup.path())).collect();
    let facts = tree.iter().zip(&owners).map(|(cgroup, owner)| CgroupFacts {
        path: cgroup.path(),
        owner,
        memory: cgroup.memory(),
        is_leaf: cgroup.children().is_empty(),
    });
    let thresholds = thresholds_of(&configuration);
    let rules = EvictionRules {
        version: CgroupVersion::V1,
        node_usage: NodeUsage::default(),
        thresholds: &thresholds,
        pods: list,
    };
    judge_evictions(facts, &meminfo, &rules)
}

/// Half a second after that ranking: the pod whose cache caused it all has grown since the kubelet last looked at it, so
/// by the figures of the moment it comes right after the pod of lower priority. (Four seconds later the kubelet's own
/// ranking had it first, the other being gone.)
#[test]
fn a_captured_eviction_is_judged_whole() {
    let captured = Captured::unpack(&fs::read_to_string(fixtures().join("eviction/machine.txt")).unwrap()).unwrap();
    let evictions = evictions(&captured, &pods());
    let names: Vec<_> = evictions.pods.iter().map(|ranked| ranked.pod.name.as_deref().unwrap()).collect();
    let mut expected = RANKED.to_vec();
    expected.remove(4);
    expected.insert(1, "evk/cache-be");
    assert_eq!(names, expected);
    let node = evictions.view.node.unwrap();
    let truth = evictions.node_truth.unwrap();
    assert!(evictions.nearest().unwrap().is_met());
    assert_eq!(evictions.thresholds.len(), 2, "the node's and that of all pods");
    // The kubelet evicts at 21385 MiB; the kernel says that more than that is available.
    assert!(node.available < Bytes::from_mib(21385) && Bytes::from_mib(21385) < truth.available, "{node:?} {truth:?}");
    let wrong_by = truth.error(&node) >> 20;
    assert!((2000..2600).contains(&wrong_by), "wrong by {wrong_by} MiB");
    let holder = evictions.holders.first().unwrap();
    assert!(holder.path.to_string().contains("8972b095-0e92-4b86-9f30-45c49a28e100"), "cache-be: {}", holder.path);
    assert!(holder.standing.is_some(), "no limit bounds it");
}
