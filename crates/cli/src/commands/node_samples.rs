//! Reading all cgroups of the node again and again, and judging each time what the kubelet would do.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reprieve_judgement::{
    CgroupFacts, EvictionRules, EvictionThreshold, Evictions, Falling, Forecast, NodeUsage, judge_evictions,
    judge_within, thresholds_of,
};
use reprieve_linux::{
    CgroupId, CgroupTree, DescriptorBudget, MemoryController, Problems, Roots, raise_descriptor_limit, read_node,
};
use reprieve_readings::{Bytes, CgroupPath, Meminfo, NodeMemory, Owner, PodList};

use crate::arguments::{KubeletArguments, RootArguments};
use crate::commands::kubelet;

/// The node, read as often as wanted.
pub(crate) struct NodeSamples {
    roots: Roots,
    tree: CgroupTree,
    owners: HashMap<CgroupId, Owner>,
    thresholds: Vec<EvictionThreshold>,
    node_usage: NodeUsage,
    pods: PodList,
    notes: Vec<String>,
    started: Instant,
    meminfo: Meminfo,
    falling: Vec<Falling>,
    limits: HashMap<CgroupId, Falling>,
}

/// What a cgroup with a limit has left.
pub(crate) struct LimitForecast {
    pub(crate) path: CgroupPath,
    pub(crate) owner: Owner,
    pub(crate) left: Bytes,
    pub(crate) forecast: Forecast,
}

impl NodeSamples {
    /// Opens the cgroups, and reads what tells of the kubelet.
    pub(crate) fn open(roots: &RootArguments, arguments: &KubeletArguments) -> Result<Self> {
        let configuration = kubelet::configuration(arguments)?;
        let pods = kubelet::pods(arguments)?;
        raise_descriptor_limit();
        let roots = Roots::from(roots);
        let mut problems = Problems::default();
        let controller = MemoryController::find(&roots, &mut problems)?;
        complain(&problems);
        let tree =
            CgroupTree::open(&controller, DescriptorBudget::new(4096)).context("can't open the memory cgroups")?;
        let mut notes = configuration.notes.clone();
        notes.extend(pods.notes.iter().cloned());
        Ok(NodeSamples {
            roots,
            tree,
            owners: HashMap::new(),
            thresholds: thresholds_of(&configuration),
            node_usage: arguments.node_usage.into(),
            pods,
            notes,
            started: Instant::now(),
            meminfo: Meminfo::default(),
            falling: Vec::new(),
            limits: HashMap::new(),
        })
    }

    /// What was not understood of the configuration and the list of pods.
    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The time of the readings: since it was opened.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// The tree as last read.
    pub(crate) fn tree(&self) -> &CgroupTree {
        &self.tree
    }

    /// The roots that it reads.
    pub(crate) fn roots(&self) -> &Roots {
        &self.roots
    }

    /// Reads everything and judges it. Problems are said once, at the first reading.
    pub(crate) fn read(&mut self) -> Evictions {
        let first = self.owners.is_empty();
        let mut summary = self.tree.scan();
        let mut meminfo = Problems::default();
        self.meminfo = read_node(&self.roots, &mut meminfo).meminfo.unwrap_or_default();
        if first {
            complain(&summary.problems);
            complain(&meminfo);
        }
        for (gone, _) in summary.removed.drain(..) {
            self.owners.remove(&gone);
        }
        for cgroup in self.tree.iter() {
            self.owners.entry(cgroup.id()).or_insert_with(|| Owner::of(cgroup.path()));
        }
        let evictions = self.judge();
        let now = self.now();
        self.falling.resize_with(evictions.thresholds.len(), Falling::default);
        for (state, falling) in evictions.thresholds.iter().zip(&mut self.falling) {
            falling.push(now, state.observation.available);
        }
        self.read_limits(now);
        evictions
    }

    /// When each of the thresholds is reached, by all readings so far.
    pub(crate) fn forecasts(&self, evictions: &Evictions) -> Vec<Forecast> {
        evictions.thresholds.iter().zip(&self.falling).map(|(state, falling)| falling.forecast(state.at)).collect()
    }

    /// When each cgroup with a limit of its own has nothing left.
    pub(crate) fn limit_forecasts(&self) -> Vec<LimitForecast> {
        let of = |(id, falling): (&CgroupId, &Falling)| {
            let cgroup = self.tree.get(*id)?;
            let owner = self.owners.get(id)?.clone();
            let left = falling.last()?;
            Some(LimitForecast { path: cgroup.path().clone(), owner, left, forecast: falling.forecast(Bytes::ZERO) })
        };
        let mut limits: Vec<_> = self.limits.iter().filter_map(of).collect();
        limits.sort_by(|one, other| one.path.cmp(&other.path));
        limits
    }

    fn judge(&self) -> Evictions {
        let facts = self.tree.iter().filter_map(|cgroup| {
            Some(CgroupFacts {
                path: cgroup.path(),
                owner: self.owners.get(&cgroup.id())?,
                memory: cgroup.memory(),
                is_leaf: cgroup.children().is_empty(),
            })
        });
        let rules = EvictionRules {
            version: self.tree.version(),
            node_usage: self.node_usage,
            thresholds: &self.thresholds,
            pods: &self.pods,
        };
        judge_evictions(facts, &self.meminfo, &rules)
    }

    fn read_limits(&mut self, now: Duration) {
        let node = NodeMemory { meminfo: self.meminfo, counting_error: Bytes::ZERO };
        let machine = self.meminfo.total.unwrap_or(Bytes::new(u64::MAX));
        let mut available: HashMap<CgroupId, Option<Bytes>> = HashMap::with_capacity(self.tree.len());
        // What has no limit any more, or is gone, has no forecast.
        let mut before = std::mem::take(&mut self.limits);
        for cgroup in self.tree.iter() {
            let above =
                cgroup.parent().map_or(self.meminfo.available, |parent| available.get(&parent).copied().flatten());
            let left = judge_within(above, cgroup.memory(), &node);
            available.insert(cgroup.id(), left);
            let limit = cgroup.memory().max.and_then(|max| max.below(machine).bytes());
            if let Some((left, limit)) = left.zip(limit) {
                let mut falling = before.remove(&cgroup.id()).unwrap_or_default();
                falling.below(limit).push(now, left);
                self.limits.insert(cgroup.id(), falling);
            }
        }
    }
}

fn complain(problems: &Problems) {
    for problem in problems.first() {
        crate::complain(&problem.to_string());
    }
}
